"""A Jupyter Server of which only the kernels are there, and say what they are told to.

with serving(Server(lambda parent: [info(parent)])) as server:
    ...  # open a kernel of server.session
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from clinder.session import Session

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
    """Answers each request with what ``answers`` makes of its ``msg_id``; ``None`` closes.

    Then it writes the bytes ``head``, and ``piece`` again and again, telling ``wrote`` of each; it
    reads on after ``reads_after`` seconds. ``starts`` is called when it is to start a kernel, whose
    id it tells after ``starts_after`` seconds, or breaks the connection in place of it; it lists
    that, after another's, when it was asked ``listed_after`` times without. ``removing`` is called
    when it is to remove it, which takes ``removes_after`` seconds. ``looks`` are its answers about
    that kernel, one after another, status and body; the websocket opens once they are all given.
    """

    answers: Callable[[str], list[str | bytes | None]]
    refuse: int = 0
    opens_after: float = 0.0
    location: str = ""
    head: bytes = b""
    piece: bytes = b""
    wrote: Callable[[], None] = lambda: None
    reads_after: float = 0.0
    starts: Callable[[], None] = lambda: None
    starts_after: float = 0.0
    breaks: bool = False
    listed_after: int = 0
    listed: list[Message] = field(
        default_factory=lambda: [{"path": "another", "kernel": {"id": "another"}}]
    )
    removes: bool = True
    removes_after: float = 0.0
    removing: Callable[[], None] = lambda: None
    looks: list[tuple[int, str]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    looked: tuple[int, str] = (200, '{"execution_state": "starting"}')
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
        while self.server.looks:
            await asyncio.sleep(0.01)
        if self.server.refuse:
            self.set_status(self.server.refuse)
            if self.server.location:
                self.set_header("Location", self.server.location)
            self.finish()

    async def on_message(self, text: str | bytes) -> None:
        request = json.loads(text)
        self.server.requests.append(request)
        for answer in self.server.answers(request["header"]["msg_id"]):
            if answer is None:
                self.close()
                return
            self.write_message(answer, binary=isinstance(answer, bytes))
        await asyncio.sleep(self.server.reads_after)
        assert self.ws_connection is not None
        stream = self.ws_connection.stream
        assert stream is not None
        with suppress(StreamClosedError):
            await stream.write(self.server.head)
            while self.server.piece:
                await stream.write(self.server.piece)
                self.server.wrote()
                await asyncio.sleep(0.01)


class Kernels(RequestHandler):
    def initialize(self, server: Server) -> None:
        self.server = server

    def get(self, identity: str | None) -> None:
        if identity is None:
            self.write({"default": "python3", "kernelspecs": {"python3": {}}})
            return
        code, body = self.server.looks.pop(0) if self.server.looks else self.server.looked
        self.set_status(code)
        self.write(body)

    async def delete(self, identity: str) -> None:
        self.server.removing()
        await asyncio.sleep(self.server.removes_after)
        if not self.server.removes:
            self.detach().close()
            return
        self.server.removed.append(identity)
        self.set_status(204)


class Sessions(RequestHandler):
    def initialize(self, server: Server) -> None:
        self.server = server

    def get(self) -> None:
        early = self.server.listed_after > 0
        self.server.listed_after -= 1
        self.write(json.dumps(self.server.listed[:1] if early else self.server.listed))

    async def post(self) -> None:
        wanted = json.loads(self.request.body)
        self.server.starts()
        await asyncio.sleep(self.server.starts_after)
        started = {**wanted, "kernel": {"id": "k"}}
        self.server.listed.append(started)
        if self.server.breaks:
            self.detach().close()
        else:
            self.write(started)


class Page(RequestHandler):
    def get(self) -> None:
        self.write("a page")


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Serve in a thread until the context is left."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        sockets = bind_sockets(0, "127.0.0.1")
        own = {"server": server}
        http = HTTPServer(
            Application(
                [
                    (r"/user/x/api/kernel(?:specs|s|s/([^/]+))", Kernels, own),
                    (r"/user/x/api/sessions", Sessions, own),
                    (r"/user/x/api/.*", Channels, own),
                    (r"/x", Page),
                ]
            )
        )
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
