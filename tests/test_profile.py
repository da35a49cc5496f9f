"""Images that a hub has only built, started with a profile through its JupyterHub."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

import pytest

from accounts import COMMIT, OWN_TOKEN, SCOPES, TOKENS, USER_TOKEN, Users
from answers import Answer, Ending, event, json_page, page
from clinder._deadline import Deadline
from clinder.errors import (
    AccountInUse,
    Cancelled,
    ClinderError,
    HubTokenRefused,
    LaunchFailed,
    NotABinderHub,
    Refused,
    UsageError,
)
from clinder.events import Event, LogLines, SessionStopped
from clinder.launch.launch import launch
from clinder.launch.options import LaunchOptions
from clinder.launch.request import Request
from clinder.repository import Repository
from clinder.running.stop import stop
from clinder.session import Session
from hubs import Request as HubRequest
from hubs import ScriptedHub

pytestmark = pytest.mark.usefixtures("_no_threads_left")

IMAGE = f"registry.example.org/org-repo:{COMMIT}"
BUILT = Answer(event(phase="ready", imageName=IMAGE, message="Done! Found built image\n"))
STARTS = (*SCOPES, "servers!user=ann", TOKENS)
REPOSITORY = Repository("gh", "org/repo", COMMIT)


@pytest.fixture
def hub() -> Iterator[ScriptedHub]:
    with ScriptedHub(BUILT) as hub:
        yield hub


class Launch:
    """A launch with a profile, and its events."""

    def __init__(self, *hubs: ScriptedHub, cancel_at: Callable[[Event], bool] = lambda _: False):
        options = LaunchOptions(hub_token=USER_TOKEN, profile="small", warm_up=None, timeout=60)
        self._request = Request(REPOSITORY, tuple(hub.url for hub in hubs), options)
        self._cancel_at = cancel_at
        self._cancel = threading.Event()
        self.events: list[Event] = []

    def run(self) -> Session:
        return launch(self._request, Deadline(60, cancel=self._cancel), self._observe)

    def fail(self) -> ClinderError:
        with pytest.raises(ClinderError) as raised:
            self.run()
        return raised.value

    def _observe(self, event: Event) -> None:
        self.events.append(event)
        if self._cancel_at(event):
            self._cancel.set()


def options_of(hub: ScriptedHub) -> dict[str, str]:
    """The options of the only server that was requested."""
    (spawn,) = (each for each in hub.requests if each.method == "POST" and "server" in each.path)
    options: dict[str, str] = json.loads(spawn.body)
    return options


def test_an_image_is_started_with_a_profile_and_stopped(hub: ScriptedHub) -> None:
    users = Users(hub, scopes=STARTS)
    launched = Launch(hub)
    session = launched.run()
    assert "build_only=true" in hub.builds[0].path
    ((name, server),) = users.servers.items()
    assert session.url == users.url(name)
    assert name.startswith("clinder-")
    options = options_of(hub)
    assert (options["profile"], options["image--unlisted-choice"]) == ("small", IMAGE)
    assert session.account is not None
    assert session.account.launch_id == options["token"] == server.options["token"]
    assert (session.token, session.image) == (OWN_TOKEN, IMAGE)
    assert session.persistent_spec == f"gh/org/repo/{COMMIT}"
    assert LogLines("launching", ("Pulling the image",)) in launched.events
    assert stop(session, Deadline(30)).ran
    assert not users.servers


def test_without_named_servers_it_is_the_default_one(hub: ScriptedHub) -> None:
    users = Users(hub, scopes=STARTS, has_names=False)
    assert Launch(hub).run().url == users.url()


def test_a_default_server_that_runs_is_left_alone(hub: ScriptedHub) -> None:
    users = Users(hub, scopes=STARTS, has_names=False)
    users.start("", "gh/other/repo/HEAD", "an0ther-launch")
    assert isinstance(Launch(hub).fail(), AccountInUse)
    assert users.active == [""]


def test_a_profile_that_does_not_exist_is_a_failed_launch(hub: ScriptedHub) -> None:
    reason = "Spawn failed: No such profile: small. Options include: large"
    failed = event(progress=100, failed=True, message=reason)
    users = Users(hub, scopes=STARTS, progress=Answer(failed))
    error = Launch(hub).fail()
    assert isinstance(error, LaunchFailed)
    assert "Options include: large" in error.message
    assert not users.servers


def test_a_request_that_jupyterhub_refuses_is_a_failed_launch(hub: ScriptedHub) -> None:
    users = Users(hub, scopes=STARTS)
    refused = json_page(400, {"message": "Invalid options"})
    users.fault = lambda request: refused if request.method == "POST" else None
    error = Launch(hub).fail()
    assert isinstance(error, LaunchFailed)
    assert "Invalid options" in error.message


@pytest.mark.parametrize("progress", [page(503), Answer(event(message="x"), ending=Ending.BROKEN)])
def test_a_server_whose_progress_is_lost_is_found(hub: ScriptedHub, progress: Answer) -> None:
    users = Users(hub, scopes=STARTS, progress=progress)
    seen: list[int] = []

    def become_ready(_: object) -> None:
        seen.append(1)
        for each in users.servers.values():
            each.pending = each.pending if len(seen) < 5 else None

    users.fault = become_ready
    assert Launch(hub).run().token == OWN_TOKEN


def test_a_lost_response_to_the_request_for_a_server_does_not_matter(hub: ScriptedHub) -> None:
    users = Users(hub, scopes=STARTS)

    def lose(request: HubRequest) -> Answer | None:
        if request.method == "GET" or "servers" not in request.path:
            return None
        users.spawn(request.path.rpartition("/")[2], request)
        return page(504)

    users.fault = lose
    assert Launch(hub).run().token == OWN_TOKEN


def test_cancelling_stops_the_server(hub: ScriptedHub) -> None:
    pulling = event(progress=50, message="Pulling the image")
    users = Users(hub, scopes=STARTS, progress=Answer(pulling, ending=Ending.HELD))
    launched = Launch(hub, cancel_at=lambda event: isinstance(event, LogLines))
    assert isinstance(launched.fail(), Cancelled)
    assert not users.servers
    assert any(isinstance(each, SessionStopped) for each in launched.events)


def test_the_hub_must_show_its_jupyterhub(hub: ScriptedHub) -> None:
    Users(hub, scopes=STARTS, shows_login=False)
    assert isinstance(Launch(hub).fail(), NotABinderHub)


def test_the_scope_for_starting_servers_is_needed(hub: ScriptedHub) -> None:
    Users(hub, scopes=(*SCOPES, TOKENS))
    error = Launch(hub).fail()
    assert isinstance(error, HubTokenRefused)
    assert "servers!user" in error.message
    assert not hub.builds


def test_a_hub_that_launches_itself_needs_no_profile() -> None:
    message = "Building but not launching is not permitted when the API only mode was not enabled"
    with ScriptedHub(Answer(event(phase="failed", status_code=400, message=message))) as hub:
        Users(hub, scopes=STARTS)
        error = Launch(hub).fail()
    assert type(error) is Refused
    assert error.hint == "Omit --profile."


def test_a_fallback_hub_launches_as_usual() -> None:
    busy = Answer(event(phase="failed", message="Too many users on this BinderHub!"))
    with ScriptedHub(busy) as hub, ScriptedHub() as other:
        Users(hub, scopes=STARTS)
        other.then(Answer(event(phase="failed", message="Sorry, x is not allowed to launch. …")))
        Launch(hub, other).fail()
        assert "build_only" not in other.builds[0].path


def test_a_profile_needs_a_hub_token() -> None:
    with pytest.raises(UsageError, match="there is no hub token"):
        LaunchOptions(profile="small")
