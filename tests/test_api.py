"""The Python API prints nothing, leaves nothing running and installs no signal handler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import clinder
from clinder.errors import Cancelled, TimedOut, TokenRefused, UsageError
from clinder.events import Event, LogLines, SessionLaunched, WarningIssued
from clinder.timeouts import Timeouts
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
    until(lambda: not servers(tmp_path))


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


URL = "https://hub.example.org/user/x/"
SESSION = clinder.Session(URL, "s3cret")
WRONG: list[tuple[Callable[..., object], dict[str, object], str]] = [
    (clinder.start, {"repository": None}, "repository must be a string, not None."),
    (clinder.start, {"repository": b"org/repo"}, "repository must be a string, not bytes."),
    (clinder.start, {"hub": 5}, "hub must be a string or a list, not int."),
    (clinder.start, {"hub": ["local", None]}, "Each hub must be a string, not None."),
    (clinder.start, {"ref": 1.0}, "ref must be a string, not float."),
    (clinder.start, {"timeout": "1200"}, "timeout must be a number, not str."),
    (clinder.start, {"timeout": None}, "timeout must be a number, not None."),
    (clinder.start, {"build_token": 5}, "build_token must be a string, not int."),
    (clinder.start, {"warm_up": False}, "warm_up must be a string or None, not bool."),
    (clinder.start, {"timeouts": 60}, "timeouts must be Timeouts or None, not int."),
    (clinder.start, {"attempts": "2"}, "attempts must be a whole number, not str."),
    (clinder.start, {"attempts": 2.0}, "attempts must be a whole number, not float."),
    (clinder.start, {"attempts": True}, "attempts must be a whole number, not bool."),
    (clinder.start, {"reuse_environment": "yes"}, "reuse_environment must be True, False"),
    (clinder.start, {"reuse_environment_since": 5}, "reuse_environment_since must be a string"),
    (clinder.start, {"directory": None}, "directory must be a string or a path, not None."),
    (clinder.start, {"environ": []}, "environ must be a dictionary or None, not list."),
    (clinder.start, {"cancel": True}, "cancel must be a threading.Event, not bool."),
    (clinder.stop, {"session": SESSION.uri}, "session must be Session, not str."),
    (clinder.stop, {"session": SESSION, "timeout": "5"}, "timeout must be a number or None, not"),
    (clinder.Session, {"url": None, "token": "t"}, "A session's url must be a string, not None."),
    (clinder.Session, {"url": URL, "token": b"s3cret"}, "A session's token must be a string, not"),
    (clinder.Session.parse, {"text": None}, "A session's text must be a string, not None."),
    (clinder.Session.from_uri, {"uri": 5}, "A session's URI must be a string, not int."),
    (clinder.Session.from_json, {"text": {}}, "A session's JSON must be a string, not dict."),
    (Timeouts, {"connect": "10"}, "The connect timeout must be a number or None, not str."),
    (Timeouts, {"stop": True}, "The stop timeout must be a number or None, not bool."),
]


@pytest.mark.parametrize(("function", "arguments", "message"), WRONG)
def test_a_value_of_the_wrong_type_is_a_usage_error(
    function: Callable[..., object], arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError) as raised:
        function(**arguments)
    assert str(raised.value).startswith(message)
    assert "s3cret" not in f"{raised.value!r}"
