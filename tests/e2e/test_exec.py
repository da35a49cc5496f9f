"""exec: code on a real kernel of a real session, which is shut down afterwards."""

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
from clinder.session import Session
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Server
from e2e.world import Result, World, line_with, until
from proxies import Relay, read_head


@pytest.fixture(scope="module")
def world(module_world: World) -> Iterator[World]:
    """A world with one session, whose kernels must all be gone at the end."""
    session = module_world.start()
    module_world.variables |= variables(session)
    yield module_world
    remaining = kernels(module_world)
    assert module_world.run("stop", "-q").code == 0
    assert remaining == 0


@pytest.fixture(autouse=True)
def _no_kernel_remains(world: World) -> Iterator[None]:
    yield
    until(lambda: not world.processes("ipykernel"))


def variables(session: dict[str, Any]) -> dict[str, str]:
    return {"JUPYTER_BASE_URL": session["url"], "JUPYTER_TOKEN": session["token"]}


def kernels(world: World) -> int:
    count: int = json.loads(world.run("status", "-o", "json").out)["kernels"]
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
    """The results of code that ends on its own, all run at once to save time."""
    (world.directory / "code.py").write_text("print('\u2713')", encoding="utf-8")
    commands = {name: ["exec", "-c", code] for name, code in CODE.items()}
    commands["file"] = ["exec", "--kernel", "python3", "code.py"]
    commands["no kernelspec"] = ["exec", "--kernel", "julia", "-c", "1"]
    commands["too long"] = ["exec", "--timeout", "4", "-c", "import time; time.sleep(60)"]
    return world.together(commands)


def test_stdout_and_stderr_stay_separate(results: dict[str, Result]) -> None:
    assert results["streams"] == Result(0, "out\n'a result'\n", "err\n")


def test_code_from_a_file_runs_on_the_chosen_kernelspec(results: dict[str, Result]) -> None:
    assert results["file"] == Result(0, "\u2713\n", "")


def test_code_from_standard_input_runs(world: World) -> None:
    result = world.run("exec", "-", stdin_text="for i in range(2):\n  print(i)\n")
    assert result == Result(0, "0\n1\n", "")


def test_an_exception_shows_the_remote_traceback_without_colours(
    results: dict[str, Result],
) -> None:
    result = results["raises"]
    assert (result.code, result.out) == (1, "1\n")
    assert "KeyError" in result.err
    assert "in f()" in result.err
    assert "\x1b" not in result.err
    assert result.err.splitlines()[-2:] == [
        "clinder: The code raised KeyError in the session.",
        "  what to do: The traceback above is from the session's kernel.",
    ]


def test_code_cannot_read_input(results: dict[str, Result]) -> None:
    assert results["asks"].code == 1
    assert "StdinNotImplementedError" in results["asks"].err


def test_large_output_is_complete(results: dict[str, Result]) -> None:
    assert results["large"] == Result(0, "x" * 10_000_000 + "\n", "")
    assert results["many"] == Result(0, "".join(f"{each}\n" for each in range(500)), "")


def test_only_a_clean_exit_succeeds(results: dict[str, Result]) -> None:
    assert (results["exits well"].code, results["exits well"].out) == (0, "1\n")
    assert "SystemExit" not in results["exits well"].err
    assert results["exits"].code == 1
    assert "The code raised SystemExit in the session." in results["exits"].err


def test_code_that_kills_its_kernel_fails(tmp_path: Path) -> None:
    """In a session of its own, because a server might restart a kernel that was deleted."""
    own = World(tmp_path)
    environ = variables(own.start())
    result = own.run("exec", "-c", "print(1); import os; os._exit(1)", env=environ)
    assert own.run("stop", env=environ).code == 0
    own.end()
    assert result.code == 1
    assert "the kernel died while it ran the code" in result.err


def test_code_that_takes_too_long_is_ended(results: dict[str, Result]) -> None:
    assert results["too long"].code == 7
    message = results["too long"].err.splitlines()[0]
    assert message == "clinder: The code did not end within 4 s, so clinder shut its kernel down."


def test_a_missing_kernelspec_is_an_error_that_lists_the_others(results: dict[str, Result]) -> None:
    result = results["no kernelspec"]
    assert (result.code, result.out) == (3, "")
    assert "no kernelspec 'julia'" in result.err
    assert "python3" in result.err


@pytest.mark.posix
def test_a_signal_ends_the_code_and_its_kernel(world: World) -> None:
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


def test_a_closed_stdout_ends_the_code(world: World) -> None:
    code = "import time\nfor _ in range(600): print(1); time.sleep(0.1)"
    running = world.clinder("exec", "-c", code)
    line_with(running.stdout, "1")
    assert running.stdout
    running.stdout.close()
    running.stdout = None
    result = world.finish(running)
    assert result.code == 74
    assert result.err.startswith("clinder: The output could not be written: ")


@pytest.mark.posix
def test_output_to_a_closed_stderr_does_not_appear_on_stdout(world: World) -> None:
    result = world.sh("$CLINDER exec -c 'import sys; print(1); print(2, file=sys.stderr)' 2>&-")
    assert (result.code, result.out) == (0, "1\n")


class DroppingRelay(Relay):
    """Drops the connection that starts a kernel, before the server's response."""

    def serve(self, connection: socket.socket) -> None:
        head, body = read_head(connection)
        if not head.startswith("POST /") or "/api/sessions " not in head:
            self.forward(connection, head.encode() + body)
            return
        size = re.search(r"(?i)content-length: (\d+)", head)
        assert size is not None
        while len(body) < int(size[1]):
            body += connection.recv(65536)
        with socket.create_connection(self._to) as server:
            server.sendall(head.encode() + body)


def test_a_kernel_is_shut_down_even_if_the_response_to_its_start_is_lost(world: World) -> None:
    """A kernel that another client starts at the same time keeps running."""
    url, token = world.variables["JUPYTER_BASE_URL"], world.variables["JUPYTER_TOKEN"]
    other = Server(Session(url, token), Transport()).start_kernel("", "another", Deadline(30))
    with DroppingRelay(url) as relay:
        address = url.replace(urlsplit(url).netloc, f"127.0.0.1:{relay.port}")
        result = world.run("exec", "-c", "1", env={"JUPYTER_BASE_URL": address})
    server = Server(Session(url, token), Transport())
    remaining = server.status(Deadline(30)).kernels
    assert result.code == 6
    assert "The session's server is unreachable" in result.err
    assert remaining == 1
    assert server.delete_kernel(other, Deadline(30))


def test_code_must_be_text(world: World) -> None:
    path = world.directory / "bytes"
    path.write_bytes(b"\xff\xfe")
    result = world.run("exec", "bytes")
    assert result.code == 2
    assert "The file bytes cannot be read: it is not UTF-8 text." in result.err
    with path.open() as file:
        strict = {"PYTHONIOENCODING": "utf-8:strict"}
        result = world.run("exec", "-", stdin=file, env=strict)
    assert result.code == 2
    assert "Standard input cannot be read: it is not UTF-8 text." in result.err


def test_output_that_the_server_drops_is_an_error(world: World) -> None:
    """By default, a Jupyter Server drops output that exceeds 1 MB/s over 3 s."""
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
    environ = variables(
        {"url": f"http://127.0.0.1:{port}/user/me/", "token": token_file.read_text()}
    )
    until(lambda: world.run("status", env=environ).code == 0, 60)

    result = world.run("exec", "-c", "print('x' * 10_000_000)", env=environ)

    assert result.code == 6
    assert "IOPub data rate exceeded." in result.err
    assert "The session's server dropped some of the output" in result.err
    assert world.run("stop", env=environ).code == 0
    server.wait(60)


SECRETS = {
    "PLAIN": "hunter2-s3cret",
    "QUOTES": 'it\'s "quoted" `here` \\ and $HOME $(id)',
    "LINES": "one-s3cret\ntwo\r\n\tthree",
    "UTF8": "é 漢字 😀 s3cret",
}
SHOWS = """
import os
ip = get_ipython()
names = ("PLAIN", "QUOTES", "LINES", "UTF8", "FROM_FILE", "NOT_NAMED")
print(ascii([os.environ.get(name) for name in names]))
remembered = [ip.user_ns["In"], ip.user_ns["_oh"], *ip.history_manager.get_range(raw=True)]
print("s3cret" in str(remembered), "environ.update" in str(remembered))
"""


def test_a_kernel_receives_the_named_variables_and_does_not_remember_how(world: World) -> None:
    (world.directory / "vars.env").write_text("# a comment\nFROM_FILE='a b'\nUTF8\n", "utf-8")
    named = [f"--env={name}" for name in ("PLAIN", "QUOTES", "LINES")]
    result = world.run(
        *["exec", *named, "--env-file", "vars.env", "-c", SHOWS],
        env={**SECRETS, "NOT_NAMED": "x"},
    )
    expected = ascii([*SECRETS.values(), "a b", None])
    assert (result.code, result.err) == (0, "")
    assert result.out == f"{expected}\nFalse False\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "MISSING"], "The variable MISSING is not set"),
        (["--env", "PLAIN=hunter2-s3cret"], "'PLAIN' is not the name of a variable"),
        (["--env-file", "missing.env"], "'missing.env' does not exist"),
        (["http://hub.example/user/x/?token=t", "--env", "PLAIN"], "uses plain HTTP"),
    ],
)
def test_variables_that_cannot_be_passed_on_are_a_usage_error(
    world: World, arguments: list[str], message: str
) -> None:
    result = world.run("exec", *arguments, "-c", "1", env=SECRETS)
    assert result.code == 2
    assert message in result.err
    assert "s3cret" not in result.err
