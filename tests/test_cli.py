"""The command line without a launch: help, usage errors, streams, signals."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from answers import Answer, page, ready
from clinder._signals import SignalEvent
from clinder._version import DOCUMENTATION, __version__
from clinder.cli.executable import require_node
from clinder.cli.help import WIDTH, options_in_order
from clinder.cli.main import cli, main
from clinder.cli.options import GROUPS, Option
from clinder.cli.session_files import how_to_stop
from clinder.cli.start import format_session
from clinder.errors import EXIT_CODES, UsageError
from clinder.session import Session
from e2e.world import CLINDER, Result, World, line_with
from histories import write_hanging_git
from hubs import Jupyter, ScriptedHub

HEAVY = {
    *("requests", "rich", "tornado", "h11", "wsproto", "json", "traceback", "packaging", "ruamel"),
    *("clinder.embedded", "clinder.events", "clinder.launch.launch"),
    *("clinder.running", "clinder.wire"),
}
ROOT = Path(__file__).resolve().parents[1]
COMMANDS = sorted(cli.commands)
GONE = "http://127.0.0.1:1/clinder-hub/user/x/"
UNMEASURED = {"COVERAGE_PROCESS_CONFIG": ""}  # because `make coverage` imports modules, too


def heavy_imports(code: str, *arguments: str) -> set[str]:
    """Run code in a new interpreter and return the heavy modules that it imported."""
    show = "print(*sys.modules, sep='\\n', file=sys.stderr)"
    modules = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; {show}", *arguments],
        env={**os.environ, **UNMEASURED},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stderr
    return HEAVY & set(modules.splitlines())


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert heavy_imports("import clinder; clinder.start, clinder.Session") == set()


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], *([each, "--help"] for each in COMMANDS)]
)
def test_help_and_version_import_nothing_heavy(arguments: Sequence[str]) -> None:
    assert heavy_imports("import clinder.cli.main as m; m.main()", *arguments) == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert f"\n    clinder {command}" in out.partition("Examples:")[2]
    assert err == ""


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([command, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_groups_the_options_in_one_order(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(command, capsys)
    positions = [text.find(f"\n{title}:\n") for title in (*GROUPS, "Environment variables")]
    present = [each for each in positions if each >= 0]
    assert present == sorted(present)
    for option in options_in_order(cli.commands[command]):
        assert isinstance(option, Option), f"{option.name} has no group"
        start = text.index(f"\n{option.group}:\n")
        section = text[start : text.index("\n\n", start)]
        assert f"\n  {', '.join(option.opts)} " in section
        if option.envvar:
            assert f"\n  {option.envvar} " in text.partition("Environment variables:")[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_links_to_the_section_of_its_command(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    link = help_of(command, capsys).splitlines()[-1]
    assert link == f"Documentation: {DOCUMENTATION}commands/#clinder-{command}"
    assert f'Documentation = "{DOCUMENTATION}"' in project
    assert f"\n## clinder {command}\n" in page


@pytest.mark.parametrize(("columns", "widest"), [(60, 60), (110, 110), (500, WIDTH)])
def test_help_uses_the_width_of_the_terminal(
    columns: int,
    widest: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    options = help_of("start", capsys).partition("\nWhat:\n")[2].partition("\nEnvironment")[0]
    assert widest - 15 < max(map(len, options.splitlines())) < widest


def test_help_contains_the_table_of_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    table = capsys.readouterr().out.partition("Exit codes:\n")[2]
    rows = [line.split(None, 1) for line in table.splitlines() if line.strip()]
    assert [(int(code), meaning) for code, meaning in rows] == [*EXIT_CODES]


def test_completion_lists_commands_and_imports_nothing_heavy(world: World) -> None:
    line = {"COMP_WORDS": "clinder st", "COMP_CWORD": "1"}
    environ = {"_CLINDER_COMPLETE": "bash_complete", **line, **UNMEASURED}
    code = "import clinder.cli.main, sys; sys.exit(clinder.cli.main.main())"
    command = [sys.executable, "-X", "importtime", "-c", code]
    result = world.finish(world.popen(command, env=environ))
    assert sorted(result.out.split()) == ["plain,start", "plain,status", "plain,stop"]
    assert result.code == 0
    modules = {line.rpartition("|")[2].strip() for line in result.err.splitlines()}
    assert "clinder.cli.main" in modules
    assert HEAVY & modules == set()


@pytest.mark.posix
@pytest.mark.parametrize(
    "token", ["plain", "a'b", '$(touch${IFS}x)"`touch${IFS}x`', "\\'!;&|<>*?~#"]
)
def test_a_shell_that_evaluates_the_output_only_sets_two_variables(
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


def test_the_output_is_one_line_as_json_and_as_a_uri() -> None:
    session = Session("http://127.0.0.1:8888/user/x/", "a&b")
    assert json.loads(format_session(session, "json"))["token"] == "a&b"
    assert "\n" not in format_session(session, "json")
    assert format_session(session, "uri") == "http://127.0.0.1:8888/user/x/?token=a%26b"


@pytest.mark.parametrize(
    ("arguments", "out"),
    [
        (["-o", "shell"], "false\n"),
        (["--output=shell"], "false\n"),
        (["--ref", "", "--output", "shell"], "false\n"),
        (["--nonsense", "-oshell"], "false\n"),
        (["--ref", "shell"], ""),
        (["-o", "json"], ""),
    ],
    ids=str,
)
def test_the_output_of_a_failed_launch_fails_in_a_shell(
    arguments: list[str], out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise, ``eval "$(clinder start -o shell)"`` would hide the failure."""
    assert main(["start", "o/r@main", "--ref", "v1", *arguments]) == 2
    assert capsys.readouterr().out == out


EXEC = ["exec", "--session", f"{GONE}?token=secret"]
# Nothing listens there, so a build request would end with another exit code.
RUN = ["run", "o/r", "--attempts", "1", "--hub", "http://127.0.0.1:1"]
START = ["start", "o/r", "--attempts", "1", "--hub", "http://127.0.0.1:1", "--session-file"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["start", "--nonsense"], "No such option"),
        (["start", "a/b", "c/d"], "unexpected extra argument"),
        (["start", "a/b", "--timeout", "soon"], "'soon' is not a number of seconds"),
        (["start", "a/b", "--timeout", "nan"], "is not a number of seconds"),
        (["start", "a/b", "--timeout", "inf"], "is not a number of seconds"),
        (["start", "a/b", "-o", "xml"], "'xml' is not one of"),
        (["start", "a/b", "--build-token", "secret"], "must not be on the command line"),
        (["start", "a/b", "--build-token", "@missing"], "The file missing cannot be read"),
        (["start", "a/b", "--build-token", f"@{os.devnull}"], "contains no build token"),
        (["start", "a/b", "--hub-token", "secret"], "must not be on the command line"),
        (["stop", "--hub-token", "secret"], "must not be on the command line"),
        (["status", "--hub-token", "@missing"], "The token file missing cannot be read"),
        ([*EXEC, "-c", "1", "--hub-token", ""], "--hub-token is empty"),
        (["start", "a/b", "--hub", "local", "--hub", "https://h"], "`local`"),
        (["start", "a b"], ""),
        (["start", ""], "REPOSITORY is empty"),
        (["run", "", "--", "true"], "REPOSITORY is empty"),
        (["start", "a/b", "--hub", ""], "empty"),
        (RUN, "There is no `--` before the command."),
        ([*RUN, "--"], "There is no command to run."),
        (["run", "--hub", "local", "echo", "hi"], "Put the command after `--`"),
        ([*RUN, "--", "no-such-command", "x"], "'no-such-command' does not exist or is not"),
        ([*RUN, "--", "sphinx-build", "."], "Install it with `pip install sphinx`"),
        ([*RUN, "--", os.devnull], "does not exist or is not executable"),
        (["run", "--max-kernels", "0", "--", "true"], "At least one kernel must be allowed."),
        (["run", "--max-kernels", "x", "--", "true"], "must be a number, `auto` or `none`."),
        (["run", "--kernel-alias", "x", "--", "true"], "has the form NAME=NAME"),
        (
            ["run", "--kernel-alias", "x=y", "--no-kernel-alias", "--", "true"],
            "contradict each other",
        ),
        (["run", "--fail-on-cell-error", "--no-gateway", "--", "true"], "needs the gateway"),
        (["run", "--report", "missing/r.json", "--", "true"], "The report cannot be written to"),
        (["start", "a/b", "--warm-up=a/b"], "'a/b' is not a kernelspec name"),
        (["start", "a/b", "--warm-up=ir", "--no-warm-up"], "contradict each other"),
        (["hub", "--port", "99999"], "'--port': '99999' is not a whole number from 0 to 65535."),
        (["hub", "--port", "x"], "'--port': 'x' is not a whole number from 0 to 65535."),
        (["start", "a/b", "--attempts", "9"], "'--attempts': '9' is not a whole number from 1 to"),
        (["start", "a/b", "--attempts", "1.5"], "'--attempts': '1.5' is not a whole number"),
        (["start", "a/b", "--idle-timeout", "x"], "Invalid value for '--idle-timeout': 'x' is"),
        (["start", "a/b", "--ref"], "requires an argument.\n  what to do: clinder start --help"),
        (["stop", "--timeout"], "requires an argument.\n  what to do: clinder stop --help"),
        (["run", "a/b", "--quiet=3", "--", "x"], "a value.\n  what to do: clinder run --help"),
        (["hub", "--directory", "missing"], "missing"),
        (["start", "a/b", "--ref", ""], "--ref is empty"),
        (["start", "a/b", "--build-token", ""], "--build-token is empty"),
        (["start", "a/b", "--reuse-environment", ""], "--reuse-environment is empty"),
        ([*EXEC, "-c", "1", "--kernel", ""], "--kernel is empty"),
        ([*START, ""], "The path of the session file is empty."),
        (["stop", "--session-file", ""], "The path of the session file is empty."),
        (["status", "@"], "The path of the session file is empty."),
        (["exec", "-c", "1"], "Name a session file, as in @session.json"),
        ([*START, __file__], "To create one, choose another name"),
        (["status", "--session-file", __file__], "is not a session file"),
        (["stop", "--session-file", "missing.json"], "session file missing.json cannot be read"),
        ([*START, "missing/session.json"], "session file missing/session.json cannot be written"),
        (["exec", "-c", "1", "--session", "@missing.json"], "session file missing.json cannot be"),
        (["exec", "-c", "1", "--session", "nonsense"], "not the HTTP(S) URL of a session."),
        (EXEC, "Pass the code exactly once"),
        ([*EXEC, "-c", "1", "code.py"], "Pass the code exactly once"),
        ([*EXEC, "notebook.ipynb"], "clinder exec runs plain code, not notebooks."),
        ([*EXEC, "missing.py"], "The file missing.py cannot be read: No such file or directory."),
        ([*EXEC, "-c", "1", "--timeout", "0"], "is not a number of seconds greater than 0"),
    ],
)
def test_usage_errors(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("clinder: ")
    assert message in err
    assert "secret" not in err


@pytest.mark.parametrize("command", ["status", "stop"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([f"{GONE}?token="], "The session has no token."),
        ([GONE], "The session has no token."),
        (["ftp://h/?token=secret"], "This is not the HTTP(S) URL of a session."),
        (["-"], "Standard input contains no session."),
        ([], "JUPYTER_BASE_URL and JUPYTER_TOKEN are not both set."),
        ([""], "session"),
    ],
)
def test_a_session_is_required(
    command: str,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An empty URI does not mean the session in the environment."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setenv("JUPYTER_BASE_URL", GONE)
    if arguments:
        monkeypatch.setenv("JUPYTER_TOKEN", "t")
    assert main([command, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "secret" not in err


@pytest.mark.parametrize("token", ["two words", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "a\nb"])
def test_an_invalid_build_token_is_refused_without_showing_it(
    token: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{token}\n", encoding="utf-8")

    assert main(["start", "a/b", "--build-token", f"@{file}"]) == 2

    err = capsys.readouterr().err
    assert err.startswith("clinder: The build token contains a space or a non-ASCII character.\n")
    assert token not in err


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("CLINDER_ATTEMPTS", "9", "'9' is not a whole number from 1 to 3."),
        ("CLINDER_TIMEOUT", "soon", "'soon' is not a number of seconds greater than 0."),
        ("CLINDER_IDLE_TIMEOUT", "0", "'0' is not a number of seconds greater than 0."),
    ],
)
def test_an_invalid_variable_is_named(
    variable: str,
    value: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["start", "a/b"]) == 2
    assert capsys.readouterr().err.startswith(f"clinder: Invalid value for {variable}: {message}\n")


def test_without_a_command_help_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Usage: clinder" in err


@pytest.mark.posix
@pytest.mark.parametrize("arguments", ["--help", "--version", "start --help"])
def test_help_that_cannot_be_written_is_an_error(world: World, arguments: str) -> None:
    scripts = [f"{{ $CLINDER {arguments}; echo $? >code; }} | :; exit $(cat code)"]
    if Path("/dev/full").exists():
        scripts.append(f"$CLINDER {arguments} >/dev/full")
    for script in scripts:
        result = world.sh(script)
        assert result.code == 74
        assert result.err.startswith("clinder: The output could not be written: ")
        assert len(result.err.splitlines()) == 2


@pytest.mark.posix
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["start", "--hub", "local"], 2),
        (["hub"], 2),
        (["start", "o/r", "--attempts", "1", "--hub", "127.0.0.1:1"], 6),
    ],
)
def test_a_missing_working_directory_only_matters_to_the_embedded_hub(
    world: World, arguments: list[str], code: int
) -> None:
    script = f"mkdir gone && cd gone && rmdir ../gone && $CLINDER {' '.join(arguments)}"
    result = world.sh(script)
    assert (result.code, result.out) == (code, "")
    assert code == 6 or "does not exist" in result.err


SIGNALS_DURING_WAITS = """
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
def test_a_signal_during_a_wait_does_not_deadlock() -> None:
    """The wait that the signal interrupts might hold the lock of an ordinary event."""
    command = [sys.executable, "-c", SIGNALS_DURING_WAITS]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout == "done\n", ran.stderr


def test_a_signal_event_can_be_set_from_a_handler() -> None:
    with closing(SignalEvent()) as event:
        assert not event.is_set()
        event.set_from_handler()
        assert event.is_set()
        assert event.wait(60)


INTERRUPT = """
import importlib.abc, os, signal, sys

class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == os.environ["INTERRUPTED_IMPORT"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
"""


@pytest.mark.posix
@pytest.mark.parametrize("module", ["clinder.cli", "click", "clinder.cli.streams"])
@pytest.mark.parametrize("ignored", [False, True])
def test_a_signal_during_an_import_is_one_message(world: World, module: str, ignored: bool) -> None:
    (world.root / "sitecustomize.py").write_text(INTERRUPT, encoding="utf-8")
    path = f"{world.root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    ignore = (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None

    environ = {"INTERRUPTED_IMPORT": module, "PYTHONPATH": path}
    arguments = ["--version"] if ignored else ["start", "-o", "shell"]
    result = world.run(*arguments, env=environ, preexec_fn=ignore)

    if ignored:
        assert result == Result(0, f"clinder {__version__}\n", "")
    else:
        assert result == Result(130, "false\n", "clinder: Cancelled by SIGINT.\n")


@pytest.mark.posix
def test_a_signal_while_reading_standard_input_is_one_message(world: World) -> None:
    command = [sys.executable, "-X", "importtime", *CLINDER[1:]]
    arguments = ["exec", "--session", "-", "-c", "1"]
    process = world.popen([*command, *arguments], stdin=subprocess.PIPE)
    line_with(process.stderr, "clinder.cli.execute")
    process.send_signal(signal.SIGINT)

    result = world.finish(process)

    assert (result.code, result.out) == (130, "")
    assert result.err.splitlines()[-1] == "clinder: Cancelled by SIGINT."


def test_unreadable_standard_input_does_not_keep_other_sessions_from_being_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8"))
    assert main(["stop", "-", f"{GONE}?token=t"]) == 2
    err = capsys.readouterr().err
    assert "Standard input cannot be read: it is not UTF-8 text." in err
    assert f"The session at {GONE} was already gone." in err


STOP = f"$CLINDER stop '{GONE}?token=t'"
LOST_STDERR = {
    f"{STOP} 2>&-": 0,
    f"{STOP} 2> >(exec true)": 0,
    **({f"{STOP} 2>/dev/full": 0} if Path("/dev/full").exists() else {}),
    f"$CLINDER status '{GONE}?token=t' 2>&-": 10,
    "$CLINDER nonsense 2>&-": 2,
    "$CLINDER --version 2>&- <&-": 0,
}


@pytest.mark.posix
@pytest.mark.parametrize(("script", "code"), LOST_STDERR.items(), ids=LOST_STDERR)
def test_a_lost_stderr_does_not_change_the_exit_code(world: World, script: str, code: int) -> None:
    process = world.popen(["bash", "-c", script], env={"CLINDER": shlex.join(CLINDER)})
    assert world.finish(process).code == code


def test_an_unclear_status_is_reported_while_clinder_keeps_checking(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ScriptedHub(pages={"/user/x/api/status": page(404)}) as hub:
        uri = f"{hub.origin}/user/x/?token=t"
        assert main(["status", "--timeout", "1", uri]) == 6
        assert main(["stop", "--timeout", "1", uri]) == 9
        assert main(["stop", "--timeout", "1", "-q", uri]) == 9
    report = f"clinder: {hub.origin}/user/x/: it responded with 404; checking again for up to 1 s."
    assert capsys.readouterr().err.splitlines().count(report) == 2


def test_a_session_that_cannot_be_saved_in_a_file_is_shown_by_its_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    session = Session("http://127.0.0.1:8888/user/x/", "s3cret")

    assert how_to_stop(session, None) == (
        f"It is at {session.url}; clinder could not save it in a file: No such file or directory."
    )


@pytest.mark.posix
def test_a_session_that_nobody_receives_and_that_does_not_stop_is_kept_in_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    file = tmp_path / "session.json"
    with ScriptedHub() as hub, os.fdopen(writer, "w", encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        hub.then(Answer(ready(hub.serve("x", Jupyter("s3cret", stays=True)), "s3cret")))
        options = ["--no-warm-up", "--stop-timeout", "0.3", "--session-file", str(file)]
        assert main(["start", "o/r", "--hub", hub.url, *options]) == 74
        err = capsys.readouterr().err
    assert f"Stop the session with: clinder stop --session-file {file}" in err
    assert "clinder: The output could not be written: Broken pipe.\n" in err
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


def test_each_command_warns_that_a_session_that_its_hub_does_not_know_might_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A proxy that has just restarted passes all requests to the hub."""
    with ScriptedHub() as hub:
        uri = f"{hub.origin}/user/x/?token=t"
        codes = {}
        for command in (["stop", "-q", uri], ["status", uri], ["exec", "--session", uri, "-c1"]):
            codes[command[0]] = main(command)
            err = capsys.readouterr().err
            assert "the hub does not know it" in err
            assert "If the hub's proxy has just restarted, the session might keep running" in err
    assert codes == {"stop": 0, "status": 10, "exec": 10}


@pytest.mark.parametrize("command", ["myst", "/usr/bin/myst", "myst.cmd"])
def test_myst_without_node_fails_before_a_session_is_started(tmp_path: Path, command: str) -> None:
    nothing = {"PATH": str(tmp_path), "HOME": str(tmp_path)}

    with pytest.raises(UsageError, match="MyST needs Node"):
        require_node(command, nothing)


def test_myst_can_use_a_node_on_path_or_one_that_it_installs(tmp_path: Path) -> None:
    nothing = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path / "home")}
    node = tmp_path / "bin" / ("node.exe" if sys.platform == "win32" else "node")
    node.parent.mkdir()
    node.touch(mode=0o700)
    require_node("myst", nothing)
    require_node("sphinx-build", {"PATH": "", "HOME": ""})

    node.unlink()
    require_node("myst", {**nothing, "MYSTMD_ALLOW_NODEENV": "1"})
    data = tmp_path / "data"
    (data / "myst").mkdir(parents=True)
    require_node("myst", {**nothing, "XDG_DATA_HOME": str(data), "LOCALAPPDATA": str(data)})
