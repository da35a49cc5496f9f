"""One kernel's websocket, against a loopback server that says what it is told to."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler

from clinder._version import USER_AGENT
from clinder.deadline import Deadline
from clinder.errors import Cancelled, TimedOut
from clinder.session import Session
from clinder.wire import kernel as wire
from clinder.wire.failure import TransportError
from clinder.wire.kernel import Kernel, KernelDied, Output, Raised

TOKEN = "secret-token"
Message = dict[str, Any]


def message(kind: str, content: object, parent: str) -> str:
    return json.dumps(
        {"header": {"msg_type": kind}, "parent_header": {"msg_id": parent}, "content": content}
    )


def status(state: str, parent: str) -> str:
    return message("status", {"execution_state": state}, parent)


def info(parent: str) -> str:
    return message("kernel_info_reply", {"status": "ok"}, parent)


def reply(parent: str) -> str:
    return message("execute_reply", {"status": "ok"}, parent)


def stream(text: str, parent: str, name: str = "stdout") -> str:
    return message("stream", {"name": name, "text": text}, parent)


@dataclass
class Server:
    """Answers each request with what ``answers`` makes of its ``msg_id``; ``None`` closes."""

    answers: Callable[[str], list[str | bytes | None]]
    refuse: int = 0
    opens_after: float = 0.0
    location: str = ""
    url: str = ""
    requests: list[Message] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def session(self) -> Session:
        return Session(self.url, TOKEN)


class Channels(WebSocketHandler):
    def initialize(self, server: Server) -> None:
        self.server = server

    async def prepare(self) -> None:
        self.server.paths.append(self.request.uri or "")
        self.server.headers.append(dict(self.request.headers.get_all()))
        await asyncio.sleep(self.server.opens_after)
        if self.server.refuse:
            self.set_status(self.server.refuse)
            if self.server.location:
                self.set_header("Location", self.server.location)
            self.finish()

    def on_message(self, text: str | bytes) -> None:
        request = json.loads(text)
        self.server.requests.append(request)
        for answer in self.server.answers(request["header"]["msg_id"]):
            if answer is None:
                self.close()
                return
            self.write_message(answer, binary=isinstance(answer, bytes))


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Serve in a thread until the context is left."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        sockets = bind_sockets(0, "127.0.0.1")
        http = HTTPServer(Application([(r"/user/x/api/.*", Channels, {"server": server})]))
        http.add_sockets(sockets)
        server.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/user/x/"
        ended = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), ended))
        await ended.wait()
        http.stop()
        await http.close_all_connections()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    loop, ended = started.result(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


def executed(*answers: Callable[[str], str | bytes | None]) -> list[Output | Raised]:
    """Run code on a kernel that gives these answers to it, and return what comes of it."""
    with serving(Server(lambda parent: [make(parent) for make in answers])) as server:
        deadline = Deadline(10)
        with Kernel(server.session, "k", deadline=deadline) as kernel:
            return [*kernel.execute("code", deadline)]


def opened(server: Server, deadline: Deadline | None = None) -> None:
    """Open a kernel and wait until it is ready."""
    with serving(server):
        deadline = deadline or Deadline(10)
        with Kernel(server.session, "k", deadline=deadline) as kernel:
            kernel.wait_until_ready(deadline)


def idle(parent: str) -> str:
    return status("idle", parent)


def test_the_token_is_in_a_header_and_nowhere_else() -> None:
    server = Server(lambda parent: [info(parent)])
    with serving(server), Kernel(server.session, "a/b?c", deadline=Deadline(10)) as kernel:
        kernel.wait_until_ready(Deadline(10))
    (path,), (headers,), (request,) = server.paths, server.headers, server.requests
    assert path.startswith("/user/x/api/kernels/a%2Fb%3Fc/channels?session_id=")
    assert headers["Authorization"] == f"token {TOKEN}"
    assert headers["User-Agent"] == USER_AGENT
    assert "Origin" not in headers
    assert TOKEN not in path + json.dumps(request)


def test_a_kernel_is_ready_when_it_has_answered_us() -> None:
    opened(
        Server(lambda parent: [info("another's"), status("starting", ""), b"\0\1", info(parent)])
    )


def test_a_kernel_may_take_longer_than_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server opens the websocket only once its kernel answers."""
    monkeypatch.setattr(wire, "CONNECT", 0.1)
    opened(Server(lambda parent: [info(parent)], opens_after=0.4))


@pytest.mark.parametrize("state", ["restarting", "dead"])
def test_a_kernel_that_dies_while_it_starts(state: str) -> None:
    with pytest.raises(KernelDied, match="while it started"):
        opened(Server(lambda parent: [status(state, "")]))


@pytest.mark.parametrize("refuse", [404, 500])
def test_a_kernel_that_is_gone_before_its_websocket_opens(refuse: int) -> None:
    with pytest.raises(KernelDied, match="while it started"):
        opened(Server(lambda _: [], refuse=refuse))


@pytest.mark.parametrize(
    ("refuse", "words"), [(302, "no connection"), (403, "answered 403"), (503, "answered 503")]
)
def test_a_refused_websocket(refuse: int, words: str) -> None:
    server = Server(lambda _: [], refuse=refuse, location="/elsewhere")
    with pytest.raises(TransportError) as raised:
        opened(server)
    assert words in raised.value.what
    assert TOKEN not in raised.value.what
    assert len(server.paths) == 1, "a redirect is not followed"


def test_nothing_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        session = Session(f"http://127.0.0.1:{bound.getsockname()[1]}/", TOKEN)
        with pytest.raises(TransportError, match="no connection"):
            Kernel(session, "k", deadline=Deadline(10))


@pytest.mark.parametrize("junk", ["no JSON", "[]", "null", "[" * 100_000])
def test_what_is_no_message(junk: str) -> None:
    with pytest.raises(TransportError, match="is no message"):
        opened(Server(lambda _: [junk]))


@pytest.mark.parametrize(
    "odd", [{}, {"header": 1}, {"header": {"msg_type": "status"}, "content": []}]
)
def test_a_message_without_what_messages_have_is_passed_over(odd: Message) -> None:
    opened(Server(lambda parent: [json.dumps(odd), info(parent)]))


def test_a_silent_kernel_is_bounded_by_the_deadline() -> None:
    with pytest.raises(TimedOut):
        opened(Server(lambda _: []), Deadline(0.3))


def test_a_handshake_that_does_not_come_is_bounded_by_the_deadline() -> None:
    with pytest.raises(TimedOut):
        opened(Server(lambda _: [], opens_after=1.0), Deadline(0.3))


def test_waiting_for_a_kernel_is_ended_by_the_event() -> None:
    cancel = threading.Event()

    def answers(_: str) -> list[str | bytes | None]:
        cancel.set()
        return []

    with pytest.raises(Cancelled):
        opened(Server(answers), Deadline(10, cancel=cancel))


def test_output_in_its_order_and_only_ours() -> None:
    result = executed(
        lambda parent: status("busy", parent),
        lambda _: stream("another's", "another"),
        lambda parent: stream("one\n", parent),
        lambda parent: stream("two\n", parent, "stderr"),
        lambda parent: message("execute_result", {"data": {"text/plain": "3"}}, parent),
        lambda parent: message("display_data", {"data": {"text/html": "<b>"}}, parent),
        lambda parent: message("display_data", {"data": {"text/plain": "4"}}, parent),
        lambda parent: message("display_data", {}, parent),
        reply,
        idle,
    )
    assert result == [
        Output("stdout", "one\n"),
        Output("stderr", "two\n"),
        Output("stdout", "3\n"),
        Output("stdout", "4\n"),
    ]


def test_what_comes_after_the_reply_and_before_idle_is_not_lost() -> None:
    assert executed(reply, lambda parent: stream("late", parent), idle) == [
        Output("stdout", "late")
    ]
    assert executed(idle, reply) == []


def test_an_exception() -> None:
    raised = {"ename": "E", "evalue": "v", "traceback": ["a", "b"]}
    assert executed(lambda parent: message("error", raised, parent), idle, reply) == [
        Raised("E", "v", ("a", "b"))
    ]
    assert executed(lambda parent: message("error", {}, parent), idle, reply) == [
        Raised("", "", ())
    ]


def test_a_message_of_ten_megabytes_is_whole() -> None:
    (output,) = executed(lambda parent: stream("x" * 10_000_000, parent), idle, reply)
    assert isinstance(output, Output)
    assert output.text == "x" * 10_000_000


@pytest.mark.parametrize("state", ["restarting", "dead"])
def test_a_kernel_that_dies_while_it_runs_the_code(state: str) -> None:
    with pytest.raises(KernelDied, match="while it ran the code"):
        executed(lambda parent: status("busy", parent), lambda _: status(state, ""))


def test_a_connection_that_is_closed_while_code_runs() -> None:
    with pytest.raises(TransportError):
        executed(lambda parent: stream("1", parent), lambda _: None)


@pytest.mark.parametrize(
    ("output", "lost"),
    [
        (Output("stderr", "IOPub data rate exceeded.\nThe Jupyter server will stop"), True),
        (Output("stderr", "\nIOPub message rate exceeded.\nThe Jupyter server"), True),
        (Output("stdout", "IOPub data rate exceeded.\n"), False),
        (Output("stderr", "no: IOPub data rate exceeded.\n"), False),
    ],
)
def test_the_servers_word_that_output_was_dropped(output: Output, lost: bool) -> None:
    assert output.tells_of_loss is lost
