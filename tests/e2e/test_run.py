"""run: however the command, the session or clinder ends, nothing keeps running."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from answers import Answer, ready
from clinder.cli.process import kill_tree
from clinder.gateway.closing import FAILED_EARLY
from clinder.gateway.report import Report
from e2e.world import CLINDER, Result, World, line_with, until
from hubs import Jupyter, ScriptedHub

CHILD = [sys.executable, str(Path(__file__).with_name("child.py"))]
DRIVER = [sys.executable, str(Path(__file__).with_name("driver.py"))]
LOCAL = ["run", "--hub", "local", "--no-warm-up"]


def start_driver(world: World, command: list[str], **settings: object) -> subprocess.Popen[str]:
    return world.popen([*DRIVER, json.dumps(settings), *command], start_new_session=True)


USES = """
import os, json, sys
session = json.load(open(sys.argv[1]))
print(os.environ["JUPYTER_BASE_URL"] == session["url"])
print(session["token"] in str(os.environ))
print(json.dumps(session))
sys.exit(3)
"""


@pytest.fixture(scope="module")
def results(module_world: World) -> dict[str, Result]:
    """The results of commands that end on their own, all run at once to save time."""
    uses = [sys.executable, "-c", USES]
    report = str(module_world.root / "report.json")
    failed = str(module_world.root / "failed.json")
    return module_world.together(
        {
            "uses": [*LOCAL, "-q", "--session-file", "a.json", "--", *uses, "a.json"],
            "direct": [
                *[*LOCAL, "--no-gateway", "-q", "--session-file", "b.json"],
                *["--", *uses, "b.json"],
            ],
            "executes": [
                *[*LOCAL, "--report", report],
                *["--", *CLINDER, "exec", "-c", "import os; print(os.getcwd())"],
            ],
            "fails": ["run", "a/b@v1", "--ref", "v2", "--report", failed, "--", "true"],
            "killed": [*LOCAL, "--", sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"],
        }
    )


@pytest.mark.parametrize(("name", "is_direct"), [("uses", "False"), ("direct", "True")])
def test_the_command_receives_the_gateway_or_the_session_and_sets_the_exit_code(
    module_world: World, results: dict[str, Result], name: str, is_direct: str
) -> None:
    result = results[name]
    warning = "" if name == "direct" else f"clinder: Warning: {FAILED_EARLY}\n"
    assert (result.code, result.err) == (3, warning)
    url, token, session = result.out.splitlines()
    assert (url, token) == (is_direct, is_direct)
    module_world.parse_session(session)
    assert not [*module_world.directory.iterdir()]


def test_a_command_can_use_the_session(module_world: World, results: dict[str, Result]) -> None:
    result = results["executes"]
    assert (result.code, result.out) == (0, f"{module_world.directory.resolve()}\n")
    assert result.err.endswith("clinder: The session is stopped.\n")


def test_the_report_says_what_happened_however_the_run_ends(
    module_world: World, results: dict[str, Result]
) -> None:
    assert (results["executes"].code, results["fails"].code) == (0, 2)
    report, failed = (
        Report.from_json((module_world.root / name).read_text(encoding="utf-8"))
        for name in ("report.json", "failed.json")
    )
    assert (len(report.kernels), report.problem) == (1, None)
    assert report.command
    assert report.command.exit_code == 0
    assert report.stop
    assert report.stop.outcome == "stopped"
    assert report.launch
    assert report.launch.phases["launching"] > 0
    assert failed.problem
    assert failed.problem.name == "UsageError"


@pytest.mark.posix
def test_a_command_that_a_signal_killed_has_that_exit_code(results: dict[str, Result]) -> None:
    assert results["killed"].code == 128 + signal.SIGKILL
    assert results["killed"].err.endswith("clinder: The session is stopped.\n")


def test_the_executable_on_the_path_is_the_one_that_starts(world: World) -> None:
    """On Windows, starting `tool` would not find `tool.cmd`."""
    name, script = ("tool.cmd", "@echo %~f0") if os.name == "nt" else ("tool", "#!/bin/sh\necho $0")
    tool = world.root / "bin" / name
    tool.parent.mkdir()
    tool.write_text(script)
    tool.chmod(0o755)
    path = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"

    result = world.run(*LOCAL, "--", "tool", env={"PATH": path})

    assert (result.code, result.out.strip().lower()) == (0, str(tool).lower())


@pytest.mark.posix
@pytest.mark.parametrize(("end", "seconds"), [("exit 128", 0), ("exec sleep 60", 0.5)])
def test_killing_a_tree_on_windows_is_limited_in_time_and_never_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, seconds: float
) -> None:
    taskkill = tmp_path / "taskkill"
    taskkill.write_text(f"#!/bin/sh\necho $* >{tmp_path}/arguments\n{end}\n")
    taskkill.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("clinder.cli.process._TOOL_TIMEOUT", 0.5 if seconds else 30)
    begun = time.monotonic()

    kill_tree(42)

    assert (tmp_path / "arguments").read_text() == "/T /F /PID 42\n"
    assert seconds <= time.monotonic() - begun < 30


@pytest.mark.posix
def test_a_command_that_does_not_start_stops_the_session(world: World) -> None:
    script = world.directory / "script"
    script.write_text("#!/nonexistent/interpreter\n")
    script.chmod(0o755)

    result = world.run(*LOCAL, "--", "./script")

    assert (result.code, result.out) == (2, "")
    assert "clinder: The command './script' did not start: No such file or directory." in result.err
    assert "clinder: The session is stopped.\n" in result.err


@pytest.mark.posix
def test_a_signal_is_forwarded_to_the_command_and_the_session_is_stopped(world: World) -> None:
    """All three at once, to save time; the exit code is still the command's."""
    running = {
        name: world.clinder(*LOCAL, "--", *CHILD) for name in ("SIGINT", "SIGTERM", "SIGHUP")
    }
    for name, process in running.items():
        line_with(process.stdout, "ready")
        process.send_signal(getattr(signal, name))
    for name, process in running.items():
        result = world.finish(process)
        assert (result.code, result.out) == (7, f"got {name}\n")
        assert "Waiting up to 5 s for the command to end. Press Ctrl-C again" in result.err
        assert result.err.endswith("clinder: The session is stopped.\n")


@pytest.mark.posix
def test_a_command_that_ignores_a_signal_is_killed_with_its_children(world: World) -> None:
    """Each signal, at once to save time. Without a terminal, somebody wants the command to end."""
    command = [*CHILD, "ignore", "child"]
    codes = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 143}
    running = {name: start_driver(world, command, cancel=0.3) for name in codes}
    for name, process in running.items():
        line_with(process.stdout, "ready")
        process.send_signal(getattr(signal, name))
    for name, process in running.items():
        result = world.finish(process)
        assert (result.code, {*result.out.split()}) == (codes[name], {"got", name})
        assert "clinder: Waiting up to 0.3 s for the command to end. Press Ctrl-C" in result.err
        assert result.err.endswith("clinder: The session is stopped.\n")
    until(lambda: not world.processes())


@pytest.mark.posix
def test_a_second_signal_kills_the_command_and_its_children(world: World) -> None:
    process = world.clinder(*LOCAL, "--", *CHILD, "ignore", "child")
    line_with(process.stdout, "ready")
    process.send_signal(signal.SIGTERM)
    line_with(process.stdout, "got SIGTERM")
    process.send_signal(signal.SIGINT)
    result = world.finish(process)
    assert result.code == 130
    assert result.err.endswith("clinder: The session is stopped.\n")
    until(lambda: not world.processes())


@pytest.mark.posix
def test_a_third_signal_ends_clinder_immediately(world: World) -> None:
    process = world.clinder(*LOCAL, "--", *CHILD, "ignore")
    line_with(process.stdout, "ready")
    (server,) = world.servers()
    server.suspend()  # so that clinder keeps trying to stop it
    process.send_signal(signal.SIGTERM)
    line_with(process.stdout, "got SIGTERM")
    process.send_signal(signal.SIGTERM)
    until(lambda: len(world.processes("child.py")) == 1)  # clinder itself, because of its arguments
    process.send_signal(signal.SIGINT)
    assert world.finish(process).code == 130
    world.kill_servers()


@pytest.mark.posix
def test_two_signals_cut_a_stop_short(world: World) -> None:
    with ScriptedHub() as hub:
        url = hub.serve("x", Jupyter("s3cret", stays=True))
        hub.then(Answer(ready(url, "s3cret")))
        process = start_driver(world, ["true"], hub=hub.url, stop=3600.0, hurried_stop=1.0)
        hub.awaited("POST", "api/shutdown")
        process.send_signal(signal.SIGTERM)
        line_with(process.stderr, "Stopping the session. Press Ctrl-C again to give up after 1 s.")
        process.send_signal(signal.SIGINT)
        result = world.finish(process)
        requests = len(hub.calls("GET", "api/status"))
    assert result.code == 0, "the command's code"
    warning = re.search(
        r"Warning: The session might still be running.* --session-file (.*)\n", result.err
    )
    assert warning
    Path(warning[1]).unlink()
    Path(warning[1]).parent.rmdir()
    assert requests < 40, "the interval between requests stays the same"


def test_waiting_for_a_session_that_the_command_has_stopped_is_reported(world: World) -> None:
    """A hub notices only after up to 30 s that a server has ended."""
    with ScriptedHub() as hub:
        url = hub.serve("x", Jupyter("s3cret", after=(*(503,) * 9, 302)))
        hub.then(Answer(ready(url, "s3cret")))
        result = world.finish(start_driver(world, [*CLINDER, "stop"], hub=hub.url))
    _, _, after = result.err.partition("Running")
    assert re.search(r"clinder: The session at http://127\.0\.0\.1:\d+/ is stopped\.\n", after)
    assert f"clinder: {url}: it responded with 503; checking again for up to 60 s.\n" in after
    assert "clinder: The session is gone: the hub does not know it. If the hub's" in after
    assert result.code == 0


@pytest.mark.posix
def test_a_signal_while_launching_starts_no_command(world: World) -> None:
    process = world.clinder(*LOCAL, "--", *CHILD)
    line_with(process.stderr, "Launching server...")
    process.send_signal(signal.SIGTERM)
    result = world.finish(process)
    assert (result.code, result.out) == (143, "")
    assert "Running" not in result.err


@pytest.mark.posix
def test_if_the_session_is_gone_clinder_ends_the_command_and_its_children(world: World) -> None:
    """SIGTERM ends one command, but not its child; the other command must be killed."""
    commands = [[*CHILD, "child"], [*CHILD, "ignore"]]
    running = [start_driver(world, command, end=0.3, keep_alive=0.1) for command in commands]
    for process in running:
        line_with(process.stdout, "ready")
    world.kill_servers()
    ended, killed = [world.finish(process) for process in running]
    assert sorted(ended.out.split("\n")) == ["", "got SIGTERM", "got SIGTERM"]
    assert killed.out == "got SIGTERM\n"
    for result in (ended, killed):
        assert result.code == 10
        assert "clinder: The session is gone: nothing" in result.err
        assert "clinder: The session was already gone.\n" in result.err
        assert "clinder: The session is gone, so clinder ended the command.\n" in result.err
    until(lambda: not world.processes())


@pytest.mark.posix
def test_the_command_ends_if_the_hub_does_not_know_the_session_for_a_while(world: World) -> None:
    with ScriptedHub() as hub:
        url = hub.serve("x", Jupyter("s3cret"))
        hub.then(Answer(ready(url, "s3cret")))
        process = start_driver(world, CHILD, hub=hub.url, keep_alive=60.0, unknown=0.3)
        line_with(process.stdout, "ready")
        hub.serve("x", Jupyter("s3cret", before=(302,) * 1000))
        result = world.finish(process)
    assert (result.code, result.out) == (10, "got SIGTERM\n")
    assert "The session is gone: the hub does not know it. Ending the command.\n" in result.err
    assert "If the hub's proxy has just restarted, the session might keep running" in result.err


@pytest.mark.posix
def test_the_session_is_kept_alive_only_for_the_requested_time(world: World) -> None:
    """The server's last activity changes because of clinder's requests, until they end."""
    status = f"{shlex.join(CLINDER)} status -o json"
    command = ["sh", "-c", f"sleep 0.3; {status}; sleep 0.5; {status}"]
    runs = [(start_driver(world, command, keep_alive=each), each > 1) for each in (60.0, 0.01)]
    for process, changes in runs:
        lines = world.finish(process).out.splitlines()
        first, second = (json.loads(line)["last_activity"] for line in lines)
        assert (first != second) == changes


@pytest.mark.posix
def test_a_failed_stop_is_a_warning_with_the_command_that_stops_the_session(world: World) -> None:
    process = start_driver(world, CHILD, stop=0.5)
    line_with(process.stdout, "ready")
    (server,) = world.servers()
    server.suspend()
    process.send_signal(signal.SIGTERM)
    result = world.finish(process)
    assert result.code == 7, "the command's code"
    warning = re.search(r"Warning: .* Stop the session with: (.*)\n", result.err)
    assert warning
    server.resume()
    command = warning[1]
    assert command.startswith("clinder stop --session-file ")
    path = Path(shlex.split(command)[-1])
    world.parse_session(path.read_text())
    result = world.sh(f'clinder() {{ $CLINDER "$@"; }}; {command}')
    assert result.code == 0, result.err
    assert not path.exists()
    path.parent.rmdir()


SECRETS = {"PLAIN": "hunter2-s3cret"}
SHOWS = "import os; print(ascii([os.environ.get(name) for name in ('FROM_FILE', 'OTHER')]))"
SPAWNS = """
import json, os, subprocess, sys
clinder, code = json.loads(sys.argv[1]), sys.argv[2]
print(subprocess.run([*clinder, "exec", "-c", code], capture_output=True, text=True).stdout)
print([path for root, _, names in os.walk(os.environ["TMPDIR"]) for name in names
       if b"hunter2" in open(path := os.path.join(root, name), "rb").read()])
"""


@pytest.mark.posix
def test_every_kernel_receives_the_named_variables_and_nothing_shows_a_value(world: World) -> None:
    (world.directory / "v.env").write_text("FROM_FILE='hunter2 é'\n", encoding="utf-8")
    named = ["--env-file", "v.env", "--report", "report.json"]
    command = [sys.executable, "-c", SPAWNS, json.dumps(CLINDER), SHOWS]
    result = world.run(*LOCAL, *named, "--", *command)
    assert result.code == 0, result.err
    shown, _, files = result.out.strip().splitlines()
    assert (shown, files) == (ascii(["hunter2 é", None]), "[]")
    assert "Each kernel receives these variables: FROM_FILE." in result.err
    report = (world.directory / "report.json").read_text(encoding="utf-8")
    assert json.loads(report)["variables"] == ["FROM_FILE"]
    assert "hunter2 é" not in result.err + report


@pytest.mark.parametrize(
    ("arguments", "more", "message"),
    [
        (["--env", "MISSING"], {}, "The variable MISSING is not set"),
        (["--env", "PLAIN", "--no-gateway"], {}, "--env and --env-file need the gateway"),
        (["--env", "PLAIN", "--hub", "http://hub.example"], {}, "uses plain HTTP"),
        (["--env", "PLAIN"], {"GITHUB_REPOSITORY": "org/book"}, "would run the code of someone"),
    ],
)
def test_variables_that_must_not_leave_this_machine_cost_no_request(
    world: World, arguments: list[str], more: dict[str, str], message: str
) -> None:
    with ScriptedHub() as hub:
        hubs = [] if "--hub" in arguments else ["--hub", hub.url]
        command = ["run", "someone/else", *hubs, *arguments, "--", "true"]
        result = world.run(*command, env={**SECRETS, **more})
        assert (result.code, hub.requests) == (2, [])
    assert message in result.err
    assert "s3cret" not in result.err
