"""The events in JSON, and the lines that ``--events`` writes."""

from __future__ import annotations

import inspect
import json
import os
import signal
import stat
import sys
from contextlib import closing
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

from answers import Answer, Ending, event, ready
from clinder import __version__, events
from clinder.cli import event_log
from clinder.cli.event_log import EventLog, Writer
from clinder.cli.main import main
from clinder.cli.options import Options
from clinder.errors import UsageError
from clinder.launch.options import LaunchOptions
from clinder.session import Session
from e2e.world import World, until
from hubs import Jupyter, ScriptedHub
from sample_events import SAMPLES

TOKEN = "s3cret-token"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "events.md"
LOG = event(phase="building", message="a log line\n")
START = ["start", "o/r", "--no-warm-up"]

Capture = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("_no_threads_left")


def launchable(hub: ScriptedHub) -> str:
    """Let the hub's next launch succeed; return the server's URL."""
    url = hub.serve("x", Jupyter(TOKEN))
    hub.then(Answer(LOG + ready(url, TOKEN)))
    return url


def read_lines(text: str) -> list[dict[str, Any]]:
    assert TOKEN not in text
    return [json.loads(line) for line in text.splitlines()]


def names(lines: list[dict[str, Any]]) -> list[str]:
    return [each["event"] for each in lines]


# The form of an event

SCHEMA_1 = {
    "opened": "schema clinder command",
    "build_requested": "hub spec number",
    "phase_started": "phase",
    "phase_ended": "phase seconds",
    "log_lines": "phase lines",
    "session_launched": "session",
    "session_ready": "session",
    "attempt_failed": "attempt",
    "waiting": "seconds hub",
    "session_stopped": "session",
    "session_not_stopped": "session reason",
    "warning_issued": "message",
    "command_started": "",
    "command_ended": "exit_code",
    "finished": "exit_code error message hint hub repository link cause log_line",
}
"""The fields that version 1 of the format promises."""


def test_every_event_of_the_module_is_in_the_union() -> None:
    kinds = [each for _, each in inspect.getmembers(events, inspect.isclass) if is_dataclass(each)]
    defined = {each for each in kinds if each.__module__ == events.__name__}

    assert defined == set(get_args(events.Event))


def test_every_event_and_line_has_a_sample() -> None:
    assert {type(each) for each in SAMPLES} == set(get_args(event_log.Line))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda each: type(each).__name__)
def test_an_event_in_json_has_its_name_and_its_fields_but_no_token(sample: Any) -> None:
    encoded = events.to_json(sample)

    assert set(encoded) == {"event", *(each.name for each in fields(sample))}
    assert json.loads(json.dumps(encoded)) == encoded
    assert not {"event", "time"} & {each.name for each in fields(sample)}
    assert "s3cret" not in json.dumps(encoded)


def test_a_session_in_an_event_has_all_fields_but_the_token() -> None:
    session = Session("https://h/user/x/", TOKEN)
    encoded = events.to_json(events.SessionLaunched(session))["session"]

    assert set(encoded) == {each.name for each in fields(Session)} - {"token"}
    assert session.without_token() == {**encoded, "attempts": ()}


def test_the_format_keeps_what_its_version_promises() -> None:
    encoded = {each["event"]: set(each) for each in map(events.to_json, SAMPLES)}

    assert events.SCHEMA == 1
    assert encoded.keys() >= SCHEMA_1.keys()
    for name, promised in SCHEMA_1.items():
        assert encoded[name] >= set(promised.split())


def test_the_page_states_the_version() -> None:
    assert f"will increase `schema`, now {events.SCHEMA}," in PAGE.read_text("utf-8")


# The lines of a command


def test_the_file_has_every_step_of_a_launch(tmp_path: Path, capfd: Capture) -> None:
    path = tmp_path / "events.jsonl"
    with ScriptedHub() as hub:
        url = launchable(hub)
        assert main([*START, "--hub", hub.url, "--events", str(path), "-q"]) == 0
    lines = read_lines(path.read_text("utf-8"))
    assert names(lines) == [
        "opened",
        "build_requested",
        "phase_started",
        "log_lines",
        "phase_ended",
        "phase_started",
        "session_launched",
        "phase_ended",
        "session_ready",
        "finished",
    ]
    assert lines[0] == {
        "event": "opened",
        "time": lines[0]["time"],
        "schema": 1,
        "clinder": __version__,
        "command": "start",
    }
    assert lines[3]["lines"] == ["a log line"]
    assert lines[-2]["session"]["url"] == url
    assert lines[-2]["session"]["attempts"][0]["outcome"] == "ready"
    assert lines[-1]["exit_code"] == 0
    assert all(each["time"].endswith("+00:00") for each in lines)
    assert capfd.readouterr() == (f"{url}?token={TOKEN}\n", "")


@pytest.mark.posix
def test_only_this_user_can_read_a_new_file_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    new, old = tmp_path / "new.jsonl", tmp_path / "old.jsonl"
    old.write_text("old\n", encoding="utf-8")
    old.chmod(0o644)
    for path in (new, old):
        assert main(["start", "o/r", "--session-file", str(tmp_path), "--events", str(path)]) == 2

    assert [stat.S_IMODE(path.stat().st_mode) for path in (new, old)] == [0o600, 0o644]
    assert names(read_lines(old.read_text("utf-8")))[0] == "opened"


def test_the_last_line_explains_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with ScriptedHub(Answer(LOG + event(phase="failed", message="Build failed\n"))) as hub:
        assert main([*START, "--hub", hub.url, "--events", str(path)]) == 4
        finished = read_lines(path.read_text("utf-8"))[-1]
        assert finished["message"] == "The image could not be built: a command of the build failed."
        assert (finished["cause"], finished["log_line"]) == ("environment", "Build failed")
        assert finished["hint"].startswith("Correct the repository's environment files")
        for name in ("message", "hint", "time", "cause", "log_line"):
            del finished[name]
        assert finished == {
            "event": "finished",
            "exit_code": 4,
            "error": "BuildFailed",
            "hub": hub.url,
            "repository": "gh/o/r/HEAD",
            "link": f"{hub.url}v2/gh/o/r/HEAD",
        }


def test_an_error_before_the_launch_is_the_last_line_too(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    arguments = ["--session-file", str(tmp_path / "no" / "session.json"), "--events", str(path)]
    assert main([*START, *arguments]) == 2
    lines = read_lines(path.read_text("utf-8"))
    assert names(lines) == ["opened", "finished"]
    assert (lines[1]["exit_code"], lines[1]["error"]) == (2, "UsageError")


def test_a_cancelled_launch_ends_with_its_exit_code(world: World) -> None:
    with ScriptedHub(Answer(LOG, ending=Ending.HELD)) as hub:
        command = world.clinder(*START, "--hub", hub.url, "--events", "events.jsonl")
        path = world.directory / "events.jsonl"
        until(lambda: path.exists() and "a log line" in path.read_text("utf-8"))
        command.send_signal(signal.SIGTERM)
        assert world.finish(command).code == 143
    finished = read_lines(path.read_text("utf-8"))[-1]
    assert (finished["event"], finished["exit_code"]) == ("finished", 143)
    assert finished["message"] == "Cancelled by SIGTERM."


def test_on_stdout_events_replace_the_session(tmp_path: Path, capfd: Capture) -> None:
    session_file = tmp_path / "session.json"
    with ScriptedHub() as hub:
        url = launchable(hub)
        arguments = ["--events", "-", "--session-file", str(session_file)]
        assert main([*START, "--hub", hub.url, *arguments]) == 0
    lines = read_lines(capfd.readouterr().out)
    assert (lines[0]["event"], lines[-1]["event"]) == ("opened", "finished")
    assert json.loads(session_file.read_text("utf-8"))["uri"] == f"{url}?token={TOKEN}"


def test_run_records_its_command_and_shows_its_output_on_stderr(world: World) -> None:
    code = "import sys; print('output of the command'); sys.exit(3)"
    with ScriptedHub() as hub:
        url = launchable(hub)
        run = ["run", *START[1:], "--hub", hub.url, "--events", "-", "-q"]
        result = world.run(*run, "--", sys.executable, "-c", code)
    assert result.code == 3
    assert result.err.startswith("output of the command\nclinder: Warning: Nothing ran on the ")
    lines = read_lines(result.out)
    assert names(lines)[-6:] == [
        "session_ready",
        "command_started",
        "command_ended",
        "warning_issued",
        "session_stopped",
        "finished",
    ]
    assert [each["exit_code"] for each in lines if "exit_code" in each] == [3, 3]
    assert lines[-2]["session"]["url"] == url


def test_a_session_that_run_cannot_stop_is_recorded(tmp_path: Path, capfd: Capture) -> None:
    path = tmp_path / "events.jsonl"
    with ScriptedHub() as hub:
        hub.then(Answer(LOG + ready(hub.serve("x", Jupyter(TOKEN, stays=True)), TOKEN)))
        options = ["--stop-timeout", "0.3", "--session-file", str(tmp_path / "session.json")]
        run = ["run", *START[1:], "--hub", hub.url, "--events", str(path), *options]
        assert main([*run, "--", sys.executable, "-c", ""]) == 0
    lines = read_lines(path.read_text("utf-8"))
    assert names(lines)[-2:] == ["session_not_stopped", "finished"]
    assert lines[-2]["reason"] == "The session still runs: it did not shut down in time."
    assert "Stop the session with: clinder stop" in capfd.readouterr().err


# A log that cannot be written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--events", ""], "--events is empty."),
        (["--events", "-"], "Add --session-file FILE"),
        (["--events", "-", "-o", "json", "--session-file", "f"], "omit --output"),
        (["--events", "missing/e.jsonl"], "written to missing/e.jsonl: No such file or directory."),
        (["--events", "."], "The events cannot be written to .: Is a directory."),
        (["--events", "a", "--session-file", "./a"], "name the same file"),
    ],
)
def test_a_log_that_cannot_be_opened_is_a_usage_error(
    arguments: list[str], message: str, tmp_path: Path, capfd: Capture, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with ScriptedHub() as hub:
        assert main([*START, "--hub", hub.url, *arguments]) == 2
        assert hub.builds == []
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err


@pytest.mark.posix
def test_a_pipe_that_nobody_opens_is_a_usage_error(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    options = Options(LaunchOptions("o/r"), None, quiet=False, verbose=False, events=str(pipe))
    with (
        pytest.raises(UsageError, match="nobody reads this pipe"),
        event_log.event_log(options, "start", patience=0.01),
    ):
        pass


LOST = {
    "closed": ("{ $START --events -; echo $? >code; } | :; exit $(cat code)", "Broken pipe"),
    "a named pipe": ("mkfifo pipe; : <pipe & $START --events pipe", "Broken pipe"),
    "full": ("$START --events /dev/full", "No space left on device"),
}
if not Path("/dev/full").exists():  # macOS has none
    del LOST["full"]


@pytest.mark.posix
@pytest.mark.parametrize("name", LOST)
def test_lines_that_are_lost_are_one_warning_and_change_nothing_else(
    name: str, world: World
) -> None:
    script, reason = LOST[name]
    with ScriptedHub() as hub:
        url = launchable(hub)
        start = f"$CLINDER {' '.join(START)} --hub {hub.url} --session-file session.json"
        result = world.sh(script.replace("$START", start))
        assert result.code == 0, result.err
        assert result.err.count(f"Warning: clinder writes no more events: {reason}.\n") == 1
        stopped = world.run("stop", "--session-file", "session.json")
        assert stopped.err == f"clinder: The session at {url} is stopped.\n"


def test_a_reader_that_does_not_read_cannot_delay_a_launch() -> None:
    reader, writer = os.pipe()
    warnings: list[str] = []
    log = EventLog(Writer(os.fdopen(writer, "wb", buffering=0), patience=0.01))
    log.warn = warnings.append
    while not warnings:
        log.observe(events.LogLines("building", ("a line" * 1000,)))
    log.observe(events.PhaseStarted("built"))
    log.close()
    os.close(reader)
    assert warnings == ["clinder writes no more events: nobody reads them."]


def test_a_reader_that_ends_leaves_the_rest_unread() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    warnings: list[str] = []
    with closing(EventLog(Writer(os.fdopen(writer, "wb", buffering=0), patience=20))) as log:
        log.warn = warnings.append
        for _ in range(3000):
            log.observe(events.PhaseStarted("built"))
    assert len(warnings) == 1
