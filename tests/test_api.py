"""The Python API prints nothing, leaves nothing running and installs no signal handler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import clinder
from clinder.errors import Cancelled, TimedOut, TokenRefused, UsageError
from clinder.events import Event, LogLines, SessionLaunched, WarningIssued
from e2e.world import until
from histories import write_hanging_git


def servers(directory: Path) -> list[psutil.Process]:
    """Return the running servers of a directory, which is their working directory."""
    running = []
    for process in psutil.process_iter():
        try:
            if (
                "clinder.embedded.jupyter_process" in process.cmdline()
                and process.status() != psutil.STATUS_ZOMBIE
                and Path(process.cwd()) == directory.resolve()
            ):
                running.append(process)
        except (psutil.Error, OSError):
            continue
    return running


@pytest.fixture(autouse=True)
def _nothing_left(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], _no_threads_left: None
) -> Iterator[None]:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert capfd.readouterr() == ("", "")
    until(lambda: not servers(tmp_path), 10)


def test_a_with_block_stops_the_session_even_if_it_raises(tmp_path: Path) -> None:
    with (  # noqa: PT012 - the block raises what is tested
        pytest.raises(KeyError, match="mine"),
        clinder.open_session(hub="local", directory=tmp_path, environ={}) as session,
    ):
        assert isinstance(session, clinder.Session)
        assert session.token not in repr(session)
        assert len(servers(tmp_path)) == 1
        raise KeyError("mine")
    assert clinder.stop(session) is False


def test_importing_a_module_first_hides_no_public_name() -> None:
    code = (
        "import clinder, clinder.session; from clinder.session import Session;"
        "print(type(clinder).__name__, type(clinder.session).__name__, clinder.Session is Session,"
        " clinder.errors.HubFull, hasattr(clinder, 'nope'), *dir(clinder))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = "ClinderError Session __version__ open_session start stop"
    assert ran.stdout == f"module module True <class 'clinder.errors.HubFull'> False {names}\n"


def test_start_returns_a_session_that_stop_ends(tmp_path: Path) -> None:
    events: list[Event] = []
    session = clinder.start("o/r", hub=["local"], directory=tmp_path, observer=events.append)
    assert session.spec == "gh/o/r/HEAD"
    assert any(isinstance(event, LogLines) for event in events)
    assert any(isinstance(event, SessionLaunched) for event in events)
    with pytest.raises(TokenRefused):
        clinder.stop(clinder.Session(session.url, "wrong"))
    assert len(servers(tmp_path)) == 1
    assert clinder.stop(session) is True
    assert clinder.stop(session) is False


def test_a_cancelled_launch_leaves_nothing_running(tmp_path: Path) -> None:
    cancel = threading.Event()

    def observe(event: Event) -> None:
        if isinstance(event, SessionLaunched):
            cancel.set()

    with pytest.raises(Cancelled) as cancelled:
        clinder.start(hub="local", directory=tmp_path, observer=observe, cancel=cancel)
    assert cancelled.value.context.link == "", "a hub on this machine has no link"


@pytest.mark.posix
def test_the_timeout_covers_working_out_what_to_launch(tmp_path: Path) -> None:
    git = write_hanging_git(tmp_path)
    with pytest.raises(TimedOut, match="still working out what to launch"):
        clinder.start(directory=tmp_path, timeout=0.5, environ={"PATH": str(git.parent)})
    until(git.with_name("pid").exists)
    os.kill(int(git.with_name("pid").read_text()), signal.SIGKILL)


def test_invalid_arguments_raise_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        clinder.start("not a repository")
    assert isinstance(raised.value, clinder.ClinderError)
    assert raised.value.exit_code == 2
    with pytest.raises(UsageError):
        clinder.start(directory=str(tmp_path), environ={})
    with pytest.raises(UsageError, match="more than 0 seconds"):
        clinder.start("o/r", hub="local", timeout=0)


def test_the_context_manager_has_a_docstring() -> None:
    assert "for a ``with`` block" in str(clinder.open_session.__doc__)
    assert clinder.open_session.__name__ == "open_session"


def test_a_warning_about_the_request_is_an_event(tmp_path: Path) -> None:
    events: list[Event] = []
    with clinder.open_session(
        hub="local", directory=tmp_path, reuse_environment=True, observer=events.append
    ):
        first, *_ = events
    assert isinstance(first, WarningIssued)
    assert "No image is reused" in first.message
