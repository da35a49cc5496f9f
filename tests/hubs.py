"""A scripted hub: a real server on this machine with the responses, or faults, that a test needs.

    with ScriptedHub(Answer(ready(url, token))) as hub:
        ...  # request hub.url + "build/..."
    assert hub.builds[0].path == "/build/gh/org/repo/HEAD"

The hub answers its build requests with ``builds``, one after another. ``servers`` are the Jupyter
Servers under ``/user/NAME/``, and ``pages`` all other paths. A later part of a response waits for a
:class:`threading.Event`, never for a time.
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

XSRF = "'_xsrf' argument missing from POST"
XSRF_PAGE = b"""<h1>403 : Forbidden</h1><p>The error was:</p><div class="traceback-wrapper">
<pre class="traceback">&#39;_xsrf&#39; argument missing from POST</pre></div>"""
"""The reason of a Jupyter Server for a 403, which ``api/shutdown`` sends as a page."""
Build = Answer | Raw | Callable[[], Answer | Raw]
"""A response to a build request, or a function that returns one when the request arrives."""


@dataclass(frozen=True)
class Jupyter:
    """A Jupyter Server and the proxy in front of it.

    ``before`` are the proxy's statuses until it knows the server. ``shutdown`` are the statuses for
    ``POST api/shutdown``; each 200 ends the server unless it ``stays``. ``after`` are the proxy's
    statuses after that; if there are none, nothing listens any more. The last status of the latter
    two repeats. If ``xsrf``, the server has no token of its own: it accepts any for a GET, and none
    for another request. It accepts ``other_tokens``, too.
    """

    token: str
    before: tuple[int, ...] = ()
    shutdown: tuple[int, ...] = (200,)
    stays: bool = False
    after: tuple[int, ...] = (503, 503, 302)
    kernels: int = 0
    kernel: Kernel = field(default_factory=Kernel)
    status: Mapping[str, str] = field(default_factory=dict)
    xsrf: bool = False
    other_tokens: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """A request as received; ``left`` is set once either side has closed its connection."""

    method: str
    path: str
    headers: Mapping[str, str]
    left: threading.Event = field(compare=False, repr=False)
    body: bytes = b""


class ScriptedHub(Loopback):
    """A hub that runs, with its threads, until the context ends."""

    def __init__(
        self,
        *builds: Build,
        servers: Mapping[str, Jupyter] | None = None,
        pages: Mapping[str, Answer | Raw] | None = None,
        prefix: str = "/",
    ):
        super().__init__()
        self.requests: list[Request] = []
        self.changed = threading.Condition()
        self.pages = dict(pages or {})
        self.prefix = prefix
        self.jupyterhub: Callable[[Request], Answer | None] = lambda _: None
        """Answers the requests to a JupyterHub in front of the servers, if there is one."""
        self._builds = deque(builds)
        self._servers = {name: _Server(server) for name, server in (servers or {}).items()}
        self._lock = threading.Lock()
        self.url = self.origin + prefix

    def then(self, *builds: Build) -> None:
        """Answer the next build requests with these."""
        self._builds.extend(builds)

    def serve(self, name: str, server: Jupyter) -> str:
        """Add a Jupyter Server of this name, and return its URL."""
        self._servers[name] = _Server(server)
        return f"{self.origin}/user/{name}/"

    def end(self, name: str) -> None:
        """End a Jupyter Server, as if its hub had stopped it."""
        if name in self._servers:
            self._servers[name].running = False

    def runs(self, name: str) -> bool:
        """Whether a Jupyter Server runs."""
        return name in self._servers and self._servers[name].running

    @property
    def builds(self) -> list[Request]:
        """The build requests received so far."""
        return [each for each in self.requests if each.path.startswith(f"{self.prefix}build/")]

    def calls(self, method: str, ending: str) -> list[Request]:
        """The requests with this method and this ending of the path, without the query."""
        return [
            each
            for each in self.requests
            if each.method == method and each.path.partition("?")[0].endswith(ending)
        ]

    def awaited(self, method: str = "GET", ending: str = "") -> Request:
        """Wait for a request like those of :meth:`calls`, and return the first."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.calls(method, ending), timeout=60)
            return self.calls(method, ending)[0]

    def handle(self, connection: socket.socket) -> None:
        """Read one request and answer it."""
        self.open.add(connection)
        left = threading.Event()
        try:
            with suppress(OSError):
                if request := _read(connection, left):
                    with self.changed:
                        self.requests.append(request)
                        self.changed.notify_all()
                    if kernel := self._opened(request):
                        converse(connection, request.headers, kernel)
                    else:
                        _send(connection, self._answer(request))
        finally:
            self.open.discard(connection)
            connection.close()
            left.set()

    def _opened(self, request: Request) -> Kernel | None:
        """The kernel whose websocket this request opens, if any."""
        server, _ = self._find(request.path.partition("?")[0])
        if server is None or "upgrade" not in request.headers or not server.knows(request):
            return None
        kernel = server.settings.kernel
        return None if kernel.mood is Mood.UNREACHABLE else kernel

    def _find(self, path: str) -> tuple[_Server | None, str]:
        """Return the server of a path, and the rest of the path."""
        path = path.partition("/user/")[2]
        names = [name for name in self._servers if path.startswith(f"{name}/")]
        name = max(names, key=len, default="")
        return self._servers.get(name), path.removeprefix(f"{name}/")

    def _answer(self, request: Request) -> Raw:
        path = request.path.partition("?")[0]
        with self._lock:
            answer: Answer | Raw = page(404)
            if of_jupyterhub := self.jupyterhub(request):
                answer = of_jupyterhub
            elif path in self.pages:
                answer = self.pages[path]
            elif path.startswith(f"{self.prefix}build/"):
                build = self._builds.popleft() if self._builds else page(500)
                answer = build() if callable(build) else build
            elif path.startswith("/user/"):
                server, rest = self._find(path)
                answer = server.answer(request, rest) if server else moved(f"/hub{path}")
                if server and server.silent:
                    self.listener.shutdown()
                    self.listener.socket.close()
        return answer.raw() if isinstance(answer, Answer) else answer


class _Server:
    """The state of a Jupyter Server."""

    def __init__(self, settings: Jupyter):
        self.settings = settings
        self.running = True
        self._before = deque(settings.before)
        self._shutdown = _repeat_last(settings.shutdown)
        self._after = _repeat_last(settings.after)

    @property
    def silent(self) -> bool:
        return not self.running and not self.settings.after

    def knows(self, request: Request) -> bool:
        """Whether it is running, and the request contains its token."""
        accepted = (self.settings.token, *self.settings.other_tokens)
        token = request.headers.get("authorization")
        return self.running and token in [f"token {each}" for each in accepted]

    def answer(self, request: Request, rest: str) -> Answer:
        if self._before or not self.running:
            return _by_status(self._before.popleft() if self._before else next(self._after))
        if refusal := self._refusal(request, rest):
            return refusal
        settings = self.settings
        match request.method, rest:
            case "POST", "api/shutdown":
                status = next(self._shutdown)
                self.running = self.settings.stays or status != 200
                return page(status, b"")
            case "GET", "api/status":
                return json_page(200, {"kernels": settings.kernels, **settings.status})
            case "GET", "api/kernels":
                return json_page(200, [{"id": str(n)} for n in range(settings.kernels)])
        return about_kernels(settings.kernel, request.method, rest)

    def _refusal(self, request: Request, rest: str) -> Answer | None:
        if not self.knows(request):
            return json_page(403, {"message": "Forbidden"})
        if not self.settings.xsrf or request.method == "GET":
            return None
        is_page = rest == "api/shutdown"
        return page(403, XSRF_PAGE) if is_page else json_page(403, {"message": XSRF})


def _repeat_last(statuses: tuple[int, ...]) -> Iterator[int]:
    return itertools.chain(statuses, itertools.repeat(statuses[-1])) if statuses else iter(())


def _by_status(status: int) -> Answer:
    return moved("/hub/user/x/") if status == 302 else page(status)


def _read(connection: socket.socket, left: threading.Event) -> Request | None:
    """Return a request after reading its body; ``None`` if the client leaves, or uses TLS."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection.makefile("rb") as file:
        first = file.readline().decode("latin-1").split()
        if len(first) != 3 or not first[2].startswith("HTTP/"):
            _send(connection, Raw([b"HTTP/1.1 400 Bad Request\r\n\r\n"], Ending.HELD))
            return None
        lines = iter(lambda: file.readline().rstrip(b"\r\n").decode("latin-1"), "")
        fields = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        body = file.read(int(headers.get("content-length", "0")))
    method, path, _ = first
    return Request(method, path, headers, left, body)


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
    """Wait ``seconds`` for the client to close the connection: it sends nothing more."""
    return bool(select.select([connection], [], [], seconds)[0])
