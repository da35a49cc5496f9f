"""start, status and stop: sessions with real servers, which leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from e2e.world import Result, World, line_with, until


def variables(session: dict[str, Any]) -> dict[str, str]:
    return {"JUPYTER_BASE_URL": session["url"], "JUPYTER_TOKEN": session["token"]}


def test_a_session_from_start_to_stop(world: World) -> None:
    session = world.start()
    assert session["uri"] == f"{session['url']}?token={session['token']}"
    assert {"launching", "readiness"} <= set(session["phases"])
    assert [attempt["outcome"] for attempt in session["attempts"]] == ["ready"]
    assert len(world.servers()) == 1

    env = variables(session)
    result = world.run("exec", "-c", "print(6 * 7)", env=env)
    assert (result.code, result.out, result.err) == (0, "42\n", "")

    result = world.run("status", env=env)
    assert result.code == 0
    status = dict(line.split(None, 1) for line in result.out.splitlines())
    assert status["url:"] == session["url"]
    assert status["state:"] == "running"
    assert status["kernels:"] == "0"
    assert status["started:"].startswith("20")
    assert status["last_activity:"].startswith("20")
    result = world.run("status", "-o", "json", env=env)
    status = json.loads(result.out)
    assert list(status) == ["url", "state", "kernels", "started", "last_activity"]
    assert (status["state"], status["kernels"]) == ("running", 0)

    result = world.run("stop", env=env)
    assert (result.code, result.out) == (0, "")
    assert result.err == f"clinder: The session at {session['url']} is stopped.\n"
    until(lambda: not world.servers())

    result = world.run("status", env=env)
    assert (result.code, result.out) == (10, "")
    assert result.err.startswith(f"clinder: The session at {session['url']} is gone: ")
    result = world.run("status", "-o", "json", env=env)
    assert result.code == 10
    assert json.loads(result.out)["state"] == "gone"
    result = world.run("stop", env=env)
    assert result.code == 0
    assert result.err == f"clinder: The session at {session['url']} was already gone.\n"
    assert world.run("exec", "-c", "1", env=env).code == 10


def test_two_sessions_are_independent_and_stop_continues_after_a_failure(world: World) -> None:
    starting = [world.clinder("start", "--hub", "local", "-o", "json", "-q") for _ in range(2)]
    results = [world.finish(process) for process in starting]
    assert [result.err for result in results] == ["", ""]
    one, other = (world.parse_session(result.out) for result in results)
    assert one["url"] != other["url"]
    assert len(world.servers()) == 2

    wrong = f"{one['url']}?token=wrong"
    for command in (["status", wrong], ["stop", wrong], ["exec", "--session", wrong, "-c", "1"]):
        result = world.run(*command)
        assert result.code == 9, command
        assert "token" in result.err
        assert len(world.servers()) == 2

    assert world.run("status", "-", stdin_text=f"\n{one['uri']}\n").code == 0
    assert world.run("exec", "--session", "-", "-c", "1", stdin_text=json.dumps(other)).code == 0
    lines = "\n".join([wrong, "nonsense", one["uri"], json.dumps(other)])
    result = world.run("stop", "-", stdin_text=lines)
    assert result.code == 9, "the first failure's code"
    assert result.err.count("is stopped") == 2
    until(lambda: not world.servers())


def test_a_session_file_keeps_its_session_until_the_session_is_gone(
    world: World,
) -> None:
    path = world.directory / "session.json"
    file = ["--session-file", str(path)]
    session = world.start(*file)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 or os.name != "posix"
    assert json.loads(path.read_text()) == session

    assert world.run("start", "--hub", "local", *file).code == 2
    assert json.loads(path.read_text()) == session
    assert len(world.servers()) == 1

    world.kill_servers()
    assert world.run("status", *file).code == 10
    assert world.run("exec", "--session", f"@{path}", "-c", "1").code == 10

    another = world.start(*file)
    assert json.loads(path.read_text()) == another
    result = world.run("stop", *file, "-q")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert not [*world.directory.iterdir()]

    path.write_text(json.dumps(session))
    path.chmod(0o600)
    result = world.run("stop", *file)
    assert result.code == 0
    assert "was already gone" in result.err
    assert not path.exists()


START = "$CLINDER start --hub local -q"
SCRIPTS = {
    "shell": f'eval "$({START} -o shell)" && $CLINDER status -o json && $CLINDER stop -q;'
    ' echo "$JUPYTER_BASE_URL"',
    "in a file": f"{START} --session-file it.json >&-; code=$?; test ! -e it.json && exit $code",
    "failed": f'set -e; eval "$({START} o/r --ref "" -o shell)"; echo continued',
    "failed safely": f'session=$({START} o/r --ref "" -o shell) || exit; echo continued',
    "trap": f'session=$({START} -o shell) || exit; eval "$session"; trap "$CLINDER stop -q" EXIT;'
    " $CLINDER status -o json; (exit 3); exit $?",
    "closed": f"{START} >&-",
    "unread": f"{{ {START}; echo $? >code; }} | :; exit $(cat code; rm code)",
    "full": f"{START} >/dev/full",
}

LOST_STDOUT = [("closed", "closed"), ("in a file", "closed"), ("unread", "Broken pipe")]
if Path("/dev/full").exists():  # macOS has none
    LOST_STDOUT.append(("full", "No space left on device"))


@pytest.fixture(scope="module")
def results(module_world: World) -> dict[str, Result]:
    """The results of shell scripts, all run at once to save time."""
    return module_world.scripts(SCRIPTS)


@pytest.mark.posix
def test_a_shell_can_evaluate_the_output(results: dict[str, Result]) -> None:
    result = results["shell"]
    assert (result.code, result.err) == (0, "")
    status, url = result.out.splitlines()
    assert json.loads(status)["url"] == url
    assert json.loads(status)["state"] == "running"


@pytest.mark.posix
def test_a_failed_launch_ends_a_script(results: dict[str, Result]) -> None:
    assert (results["failed"].code, results["failed"].out) == (1, "")
    assert (results["failed safely"].code, results["failed safely"].out) == (2, "")


@pytest.mark.posix
def test_a_trap_stops_the_session_and_keeps_the_exit_code(results: dict[str, Result]) -> None:
    assert (results["trap"].code, results["trap"].err) == (3, "")
    assert json.loads(results["trap"].out)["state"] == "running"


@pytest.mark.posix
@pytest.mark.parametrize(("name", "reason"), LOST_STDOUT)
def test_a_session_is_stopped_if_stdout_is_lost(
    results: dict[str, Result], name: str, reason: str
) -> None:
    result = results[name]
    assert result.code == 74
    message, hint = result.err.splitlines()
    assert message == (
        f"clinder: The output could not be written: {reason}."
        " clinder stopped the session, because nobody received its token."
    )
    assert hint.startswith("  what to do: ")


@pytest.mark.posix
def test_nothing_remains_of_a_cancelled_start(world: World) -> None:
    """Each signal, at once to save time."""
    codes = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 143}
    start = ["start", "--hub", "local", "--session-file"]
    starting = {name: world.clinder(*start, f"{name}.json") for name in codes}
    for name, process in starting.items():
        line_with(process.stderr, "Launching server...")
        process.send_signal(getattr(signal, name))
    for name, process in starting.items():
        result = world.finish(process)
        assert (result.code, result.out) == (codes[name], "")
        assert result.err.endswith(f"clinder: Cancelled by {name}.\n")
    until(lambda: not world.servers())
    assert not [*world.directory.iterdir()]
