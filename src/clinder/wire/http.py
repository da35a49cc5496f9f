"""HTTP requests that no server can hold up, even if it is silent, slow, endless or broken.

requests limits each read from a socket, but not a whole request. Here each request runs in a thread
of its own. The caller waits for what that thread reads, and checks the time limits meanwhile.
"""

from __future__ import annotations

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
from clinder.wire.http_connection import OneRequestSession, Sockets, TokenAuth, iter_body
from clinder.wire.http_errors import PROXY, TransportError, to_transport_error

_TICK = 0.1
_MAX_REDIRECTS = 5
_MAX_BODY = 1024 * 1024


@dataclass(frozen=True)
class Response:
    """A complete response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Stream:
    """A response whose body is still arriving; ``url`` is its URL after all redirects."""

    url: str
    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytearray]


class BadRedirect(TransportError):
    """A redirect to ``url`` that clinder does not follow. A retry would be redirected, too."""

    def __init__(self, message: str, url: str):
        super().__init__(message, answered=True)
        self.url = url


class Transport:
    """Sends requests, limited by :class:`~clinder.timeouts.Timeouts` and a deadline each.

    It keeps its cookies because mybinder.org's redirect pins a federation member with one. Raises
    :class:`TransportError`, and the errors of :meth:`Deadline.raise_if_expired`.
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
        """Return a server's response, which can be a redirect: this method follows none."""
        idle = self.timeouts.idle or SERVER_IDLE
        exchange = _Exchange(method, url, self, deadline, idle=idle, token=token, json=json)
        with exchange.open() as stream:
            body = bytearray()
            for chunk in stream.chunks:
                body += chunk
                if len(body) > _MAX_BODY:
                    raise TransportError("its response was too large", answered=True)
            return Response(stream.status, stream.headers, bytes(body))

    @contextmanager
    def stream(
        self, url: str, *, deadline: Deadline, headers: Mapping[str, str], token: str = ""
    ) -> Iterator[Stream]:
        """Yield the response to a GET, following redirects except from https to http.

        The token goes to this URL only, and not to the target of a redirect.
        """
        idle = self.timeouts.idle or HUB_IDLE
        visited: set[str] = set()
        while url not in visited and len(visited) <= _MAX_REDIRECTS:
            visited.add(url)
            exchange = _Exchange(
                "GET", url, self, deadline, idle=idle, headers=headers, token=token
            )
            token = ""
            with exchange.open() as stream:
                location = stream.headers.get("Location", "")
                if stream.status not in (301, 302, 303, 307, 308) or not location:
                    yield stream
                    return
            next_url = _redirect_target(url, location)
            if url.startswith("https:") and not next_url.startswith("https:"):
                raise BadRedirect("it redirects from https to http", next_url)
            url = next_url
        raise BadRedirect("it redirects in a loop", url)


def _redirect_target(url: str, location: str) -> str:
    with suppress(ValueError):
        target = urljoin(url, location)
        if urlsplit(target).scheme in ("http", "https"):
            return target
    raise BadRedirect("it redirects to something that is not http(s)", location)


_END = object()


class _Exchange:
    """One request, sent and read in a thread, which ends once its sockets are shut down."""

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
            # An empty proxy overrides the environment's, which could not reach this machine.
            "proxies": {"http": "", "https": ""} if is_loopback(url) else None,
        }
        self._queue = ByteQueue()
        self._sockets = Sockets()
        self._connected_at: float | None = None

    @contextmanager
    def open(self) -> Iterator[Stream]:
        """Yield the response once its headers have arrived; end the request on leaving."""
        self._deadline.raise_if_expired()  # before sending: a build request can launch a server
        since = self._deadline.now()
        try:
            threading.Thread(target=self._read, name="clinder-exchange", daemon=True).start()
            stream = cast("Stream", self._next(since, answered=False))
            if stream.status == 407:
                raise TransportError(f"{PROXY} refused the connection with status 407")
            yield stream
        finally:
            self._queue.close()
            self._sockets.end()

    def _chunks(self) -> Iterator[bytearray]:
        while (chunk := self._next(self._deadline.now(), answered=True)) is not _END:
            yield cast("bytearray", chunk)

    def _next(self, since: float, *, answered: bool) -> object:
        while True:
            self._deadline.raise_if_expired()
            item = self._queue.get(min(_TICK, self._deadline.remaining()))
            connected = self._connected_at is not None
            limit = self._idle if connected else self._connect
            waited = self._deadline.now() - max(since, self._connected_at or since)
            if item is None and waited > limit:
                item = WorkFailed(TimeoutError())
            if isinstance(item, WorkFailed):
                raise to_transport_error(
                    item.error, url=self._url, limit=limit, connected=connected, answered=answered
                ) from None
            if item is not None:
                return item

    def _read(self) -> None:
        try:
            with (
                OneRequestSession(self._cookies, self._sockets, self._on_connected) as session,
                session.request(**self._arguments) as response,
            ):
                put = self._queue.put
                put(Stream(self._url, response.status_code, response.headers, self._chunks()))
                for chunk in iter_body(response.raw):
                    if not put(chunk):
                        return
            put(_END)
        except BaseException as error:  # noqa: BLE001 - not hidden: the caller raises it
            self._queue.put(WorkFailed(error))

    def _on_connected(self) -> None:
        self._connected_at = self._deadline.now()
