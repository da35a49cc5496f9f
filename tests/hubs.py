"""A scripted hub: a real server on this machine that answers as it is told, and misbehaves.

    with ScriptedHub(Answer(ready(url, token))) as hub:
        ...  # ask hub.url + "build/..."
    assert hub.builds[0].path == "/build/gh/org/repo/HEAD"

Build requests are answered one after another by what the hub is given; ``servers`` holds the
Jupyter Servers under ``/user/NAME/``, ``pages`` whatever else it has. What is told to come later
waits for a :class:`threading.Event`, never for a time.
"""

from __future__ import annotations

import itertools
import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from answers import Answer, Ending, Raw, json_page, moved, page
from kernels import Kernel, Mood, about_kernels, converse
from loopback import Loopback

Build = Answer | Raw | Callable[[], Answer | Raw]
"""The answer to a build request, or what makes it once the request came."""


@dataclass(frozen=True)
class Jupyter:
    """A Jupyter Server and the proxy before it.

    ``before``: what the proxy answers, one after another, until it knows the server. ``shutdown``:
    the statuses of the answers to ``POST api/shutdown``, of which the last stays, and each 200
    ends the server unless it ``stays``. ``after``: what the proxy answers then, of which the last
    stays; with none nothing listens there any more.
    """

    token: str
    before: tuple[int, ...] = ()
    shutdown: tuple[int, ...] = (200,)
    stays: bool = False
    after: tuple[int, ...] = (503, 503, 302)
    kernels: int = 0
    kernel: Kernel = field(default_factory=Kernel)
    status: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """A request as it came; ``left`` is set once its connection is over, from either side."""

    method: str
    path: str
    headers: Mapping[str, str]
    left: threading.Event = field(compare=False, repr=False)


class ScriptedHub(Loopback):
    """The hub, from entering the context to leaving it. Its threads end with it."""

    def __init__(
        self,
        *builds: Build,
        servers: Mapping[str, Jupyter] | None = None,
        pages: Mapping[str, Answer | Raw] | None = None,
        prefix: str = "/",
    ):
        super().__init__()
        self.requests: list[Request] = []
        self.came = threading.Condition()
        self.pages = dict(pages or {})
        self.prefix = prefix
        self._builds = deque(builds)
        self._servers = {name: _Server(told) for name, told in (servers or {}).items()}
        self._lock = threading.Lock()
        self.url = self.origin + prefix

    def then(self, *builds: Build) -> None:
        """Answer the next build requests so."""
        self._builds.extend(builds)

    def serve(self, name: str, told: Jupyter) -> str:
        """Have a Jupyter Server of that name; return its URL."""
        self._servers[name] = _Server(told)
        return f"{self.origin}/user/{name}/"

    @property
    def builds(self) -> list[Request]:
        """The build requests that came."""
        return [each for each in self.requests if each.path.startswith(f"{self.prefix}build/")]

    def calls(self, method: str, ending: str) -> list[Request]:
        """The requests of a method whose path, without query, ends so."""
        return [
            each
            for each in self.requests
            if each.method == method and each.path.partition("?")[0].endswith(ending)
        ]

    def awaited(self, method: str = "GET", ending: str = "") -> Request:
        """Wait for such a request and return the first of them."""
        with self.came:
            assert self.came.wait_for(lambda: self.calls(method, ending), timeout=20)
            return self.calls(method, ending)[0]

    def handle(self, connection: socket.socket) -> None:
        """Read one request and answer it."""
        self.open.add(connection)
        left = threading.Event()
        try:
            with suppress(OSError):
                if request := _read(connection, left):
                    with self.came:
                        self.requests.append(request)
                        self.came.notify_all()
                    if kernel := self._opened(request):
                        converse(connection, request.headers, kernel)
                    else:
                        _send(connection, self._answer(request))
        finally:
            self.open.discard(connection)
            connection.close()
            left.set()

    def _opened(self, request: Request) -> Kernel | None:
        """The kernel whose websocket opens for this request, if it does."""
        name = request.path.partition("/user/")[2].partition("/")[0]
        server = self._servers.get(name)
        if server is None or "upgrade" not in request.headers or not server.knows(request):
            return None
        kernel = server.told.kernel
        return None if kernel.mood is Mood.UNREACHABLE else kernel

    def _answer(self, request: Request) -> Raw:
        path = request.path.partition("?")[0]
        with self._lock:
            answer: Answer | Raw = page(404)
            if path in self.pages:
                answer = self.pages[path]
            elif path.startswith(f"{self.prefix}build/"):
                told = self._builds.popleft() if self._builds else page(500)
                answer = told() if callable(told) else told
            elif path.startswith("/user/"):
                name, _, rest = path.removeprefix("/user/").partition("/")
                server = self._servers.get(name)
                answer = server.answer(request, rest) if server else moved(f"/hub/user/{name}/")
                if server and server.silent:
                    self.listener.shutdown()
                    self.listener.socket.close()
        return answer.raw() if isinstance(answer, Answer) else answer


class _Server:
    """A Jupyter Server's state."""

    def __init__(self, told: Jupyter):
        self.told = told
        self.running = True
        self._before = deque(told.before)
        self._shutdown = _staying(told.shutdown)
        self._after = _staying(told.after)

    @property
    def silent(self) -> bool:
        return not self.running and not self.told.after

    def knows(self, request: Request) -> bool:
        """Whether it runs, and the request holds its token."""
        return self.running and request.headers.get("authorization") == f"token {self.told.token}"

    def answer(self, request: Request, rest: str) -> Answer:
        if self._before or not self.running:
            return _by_status(self._before.popleft() if self._before else next(self._after))
        if not self.knows(request):
            return json_page(403, {"message": "Forbidden"})
        match request.method, rest:
            case "POST", "api/shutdown":
                status = next(self._shutdown)
                self.running = self.told.stays or status != 200
                return page(status, b"")
            case "GET", "api/status":
                return json_page(200, {"kernels": self.told.kernels, **self.told.status})
            case "GET", "api/kernels":
                return json_page(200, [{"id": str(n)} for n in range(self.told.kernels)])
        return about_kernels(self.told.kernel, request.method, rest)


def _staying(statuses: tuple[int, ...]) -> Iterator[int]:
    return itertools.chain(statuses, itertools.repeat(statuses[-1])) if statuses else iter(())


def _by_status(status: int) -> Answer:
    return moved("/hub/user/x/") if status == 302 else page(status)


def _read(connection: socket.socket, left: threading.Event) -> Request | None:
    """Return the request, its body read and dropped; none where the client left before."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection.makefile("rb") as file:
        lines = list(iter(lambda: file.readline().rstrip(b"\r\n").decode("latin-1"), ""))
        fields = (line.partition(":") for line in lines[1:])
        headers = {name.lower(): value.strip() for name, _, value in fields}
        file.read(int(headers.get("content-length", "0")))
    match lines[0].split(" ") if lines else []:
        case [method, path, _]:
            return Request(method, path, headers, left)
    return None


def _send(connection: socket.socket, raw: Raw) -> None:
    for part in raw.parts:
        if isinstance(part, threading.Event):
            while not part.is_set():
                if _has_left(connection, 0.01):
                    return
        else:
            connection.sendall(part)
        if raw.every and _has_left(connection, raw.every):
            return
    if raw.ending is Ending.HELD:
        _has_left(connection, None)
    elif raw.ending is Ending.RESET:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _has_left(connection: socket.socket, seconds: float | None) -> bool:
    """Wait so long for the client to leave: it has nothing more to say than that."""
    return bool(select.select([connection], [], [], seconds)[0])
