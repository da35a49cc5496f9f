"""The command line without a session: help, completion, what is imported, what stdout carries."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from answers import Answer, page, ready
from clinder import __version__
from clinder._signals import SignalEvent
from clinder.cli.main import cli, main
from clinder.cli.session_files import how_to_stop
from clinder.cli.start import format_session
from clinder.errors import EXIT_CODES
from clinder.session import Session
from e2e.world import CLINDER, Result, World, line_with
from histories import write_hanging_git
from hubs import Jupyter, ScriptedHub

HEAVY = (
    *("requests", "rich", "tornado", "websocket", "json", "traceback"),
    *(
        "clinder.embedded",
        "clinder.events",
        "clinder.launch.launch",
        "clinder.running",
        "clinder.wire",
    ),
)
COMMANDS = ("start", "stop", "status", "run", "exec", "hub")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.end()


UNMEASURED = {"COVERAGE_PROCESS_CONFIG": ""}  # what `make coverage` measures with is imported, too


def imported(code: str, *arguments: str) -> str:
    """Run code in a new interpreter and return the modules that it has imported, one a line."""
    told = "print(*sys.modules, sep='\\n', file=sys.stderr)"
    return subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; {told}", *arguments],
        env={**os.environ, **UNMEASURED},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stderr


def heavy(modules: str) -> list[str]:
    return sorted(set(HEAVY) & set(modules.splitlines()))


def test_the_package_imports_quickly() -> None:
    assert heavy(imported("import clinder; clinder.start, clinder.Session")) == []


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_imports_nothing_heavy_and_shows_an_example(command: Sequence[str]) -> None:
    run = "import clinder.cli.main; print(clinder.cli.main.main())"
    assert heavy(imported(run, *command, "--help")) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    told = capsys.readouterr()
    assert f"\n    clinder {command}" in told.out.partition("Examples:")[2]
    assert told.err == ""


def test_every_command_is_known_to_these_tests() -> None:
    assert sorted(cli.commands) == sorted(COMMANDS)


def test_help_has_the_table_of_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    _, _, table = capsys.readouterr().out.partition("Exit codes:\n")
    told = [line.split(None, 1) for line in table.splitlines() if line.strip()]
    assert [(int(code), meaning) for code, meaning in told] == [*EXIT_CODES]


def test_the_version_imports_nothing_heavy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"clinder {__version__}\n"
    assert heavy(imported("import clinder.cli.main as m; m.main()", "--version")) == []


def test_completion_knows_commands_and_imports_nothing_heavy(world: World) -> None:
    words = {"COMP_WORDS": "clinder st", "COMP_CWORD": "1"}
    asked = {"_CLINDER_COMPLETE": "bash_complete", **words, **UNMEASURED}
    code = "import clinder.cli.main, sys; sys.exit(clinder.cli.main.main())"
    result = world.finish(world.popen([sys.executable, "-X", "importtime", "-c", code], env=asked))
    assert sorted(result.out.split()) == ["plain,start", "plain,status", "plain,stop"]
    assert result.code == 0
    modules = [line.rpartition("|")[2].strip() for line in result.err.splitlines()]
    assert "clinder.cli.main" in modules
    assert heavy("\n".join(modules)) == []


def test_there_are_words_before_the_wire_is_imported(world: World) -> None:
    command = [sys.executable, "-X", "importtime", *CLINDER[1:]]
    process = world.popen([*command, "start", "o/r", "--hub", "http://127.0.0.1:1"])
    lines = world.finish(process).err.splitlines()
    words = lines.index("clinder: Launching gh/o/r/HEAD on http://127.0.0.1:1/.")
    wire = [line.rpartition("|")[2].strip() for line in lines].index("requests")
    assert words < wire


@pytest.mark.posix
@pytest.mark.parametrize(
    "token", ["plain", "a'b", '$(touch${IFS}x)"`touch${IFS}x`', "\\'!;&|<>*?~#"]
)
def test_what_a_shell_evaluates_are_two_variables_and_nothing_else(
    tmp_path: Path, token: str
) -> None:
    session = Session("http://127.0.0.1:8888/user/$(touch${IFS}x)'/", token)
    script = format_session(session, "shell") + "\nenv -0 | grep -z ^JUPYTER_"
    out = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    expected = {f"JUPYTER_BASE_URL={session.url}", f"JUPYTER_TOKEN={token}"}
    assert set(out.rstrip("\0").split("\0")) == expected
    assert not [*tmp_path.iterdir()]


def test_the_result_as_json_is_one_line_and_as_a_uri_is_one() -> None:
    session = Session("http://127.0.0.1:8888/user/x/", "a&b")
    assert json.loads(format_session(session, "json"))["token"] == "a&b"
    assert "\n" not in format_session(session, "json")
    assert format_session(session, "uri") == "http://127.0.0.1:8888/user/x/?token=a%26b"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["start", "--nonsense"], "No such option"),
        (["start", "a/b", "c/d"], "unexpected extra argument"),
        (["start", "a/b", "--timeout", "soon"], "'soon' is not a number of seconds"),
        (["start", "a/b", "--timeout", "nan"], "is not a number of seconds"),
        (["start", "a/b", "--timeout", "inf"], "is not a number of seconds"),
        (["start", "a/b", "-o", "xml"], "'xml' is not one of"),
        (["start", "a/b", "--build-token", "secret"], "must not be on the command line"),
        (["start", "a/b", "--build-token", "@missing"], "cannot be read from missing"),
        (
            ["start", "a/b", "--hub", "local", "--hub", "https://h"],
            "cannot be combined with other hubs",
        ),
        (["start", "a b"], ""),
        (["start", ""], "REPOSITORY is empty"),
        (["run", "", "--", "true"], "REPOSITORY is empty"),
        (["start", "a/b", "--hub", ""], "A hub's URL is empty"),
        (["start", "a/b", "--build-token", f"@{os.devnull}"], "contains no build token"),
        (["run", "a/b"], "There is no command to run."),
        (["run", "a/b", "--"], "There is no command to run."),
        (["run", "--hub", "local", "echo", "hi"], "Put it after `--`"),
        (["run", "a/b", "--", os.devnull], "does not exist or is not executable"),
        (["start", "a/b", "--warm-up=a/b"], "'a/b' is not a kernelspec name"),
        (["start", "a/b", "--warm-up=ir", "--no-warm-up"], "contradict each other"),
        (["status", "http://h/?token=t", "--session-file", "s"], "There is more than one session"),
        (["exec", "-c", "1"], "--session @FILE"),
        (["hub", "--port", "99999"], "'--port': '99999' is not a whole number from 0 to 65535."),
        (["hub", "--port", "x"], "'--port': 'x' is not a whole number from 0 to 65535."),
        (["start", "a/b", "--attempts", "9"], "'--attempts': '9' is not a whole number from 1 to"),
        (["start", "a/b", "--attempts", "two"], "'--attempts': 'two' is not a whole number"),
        (["start", "a/b", "--attempts", "1.5"], "'--attempts': '1.5' is not a whole number"),
        (["start", "a/b", "--idle-timeout", "x"], "Invalid value for '--idle-timeout': 'x' is"),
        (["start", "a/b", "--ref"], "requires an argument.\n  what to do: clinder start --help"),
        (["stop", "--timeout"], "requires an argument.\n  what to do: clinder stop --help"),
        (["run", "a/b", "--quiet=3", "--", "x"], "a value.\n  what to do: clinder run --help"),
        (["hub", "--directory", "missing"], "missing"),
        (["status", "one", "two"], "unexpected extra argument"),
    ],
)
def test_usage(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("clinder: ")
    assert words in told.err
    assert "secret" not in told.err


@pytest.mark.parametrize("token", ["two words", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "a\nb"])
def test_a_build_token_that_no_hub_has_issued(
    token: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{token}\n", encoding="utf-8")

    assert main(["start", "a/b", "--build-token", f"@{file}"]) == 2

    told = capsys.readouterr().err
    assert told.startswith("clinder: The build token contains a space or a non-ASCII character.\n")
    assert token not in told


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("CLINDER_ATTEMPTS", "9", "'9' is not a whole number from 1 to 3."),
        ("CLINDER_TIMEOUT", "soon", "'soon' is not a number of seconds greater than 0."),
        ("CLINDER_IDLE_TIMEOUT", "0", "'0' is not a number of seconds greater than 0."),
    ],
)
def test_a_variable_that_cannot_be_is_named(
    variable: str,
    value: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["start", "a/b"]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"clinder: Invalid value for {variable}: {words}\n")


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "Usage: clinder" in told.err


@pytest.mark.posix
@pytest.mark.parametrize("arguments", ["--help", "--version", "start --help"])
def test_help_that_nobody_can_read(world: World, arguments: str) -> None:
    ways = [f"{{ $CLINDER {arguments}; echo $? >code; }} | :; exit $(cat code)"]
    if Path("/dev/full").exists():
        ways.append(f"$CLINDER {arguments} >/dev/full")
    for script in ways:
        result = world.sh(script)
        assert result.code == 2
        assert result.err.startswith("clinder: The output could not be written: ")
        assert len(result.err.splitlines()) == 2


@pytest.mark.posix
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["start", "--hub", "local"], 2), (["hub"], 2), (["start", "o/r", "--hub", "127.0.0.1:1"], 6)],
)
def test_a_working_directory_that_is_gone(world: World, arguments: list[str], code: int) -> None:
    script = f"mkdir gone && cd gone && rmdir ../gone && $CLINDER {' '.join(arguments)}"
    result = world.sh(script)
    assert (result.code, result.out) == (code, "")
    assert code == 6 or "does not exist" in result.err


DEADLOCKS = """
import signal, threading
from clinder.cli.interrupts import cancellation
from clinder._deadline import Deadline
from clinder.errors import Cancelled

for _ in range(400):
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        with cancellation("it") as cancel:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
            deadline = Deadline(30, cancel=cancel)
            while True:
                deadline.wait(0.00005)
    except Cancelled:
        pass
print("done")
"""


@pytest.mark.posix
def test_a_signal_that_comes_while_its_event_is_waited_for() -> None:
    """An ordinary event's lock may be held by the very wait that the signal interrupts."""
    ran = subprocess.run(
        [sys.executable, "-c", DEADLOCKS], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout == "done\n", ran.stderr


INTERRUPTS = """
import importlib.abc, os, signal, sys

class Interrupts(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == os.environ["INTERRUPTED_AT"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
"""


@pytest.mark.posix
@pytest.mark.parametrize("at", ["clinder.cli", "click", "clinder.cli.streams"])
@pytest.mark.parametrize("ignored", [False, True])
def test_a_signal_that_comes_while_python_imports(world: World, at: str, ignored: bool) -> None:
    (world.root / "sitecustomize.py").write_text(INTERRUPTS, encoding="utf-8")
    before = os.environ.get("PYTHONPATH")
    env = {"INTERRUPTED_AT": at, "PYTHONPATH": f"{world.root}{os.pathsep}{before or ''}"}
    ignore = (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None

    result = world.run("--version", env=env, preexec_fn=ignore)

    if ignored:
        assert result == Result(0, f"clinder {__version__}\n", "")
    else:
        assert result == Result(130, "", "clinder: Cancelled by SIGINT.\n")


def test_an_alarm_that_rings() -> None:
    with closing(SignalEvent()) as alarm:
        assert not alarm.is_set()
        alarm.set_from_handler()
        assert alarm.is_set()
        assert alarm.wait(60)


def test_an_empty_uri_is_not_the_environments_session(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JUPYTER_BASE_URL", "http://127.0.0.1:1/user/x/")
    monkeypatch.setenv("JUPYTER_TOKEN", "t")
    assert main(["status", ""]) == 2
    assert main(["stop", ""]) == 2
    assert "gone" not in capsys.readouterr().err


def test_stop_goes_on_though_standard_input_is_no_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8"))
    assert main(["stop", "-", "http://127.0.0.1:1/user/x/?token=t"]) == 2
    told = capsys.readouterr().err
    assert "Standard input cannot be read: it is not text." in told
    assert "The session at http://127.0.0.1:1/user/x/ was already gone." in told


LOST = ["2>&-", "2> >(exec true)", *(["2>/dev/full"] if Path("/dev/full").exists() else [])]


@pytest.mark.posix
@pytest.mark.parametrize("lost", LOST)
def test_words_that_nobody_reads_change_no_exit_code(world: World, lost: str) -> None:
    command = f"{shlex.join(CLINDER)} stop 'http://127.0.0.1:1/user/x/?token=t'"
    ran = world.popen(["bash", "-c", f"{command} {lost}"])
    assert world.finish(ran).code == 0


def test_a_status_that_is_not_clear_is_said_while_it_is_asked_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ScriptedHub(pages={"/user/x/api/status": page(404)}) as hub:
        uri = f"{hub.origin}/user/x/?token=t"
        assert main(["status", "--timeout", "1", uri]) == 6
        assert main(["stop", "--timeout", "1", uri]) == 9
        assert main(["stop", "--timeout", "1", "-q", uri]) == 9
    said = f"clinder: {hub.origin}/user/x/: it answered 404; checking again for up to 1 s."
    assert capsys.readouterr().err.splitlines().count(said) == 2


def test_a_session_that_cannot_even_be_kept_in_a_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    session = Session("http://127.0.0.1:8888/user/x/", "s3cret")

    assert how_to_stop(session, None) == (
        f"It is at {session.url}; clinder could not save it in a file: No such file or directory."
    )


@pytest.mark.posix
def test_a_signal_while_standard_input_is_waited_for(world: World) -> None:
    command = [sys.executable, "-X", "importtime", *CLINDER[1:]]
    waits = ["exec", "--session", "-", "-c", "1"]
    process = world.popen([*command, *waits], stdin=subprocess.PIPE)
    line_with(process.stderr, "clinder.cli.execute")
    process.send_signal(signal.SIGINT)

    result = world.finish(process)

    assert (result.code, result.out) == (130, "")
    assert result.err.splitlines()[-1] == "clinder: Cancelled by SIGINT."


@pytest.mark.posix
def test_a_session_that_nobody_reads_and_that_does_not_stop_is_not_said_to_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    file = tmp_path / "session.json"
    with ScriptedHub() as hub, os.fdopen(writer, "w", encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        hub.then(Answer(ready(hub.serve("x", Jupyter("s3cret", stays=True)), "s3cret")))
        given = ["--no-warm-up", "--stop-timeout", "0.3", "--session-file", str(file)]
        assert main(["start", "o/r", "--hub", hub.url, *given]) == 2
        told = capsys.readouterr().err
    assert f"Stop the session with: clinder stop --session-file {file}" in told
    assert "clinder: The output could not be written: Broken pipe.\n" in told
    assert file.exists()


@pytest.mark.posix
def test_the_timeout_is_granted_once_for_working_out_and_launching(world: World) -> None:
    git = write_hanging_git(world.root)
    path = {"PATH": f"{git.parent}:{os.environ['PATH']}"}

    result = world.run("start", "--timeout", "1", env=path)

    assert result.code == 7
    assert "did not finish within 1 s: clinder was still working out what to launch." in result.err
    for process in world.processes("sleep 600"):
        process.kill()
