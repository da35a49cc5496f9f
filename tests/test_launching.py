"""The launch as a command makes it: its session file, and its words on a terminal."""

from __future__ import annotations

import io
import json
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from answers import Answer, event, page, ready
from clinder import session_file
from clinder.cli.launching import Options, launch_session
from clinder.cli.main import main
from clinder.errors import Cancelled, ClinderError, CommitMismatch, TimedOut, UsageError
from clinder.events import Event, PhaseEnded, SessionLaunched
from clinder.launch.options import LaunchOptions
from clinder.session import Session
from e2e.world import CLINDER, World
from hubs import Jupyter, ScriptedHub

TOKEN = "s3cret-token"
COMMIT = "1f" * 20
LOG = event(phase="building", message="a log line\n")
FULL = Answer(event(phase="failed", message="Too many users on this BinderHub! Try again soon.\n"))

pytestmark = pytest.mark.usefixtures("_no_threads_left")


class Seen:
    """A screen that keeps what it was to show, and may do something at an event."""

    def __init__(self, then: Callable[[Event], None] = lambda _: None):
        self.events: list[Event] = []
        self._then = then

    def begin(self, words: str) -> None: ...

    def say(self, words: str) -> None: ...

    def close(self) -> None: ...

    def observe(self, event: Event) -> None:
        self.events.append(event)
        self._then(event)


@pytest.fixture
def hub() -> Iterator[ScriptedHub]:
    with ScriptedHub() as scripted:
        yield scripted


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "session.json"


def launchable(hub: ScriptedHub, told: Jupyter | None = None, commit: str = COMMIT) -> str:
    """Have the hub's next launch come up; return the server's URL."""
    url = hub.serve("new", told or Jupyter(TOKEN))
    persistent = f"v2/gh/org/repo/{commit}"
    hub.then(Answer(LOG + ready(url, TOKEN, binder_persistent_request=persistent)))
    return url


def launch(
    hub: ScriptedHub,
    file: Path,
    seen: Seen | None = None,
    *,
    cancel: threading.Event | None = None,
    repository: str = "org/repo",
    timeout: float = 60,
) -> Session:
    options = Options(
        LaunchOptions(repository=repository, hubs=(hub.url,), timeout=timeout),
        session_file=file,
        quiet=False,
        verbose=False,
    )
    return launch_session(options, seen or Seen(), cancel or threading.Event())


def left_over(hub: ScriptedHub, file: Path, name: str = "old") -> bytes:
    """Have the file of a session from before; return what it holds."""
    session_file.write(file, Session(f"{hub.url}user/{name}/", "old-token"))
    return file.read_bytes()


# The file of this launch's session.


def test_the_file_holds_the_session_once_it_is_known_and_all_of_it_in_the_end(
    hub: ScriptedHub, file: Path
) -> None:
    known: list[Session] = []

    def then(seen: Event) -> None:
        if isinstance(seen, SessionLaunched):
            known.append(session_file.read(file))

    url = launchable(hub)
    session = launch(hub, file, Seen(then))

    assert [each.uri for each in known] == [f"{url}?token={TOKEN}"]
    assert json.loads(file.read_text(encoding="utf-8")) == json.loads(json.dumps(session.to_json()))
    assert [each.outcome for each in session.attempts] == ["ready"]
    assert {"building", "readiness"} <= set(session.phases)


def test_a_file_that_is_removed_meanwhile_is_not_made_again(hub: ScriptedHub, file: Path) -> None:
    """As by ``clinder stop --session-file`` in another terminal."""

    def then(seen: Event) -> None:
        if isinstance(seen, PhaseEnded) and seen.phase == "readiness":
            file.unlink()

    url = launchable(hub)
    assert launch(hub, file, Seen(then)).url == url
    assert not file.exists()


def test_a_launch_that_knows_no_session_writes_no_file(hub: ScriptedHub, file: Path) -> None:
    hub.then(FULL)
    with pytest.raises(ClinderError) as error:
        launch(hub, file)
    assert error.value.exit_code == 5
    assert not [*file.parent.iterdir()]


class Written(Seen):
    """A screen that looks whether there is a session file when the session is known."""

    def __init__(self, file: Path):
        self.found: list[bool] = []

        def then(seen: Event) -> None:
            if isinstance(seen, SessionLaunched):
                self.found.append(file.exists())

        super().__init__(then)


def test_the_file_of_a_server_that_never_gets_usable_goes_with_it(
    hub: ScriptedHub, file: Path
) -> None:
    seen = Written(file)
    launchable(hub, Jupyter(TOKEN, before=(503,) * 8))  # more often than is asked in 2 s
    with pytest.raises(TimedOut):
        launch(hub, file, seen, timeout=2)
    assert seen.found == [True]
    assert len(hub.calls("POST", "api/shutdown")) == 1
    assert not file.exists()


def test_the_file_of_another_commit_than_the_one_asked_for_goes_with_it(
    hub: ScriptedHub, file: Path
) -> None:
    seen = Written(file)
    launchable(hub, commit="2e" * 20)
    with pytest.raises(CommitMismatch):
        launch(hub, file, seen, repository=f"org/repo@{COMMIT}")
    assert seen.found == [True]
    assert len(hub.calls("POST", "api/shutdown")) == 1
    assert not file.exists()


def test_the_file_of_a_session_that_cannot_be_stopped_is_kept(hub: ScriptedHub, file: Path) -> None:
    """Somebody must be able to stop it later."""
    seen = Written(file)
    url = launchable(hub, Jupyter("another-token"), commit="2e" * 20)
    with pytest.raises(CommitMismatch):
        launch(hub, file, seen, repository=f"org/repo@{COMMIT}")
    assert session_file.read(file).uri == f"{url}?token={TOKEN}"


# The file of a session from before.


def test_the_file_of_a_session_that_is_gone_is_written_over(hub: ScriptedHub, file: Path) -> None:
    left_over(hub, file)
    url = launchable(hub)
    launch(hub, file)
    assert session_file.read(file).url == url


@pytest.mark.parametrize("status", [401, 403])
def test_the_file_of_a_session_whose_token_is_refused_is_written_over(
    status: int, hub: ScriptedHub, file: Path
) -> None:
    """What runs there now is another session."""
    left_over(hub, file)
    hub.pages["/user/old/api/status"] = page(status)
    url = launchable(hub)
    launch(hub, file)
    assert session_file.read(file).url == url


def test_the_file_of_a_session_that_runs_is_refused(hub: ScriptedHub, file: Path) -> None:
    before = left_over(hub, file)
    hub.serve("old", Jupyter("old-token"))
    with pytest.raises(UsageError, match="is still running") as error:
        launch(hub, file)
    assert f"clinder stop --session-file {file}" in error.value.hint
    assert file.read_bytes() == before
    assert not hub.builds


def test_the_file_of_a_session_that_may_run_is_refused(hub: ScriptedHub, tmp_path: Path) -> None:
    """Each is asked for 10 s until it is given up, so all are at once."""
    files = {status: tmp_path / f"{status}.json" for status in (404, 500, 503)}
    before = {}
    for status, file in files.items():
        before[status] = left_over(hub, file, str(status))
        hub.pages[f"/user/{status}/api/status"] = page(status)

    with ThreadPoolExecutor() as threads:
        launches = {status: threads.submit(launch, hub, file) for status, file in files.items()}

    for status, file in files.items():
        error = launches[status].exception()
        assert isinstance(error, UsageError), status
        assert error.exit_code == 2
        assert "might still be running" in str(error)
        assert f"clinder stop --session-file {file}" in error.hint
        assert file.read_bytes() == before[status]
    assert not hub.builds


def test_who_cancels_does_not_wait_for_a_clear_answer(hub: ScriptedHub, file: Path) -> None:
    before = left_over(hub, file)
    hub.pages["/user/old/api/status"] = page(500)
    cancel = threading.Event()
    with ThreadPoolExecutor() as threads:
        launching = threads.submit(launch, hub, file, cancel=cancel)
        hub.awaited("GET", "api/status")
        cancel.set()
    assert isinstance(launching.exception(), Cancelled)
    assert file.read_bytes() == before
    assert not hub.builds


# On a terminal.


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.end()


@pytest.mark.posix
@pytest.mark.parametrize("verbose", [False, True])
def test_what_went_wrong_stays_on_the_terminal_and_the_log_only_if_asked_for(
    verbose: bool, hub: ScriptedHub, world: World
) -> None:
    from e2e.terminal import Terminal

    in_ci = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(world.root / "missing"),
        "GITHUB_REPOSITORY": "org/repo",
        "GITHUB_SHA": COMMIT,
    }
    with ScriptedHub(FULL) as full:
        url = launchable(hub)
        more = ["-v"] if verbose else []
        command = [*CLINDER, "start", "--hub", full.url, "--hub", hub.url, *more]
        terminal = Terminal(world, command, columns=200, env=in_ci)

        assert terminal.finish() == 0

    first, *lines = terminal.lines
    assert first.startswith(f"clinder: Launching gh/org/repo/{COMMIT}, from GitHub Actions")
    warning, failure = (line for line in lines if "Warning" in line or "No session" in line)
    assert warning.startswith("clinder: Warning: The file of the pull_request event names no head")
    assert failure.startswith(f"clinder: No session from {full.url} after ")
    assert f"{url}?token={TOKEN}" in lines
    assert ("a log line" in lines) is verbose
    assert any(line.startswith("clinder: building: ") for line in lines) is verbose


class Interrupting(io.StringIO):
    """A stderr at whose line about the last phase somebody presses Ctrl-C."""

    def write(self, text: str) -> int:
        if text.startswith("clinder: readiness: "):
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


@pytest.mark.parametrize("command", [["start"], ["run"]])
def test_a_signal_that_comes_when_the_session_is_there_stops_it(
    command: list[str], hub: ScriptedHub, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launchable(hub)
    stderr, stdout = Interrupting(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(sys, "stdout", stdout)
    begun = file.with_name("begun")
    after = ["--", sys.executable, "-c", f"open({str(begun)!r}, 'w')"] if command == ["run"] else []

    given = ["org/repo", "--hub", hub.url, "--no-warm-up", "--session-file", str(file), *after]
    assert main([*command, *given]) == 130

    assert "clinder: Cancelled by SIGINT.\n" in stderr.getvalue()
    assert stdout.getvalue() == ""
    assert len(hub.calls("POST", "api/shutdown")) == 1
    assert not [*file.parent.iterdir()]


def test_a_file_that_another_launch_has_taken_meanwhile_is_left_to_it(
    hub: ScriptedHub, file: Path
) -> None:
    """Ours is stopped, for nobody could find it."""
    theirs, ours = f"{hub.url}user/theirs/", hub.serve("ours", Jupyter(TOKEN))

    def meanwhile() -> Answer:
        session_file.write(file, Session(theirs, "their-token"))
        return Answer(ready(ours, TOKEN))

    hub.then(meanwhile)
    with pytest.raises(UsageError, match="Another session has taken"):
        launch(hub, file)
    assert session_file.read(file).url == theirs
    assert [each.path for each in hub.calls("POST", "api/shutdown")] == ["/user/ours/api/shutdown"]


def test_a_session_whose_file_cannot_be_written_any_more_is_stopped(
    hub: ScriptedHub, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    url = hub.serve("new", Jupyter(TOKEN))

    def meanwhile() -> Answer:
        folder.rmdir()
        return Answer(ready(url, TOKEN))

    hub.then(meanwhile)
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        launch(hub, folder / "session.json")
    assert len(hub.calls("POST", "api/shutdown")) == 1


def test_each_attempt_wait_and_reason_is_a_line_on_stderr_and_in_the_json(
    hub: ScriptedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.then(page(502))
    launchable(hub)

    assert main(["start", "org/repo", "--hub", hub.url, "-o", "json"]) == 0

    told = capsys.readouterr()
    failed, ready = json.loads(told.out)["attempts"]
    assert (failed["hub"], failed["outcome"], failed["waited"]) == (hub.url, "HubBroken", 0)
    assert failed["reason"] == "The hub answered 502."
    assert (ready["hub"], ready["outcome"], ready["reason"]) == (hub.url, "ready", "")
    assert 1.5 <= ready["waited"] <= 2.5
    lines = told.err.splitlines()
    asking = f"clinder: Requesting gh/org/repo/HEAD from {hub.url}"
    at = [number for number, line in enumerate(lines) if line == asking]
    assert len(at) == 2
    between = [re.sub(r"\d+ s", "N s", line) for line in lines[at[0] + 1 : at[1]]]
    assert between == [
        f"clinder: No session from {hub.url} after N s: The hub answered 502.",
        f"clinder: Trying {hub.url} again in N s.",
    ]
