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

from clinder._deadline import Deadline
from clinder._urls import is_loopback
from clinder._version import USER_AGENT
from clinder._work import Broken
from clinder.timeouts import Clocks
from clinder.wire.byte_queue import Handover
from clinder.wire.http_connection import Session, Token, body
from clinder.wire.http_errors import PROXY, TransportError, described

_TICK = 0.1

_REDIRECTS = 5
_ANSWER_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class Answer:
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
    pieces: Iterator[bytearray]


class Misdirected(TransportError):
    """A redirect that leads nowhere: asking again would be led there again."""


class Transport:
    """Makes requests, bounded by two of the :class:`~clinder.timeouts.Clocks` and each's deadline.

    Cookies live as long as the transport: mybinder.org's redirect pins a member with one.
    Raises :class:`TransportError`, and what :meth:`Deadline.check` raises.
    """

    def __init__(self, clocks: Clocks | None = None):
        self.clocks = clocks or Clocks()
        self.cookies = RequestsCookieJar()

    def request(
        self,
        method: str,
        url: str,
        *,
        deadline: Deadline,
        token: str = "",
        json: object | None = None,
    ) -> Answer:
        """Return the answer of a Jupyter Server; redirects are answers, and are not followed."""
        exchange = _Exchange(method, url, self, token=token, json=json)
        with exchange.running(deadline) as stream:
            whole = bytearray()
            for piece in stream.pieces:
                whole += piece
                if len(whole) > _ANSWER_LIMIT:
                    raise TransportError("the answer was too large", answered=True)
            return Answer(stream.status, stream.headers, bytes(whole))

    @contextmanager
    def stream(
        self, url: str, *, deadline: Deadline, headers: Mapping[str, str]
    ) -> Iterator[Stream]:
        """Yield the answer to a GET as a stream, following redirects that lose no encryption."""
        asked: set[str] = set()
        while url not in asked and len(asked) <= _REDIRECTS:
            asked.add(url)
            with _Exchange("GET", url, self, headers=headers).running(deadline) as stream:
                location = stream.headers.get("Location", "")
                if stream.status not in (301, 302, 303, 307, 308) or not location:
                    yield stream
                    return
            following = _joined(url, location)
            if url.startswith("https:") and not following.startswith("https:"):
                raise Misdirected("it redirects from https to http", answered=True)
            url = following
        raise Misdirected("it redirects in circles", answered=True)


def _joined(url: str, location: str) -> str:
    """Return where a redirect leads."""
    with suppress(ValueError):
        following = urljoin(url, location)
        if urlsplit(following).scheme in ("http", "https"):
            return following
    raise Misdirected("it redirects to something that is not http(s)", answered=True)


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
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        json: object | None = None,
    ):
        self._clocks = transport.clocks
        self._cookies = transport.cookies
        self._url = url
        self._arguments: dict[str, Any] = {
            "method": method,
            "url": url,
            "headers": {"User-Agent": USER_AGENT, **(headers or {})},
            "auth": Token(token),
            "json": json,
            "allow_redirects": False,
            "stream": True,
            "timeout": (self._clocks.connect, self._clocks.idle),
            # An empty proxy keeps the environment's out: it could not reach this machine.
            "proxies": {"http": "", "https": ""} if is_loopback(url) else None,
        }
        self._read_so_far = Handover()
        self._sockets: list[socket.socket] = []
        self._connected = threading.Event()
        self._ended = threading.Event()

    @contextmanager
    def running(self, deadline: Deadline) -> Iterator[Stream]:
        """Yield the answer once its head is there; end the exchange on leaving."""
        deadline.check()  # before anything is sent: a build request may launch a server
        try:
            threading.Thread(target=self._read, name="clinder-exchange", daemon=True).start()
            head = cast("_Head", self._next(deadline, answered=False))
            if head.status == 407:
                raise TransportError(f"{PROXY} refused, with 407")
            yield Stream(self._url, head.status, head.headers, self._pieces(deadline))
        finally:
            self._end()

    def _pieces(self, deadline: Deadline) -> Iterator[bytearray]:
        while (piece := self._next(deadline, answered=True)) is not _END:
            yield cast("bytearray", piece)

    def _next(self, deadline: Deadline, *, answered: bool) -> object:
        since = deadline.now()
        while True:
            deadline.check()
            item = self._read_so_far.take(min(_TICK, deadline.remaining()))
            if item is None:
                waited = deadline.now() - since
                if waited > self._clocks.connect and not self._connected.is_set():
                    raise TransportError(f"no connection within {self._clocks.connect:g} s")
                if waited > self._clocks.idle:
                    raise TransportError(
                        f"nothing came for {self._clocks.idle:g} s", answered=answered
                    )
                continue
            if isinstance(item, Broken):
                connected = self._connected.is_set()
                raise described(
                    item.error, connected=connected, answered=answered, url=self._url
                ) from None
            return item

    def _read(self) -> None:
        try:
            with (
                Session(self._cookies, self._opened, self._connected) as session,
                session.request(**self._arguments) as response,
            ):
                put = self._read_so_far.put
                put(_Head(response.status_code, response.headers))
                for piece in body(response.raw):
                    if not put(piece):
                        return
            put(_END)
        except BaseException as error:  # noqa: BLE001 - not hidden: the caller raises it
            self._read_so_far.put(Broken(error))

    def _opened(self, opened: socket.socket) -> None:
        self._sockets.append(opened)
        if self._ended.is_set():
            self._end()

    def _end(self) -> None:
        self._ended.set()
        self._read_so_far.close()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
