"""How the gateway reaches the session's server: HTTP requests and websockets, piece by piece."""

from __future__ import annotations

import json
import ssl
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import h11
import requests
import urllib3

from clinder.errors import ClinderError
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire import websocket
from clinder.wire.duplex import Duplex
from clinder.wire.http_connection import Sockets, open_socket
from clinder.wire.http_errors import TransportError, to_transport_error
from clinder.wire.json_fields import parse
from clinder.wire.websocket import KeepAlive, WebSocket

Headers = Sequence[tuple[str, str]]

SILENCE = 300.0
"""Seconds for which a server can stay silent: it responds to some requests only once a kernel
has started or has ended."""
HANDSHAKE = 150.0
"""Seconds for a server to open a kernel's websocket, which it does once the kernel responds."""
_MAX_ANSWER = 4 * 1024 * 1024
_HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Headers for one connection only (RFC 9110, section 7.6.1)."""
_NOT_SENT = frozenset(
    ("authorization", "cookie", "expect", "host", "origin", "referer", "x-xsrftoken")
)
_NOT_RETURNED = frozenset(("set-cookie", "set-cookie2"))


@dataclass(frozen=True)
class Credential:
    """A server's URL, which ends in a slash, and the token that opens it.

    ``is_embedded``: no proxy is in front of the server, so that it is gone if nothing listens.
    """

    url: str
    token: str = field(repr=False)
    is_embedded: bool = False

    @classmethod
    def of(cls, session: Session) -> Credential:
        """Return the credential for a session's server."""
        return cls(session.url, session.access_token, session.is_embedded)

    @property
    def header(self) -> tuple[str, str]:
        """The header that goes with each request."""
        return "Authorization", f"token {self.token}"

    @property
    def session(self) -> Session:
        """The session, for code that opens its server itself."""
        return Session(self.url, self.token)


@dataclass(frozen=True)
class Reply:
    """A response whose body is still arriving. ``headers`` are those that can be passed on."""

    status: int
    headers: Headers
    body: Iterator[bytes]

    def header(self, name: str) -> str:
        """Return the value of a header, ``""`` if there is none."""
        return next((value for each, value in self.headers if each.lower() == name.lower()), "")


@dataclass(frozen=True)
class Answer:
    """A whole response."""

    status: int
    headers: Headers
    body: bytes

    @property
    def content(self) -> object:
        """The JSON value in the body, ``None`` if there is none."""
        return parse(self.body)


class NoSession(Exception):
    """There is no session, because its launch failed; ``message`` explains why."""

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message


class Upstream:
    """The session's server, which only its credential opens, and all connections to it.

    ``server`` is the credential, or returns it: then it is called when the first request needs it,
    and can take long; other requests wait meanwhile. If it raises, so does everything that needs
    the server.
    """

    def __init__(self, server: Credential | Callable[[], Credential], timeouts: Timeouts):
        self.timeouts = timeouts
        self._provide = server if callable(server) else None
        self._credential = None if callable(server) else server
        self._providing = threading.Lock()
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[Sockets] = weakref.WeakSet()
        self._closed = False

    @property
    def is_provided(self) -> bool:
        """Whether there is a session."""
        return self._credential is not None

    @property
    def credential(self) -> Credential:
        """The session's server and what opens it. Raises :class:`NoSession`."""
        with self._providing:
            if self._credential is None and self._provide is not None:
                try:
                    self._credential = self._provide()
                except ClinderError as error:
                    raise NoSession(error.message) from None
            return cast("Credential", self._credential)

    def close(self) -> None:
        """End all connections, including those that are opened later."""
        with self._lock:
            self._closed = True
            opened = list(self._open)
        for each in opened:
            each.end()

    def make_sockets(self) -> Sockets:
        """Return sockets for a request or a websocket, which end with the gateway."""
        sockets = Sockets()
        with self._lock:
            self._open.add(sockets)
            if self._closed:
                sockets.end()
        return sockets

    def call(
        self, method: str, target: str, content: object = None, *, silence: float = SILENCE
    ) -> Answer:
        """Send a request, with JSON unless ``content`` is ``None``, and return the whole response.

        Raises :class:`~clinder.wire.http_errors.TransportError`.
        """
        body = b"" if content is None else json.dumps(content).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        with self.request(
            method,
            target,
            headers=headers if body else [],
            body=[body] if body else [],
            silence=silence,
        ) as reply:
            return Answer(reply.status, reply.headers, read_body(reply))

    @contextmanager
    def request(
        self,
        method: str,
        target: str,
        *,
        headers: Headers = (),
        body: Iterable[bytes] = (),
        silence: float = SILENCE,
    ) -> Iterator[Reply]:
        """Send a request and yield the response once its head has arrived, even of a redirect.

        ``target`` is relative to the server's URL. ``headers`` are the consumer's: those that are
        not for the server are left out. ``silence`` limits, in seconds, how long the server stays
        silent. Raises :class:`~clinder.wire.http_errors.TransportError`, also while the body is
        read.
        """
        credential = self.credential
        stream = _connect(credential.url, self.make_sockets(), self.timeouts)
        try:
            protocol = h11.Connection(h11.CLIENT)
            with _as_transport_error(credential.url, silence):
                _send(stream, protocol, _head(credential, method, target, headers))
                for piece in body:
                    _send(stream, protocol, h11.Data(data=piece))
                _send(stream, protocol, h11.EndOfMessage())
                response = _receive(stream, protocol, silence)
                while isinstance(response, h11.InformationalResponse):
                    response = _receive(stream, protocol, silence)
            pairs = [(name.decode(), value.decode("latin-1")) for name, value in response.headers]
            pieces = _body(stream, protocol, credential.url, silence)
            yield Reply(response.status_code, end_to_end(pairs, _NOT_RETURNED), pieces)
        finally:
            stream.close()

    def open_websocket(
        self,
        target: str,
        subprotocols: Sequence[str],
        sockets: Sockets,
        *,
        silence: float = HANDSHAKE,
    ) -> WebSocket:
        """Open a websocket, which ``sockets`` can end. The caller that reads it closes its stream.

        Raises :class:`~clinder.wire.websocket.Refused` and
        :class:`~clinder.wire.websocket.Broken`.
        """
        credential = self.credential
        try:
            stream = _connect(credential.url, sockets, self.timeouts)
        except TransportError as error:
            raise websocket.Broken(error.message) from None
        try:
            return websocket.connect(
                stream,
                credential.url + target,
                headers=[credential.header],
                subprotocols=subprotocols,
                seconds=silence,
                keep_alive=KeepAlive(),
            )
        except BaseException:
            stream.close()
            raise


def read_body(reply: Reply) -> bytes:
    """Return the whole body of a response.

    Raises :class:`~clinder.wire.http_errors.TransportError`, also if it is too large.
    """
    body = bytearray()
    for piece in reply.body:
        body += piece
        if len(body) > _MAX_ANSWER:
            raise TransportError("its response was too large", answered=True)
    return bytes(body)


def end_to_end(headers: Headers, unwanted: frozenset[str] = _NOT_SENT) -> list[tuple[str, str]]:
    """Return the headers that are not for one connection only, without the unwanted ones."""
    named = {
        name.strip().lower()
        for header, value in headers
        if header.lower() == "connection"
        for name in value.split(",")
    }
    dropped = _HOP_BY_HOP | unwanted | named
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def _connect(url: str, sockets: Sockets, timeouts: Timeouts) -> Duplex:
    try:
        raw = open_socket(url, seconds=timeouts.connect, sockets=sockets)
    except (OSError, urllib3.exceptions.HTTPError, requests.exceptions.RequestException) as error:
        raise to_transport_error(error, url=url, limit=timeouts.connect) from None
    return Duplex(raw, sockets)


def _head(credential: Credential, method: str, target: str, headers: Headers) -> h11.Request:
    parts = urlsplit(credential.url)
    own = [("Host", parts.netloc), credential.header, ("Connection", "close")]
    passed = [(name, value) for name, value in end_to_end(headers) if not _is_browsers(name)]
    if any(name.lower() == "transfer-encoding" for name, _ in headers):
        own.append(("Transfer-Encoding", "chunked"))
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in (*own, *passed)]
    return h11.Request(method=method, target=f"{parts.path}{target}", headers=pairs)


def _is_browsers(name: str) -> bool:
    return name.lower().startswith(("sec-", "x-forwarded-"))


@contextmanager
def _as_transport_error(url: str, silence: float) -> Iterator[None]:
    try:
        yield
    except (OSError, ssl.SSLError) as error:
        raise to_transport_error(error, url=url, limit=silence, connected=True) from None
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        raise TransportError("its response is not HTTP", answered=True) from None


def _send(stream: Duplex, protocol: h11.Connection, event: Any) -> None:
    if data := protocol.send(event):
        stream.send_all(data, SILENCE)


def _receive(stream: Duplex, protocol: h11.Connection, silence: float) -> Any:
    while (event := protocol.next_event()) is h11.NEED_DATA:
        data = stream.receive(silence)
        if data is None:
            raise TimeoutError
        protocol.receive_data(data)
    if isinstance(event, h11.ConnectionClosed):
        raise ConnectionResetError
    return event


def _body(stream: Duplex, protocol: h11.Connection, url: str, silence: float) -> Iterator[bytes]:
    while True:
        with _as_transport_error(url, silence):
            event = _receive(stream, protocol, silence)
        if not isinstance(event, h11.Data):
            return
        yield bytes(event.data)
