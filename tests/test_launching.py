"""A launch by a command: its session file, and its messages."""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from answers import Answer, Raw, event, json_page, page, ready
from clinder import session_file
from clinder.cli.launching import launch_consequence, launch_session
from clinder.cli.main import main
from clinder.cli.options import Options
from clinder.cli.screen import Screen
from clinder.errors import Cancelled, CommitMismatch, HubFull, UsageError
from clinder.events import Event, PhaseEnded, SessionLaunched
from clinder.launch.options import LaunchOptions
from clinder.launch.retries import BROKEN_DELAYS
from clinder.session import Session
from e2e.world import CLINDER, World
from hubs import Jupyter, ScriptedHub

TOKEN = "s3cret-token"
COMMIT = "1f" * 20
LOG = event(phase="building", message="a log line\n")
FULL = Answer(event(phase="failed", message="Too many users on this BinderHub! Try again soon.\n"))

pytestmark = pytest.mark.usefixtures("_no_threads_left")


class FakeScreen(Screen):
    """A screen that shows nothing, and calls ``react`` with each event."""

    def __init__(self, react: Callable[[Event], None] = lambda _: None):
        self._react = react

    def observe(self, event: Event) -> None:
        self._react(event)


@pytest.fixture
def hub() -> Iterator[ScriptedHub]:
    with ScriptedHub() as scripted:
        yield scripted


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "session.json"


def launchable(hub: ScriptedHub, server: Jupyter | None = None, commit: str = COMMIT) -> str:
    """Let the hub's next launch succeed; return the server's URL."""
    url = hub.serve("new", server or Jupyter(TOKEN))
    persistent = f"v2/gh/org/repo/{commit}"
    hub.then(Answer(LOG + ready(url, TOKEN, binder_persistent_request=persistent)))
    return url


def launch(
    hub: ScriptedHub,
    file: Path,
    screen: FakeScreen | None = None,
    *,
    cancel: threading.Event | None = None,
    repository: str = "org/repo",
) -> Session:
    options = Options(
        LaunchOptions(repository=repository, hubs=(hub.url,), timeout=60),
        session_file=file,
        quiet=False,
        verbose=False,
    )
    return launch_session(options, screen or FakeScreen(), cancel or threading.Event())


def write_old_session(hub: ScriptedHub, file: Path) -> bytes:
    """Write the file of an earlier session; return its content."""
    session_file.write(file, Session(f"{hub.url}user/old/", "old-token"))
    return file.read_bytes()


# This session's file


def test_the_file_is_written_at_launch_and_completed_when_the_session_is_usable(
    hub: ScriptedHub, file: Path
) -> None:
    at_launch: list[Session] = []

    def react(event: Event) -> None:
        if isinstance(event, SessionLaunched):
            at_launch.append(session_file.read(file))

    url = launchable(hub)
    session = launch(hub, file, FakeScreen(react))

    assert [each.uri for each in at_launch] == [f"{url}?token={TOKEN}"]
    assert json.loads(file.read_text(encoding="utf-8")) == json.loads(json.dumps(session.to_json()))
    assert [each.outcome for each in session.attempts] == ["ready"]
    assert {"building", "readiness"} <= set(session.phases)


def test_a_file_deleted_during_the_launch_is_not_written_again(
    hub: ScriptedHub, file: Path
) -> None:
    """``clinder stop --session-file`` in another terminal deletes it."""

    def react(event: Event) -> None:
        if isinstance(event, PhaseEnded) and event.phase == "readiness":
            file.unlink()

    url = launchable(hub)
    assert launch(hub, file, FakeScreen(react)).url == url
    assert not file.exists()


def test_a_launch_without_a_session_writes_no_file(hub: ScriptedHub, file: Path) -> None:
    hub.then(FULL)
    with pytest.raises(HubFull):
        launch(hub, file)
    assert not [*file.parent.iterdir()]


@pytest.mark.parametrize("stops", [True, False])
def test_after_a_failure_the_file_is_kept_only_if_the_session_cannot_be_stopped(
    hub: ScriptedHub, file: Path, stops: bool
) -> None:
    existed: list[bool] = []

    def react(event: Event) -> None:
        if isinstance(event, SessionLaunched):
            existed.append(file.exists())

    url = launchable(hub, Jupyter(TOKEN if stops else "another-token"), commit="2e" * 20)
    with pytest.raises(CommitMismatch):
        launch(hub, file, FakeScreen(react), repository=f"org/repo@{COMMIT}")
    assert existed == [True]
    assert file.exists() is not stops
    assert stops or session_file.read(file).uri == f"{url}?token={TOKEN}"


# An earlier session's file


@pytest.mark.parametrize("status", [None, 401, 403])
def test_the_file_of_a_session_that_is_gone_or_rejects_the_token_is_overwritten(
    status: int | None, hub: ScriptedHub, file: Path
) -> None:
    """If the token is rejected, another session runs at that address."""
    write_old_session(hub, file)
    if status:
        hub.pages["/user/old/api/status"] = page(status)
    url = launchable(hub)
    launch(hub, file)
    assert session_file.read(file).url == url


@pytest.mark.parametrize(
    ("running", "message"), [(True, "is still running"), (False, "might still be running")]
)
def test_the_file_of_a_session_that_might_be_running_is_refused(
    running: bool, message: str, hub: ScriptedHub, file: Path
) -> None:
    before = write_old_session(hub, file)
    hub.serve("old", Jupyter("old-token"))
    if not running:
        hub.pages["/user/old/api/status"] = page(503)
    with pytest.raises(UsageError, match=message) as raised:
        launch(hub, file)
    assert f"clinder stop --session-file {file}" in raised.value.hint
    assert file.read_bytes() == before
    assert not hub.builds


def test_a_cancellation_ends_the_check_of_an_earlier_session(hub: ScriptedHub, file: Path) -> None:
    before = write_old_session(hub, file)
    hub.pages["/user/old/api/status"] = page(500)
    cancel = threading.Event()
    with ThreadPoolExecutor() as threads:
        launching = threads.submit(launch, hub, file, cancel=cancel)
        hub.awaited("GET", "api/status")
        cancel.set()
    assert isinstance(launching.exception(), Cancelled)
    assert file.read_bytes() == before
    assert not hub.builds


def test_a_file_that_another_launch_takes_is_left_alone_and_the_session_stopped(
    hub: ScriptedHub, file: Path
) -> None:
    theirs, ours = f"{hub.url}user/theirs/", hub.serve("ours", Jupyter(TOKEN))

    def response() -> Answer:
        session_file.write(file, Session(theirs, "their-token"))
        return Answer(ready(ours, TOKEN))

    hub.then(response)
    with pytest.raises(UsageError, match="Another session has taken"):
        launch(hub, file)
    assert session_file.read(file).url == theirs
    assert [each.path for each in hub.calls("POST", "api/shutdown")] == ["/user/ours/api/shutdown"]


def test_if_the_file_cannot_be_written_the_session_is_stopped(
    hub: ScriptedHub, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    url = hub.serve("new", Jupyter(TOKEN))

    def response() -> Answer:
        folder.rmdir()
        return Answer(ready(url, TOKEN))

    hub.then(response)
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        launch(hub, folder / "session.json")
    assert len(hub.calls("POST", "api/shutdown")) == 1


# Messages


@pytest.mark.parametrize(
    ("hubs", "end"),
    [
        ((), "its hub culls it"),
        (("https://hub.example.org",), "its hub culls it"),
        (("Local",), "it has been idle for an hour"),
    ],
)
def test_ending_immediately_leaves_a_session_to_its_hub(hubs: tuple[str, ...], end: str) -> None:
    """Nothing culls the embedded hub's sessions, but they end on their own."""
    options = Options(LaunchOptions(hubs=hubs), session_file=None, quiet=False, verbose=False)
    message = launch_consequence(options)
    assert message == f"a session being launched might keep running until {end}"


@pytest.mark.posix
@pytest.mark.parametrize("verbose", [False, True])
def test_failures_stay_on_the_terminal_and_the_log_only_if_verbose(
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
    assert warning.startswith("clinder: Warning: The pull_request event has no head commit")
    assert failure.startswith(f"clinder: No session from {full.url} after ")
    assert f"{url}?token={TOKEN}" in lines
    assert ("a log line" in lines) is verbose
    assert any(line.startswith("clinder: building: ") for line in lines) is verbose


class Interrupting(io.StringIO):
    """A stderr that raises SIGINT when a line with this beginning is written."""

    def __init__(self, beginning: str):
        super().__init__()
        self._beginning = beginning

    def write(self, text: str) -> int:
        if text.startswith(self._beginning):
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


@pytest.mark.parametrize(
    ("command", "beginning"),
    [
        (["start"], "clinder: readiness: "),
        (["run"], "clinder: readiness: "),
        (["run"], "clinder: Kernelspecs that run on the session: "),
    ],
    ids=str,
)
def test_a_signal_when_the_session_is_usable_stops_it(
    command: list[str],
    beginning: str,
    hub: ScriptedHub,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A terminal sends Ctrl-C only to a command that runs already, so none may start."""
    launchable(hub)
    stderr, stdout = Interrupting(beginning), io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(sys, "stdout", stdout)
    begun = file.with_name("begun")
    after = ["--", sys.executable, "-c", f"open({str(begun)!r}, 'w')"] if command == ["run"] else []

    arguments = ["org/repo", "--hub", hub.url, "--no-warm-up", "--session-file", str(file), *after]
    assert main([*command, *arguments]) == 130

    assert "clinder: Cancelled by SIGINT.\n" in stderr.getvalue()
    assert "Running" not in stderr.getvalue()
    assert stdout.getvalue() == ""
    assert len(hub.calls("POST", "api/shutdown")) == 1
    assert not [*file.parent.iterdir()]


def test_a_session_whose_kernelspecs_cannot_be_written_is_stopped(
    hub: ScriptedHub, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = launchable(hub)
    kernels, removed = file.with_name("kernels"), threading.Event()
    raw = json_page(200, {"kernelspecs": {}}).raw()
    hub.pages[f"{urlsplit(url).path}api/kernelspecs"] = Raw([removed, *raw.parts], raw.ending)

    def remove() -> None:
        hub.awaited("GET", "api/kernelspecs")
        shutil.rmtree(kernels, ignore_errors=True)
        removed.set()

    arguments = ["--hub", hub.url, "--no-warm-up", "--kernels", str(kernels)]
    with ThreadPoolExecutor() as pool:
        pool.submit(remove)
        assert main(["start", "org/repo", *arguments]) == 2

    output = capsys.readouterr()
    assert f"The kernelspecs cannot be written to {kernels}: No such file" in output.err
    assert output.out == ""
    assert not hub.runs("new")


def test_each_attempt_and_wait_is_shown_and_in_the_json(
    hub: ScriptedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.then(page(502))
    launchable(hub)

    assert main(["start", "org/repo", "--hub", hub.url, "-o", "json"]) == 0

    output = capsys.readouterr()
    failed, ready = json.loads(output.out)["attempts"]
    assert (failed["hub"], failed["outcome"], failed["waited"]) == (hub.url, "HubBroken", 0)
    assert failed["reason"] == "The hub responded with status 502."
    assert (ready["hub"], ready["outcome"], ready["reason"]) == (hub.url, "ready", "")
    assert ready["waited"] == pytest.approx(BROKEN_DELAYS[0], rel=0.25)
    lines = output.err.splitlines()
    requesting = f"clinder: Requesting gh/org/repo/HEAD from {hub.url}"
    first, second = (number for number, line in enumerate(lines) if line == requesting)
    assert [re.sub(r"\d+ s", "N s", line) for line in lines[first + 1 : second]] == [
        f"clinder: No session from {hub.url} after N s: The hub responded with status 502.",
        f"clinder: Trying {hub.url} again in N s.",
    ]
