"""Every row of the fault table ends as expected, in time, and leaves nothing running."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme
from _pytest.mark import ParameterSet

from accounts import LAUNCH_ID, USER_TOKEN, Users
from answers import Answer, Ending, Raw, ready
from clinder._deadline import Deadline
from clinder.errors import ClinderError, SessionGone, format_error
from clinder.events import Event, SessionNotStopped, SessionStopped, WarningIssued
from clinder.launch.launch import launch
from clinder.launch.options import LaunchOptions
from clinder.launch.request import Request
from clinder.repository import Repository
from clinder.running.status import wait_for_status
from clinder.running.stop import stop
from clinder.session import Account, Session
from clinder.wire.jupyter_server import State
from clock import Clock
from faults import STOPPING, TABLE, TOKEN, Fault, Launched, Response, Stage, StopFault, pause
from hubs import Build, Jupyter, ScriptedHub
from proxies import Encrypted
from reliability import PAGE, render_page

AUTHORITY = trustme.CA()
ROWS = [row for rows in TABLE.values() for row in rows]

pytestmark = pytest.mark.usefixtures("_no_threads_left")


class Observer:
    """Keeps the events, and cancels at the row's condition."""

    def __init__(self, row: Fault):
        self.cancel = threading.Event()
        self.events: list[Event] = []
        self._row = row

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if self._row.cancel_at and self._row.cancel_at(event):
            self.cancel.set()

    def count(self, kind: type[Event]) -> int:
        return sum(isinstance(each, kind) for each in self.events)


@contextmanager
def run_hubs(row: Fault) -> Iterator[Stage]:
    """Run the hubs of a row."""
    with ExitStack() as stack:
        stage = Stage(Clock())
        for responses in row.hubs:
            hub = stack.enter_context(ScriptedHub())
            if row.users and not stage.hubs:
                stage.users.append(row.users(hub))
            stage.hubs.append(hub)
            hub.then(*(_build(each, number, stage, hub) for number, each in enumerate(responses)))
        yield stage


def _build(response: Response, number: int, stage: Stage, hub: ScriptedHub) -> Build:
    if isinstance(response, Launched):
        url = response.url or hub.serve(f"u{number}", response.server)
        persistent = f"v2/gh/org/repo/{response.commit}"
        end = ready(url, response.token, binder_persistent_request=persistent)
        silence = pause(stage.clock, response.silence) if response.silence else ()
        parts = (response.before, *silence, end)
        return Answer(parts, ending=Ending.HELD)
    if isinstance(response, Answer | Raw):
        return response
    return lambda: response(stage)


def name(row: Fault | StopFault) -> str:
    return re.sub(r"\W+", "-", row.fault)


def parameter(row: Fault) -> ParameterSet:
    """Return a row as a parameter. Only on POSIX is 0.0.0.0 this machine."""
    marks = (pytest.mark.posix,) if "0.0.0.0" in row.address else ()
    return pytest.param(row, id=name(row), marks=marks)


@pytest.mark.parametrize("row", [parameter(row) for row in ROWS])
def test_a_fault_has_the_expected_outcome(
    row: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer = Observer(row)
    with run_hubs(row) as stage, ExitStack() as stack:
        urls = (row.address,) if row.address else tuple(hub.url for hub in stage.hubs)
        if row.federation:
            urls = urls[:1]
        if row.certificate:
            AUTHORITY.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
            certificate = AUTHORITY.issue_cert(row.certificate)
            proxy = stack.enter_context(Encrypted(stage.hubs[0].origin, certificate))
            urls = (f"{proxy.origin}/",)
        repository = Repository(row.provider, "org/repo", row.ref)
        options = LaunchOptions(
            timeout=row.timeout,
            warm_up=row.kernel,
            hub_token=row.hub_token if row.users else "",
            hands_out=row.hands_out,
        )
        launched = Request(repository, urls, options, fallback=row.fallback)
        exit_code, report = _launch_and_stop(launched, observer, stage)
        assert (exit_code, [len(hub.builds) for hub in stage.hubs]) == (row.exit_code, row.requests)
        assert row.hint in report
        assert stage.clock.passed < row.within
        for hub in stage.hubs:
            for request in hub.requests:
                assert request.left.wait(60), f"{request.path} is still open"
    assert observer.count(SessionStopped) == row.stopped
    assert observer.count(SessionNotStopped) == row.not_stopped
    warnings = [each.message for each in observer.events if isinstance(each, WarningIssued)]
    assert row.warning in " ".join(warnings)
    assert bool(row.warning) == bool(warnings)
    assert [name for users in stage.users for name in users.active] == [*row.leaves]


def _launch_and_stop(request: Request, observer: Observer, stage: Stage) -> tuple[int, str]:
    """Return the exit code and the formatted error."""
    clock, cancel = stage.clock, observer.cancel
    seconds = request.options.timeout
    deadline = Deadline(seconds, cancel=cancel, now=clock.now, pause=clock.pause)
    try:
        session = launch(request, deadline, observer)
    except ClinderError as error:
        return error.exit_code, "\n".join(format_error(error))
    assert stop(session, Deadline(30)).ran
    return 0, ""


@pytest.mark.parametrize("row", STOPPING, ids=name)
@pytest.mark.parametrize("command", ["stop", "status"])
def test_stop_and_status_have_the_expected_outcome(row: StopFault, command: str) -> None:
    with ScriptedHub() as hub:
        stage = Stage(Clock(), [hub])
        session = Session(hub.serve("x", Jupyter(TOKEN)), TOKEN)
        if row.users:
            session = _session_of(row.users(hub))
        elif isinstance(row.response, Jupyter):
            hub.serve("x", row.response)
        elif row.response is None:
            session = Session(f"{hub.origin}{row.prefix}user/x/", TOKEN)
            hub.__exit__(None, None, None)
        else:
            hub.pages["/user/x/api/status"] = _page(row.response, stage)
        clock = stage.clock
        deadline = Deadline(30, now=clock.now, pause=clock.pause)
        exit_code = _exit_code(command, session, deadline)
        shutdowns = len(hub.calls("POST", "api/shutdown"))
    assert exit_code == (row.stop_exit if command == "stop" else row.status_exit)
    assert shutdowns == (row.shutdowns if command == "stop" else 0)
    assert clock.passed < row.within


def _session_of(users: Users) -> Session:
    users.start("", "gh/org/repo/HEAD", "an0ther-launch" if users.others else LAUNCH_ID)
    return Session(users.url(), "", account=Account("ann", LAUNCH_ID, token=USER_TOKEN))


def _page(response: object, stage: Stage) -> Answer | Raw:
    answer = response(stage) if callable(response) else response
    assert isinstance(answer, Answer | Raw)
    return answer


def _exit_code(command: str, session: Session, deadline: Deadline) -> int:
    try:
        if command == "stop":
            stop(session, deadline)
            return 0
        status = wait_for_status(session, deadline)
    except ClinderError as error:
        return error.exit_code
    return 0 if status.state is State.RUNNING else SessionGone.exit_code


def test_the_page_shows_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_page(), "run: make docs-tables"
