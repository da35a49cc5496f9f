"""What is wrong ends in one clear message and the right code, whatever is asked of it."""

from __future__ import annotations

import shlex
import signal
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from answers import Answer, event, json_page
from e2e.world import CLINDER, World, line_with
from hubs import Jupyter, ScriptedHub


class Page(BaseHTTPRequestHandler):
    """A web page that is there whatever is asked for, as a hub's is."""

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        body = b"<html><title>Welcome</title></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def closed() -> Iterator[str]:
    """An address where nothing listens, kept by us so that nothing will."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def check(world: World, url: str, expected: dict[str, tuple[int, str]]) -> None:
    """Run all commands at once against a URL: each has its code, and words in its last line."""
    session = f"{url}/user/x/?token=secret-token"
    results = world.together(
        {
            "start": ["start", "o/r", "--attempts", "1", "--hub", url],
            "run": ["run", "o/r", "--attempts", "1", "--hub", url, "--", "echo", "begun"],
            "status": ["status", "--timeout", "2", session],
            "stop": ["stop", "--timeout", "2", session],
            "exec": ["exec", "-c", "1", "--timeout", "20", "--session", session],
        }
    )
    for name, (code, words) in expected.items():
        result = results[name]
        told = [line for line in result.err.splitlines() if line.startswith("clinder: ")]
        assert (result.code, result.out) == (code, ""), result.err
        assert words in told[-1]
        assert "secret-token" not in result.err


def test_a_web_page_is_no_hub_and_no_server(world: World, page: str) -> None:
    expected = {
        "start": (6, "BinderHub"),
        "run": (6, "BinderHub"),
        "status": (6, "it answered 200, which no Jupyter Server does"),
        "stop": (9, "it answered 200, which no Jupyter Server does"),
        "exec": (6, "answered 200"),
    }
    check(world, f"http://{page}", expected)


def test_an_address_where_nothing_listens(world: World, closed: str) -> None:
    expected = {
        "start": (6, "connection refused"),
        "run": (6, "connection refused"),
        "status": (10, "is gone: nothing listens at its address"),
        "stop": (0, "was already gone"),
        "exec": (10, "is gone: nothing listens at its address"),
    }
    check(world, f"http://{closed}", expected)


def test_a_name_that_does_not_resolve(world: World) -> None:
    words = "its name does not resolve"
    codes = {"start": 6, "run": 6, "status": 6, "stop": 9, "exec": 6}
    check(
        world,
        "http://no-such-host.invalid",
        {name: (code, words) for name, code in codes.items()},
    )


def test_https_asked_of_a_port_that_speaks_http(world: World, page: str) -> None:
    words = "it does not use TLS, which https requires"
    codes = {"start": 6, "run": 6, "status": 6, "stop": 9, "exec": 6}
    check(world, f"https://{page}", {name: (code, words) for name, code in codes.items()})


@pytest.mark.parametrize("command", ["status", "stop"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["http://127.0.0.1:1/user/x/?token="], "The session has no token."),
        (["http://127.0.0.1:1/user/x/"], "The session has no token."),
        (["ftp://h/?token=secret-token"], "This is not the HTTP(S) URL of a session."),
        ([""], "session"),
        (["-"], "Standard input contains no session."),
        ([], "JUPYTER_BASE_URL and JUPYTER_TOKEN are not both set."),
    ],
)
def test_no_session_is_named(world: World, command: str, arguments: list[str], words: str) -> None:
    result = world.run(command, *arguments, env={"JUPYTER_BASE_URL": "http://127.0.0.1:1/"})
    assert (result.code, result.out) == (2, "")
    assert words in result.err
    assert "secret-token" not in result.err


@pytest.mark.posix
@pytest.mark.parametrize(("command", "sessions"), [("status", "x"), ("stop", "xy")])
def test_who_asks_for_an_answer_can_leave_before_it_is_clear(
    world: World, command: str, sessions: str
) -> None:
    with ScriptedHub(pages={"/user/x/api/status": json_page(503, {})}) as hub:
        uris = [f"{hub.url}user/{name}/?token=secret-token" for name in sessions]
        process = world.clinder(command, *uris)
        line_with(process.stderr, "it answered 503; checking again for up to ")
        process.send_signal(signal.SIGINT)
        result = world.finish(process)
        asked = {each.path for each in hub.requests}
    assert (result.code, result.out) == (130, "")
    assert result.err.startswith("clinder: Cancelled by SIGINT.")
    assert asked == {"/user/x/api/status"}


def test_code_that_does_not_end_on_a_server_that_answers_no_more(world: World) -> None:
    never = threading.Event()
    servers = {"x": Jupyter("secret-token")}
    with ScriptedHub(servers=servers, pages={"/user/x/api/kernels/k1": Answer((never,))}) as hub:
        uri = f"{hub.url}user/x/?token=secret-token"
        result = world.run("exec", "-c", "1", "--timeout", "1", "--session", uri)
    assert (result.code, result.out) == (7, "")
    assert "The code did not end within 1 s. Its kernel might still be running" in result.err
    assert "`clinder stop` stops the session and everything that runs in it." in result.err


@pytest.mark.posix
def test_a_second_signal_needs_no_stderr(world: World) -> None:
    """The launch is told to end, and cannot before the server that comes up."""
    never = threading.Event()
    launching = event(phase="launching", message="Launching server...\n")
    with ScriptedHub(Answer((launching, never))) as hub:
        exec_it = f"exec {shlex.join([*CLINDER, 'start', 'o/r', '--hub', hub.url])} 2>&-"
        process = world.popen(["sh", "-c", exec_it], start_new_session=True)
        hub.awaited("GET", "build/gh/o/r/HEAD")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert world.finish(process).code in (130, 143)
        never.set()


@pytest.mark.posix
def test_standard_input_that_is_no_text(world: World) -> None:
    strict = {"PYTHONIOENCODING": "utf-8:strict"}
    with (world.root / "binary").open("w+b") as file:
        file.write(b"\xff\xfe")
        file.seek(0)
        result = world.run("stop", "-", stdin=file, env=strict)
    assert (result.code, result.out) == (2, "")
    assert "clinder: Standard input cannot be read: it is not text.\n" in result.err


@pytest.mark.posix
def test_nothing_needs_a_stderr(world: World) -> None:
    assert world.sh("$CLINDER status http://127.0.0.1:1/user/x/?token=t 2>&-").code == 10
    assert world.sh("$CLINDER nonsense 2>&-").code == 2
    result = world.sh("$CLINDER --version 2>&- <&-")
    assert (result.code, result.out[:8]) == (0, "clinder ")
