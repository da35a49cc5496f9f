"""Bounded HTTP: one exchange, its clocks and its end.

requests bounds one read of a socket, not an exchange. Here each exchange runs in a thread of its
own, and the caller waits for what that hands over and looks at the clocks, so that no server can
hold it: silent, trickling, endless or broken.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

from requests.cookies import RequestsCookieJar

from clinder._deadline import Deadline, WorkFailed
from clinder._urls import is_loopback
from clinder._version import USER_AGENT
from clinder.timeouts import HUB_IDLE, SERVER_IDLE, Timeouts
from clinder.wire.byte_queue import ByteQueue
from clinder.wire.http_connection import OneRequestSession, TokenAuth, iter_body
from clinder.wire.http_errors import PROXY, TransportError, to_transport_error

_TICK = 0.1

_REDIRECTS = 5
_ANSWER_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class Response:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Stream:
    """An answer whose body is still coming; ``url`` is where it came from in the end."""

    url: str
    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytearray]


class BadRedirect(TransportError):
    """A redirect that leads nowhere: asking again would be led there again."""


class Transport:
    """Makes requests, bounded by :class:`~clinder.timeouts.Timeouts` and each's deadline.

    Cookies live as long as the transport: mybinder.org's redirect pins a member with one.
    Raises :class:`TransportError`, and what :meth:`Deadline.raise_if_expired` raises.
    """

    def __init__(self, timeouts: Timeouts | None = None):
        self.timeouts = timeouts or Timeouts()
        self.cookies = RequestsCookieJar()

    def request(
        self,
        method: str,
        url: str,
        *,
        deadline: Deadline,
        token: str = "",
        json: object | None = None,
    ) -> Response:
        """Return the answer of a Jupyter Server; redirects are answers, and are not followed."""
        idle = self.timeouts.idle or SERVER_IDLE
        exchange = _Exchange(method, url, self, deadline, idle=idle, token=token, json=json)
        with exchange.open() as stream:
            whole = bytearray()
            for piece in stream.chunks:
                whole += piece
                if len(whole) > _ANSWER_LIMIT:
                    raise TransportError("the answer was too large", answered=True)
            return Response(stream.status, stream.headers, bytes(whole))

    @contextmanager
    def stream(
        self, url: str, *, deadline: Deadline, headers: Mapping[str, str]
    ) -> Iterator[Stream]:
        """Yield the answer to a GET as a stream, following redirects that lose no encryption."""
        idle = self.timeouts.idle or HUB_IDLE
        asked: set[str] = set()
        while url not in asked and len(asked) <= _REDIRECTS:
            asked.add(url)
            exchange = _Exchange("GET", url, self, deadline, idle=idle, headers=headers)
            with exchange.open() as stream:
                location = stream.headers.get("Location", "")
                if stream.status not in (301, 302, 303, 307, 308) or not location:
                    yield stream
                    return
            following = _redirect_target(url, location)
            if url.startswith("https:") and not following.startswith("https:"):
                raise BadRedirect("it redirects from https to http", answered=True)
            url = following
        raise BadRedirect("it redirects in circles", answered=True)


def _redirect_target(url: str, location: str) -> str:
    """Return where a redirect leads."""
    with suppress(ValueError):
        following = urljoin(url, location)
        if urlsplit(following).scheme in ("http", "https"):
            return following
    raise BadRedirect("it redirects to something that is not http(s)", answered=True)


@dataclass(frozen=True)
class _Head:
    status: int
    headers: Mapping[str, str]


_END = object()


class _Exchange:
    """One request and its answer, read in a thread; ended at any moment by its socket."""

    def __init__(
        self,
        method: str,
        url: str,
        transport: Transport,
        deadline: Deadline,
        *,
        idle: float,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        json: object | None = None,
    ):
        self._connect = transport.timeouts.connect
        self._idle = idle
        self._cookies = transport.cookies
        self._url = url
        self._deadline = deadline
        self._arguments: dict[str, Any] = {
            "method": method,
            "url": url,
            "headers": {"User-Agent": USER_AGENT, **(headers or {})},
            "auth": TokenAuth(token),
            "json": json,
            "allow_redirects": False,
            "stream": True,
            "timeout": (self._connect, self._idle),
            # An empty proxy keeps the environment's out: it could not reach this machine.
            "proxies": {"http": "", "https": ""} if is_loopback(url) else None,
        }
        self._queue = ByteQueue()
        self._sockets: list[socket.socket] = []
        self._connected_at: float | None = None
        self._ended = threading.Event()

    @contextmanager
    def open(self) -> Iterator[Stream]:
        """Yield the answer once its head is there; end the exchange on leaving."""
        self._deadline.raise_if_expired()  # sends nothing then: a build request can launch a server
        try:
            threading.Thread(target=self._read, name="clinder-exchange", daemon=True).start()
            head = cast("_Head", self._next(answered=False))
            if head.status == 407:
                raise TransportError(f"{PROXY} refused, with 407")
            yield Stream(self._url, head.status, head.headers, self._chunks())
        finally:
            self._end()

    def _chunks(self) -> Iterator[bytearray]:
        while (piece := self._next(answered=True)) is not _END:
            yield cast("bytearray", piece)

    def _next(self, *, answered: bool) -> object:
        since = self._deadline.now()
        while True:
            self._deadline.raise_if_expired()
            item = self._queue.get(min(_TICK, self._deadline.remaining()))
            if item is None:
                self._raise_if_late(since, answered=answered)
                continue
            if isinstance(item, WorkFailed):
                connected = self._connected_at is not None
                raise to_transport_error(
                    item.error, connected=connected, answered=answered, url=self._url
                ) from None
            return item

    def _raise_if_late(self, since: float, *, answered: bool) -> None:
        now = self._deadline.now()
        if self._connected_at is None:
            if now - since > self._connect:
                raise TransportError(f"no connection within {self._connect:g} s")
        elif now - max(since, self._connected_at) > self._idle:
            raise TransportError(f"nothing came for {self._idle:g} s", answered=answered)

    def _read(self) -> None:
        try:
            with (
                OneRequestSession(self._cookies, self._on_socket, self._on_connected) as session,
                session.request(**self._arguments) as response,
            ):
                put = self._queue.put
                put(_Head(response.status_code, response.headers))
                for piece in iter_body(response.raw):
                    if not put(piece):
                        return
            put(_END)
        except BaseException as error:  # noqa: BLE001 - not hidden: the caller raises it
            self._queue.put(WorkFailed(error))

    def _on_connected(self) -> None:
        self._connected_at = self._deadline.now()

    def _on_socket(self, opened: socket.socket) -> None:
        self._sockets.append(opened)
        if self._ended.is_set():
            self._end()

    def _end(self) -> None:
        self._ended.set()
        self._queue.close()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
