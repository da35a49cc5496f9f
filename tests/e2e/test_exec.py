"""exec: code on a real kernel of a real session, which is removed afterwards."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clinder.deadline import Deadline
from clinder.errors import ServerNotReady
from clinder.policy.kernels import running_kernel
from clinder.session import Session
from clinder.wire.transport import Transport
from e2e.world import World, line_with, until


@pytest.fixture(scope="module")
def world(module_world: World) -> Iterator[World]:
    """A world with one session, which has a kernelspec of a kernel that never answers."""
    spec = module_world.root / "jupyter" / "kernels" / "silent"
    spec.mkdir(parents=True)
    described = {
        "argv": ["sh", "-c", "exec sleep 60", "{connection_file}"],
        "display_name": "silent",
        "language": "python",
    }
    (spec / "kernel.json").write_text(json.dumps(described))
    module_world.variables["JUPYTER_PATH"] = str(spec.parent.parent)
    session = module_world.start()
    module_world.variables |= {
        "JUPYTER_BASE_URL": session["url"],
        "JUPYTER_TOKEN": session["token"],
    }
    yield module_world
    assert kernels(module_world) == 0
    assert module_world.run("stop", "-q").code == 0


@pytest.fixture(autouse=True)
def _no_kernel_left(world: World) -> Iterator[None]:
    yield
    until(lambda: not world.processes("ipykernel") and not world.processes("sleep 60"))


def kernels(world: World) -> int:
    told: dict[str, Any] = json.loads(world.run("status", "-o", "json").out)
    count: int = told["kernels"]
    return count


def test_output_goes_where_it_belongs(world: World) -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); 'a result'"
    result = world.run("exec", "-c", code)
    assert (result.code, result.out, result.err) == (0, "out\n'a result'\n", "err\n")


def test_code_from_a_file(world: World) -> None:
    (world.directory / "code.py").write_text("print('\u2713')", encoding="utf-8")
    result = world.run("exec", "code.py")
    assert (result.code, result.out, result.err) == (0, "\u2713\n", "")


def test_code_from_standard_input_for_a_named_kernel(world: World) -> None:
    result = world.run("exec", "--kernel", "python3", "-", given="for i in range(2):\n  print(i)\n")
    assert (result.code, result.out, result.err) == (0, "0\n1\n", "")


def test_an_exception_comes_with_its_remote_traceback_and_without_colours(world: World) -> None:
    code = "def f():\n    raise KeyError('\x1b[31mred')\nprint(1)\nf()"
    result = world.run("exec", "-c", code)
    assert (result.code, result.out) == (1, "1\n")
    assert "KeyError" in result.err
    assert "in f()" in result.err
    assert "\x1b" not in result.err
    assert result.err.splitlines()[-2:] == [
        "clinder: The code raised KeyError on the session.",
        "  what to do: The traceback above is from the session's kernel.",
    ]


def test_code_that_ends_its_kernel(world: World) -> None:
    result = world.run("exec", "-c", "print(1); import os; os._exit(1)")
    assert result.code == 1
    assert "the kernel died while it ran the code" in result.err
    until(lambda: kernels(world) == 0)


def test_code_that_takes_too_long(world: World) -> None:
    result = world.run("exec", "-c", "import time; time.sleep(60)", "--timeout", "2")
    assert result.code == 7
    assert "clinder: The code did not end within 2 s, so its kernel was removed." in result.err
    assert kernels(world) == 0


def test_code_may_not_ask_questions(world: World) -> None:
    result = world.run("exec", "-c", "input()")
    assert result.code == 1
    assert "StdinNotImplementedError" in result.err


@pytest.mark.posix
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_the_code(world: World, name: str, code: int) -> None:
    running = world.clinder("exec", "-c", "print(1); import time; time.sleep(60)")
    line_with(running.stdout, "1")
    assert kernels(world) == 1
    running.send_signal(getattr(signal, name))
    result = world.finish(running)
    assert (result.code, result.err) == (code, f"clinder: Cancelled by {name}.\n")
    assert kernels(world) == 0


def test_a_reader_that_goes_away_ends_the_code(world: World) -> None:
    code = "import time\nfor _ in range(600): print(1); time.sleep(0.1)"
    running = world.clinder("exec", "-c", code)
    line_with(running.stdout, "1")
    assert running.stdout
    running.stdout.close()
    running.stdout = None
    result = world.finish(running)
    assert result.code == 2
    assert result.err.startswith("clinder: The output could not be written: ")


@pytest.mark.posix
def test_what_goes_to_a_closed_stderr_does_not_come_to_stdout(world: World) -> None:
    result = world.sh("$CLINDER exec -c 'import sys; print(1); print(2, file=sys.stderr)' 2>&-")
    assert (result.code, result.out) == (0, "1\n")


def test_large_output_is_whole(world: World) -> None:
    """As much as a Jupyter Server lets pass: it holds back what is more than 1 MB/s over 3 s."""
    result = world.run("exec", "-c", "print('x' * 2_500_000)")
    assert (result.code, result.err) == (0, "")
    assert result.out == "x" * 2_500_000 + "\n"


def test_output_that_the_server_holds_back_is_not_missing_without_a_word(world: World) -> None:
    result = world.run("exec", "-c", "print('x' * 10_000_000)")
    assert "IOPub data rate exceeded" in result.err or len(result.out) == 10_000_001


def test_a_kernelspec_that_the_session_does_not_have(world: World) -> None:
    result = world.run("exec", "--kernel", "julia", "-c", "1")
    assert (result.code, result.out) == (3, "")
    assert "The session has no kernelspec 'julia', only: python3, silent." in result.err


def test_a_kernel_that_never_answers(world: World) -> None:
    session = Session(world.variables["JUPYTER_BASE_URL"], world.variables["JUPYTER_TOKEN"])
    kernel = running_kernel(
        session, "silent", Deadline(30), transport=Transport(), ready_within=0.5
    )
    with pytest.raises(ServerNotReady, match=r"it did not answer within 0\.5 s") as raised, kernel:
        raise AssertionError("it is not usable")
    assert raised.value.exit_code == 8


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Give the code once"),
        (["-c", "1", "code.py"], "Give the code once"),
        (["notebook.ipynb"], "clinder exec runs plain code, not notebooks."),
        (["missing.py"], "The file missing.py cannot be read: No such file or directory."),
        (["-c", "1", "--session", "@missing.json"], "The session file missing.json cannot be"),
        (["-c", "1", "--session", "nonsense"], "This is not the http(s) URL of a session."),
        (["-c", "1", "--timeout", "0"], "is not a number of seconds more than 0"),
    ],
)
def test_what_cannot_be_run(world: World, arguments: list[str], words: str) -> None:
    result = world.run("exec", *arguments)
    assert (result.code, result.out) == (2, "")
    assert words in result.err


def test_code_that_is_no_text(world: World) -> None:
    Path(world.directory / "bytes").write_bytes(b"\xff\xfe")
    result = world.run("exec", "bytes")
    assert result.code == 2
    assert "The file bytes cannot be read: it is not UTF-8 text." in result.err
    with (world.directory / "bytes").open() as file:
        for command in (["exec", "-"], ["stop", "-"]):
            file.seek(0)
            strict = {"PYTHONIOENCODING": "utf-8:strict"}
            result = world.run(*command, stdin=file, env=strict)
            assert result.code == 2
            assert "Standard input cannot be read: it is not text." in result.err
