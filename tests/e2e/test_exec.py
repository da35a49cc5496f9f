"""exec: code on a real kernel of a real session, which is removed afterwards."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from clinder._deadline import Deadline
from clinder.errors import ServerNotReady
from clinder.running.kernels import running_kernel
from clinder.session import Session
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Server
from e2e.world import Result, World, line_with, until
from proxies import Relay, read_head


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
    left = kernels(module_world)
    assert module_world.run("stop", "-q").code == 0
    assert left == 0


@pytest.fixture(autouse=True)
def _no_kernel_left(world: World) -> Iterator[None]:
    yield
    until(lambda: not world.processes("ipykernel") and not world.processes("sleep 60"))


def kernels(world: World) -> int:
    told: dict[str, Any] = json.loads(world.run("status", "-o", "json").out)
    count: int = told["kernels"]
    return count


CODE = {
    "streams": "import sys; print('out'); print('err', file=sys.stderr); 'a result'",
    "raises": "def f():\n    raise KeyError('\x1b[31mred')\nprint(1)\nf()",
    "asks": "input()",
    "large": "print('x' * 10_000_000)",
    "exits well": "import sys; print(1); sys.exit(0)",
    "exits": "import sys; sys.exit(3)",
    "many": "for i in range(500): print(i, flush=True)",
}


@pytest.fixture(scope="module")
def results(world: World) -> dict[str, Result]:
    """What comes of code that ends by itself, each on its kernel, at once to save time."""
    (world.directory / "code.py").write_text("print('\u2713')", encoding="utf-8")
    commands = {name: ["exec", "-c", code] for name, code in CODE.items()}
    commands["file"] = ["exec", "--kernel", "python3", "code.py"]
    commands["too long"] = ["exec", "--timeout", "4", "-c", "import time; time.sleep(60)"]
    return world.together(commands)


def test_output_goes_where_it_belongs(results: dict[str, Result]) -> None:
    assert results["streams"] == Result(0, "out\n'a result'\n", "err\n")


def test_code_from_a_file_on_a_named_kernel(results: dict[str, Result]) -> None:
    assert results["file"] == Result(0, "\u2713\n", "")


def test_code_from_standard_input(world: World) -> None:
    result = world.run("exec", "-", given="for i in range(2):\n  print(i)\n")
    assert result == Result(0, "0\n1\n", "")


def test_an_exception_comes_with_its_remote_traceback_and_without_colours(
    results: dict[str, Result],
) -> None:
    result = results["raises"]
    assert (result.code, result.out) == (1, "1\n")
    assert "KeyError" in result.err
    assert "in f()" in result.err
    assert "\x1b" not in result.err
    assert result.err.splitlines()[-2:] == [
        "clinder: The code raised KeyError on the session.",
        "  what to do: The traceback above is from the session's kernel.",
    ]


def test_code_may_not_ask_questions(results: dict[str, Result]) -> None:
    assert results["asks"].code == 1
    assert "StdinNotImplementedError" in results["asks"].err


def test_much_output_is_whole(results: dict[str, Result]) -> None:
    assert results["large"] == Result(0, "x" * 10_000_000 + "\n", "")
    assert results["many"] == Result(0, "".join(f"{each}\n" for each in range(500)), "")


def test_code_that_exits(results: dict[str, Result]) -> None:
    assert (results["exits well"].code, results["exits well"].out) == (0, "1\n")
    assert "SystemExit" not in results["exits well"].err
    assert results["exits"].code == 1
    assert "The code raised SystemExit on the session." in results["exits"].err


def test_code_that_ends_its_kernel(tmp_path: Path) -> None:
    """In a session of its own: a server that restarts a kernel may restart a deleted one."""
    own = World(tmp_path)
    session = own.start()
    named = {"JUPYTER_BASE_URL": session["url"], "JUPYTER_TOKEN": session["token"]}
    result = own.run("exec", "-c", "print(1); import os; os._exit(1)", env=named)
    assert own.run("stop", env=named).code == 0
    own.end()
    assert result.code == 1
    assert "the kernel died while it ran the code" in result.err


def test_code_that_takes_too_long(results: dict[str, Result]) -> None:
    assert results["too long"].code == 7
    told = results["too long"].err.splitlines()[0]
    assert told == "clinder: The code did not end within 4 s, so clinder shut its kernel down."


def test_kernels_are_removed_also_from_the_server(world: World, results: dict[str, Result]) -> None:
    assert {result.code for result in results.values()} == {0, 1, 7}
    until(lambda: kernels(world) == 0)


@pytest.mark.posix
def test_a_signal_ends_the_code(world: World) -> None:
    codes = {"SIGINT": 130, "SIGTERM": 143}
    code = "print(1); import time; time.sleep(60)"
    running = {name: world.clinder("exec", "-c", code) for name in codes}
    for process in running.values():
        line_with(process.stdout, "1")
    assert kernels(world) == 2
    for name, process in running.items():
        process.send_signal(getattr(signal, name))
        result = world.finish(process)
        assert (result.code, result.err) == (codes[name], f"clinder: Cancelled by {name}.\n")
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


def test_a_kernelspec_that_the_session_does_not_have(world: World) -> None:
    result = world.run("exec", "--kernel", "julia", "-c", "1")
    assert (result.code, result.out) == (3, "")
    assert "The session has no kernelspec 'julia', only: python3, silent." in result.err


class Breaking(Relay):
    """Breaks the answer to the start of a kernel, or does not even await it."""

    def __init__(self, to: str, *, answered: bool):
        super().__init__(to)
        self._answered = answered

    def serve(self, connection: socket.socket) -> None:
        head, body = read_head(connection)
        if not head.startswith("POST /") or "/api/sessions " not in head:
            self.pass_on(connection, head.encode() + body)
            return
        size = re.search(r"(?i)content-length: (\d+)", head)
        assert size is not None
        while len(body) < int(size[1]):
            body += connection.recv(65536)
        with socket.create_connection(self._to) as server:
            server.sendall(head.encode() + body)
            if self._answered:
                server.recv(65536)


@pytest.mark.parametrize("answered", [True, False])
def test_a_kernel_whose_answer_is_lost_is_not_left(world: World, answered: bool) -> None:
    """Nor is anybody else's removed: one that came at the same time is there afterwards."""
    url, token = world.variables["JUPYTER_BASE_URL"], world.variables["JUPYTER_TOKEN"]
    other = Server(Session(url, token), Transport()).start_kernel("", "another", Deadline(30))
    with Breaking(url, answered=answered) as relay:
        named = {"JUPYTER_BASE_URL": url.replace(urlsplit(url).netloc, f"127.0.0.1:{relay.port}")}
        result = world.run("exec", "-c", "1", env=named)
    server = Server(Session(url, token), Transport())
    left = server.status(Deadline(30)).kernels
    assert result.code == 6
    assert "The session's server is unreachable" in result.err
    assert left == 1
    assert server.delete_kernel(other, Deadline(30))


def test_a_kernel_that_never_answers(world: World) -> None:
    session = Session(world.variables["JUPYTER_BASE_URL"], world.variables["JUPYTER_TOKEN"])
    kernel = running_kernel(session, "silent", Deadline(30), ready_timeout=0.5)
    with pytest.raises(ServerNotReady, match=r"it did not answer within 0\.5 s") as raised, kernel:
        raise AssertionError("it is not usable")
    assert raised.value.exit_code == 8


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Pass the code exactly once"),
        (["-c", "1", "code.py"], "Pass the code exactly once"),
        (["notebook.ipynb"], "clinder exec runs plain code, not notebooks."),
        (["missing.py"], "The file missing.py cannot be read: No such file or directory."),
        (["-c", "1", "--session", "@missing.json"], "The session file missing.json cannot be"),
        (["-c", "1", "--session", "nonsense"], "This is not the HTTP(S) URL of a session."),
        (["-c", "1", "--timeout", "0"], "is not a number of seconds greater than 0"),
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


def test_output_that_a_server_drops_is_not_missing_without_a_word(world: World) -> None:
    """A Jupyter Server as it comes holds back what is more than 1 MB/s over 3 s."""
    token_file = world.root / "token"
    token_file.write_text("s3cret-of-a-plain-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = world.popen(
        [
            *(sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser"),
            *(f"--port={port}", "--ServerApp.port_retries=0", "--ServerApp.base_url=/user/me/"),
            f"--ServerApp.root_dir={world.directory}",
        ],
        env={"JUPYTER_TOKEN_FILE": str(token_file), "JUPYTER_TOKEN": "", "JUPYTER_BASE_URL": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    named = {
        "JUPYTER_BASE_URL": f"http://127.0.0.1:{port}/user/me/",
        "JUPYTER_TOKEN": token_file.read_text(),
    }
    until(lambda: world.run("status", env=named).code == 0, 60)

    result = world.run("exec", "-c", "print('x' * 10_000_000)", env=named)

    assert result.code == 6
    assert "IOPub data rate exceeded." in result.err
    assert "The session's server dropped some of the output" in result.err
    assert world.run("stop", env=named).code == 0
    server.wait(30)
