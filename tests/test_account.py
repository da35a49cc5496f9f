"""A launch under a user's account: what is checked, handed out, stopped and left alone."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import clinder
from accounts import (
    LAUNCH_ID,
    LAUNCHING,
    OWN_TOKEN,
    SCOPES,
    TOKENS,
    USER_TOKEN,
    Users,
)
from answers import Answer, Ending, event, json_page, moved, ready
from clinder import session_file
from clinder._deadline import Deadline
from clinder.cli.main import main
from clinder.errors import (
    AccountInUse,
    Cancelled,
    ClinderError,
    HubTokenRefused,
    LaunchFailed,
    LoginRequired,
    ServerUnusable,
    SessionGone,
    StopFailed,
    TokenNotIssued,
    TokenRefused,
    UsageError,
)
from clinder.events import Event, PhaseStarted, SessionStopped, WarningIssued
from clinder.launch.account import TOKEN_SECONDS
from clinder.launch.launch import launch
from clinder.launch.options import LaunchOptions
from clinder.launch.request import Request, resolve
from clinder.repository import Repository
from clinder.running.kernels import execute
from clinder.running.status import wait_for_status
from clinder.running.stop import Stopped, stop
from clinder.session import Account, Session
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import State
from clinder.wire.jupyterhub import HubServer, find_jupyterhub
from hubs import ScriptedHub

pytestmark = pytest.mark.usefixtures("_no_threads_left")

SPEC = "gh/org/repo/HEAD"


@pytest.fixture
def hub() -> Iterator[ScriptedHub]:
    with ScriptedHub() as hub:
        yield hub


class Launch:
    """One launch with the user's token, and its events."""

    def __init__(
        self,
        hub: ScriptedHub,
        *more: str,
        token: str = USER_TOKEN,
        hands_out: bool = True,
        cancel_at: Callable[[Event], bool] = lambda _: False,
    ):
        options = LaunchOptions(hub_token=token, hands_out=hands_out, warm_up=None, timeout=60)
        self.request = Request(Repository("gh", "org/repo", "HEAD"), (hub.url, *more), options)
        self.cancel = threading.Event()
        self.events: list[Event] = []
        self._cancel_at = cancel_at

    def run(self) -> Session:
        return launch(self.request, Deadline(60, cancel=self.cancel), self._observe)

    def fail(self) -> ClinderError:
        with pytest.raises(ClinderError) as raised:
            self.run()
        return raised.value

    def _observe(self, event: Event) -> None:
        self.events.append(event)
        if self._cancel_at(event):
            self.cancel.set()

    @property
    def stopped(self) -> int:
        return sum(isinstance(each, SessionStopped) for each in self.events)

    @property
    def warnings(self) -> list[str]:
        return [each.message for each in self.events if isinstance(each, WarningIssued)]


# What is handed out.


@pytest.mark.parametrize("name", ["", "org-repo-x1y2z3a4"])
def test_a_session_has_a_token_that_opens_only_its_server(hub: ScriptedHub, name: str) -> None:
    users = Users(hub)
    hub.then(users.launch(name=name))
    session = Launch(hub).run()
    assert session.token == OWN_TOKEN
    assert users.issued == {"a7": f"access:servers!server=ann/{name}"}
    assert users.expires_in == [TOKEN_SECONDS]
    assert session.account == Account("ann", LAUNCH_ID, "a7")
    assert stop(session, Deadline(30)) == Stopped(ran=True)
    assert not users.active
    assert not users.issued
    assert name not in users.servers or not name


def test_a_token_expires_within_the_hubs_limit(hub: ScriptedHub) -> None:
    users = Users(hub, longest=3600)
    hub.then(users.launch())
    assert Launch(hub).run().token == OWN_TOKEN
    assert users.expires_in == [TOKEN_SECONDS, 3600]


def test_without_a_token_of_its_own_a_session_opens_only_through_clinder(hub: ScriptedHub) -> None:
    users = Users(hub, scopes=SCOPES)
    hub.then(users.launch())
    session = Launch(hub, hands_out=False).run()
    assert session.token == ""
    assert session.uri == users.url()
    assert session.access_token == USER_TOKEN
    assert USER_TOKEN not in json.dumps(session.to_json()) + repr(session)
    assert stop(session, Deadline(30)).ran


def test_a_session_that_must_be_handed_out_needs_a_scope_for_tokens(hub: ScriptedHub) -> None:
    """clinder notices that before it requests a build."""
    Users(hub, scopes=SCOPES)
    error = Launch(hub).fail()
    assert isinstance(error, TokenNotIssued)
    assert "tokens!user" in error.hint
    assert not hub.builds


def test_a_session_is_stopped_if_it_must_be_handed_out_but_the_hub_issues_no_token(
    hub: ScriptedHub,
) -> None:
    users = Users(hub)
    refused = json_page(400, {"message": "Not assigning requested scopes"})
    users.fault = lambda request: refused if request.method == "POST" else None
    hub.then(users.launch())
    launched = Launch(hub)
    assert isinstance(launched.fail(), TokenNotIssued)
    assert launched.stopped == 1
    assert not users.active


# Whose server it is.


def test_the_server_of_another_launch_is_neither_handed_out_nor_stopped(hub: ScriptedHub) -> None:
    users = Users(hub)

    def build() -> Answer:
        users.start("", "gh/other/repo/HEAD", "an0ther-launch")
        return users.launch(others=True)()

    hub.then(build)
    launched = Launch(hub)
    assert isinstance(launched.fail(), AccountInUse)
    assert users.active == [""]
    assert launched.stopped == 0
    assert not hub.calls("DELETE", "server")


def test_a_server_that_does_not_run_is_a_failed_launch(hub: ScriptedHub) -> None:
    """A hub reports it to be ready if somebody has stopped it meanwhile."""
    users = Users(hub)
    hub.then(users.launch(others=True))
    assert isinstance(Launch(hub).fail(), LaunchFailed)


def test_a_server_is_not_stopped_if_the_hub_reports_nothing_about_it(hub: ScriptedHub) -> None:
    """The token permits no check, and the hub does not show its JupyterHub before."""
    users = Users(hub, scopes=tuple(each for each in SCOPES if "read" not in each))
    answer = hub.jupyterhub
    hub.jupyterhub = lambda request: None if request.path == "/" else answer(request)
    hub.then(users.launch())
    error = Launch(hub).fail()
    assert isinstance(error, HubTokenRefused)
    assert "read:servers!user" in error.message
    assert f"stop it on {hub.origin}/hub/home" in error.message
    assert users.active == [""]


@pytest.mark.parametrize("missing", SCOPES)
def test_a_missing_scope_is_named_before_a_build(hub: ScriptedHub, missing: str) -> None:
    Users(hub, scopes=(TOKENS, *(each for each in SCOPES if each != missing)))
    error = Launch(hub).fail()
    assert isinstance(error, HubTokenRefused)
    assert missing.replace("=ann", "") in error.message
    assert f"{hub.origin}/hub/token" in error.hint
    assert not hub.builds


# Who receives the token.


def test_the_user_s_token_goes_to_the_first_hub_and_its_servers_only(hub: ScriptedHub) -> None:
    users = Users(hub)
    with ScriptedHub() as other:
        hub.then(moved(f"{other.url}build/{SPEC}", 307))
        other.then(Answer(event(phase="failed", message="Forbidden")))
        error = Launch(hub, other.url).fail()
        assert isinstance(error, HubTokenRefused)
        assert other.requests
        assert not any("authorization" in each.headers for each in other.requests)
    assert not users.active


def test_a_fallback_hub_receives_no_token(hub: ScriptedHub) -> None:
    Users(hub)
    hub.then(Answer(event(phase="failed", message="Too many users on this BinderHub!")))
    with ScriptedHub() as other:
        other.then(Answer(event(phase="failed", message="Forbidden")))
        error = Launch(hub, other.url).fail()
        assert isinstance(error, LoginRequired)
        assert other.builds
        assert not any("authorization" in each.headers for each in other.requests)


def test_no_token_goes_to_another_machine_in_plain_http(hub: ScriptedHub) -> None:
    Users(hub)
    end = ready("http://hub.example.org/user/ann/", LAUNCH_ID)
    hub.then(Answer((LAUNCHING, end), ending=Ending.HELD))
    assert isinstance(Launch(hub).fail(), ServerUnusable)


@pytest.mark.parametrize(
    "location",
    [
        "http://hub.example.org/hub/api/oauth2/authorize?client_id=service-binder",
        "//hub.example.org/hub/api/oauth2/authorize?client_id=service-binder",
        "/hub/api/oauth2/authorize?client_id=a-service",
        "/hub/login?client_id=service-binder",
        "//[",
    ],
)
def test_no_other_redirect_of_a_page_names_a_jupyterhub(hub: ScriptedHub, location: str) -> None:
    users = Users(hub)
    hub.jupyterhub = lambda request: (
        moved(location) if request.path == "/" else users.answer(request)
    )
    assert find_jupyterhub(Transport(), hub.url, Deadline(5)) == ("", "")


def test_a_request_for_a_plain_http_hub_with_a_token_is_a_usage_error() -> None:
    options = LaunchOptions("org/repo", ("http://hub.example.org",), hub_token=USER_TOKEN)
    with pytest.raises(UsageError, match="could read the hub token"):
        resolve(options, Deadline(60), {})


@pytest.mark.parametrize("hands_out", [False, True])
def test_without_a_token_the_error_names_the_page_and_the_scopes(
    hub: ScriptedHub, *, hands_out: bool
) -> None:
    Users(hub)
    error = Launch(hub, token="", hands_out=hands_out).fail()
    assert ("tokens!user" in error.hint) == hands_out
    assert isinstance(error, LoginRequired)
    assert error.exit_code == 3
    assert f"{hub.origin}/hub/token" in error.hint
    assert "access:services!service=binder, access:servers!user, delete:servers!user" in error.hint


def test_a_hub_cannot_make_the_token_visible(hub: ScriptedHub) -> None:
    users = Users(hub)
    echo = event(phase="building", message=f"Authorization: token {USER_TOKEN}\n")
    hub.then(Answer((echo, event(phase="failed", message=f"no {USER_TOKEN}"))))
    launched = Launch(hub)
    error = launched.fail()
    assert USER_TOKEN not in error.message
    assert USER_TOKEN not in repr(launched.events)
    users.faults = [json_page(403, {"message": f"no {USER_TOKEN}"})]
    assert USER_TOKEN not in launched.fail().message


# A launch that ends before its server is ready.


def is_in(phase: str) -> Callable[[Event], bool]:
    return lambda event: event == PhaseStarted(phase)


@pytest.mark.parametrize("name", ["", "org-repo-x1y2z3a4"])
def test_cancelling_stops_the_server_that_the_hub_is_starting(hub: ScriptedHub, name: str) -> None:
    users = Users(hub)
    users.start("mine", "gh/org/repo/HEAD", "an0ther-launch")

    def build() -> Answer:
        users.start(name, SPEC, LAUNCH_ID, pending="spawn")
        return Answer(LAUNCHING, ending=Ending.HELD)

    hub.then(build)
    launched = Launch(hub, cancel_at=is_in("launching"))
    assert isinstance(launched.fail(), Cancelled)
    assert users.active == ["mine"]
    assert launched.warnings == []


def test_cancelling_waits_for_the_server_that_the_hub_is_about_to_start(hub: ScriptedHub) -> None:
    users = Users(hub)
    hub.then(Answer(LAUNCHING, ending=Ending.HELD))
    launched = Launch(hub, cancel_at=is_in("launching"))
    checks = []

    def fault(_: object) -> None:
        checks.append(1)
        if len(checks) == 3:  # the first one was before the build request
            users.start("", SPEC, LAUNCH_ID, pending="spawn")

    users.fault = fault
    launched.fail()
    assert not users.active
    assert launched.warnings == []


def test_cancelling_stops_no_server_if_two_launches_look_the_same(hub: ScriptedHub) -> None:
    users = Users(hub)

    def build() -> Answer:
        users.start("one", SPEC, "one", pending="spawn")
        users.start("two", SPEC, "two", pending="spawn")
        return Answer(LAUNCHING, ending=Ending.HELD)

    hub.then(build)
    launched = Launch(hub, cancel_at=is_in("launching"))
    launched.fail()
    assert users.active == ["one", "two"]
    assert f"{hub.origin}/hub/home" in " ".join(launched.warnings)


def test_the_failed_servers_of_a_launch_are_removed(hub: ScriptedHub) -> None:
    """A hub with named servers leaves one for each of its own tries."""
    users = Users(hub)
    users.start("mine", SPEC, "an0ther-launch")

    def build() -> Answer:
        for number in range(4):
            users.start(f"try-{number}", SPEC, f"{number}")
            users.servers[f"try-{number}"].stopped = True
        return Answer((LAUNCHING, event(phase="failed", message="Spawn failed: no")))

    hub.then(build)
    launched = Launch(hub)
    assert isinstance(launched.fail(), LaunchFailed)
    assert list(users.servers) == ["mine"]
    assert launched.warnings == []


def test_a_launch_waits_for_the_hub_s_own_tries_if_the_account_s_server_runs(
    hub: ScriptedHub,
) -> None:
    """If clinder left, the hub would still start a server as soon as the other one ends."""
    users = Users(hub)
    users.start("", "gh/other/repo/HEAD", "an0ther-launch")
    again = event(phase="launching", message="Launch attempt 1 failed, retrying...\n")

    def build() -> Answer:
        del users.servers[""]
        launched = users.launch()()
        assert isinstance(launched.body, tuple)
        return replace(launched, body=(LAUNCHING, again, launched.body[-1]))

    hub.then(build)
    assert Launch(hub).run().url == users.url("")


def test_servers_that_the_hub_failed_to_start_are_removed_once_one_has_started(
    hub: ScriptedHub,
) -> None:
    """JupyterHub counts stopped servers against the limit of named ones."""
    users = Users(hub)
    users.start("mine", SPEC, "an0ther-launch")
    users.servers["mine"].stopped = True

    def build() -> Answer:
        users.start("try-1", SPEC, "1")
        users.servers["try-1"].stopped = True
        return users.launch(name="try-2")()

    hub.then(build)
    assert Launch(hub).run().url == users.url("try-2")
    assert list(users.servers) == ["mine", "try-2"]


# Stopping.


@pytest.fixture
def session(hub: ScriptedHub) -> Session:
    return Session(
        f"{hub.origin}/user/ann/", "", account=Account("ann", LAUNCH_ID, token=USER_TOKEN)
    )


def test_a_stop_without_the_user_s_token_is_a_usage_error(session: Session) -> None:
    with pytest.raises(UsageError, match="hub token is missing"):
        stop(Session.from_json(json.dumps(session.to_json())), Deadline(30))


def test_the_user_s_next_server_at_the_same_address_is_left_alone(
    hub: ScriptedHub, session: Session
) -> None:
    users = Users(hub)
    users.start("", "gh/other/repo/HEAD", "an0ther-launch")
    assert stop(session, Deadline(30)) == Stopped(ran=False)
    assert wait_for_status(session, Deadline(30)).state is State.GONE
    with pytest.raises(SessionGone, match="its JupyterHub has stopped it"):
        execute(session, "1", Deadline(30), write=print)
    assert users.active == [""]
    assert not hub.calls("POST", "api/sessions")


def test_another_user_s_token_does_not_prove_that_a_session_is_gone(
    hub: ScriptedHub, session: Session
) -> None:
    Users(hub)
    account = Account("bob", LAUNCH_ID, token=USER_TOKEN)
    bobs = replace(session, url=f"{hub.origin}/user/bob/", account=account)
    with pytest.raises(TokenRefused, match=r"belongs to the user ann, .* under the account bob\."):
        stop(bobs, Deadline(30))


def test_a_server_that_takes_long_to_stop_is_being_stopped(
    hub: ScriptedHub, session: Session
) -> None:
    users = Users(hub, stops_at_once=False)
    users.start("", SPEC, LAUNCH_ID)
    stopped = stop(session, Deadline(1))
    assert str(stopped) == "is being stopped by its hub."


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        (json_page(503, {"message": "down"}), StopFailed, "responded with 503: down"),
        (moved("https://sso.example.org/login"), StopFailed, "responded with 302"),
        (json_page(403, {"message": "Forbidden"}), TokenRefused, "refused the hub token"),
    ],
)
def test_a_hub_that_does_not_help_to_stop_a_session(
    hub: ScriptedHub, session: Session, answer: Answer, error: type[StopFailed], reason: str
) -> None:
    users = Users(hub)
    users.start("", SPEC, LAUNCH_ID)
    users.fault = lambda _: answer
    with pytest.raises(error, match=reason):
        stop(session, Deadline(1))


def test_a_failed_named_server_is_removed_by_a_stop(hub: ScriptedHub) -> None:
    users = Users(hub)
    users.start("a", SPEC, LAUNCH_ID)
    users.servers["a"].stopped = True
    account = Account("ann", LAUNCH_ID, token=USER_TOKEN)
    assert stop(Session(users.url("a"), "", account=account), Deadline(30)) == Stopped(ran=False)
    assert not users.servers


# Files.


def test_a_session_file_holds_the_account_but_not_its_token(
    session: Session, tmp_path: Path
) -> None:
    path = tmp_path / "session.json"
    session_file.create(path, session)
    assert USER_TOKEN not in path.read_text()
    read = session_file.read(path)
    assert read == session
    assert session_file.holds(path, session)
    with pytest.raises(UsageError, match="hub token is missing"):
        _ = read.access_token
    assert read.for_user(USER_TOKEN).access_token == USER_TOKEN
    assert not session_file.holds(path, replace(session, account=Account("ann", "another")))


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://h/user/ann/", HubServer("https://h/hub/", "ann")),
        ("https://h/user/ann/s/", HubServer("https://h/hub/", "ann", "s")),
        ("https://h/p/q/user/ann/", HubServer("https://h/p/q/hub/", "ann")),
        ("https://h/user/user/user/", HubServer("https://h/hub/", "user", "user")),
        ("https://h/user/google-oauth2%7C1/", HubServer("https://h/hub/", "google-oauth2%7C1")),
        ("https://h/clinder-hub/x/", None),
        ("https://h/user/ann/s/more/", None),
    ],
)
def test_the_url_of_a_server_names_its_hub_and_its_user(url: str, server: HubServer | None) -> None:
    assert HubServer.of(url) == server


def test_a_scope_names_the_user_as_it_is() -> None:
    server = HubServer.of("https://h/user/google-oauth2%7C1/")
    assert server is not None
    assert server.scope == "access:servers!server=google-oauth2|1/"
    assert server.path == "users/google-oauth2%7C1/server"


# The command line.


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "hub-token"
    path.touch(mode=0o600)
    path.write_text(f"{USER_TOKEN}\n")
    return f"@{path}"


Capture = pytest.CaptureFixture[str]
SHOW_ENVIRON = "import os; print({k: v for k, v in os.environ.items() if 'TOKEN' in k})"


@pytest.fixture(params=["variable", "file"])
def command(
    request: pytest.FixtureRequest, token_file: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run a command with the token, which is removed from the environment each time."""

    def run(*arguments: str) -> int:
        from_file = request.param == "file"
        monkeypatch.setenv("CLINDER_HUB_TOKEN", "another" if from_file else USER_TOKEN)
        code = main([*arguments, *(["--hub-token", token_file] if from_file else [])])
        assert "CLINDER_HUB_TOKEN" not in os.environ
        return code

    return run


def test_each_command_takes_the_user_s_token(
    command: Callable[..., int], hub: ScriptedHub, tmp_path: Path, capfd: Capture
) -> None:
    users = Users(hub)
    hub.then(users.launch(name="a"))
    file = ["--session-file", str(tmp_path / "session.json")]
    assert command("start", "org/repo", "--hub", hub.url, "--no-warm-up", *file) == 0
    assert command("status", *file) == 0
    assert command("exec", "-c", "1", *file) == 0
    assert command("stop", *file) == 0
    assert not users.servers
    output = "".join(capfd.readouterr())
    assert OWN_TOKEN in output
    assert USER_TOKEN not in output


def test_a_stop_says_that_the_token_is_missing(
    hub: ScriptedHub, token_file: str, tmp_path: Path, capfd: Capture
) -> None:
    users = Users(hub)
    hub.then(users.launch())
    file = ["--session-file", str(tmp_path / "session.json")]
    start = ["start", "org/repo", "--hub", hub.url, "--no-warm-up", *file]
    assert main([*start, "--hub-token", token_file]) == 0
    assert main(["stop", *file]) == 2
    assert "--hub-token @FILE" in capfd.readouterr().err
    assert users.active == [""]


@pytest.mark.posix
def test_a_token_file_that_others_can_read_is_refused(token_file: str, capfd: Capture) -> None:
    Path(token_file[1:]).chmod(0o644)
    assert main(["stop", "--hub-token", token_file]) == 2
    assert "Other users can read or change the token file" in capfd.readouterr().err


@pytest.mark.parametrize("scopes", [SCOPES, (*SCOPES, TOKENS)])
def test_a_command_of_run_receives_the_gateway_s_token_only(
    scopes: tuple[str, ...], hub: ScriptedHub, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    monkeypatch.setenv("CLINDER_HUB_TOKEN", USER_TOKEN)
    users = Users(hub, scopes=scopes)
    hub.then(users.launch())
    run = ["run", "org/repo", "--hub", hub.url, "--no-warm-up", "--no-kernels"]
    assert main([*run, "--", sys.executable, "-c", SHOW_ENVIRON]) == 0
    output = "".join(capfd.readouterr())
    assert "JUPYTER_TOKEN" in output
    assert not {each for each in (USER_TOKEN, OWN_TOKEN, LAUNCH_ID) if each in output}
    assert not users.active


def test_run_without_the_gateway_hands_out_the_session_s_own_token(
    hub: ScriptedHub, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    monkeypatch.setenv("CLINDER_HUB_TOKEN", USER_TOKEN)
    users = Users(hub, scopes=SCOPES)
    run = ["run", "org/repo", "--hub", hub.url, "--no-warm-up", "--no-gateway", "--"]
    command = [*run, sys.executable, "-c", SHOW_ENVIRON]
    assert main(command) == 3
    assert "tokens!user" in capfd.readouterr().err
    users.scopes = (*SCOPES, TOKENS)
    hub.then(users.launch())
    monkeypatch.setenv("CLINDER_HUB_TOKEN", USER_TOKEN)
    assert main(command) == 0
    output = "".join(capfd.readouterr())
    assert f"'JUPYTER_TOKEN': '{OWN_TOKEN}'" in output
    assert USER_TOKEN not in output


# From Python.


def test_python_starts_and_stops_a_session_under_an_account(hub: ScriptedHub) -> None:
    users = Users(hub)
    hub.then(users.launch())
    url, token = hub.url, USER_TOKEN
    with clinder.open_session("org/repo", hub=url, hub_token=token, warm_up=None) as session:
        assert session.variables["JUPYTER_TOKEN"] == OWN_TOKEN
    assert not users.active
    hub.then(users.launch())
    started = clinder.start("org/repo", hub=url, hub_token=token, warm_up=None)
    assert clinder.stop(Session.from_json(json.dumps(started.to_json())), hub_token=token)
    assert not users.active
