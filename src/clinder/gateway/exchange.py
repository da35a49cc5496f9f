"""One request of a consumer, and the response to it, on a connection that can serve more."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import h11

from clinder.wire.duplex import Duplex
from clinder.wire.websocket import Offer

Headers = Sequence[tuple[str, str]]

SILENCE = 60.0
"""Seconds for which a consumer can send or accept nothing in the middle of a request."""
_HEAD_LIMIT = 64 * 1024
_FRAMING = ("content-length", "transfer-encoding")


class ConsumerGone(Exception):
    """The consumer closed the connection, or stopped responding."""


class InvalidRequest(Exception):
    """The consumer sent something that is not HTTP; ``status`` is for the response."""

    def __init__(self, status: int):
        super().__init__(f"invalid: {status}")
        self.status = status


class Exchange:
    """A request whose head has arrived. ``headers`` has its names in lower case.

    Reading and writing raise :class:`ConsumerGone`.
    """

    def __init__(self, stream: Duplex, protocol: h11.Connection, request: h11.Request):
        self.stream = stream
        self._protocol = protocol
        self._request = request
        self.method = request.method.decode("ascii")
        self.target = request.target.decode("latin-1")
        pairs = [(name.decode(), value.decode("latin-1")) for name, value in request.headers]
        self.headers: Mapping[str, str] = dict(reversed(pairs))
        self.header_list: Headers = pairs
        self.responding = False
        """Whether the response has begun, so that its status is known to the consumer."""

    @property
    def has_body(self) -> bool:
        """Whether a body follows the request's head."""
        return any(name in self.headers for name in _FRAMING)

    @property
    def is_for_websocket(self) -> bool:
        """Whether the consumer asks for a websocket."""
        return self.headers.get("upgrade", "").lower() == "websocket"

    def offer(self) -> tuple[Offer, bytes]:
        """Return the request for a websocket, and what the consumer has sent after it.

        Raises :class:`~clinder.wire.websocket.Invalid`.
        """
        offer = Offer(self._request.target, list(self._request.headers))
        received, _ = self._protocol.trailing_data
        return offer, received

    def body(self) -> Iterator[bytes]:
        """Yield the request's body as it arrives. Raises :class:`InvalidRequest`."""
        if self._protocol.they_are_waiting_for_100_continue:
            self._send(h11.InformationalResponse(status_code=100, headers=[]))
        while not isinstance(event := next_event(self.stream, self._protocol), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                yield bytes(event.data)

    def read_body(self, limit: int) -> bytes | None:
        """Return the whole body, ``None`` if it has more than ``limit`` bytes."""
        body = bytearray()
        for piece in self.body():
            body += piece
            if len(body) > limit:
                return None
        return bytes(body)

    def respond(self, status: int, headers: Headers = (), body: Iterable[bytes] = ()) -> None:
        """Send a whole response."""
        self.begin(status, headers)
        for piece in body:
            self.write(piece)
        self.end()

    def respond_json(self, status: int, content: object) -> None:
        """Send a response with a JSON value, like a Jupyter Server."""
        text = json.dumps(content).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(text)))]
        self.respond(status, headers, [text])

    def begin(self, status: int, headers: Headers = ()) -> None:
        """Send the head of the response. Without a Content-Length, its body is sent in chunks."""
        self.responding = True
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        self._send(h11.Response(status_code=status, headers=pairs))

    def write(self, data: bytes) -> None:
        """Send a part of the response's body."""
        self._send(h11.Data(data=data))

    def end_json(self, content: object) -> None:
        """Send a JSON value as the rest of a response that has begun."""
        self.write(json.dumps(content).encode())
        self.end()

    def end(self) -> None:
        """End the response."""
        self._send(h11.EndOfMessage())

    def is_done(self) -> bool:
        """Whether the connection can serve another request. Reads what is left of the request."""
        if self._protocol.our_state is h11.DONE and not self.has_body:
            next_event(self.stream, self._protocol)  # the end of a request without a body
        return self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE

    def break_off(self) -> None:
        """Close the connection in the middle of a response, so that the consumer sees a failure."""
        self.stream.sockets.end()

    def is_consumer_gone(self) -> bool:
        """Whether the consumer has closed the connection while it waits for the response."""
        try:
            data = self.stream.receive(0)
        except OSError:
            return True
        if data:
            self._protocol.receive_data(data)  # its next request
        return data == b""

    def _send(self, event: Any) -> None:
        try:
            data = self._protocol.send(event)
            if data:
                self.stream.send_all(data, SILENCE)
        except (OSError, h11.LocalProtocolError):
            raise ConsumerGone from None


def next_event(stream: Duplex, protocol: h11.Connection, seconds: float = SILENCE) -> Any:
    """Return the next event of the consumer's side of a connection.

    Raises :class:`ConsumerGone` and :class:`InvalidRequest`.
    """
    try:
        while (event := protocol.next_event()) is h11.NEED_DATA:
            data = stream.receive(seconds)
            if data is None:
                raise ConsumerGone
            protocol.receive_data(data)
    except h11.RemoteProtocolError as error:
        raise InvalidRequest(error.error_status_hint) from None
    except OSError:
        raise ConsumerGone from None
    if isinstance(event, h11.ConnectionClosed):
        raise ConsumerGone
    if isinstance(event, h11.Request):
        _require_plain(event)
    return event


def _require_plain(request: h11.Request) -> None:
    """Raise :class:`InvalidRequest` for a head that is huge, or that can be read in two ways.

    h11 itself limits only a head that has not arrived yet.
    """
    size = len(request.target) + sum(len(name) + len(value) for name, value in request.headers)
    if size > _HEAD_LIMIT:
        raise InvalidRequest(431)
    if {name.decode() for name, _ in request.headers} >= set(_FRAMING):
        raise InvalidRequest(400)
