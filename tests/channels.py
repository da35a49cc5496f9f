"""A Jupyter Server that has only kernels, whose answers the test chooses.

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
    """Answers each message with ``answers(msg_id)``; ``None`` closes the websocket.

    The websocket opens after ``opens_after`` seconds, unless ``refuse`` is a status. After the
    answers it sends the bytes ``head``, then ``chunk`` forever, each followed by ``on_chunk()``; it
    reads the next message after ``reads_after`` seconds.

    Starting a kernel calls ``on_start`` and takes ``start_takes`` seconds; if it ``breaks``, the
    connection closes without a response. The kernel is listed only after ``unlisted`` requests.
    Deleting it calls ``on_delete`` and takes ``delete_takes`` seconds. Requests for its state get
    each of ``states`` once, while the websocket stays closed, and ``last_state`` after them.
    ``most_open`` is how many websockets were open at once.
    """

    answers: Callable[[str], list[str | bytes | None]]
    refuse: int = 0
    opens_after: float = 0.0
    head: bytes = b""
    chunk: bytes = b""
    on_chunk: Callable[[], None] = lambda: None
    reads_after: float = 0.0
    on_start: Callable[[], None] = lambda: None
    start_takes: float = 0.0
    breaks: bool = False
    unlisted: int = 0
    listed: list[Message] = field(
        default_factory=lambda: [{"path": "another", "kernel": {"id": "another"}}]
    )
    deletes: bool = True
    delete_takes: float = 0.0
    on_delete: Callable[[], None] = lambda: None
    states: list[tuple[int, str]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    last_state: tuple[int, str] = (200, '{"execution_state": "starting"}')
    open: int = 0
    most_open: int = 0
    url: str = ""
    requests: list[Message] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def session(self) -> Session:
        return Session(self.url, TOKEN)


class Handler(RequestHandler):
    def initialize(self, server: Server) -> None:
        self.server = server


class Channels(Handler, WebSocketHandler):
    async def prepare(self) -> None:
        self.server.paths.append(self.request.uri or "")
        self.server.headers.append(dict(self.request.headers.get_all()))
        await asyncio.sleep(self.server.opens_after)
        while self.server.states:
            await asyncio.sleep(0.01)
        if self.server.refuse:
            self.set_status(self.server.refuse)
            self.set_header("Location", "/elsewhere")
            self.finish()

    def open(self, *_: str) -> None:
        self.server.open += 1
        self.server.most_open = max(self.server.most_open, self.server.open)

    def on_close(self) -> None:
        self.server.open -= 1

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
            while self.server.chunk:
                await stream.write(self.server.chunk)
                self.server.on_chunk()
                await asyncio.sleep(0.01)


class Kernels(Handler):
    def get(self, kernel_id: str | None) -> None:
        if kernel_id is None:
            self.write({"default": "python3", "kernelspecs": {"python3": {}}})
            return
        code, body = self.server.states.pop(0) if self.server.states else self.server.last_state
        self.set_status(code)
        self.write(body)

    async def delete(self, kernel_id: str) -> None:
        self.server.on_delete()
        await asyncio.sleep(self.server.delete_takes)
        if not self.server.deletes:
            self.detach().close()
            return
        self.server.deleted.append(kernel_id)
        self.set_status(204)


class Sessions(Handler):
    def get(self) -> None:
        early = self.server.unlisted > 0
        self.server.unlisted -= 1
        self.write(json.dumps(self.server.listed[:1] if early else self.server.listed))

    async def post(self) -> None:
        session = json.loads(self.request.body)
        self.server.on_start()
        await asyncio.sleep(self.server.start_takes)
        started_session = {"id": "s", **session, "kernel": {"id": "k"}}
        self.server.listed.append(started_session)
        if self.server.breaks:
            self.detach().close()
        else:
            self.write(started_session)

    async def patch(self) -> None:
        kernel = json.loads(self.request.body).get("kernel", {})
        self.write({"id": "s", "kernel": {"id": "k2", **kernel} if kernel else {"id": "k"}})


class Status(RequestHandler):
    def get(self) -> None:
        self.write({"kernels": 1})


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
                    (r"/user/x/api/sessions(?:/s)?", Sessions, own),
                    (r"/user/x/api/status", Status),
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
