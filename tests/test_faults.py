"""Every row of the fault table ends as it says, in bounded time, and leaves nothing running."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme
from _pytest.mark import ParameterSet

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
from clinder.session import Session
from clinder.wire.jupyter_server import State
from clock import Clock
from faults import STOPPING, TABLE, TOKEN, Fault, Launch, Silence, Stage, StopFault, Told
from hubs import Build, Jupyter, ScriptedHub
from proxies import Encrypted
from reliability import PAGE, written

AUTHORITY = trustme.CA()
ROWS = [row for rows in TABLE.values() for row in rows]

pytestmark = pytest.mark.usefixtures("_no_threads_left")


class Watcher:
    """An observer that keeps what it sees, and cancels where a row says so."""

    def __init__(self, row: Fault):
        self.cancel = threading.Event()
        self.events: list[Event] = []
        self._row = row

    def __call__(self, seen: Event) -> None:
        self.events.append(seen)
        if self._row.cancel and self._row.cancel(seen):
            self.cancel.set()

    def count(self, kind: type[Event]) -> int:
        return sum(isinstance(each, kind) for each in self.events)


@contextmanager
def staged(row: Fault) -> Iterator[Stage]:
    """The hubs of a row, each with its answers."""
    with ExitStack() as stack:
        stage = Stage(Clock())
        for told in row.hubs:
            hub = stack.enter_context(ScriptedHub())
            stage.hubs.append(hub)
            hub.then(*(_answer(each, number, stage, hub) for number, each in enumerate(told)))
        yield stage


def _answer(told: Told, number: int, stage: Stage, hub: ScriptedHub) -> Build:
    if isinstance(told, Launch):
        url = hub.serve(f"u{number}", told.server)
        persistent = f"v2/gh/org/repo/{told.commit}"
        end = ready(told.url or url, told.token, binder_persistent_request=persistent)
        parts = (told.before, Silence(stage.clock, 1.0, told.quiet), end)
        return Answer(parts if told.quiet else told.before + end, ending=Ending.HELD)
    if isinstance(told, Answer | Raw):
        return told
    return lambda: told(stage)


def marked(row: Fault) -> ParameterSet:
    """Return a row as a parameter; where 0.0.0.0 leads to this machine is for POSIX."""
    marks = (pytest.mark.posix,) if "0.0.0.0" in row.address else ()
    return pytest.param(row, id=re.sub(r"\W+", "-", row.happens), marks=marks)


@pytest.mark.parametrize("row", [marked(row) for row in ROWS])
def test_a_fault_ends_as_the_table_says(
    row: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher(row)
    with staged(row) as stage, ExitStack() as fronts:
        hubs = (row.address,) if row.address else tuple(hub.url for hub in stage.hubs[: row.named])
        if row.certificate:
            AUTHORITY.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
            certificate = AUTHORITY.issue_cert(row.certificate)
            front = fronts.enter_context(Encrypted(stage.hubs[0].origin, certificate))
            hubs = (f"{front.origin}/",)
        repository = Repository("gh", "org/repo", row.ref)
        request = Request(repository, hubs, LaunchOptions(timeout=row.timeout, warm_up=row.kernel))
        code, words = _played(request, watcher, stage)
        assert (code, [len(hub.builds) for hub in stage.hubs]) == (row.code, list(row.requests))
        assert row.hint in words
        assert stage.clock.passed < row.within
        for hub in stage.hubs:
            for each in hub.requests:
                assert each.left.wait(20), f"{each.path} is still open"
    assert watcher.count(SessionStopped) == row.stopped
    assert watcher.count(SessionNotStopped) == row.left
    warnings = [each.message for each in watcher.events if isinstance(each, WarningIssued)]
    assert row.warns in " ".join(warnings)
    assert bool(row.warns) == bool(warnings)


def _played(request: Request, watcher: Watcher, stage: Stage) -> tuple[int, str]:
    """Return the exit code and what a person is told; a session that comes of it is stopped."""
    clock, cancel = stage.clock, watcher.cancel
    seconds = request.options.timeout
    deadline = Deadline(seconds, cancel=cancel, now=clock.now, pause=clock.pause)
    try:
        session = launch(request, deadline, watcher)
    except ClinderError as error:
        return error.exit_code, "\n".join(format_error(error))
    assert stop(session, Deadline(30)) is True
    return 0, ""


@pytest.mark.parametrize("row", STOPPING, ids=lambda row: re.sub(r"\W+", "-", row.happens))
@pytest.mark.parametrize("command", ["stop", "status"])
def test_a_session_is_stopped_or_not_as_the_table_says(row: StopFault, command: str) -> None:
    with ScriptedHub() as hub:
        stage = Stage(Clock(), [hub])
        session = Session(hub.serve("x", Jupyter(TOKEN)), TOKEN)
        if isinstance(row.answers, Jupyter):
            hub.serve("x", row.answers)
        elif row.answers is not None:
            hub.pages["/user/x/api/status"] = _page(row.answers, stage)
        if row.answers is None:
            hub.__exit__(None, None, None)
        clock = stage.clock
        deadline = Deadline(30, now=clock.now, pause=clock.pause)
        code = _stopped(session, deadline) if command == "stop" else _status(session, deadline)
        asked = len(hub.calls("POST", "api/shutdown"))
    assert code == (row.stop if command == "stop" else row.status)
    assert asked == (row.asked if command == "stop" else 0)
    assert clock.passed < row.within


def _page(told: object, stage: Stage) -> Answer | Raw:
    answer = told(stage) if callable(told) else told
    assert isinstance(answer, Answer | Raw)
    return answer


def _stopped(session: Session, deadline: Deadline) -> int:
    try:
        stop(session, deadline)
    except ClinderError as error:
        return error.exit_code
    return 0


def _status(session: Session, deadline: Deadline) -> int:
    try:
        status = wait_for_status(session, deadline)
    except ClinderError as error:
        return error.exit_code
    return 0 if status.state is State.RUNNING else SessionGone.exit_code


def test_the_page_shows_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == written(), "type: make docs-tables"
