"""HTTP requests to the session's server whose bodies pass piece by piece, in both directions."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import h11
import requests
import urllib3

from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.duplex import Duplex
from clinder.wire.http_connection import Sockets, open_socket
from clinder.wire.http_errors import TransportError, to_transport_error

Headers = Sequence[tuple[str, str]]

SILENCE = 300.0
"""Seconds for which a server may stay silent: it responds to some requests only once a kernel
has started or has ended."""
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
        return cls(session.url, session.token, session.is_embedded)

    @property
    def header(self) -> tuple[str, str]:
        """The header that goes with each request."""
        return "Authorization", f"token {self.token}"


@dataclass(frozen=True)
class Reply:
    """A response whose body is still arriving. ``headers`` are those that may be passed on."""

    status: int
    headers: Headers
    body: Iterator[bytes]

    def header(self, name: str) -> str:
        """Return the value of a header, ``""`` if there is none."""
        return next((value for each, value in self.headers if each.lower() == name.lower()), "")


@contextmanager
def open_request(
    credential: Credential,
    method: str,
    target: str,
    *,
    headers: Headers = (),
    body: Iterable[bytes] = (),
    sockets: Sockets,
    timeouts: Timeouts,
    silence: float = SILENCE,
) -> Iterator[Reply]:
    """Send a request and yield the response once its head has arrived; redirects are responses.

    ``target`` is relative to the server's URL. ``headers`` are the consumer's: those that are not
    for the server are left out. ``sockets`` can end the request. ``silence`` limits, in seconds,
    how long the server stays silent. Raises
    :class:`~clinder.wire.http_errors.TransportError`, also while the body is read.
    """
    stream = _connect(credential.url, sockets, timeouts)
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
