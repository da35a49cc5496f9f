"""A websocket on a connected socket, in either role, whose messages can have any size (RFC 6455).

A message is sent and received in pieces, so that no message need be in memory as a whole. No
extensions are offered or accepted, because a compressed message has no size limit.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from requests.utils import requote_uri
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import ProtocolError

from clinder.wire.duplex import Duplex

Headers = Sequence[tuple[str, str]]

SEND_TIMEOUT = 60.0
"""Time limit in seconds for the other side to accept more of a message."""
_PIECE = 1024 * 1024
"""Bytes or characters in a piece, unless the message ends. Some clients take time that grows with
the square of the number of pieces (websocket-client)."""
_HEAD_LIMIT = 16 * 1024
"""h11's own limit for a head that is not complete."""


class Broken(Exception):
    """The connection broke, or the other side sent something that is not a websocket's frame."""


class InvalidText(Broken):
    """The other side sent a text that is not UTF-8."""


class HeadTooLarge(Broken):
    """The server's response has too many or too long headers."""


class Invalid(Exception):
    """A client's request is not one for a websocket. ``status`` is for the response to it."""

    def __init__(self, status: int):
        super().__init__(f"invalid: {status}")
        self.status = status


class Refused(Exception):
    """The server refused to open the websocket and responded with ``status``."""

    def __init__(self, status: int):
        super().__init__(f"refused with status {status}")
        self.status = status


@dataclass(frozen=True)
class Piece:
    """A part of a message: ``str`` of a text message, ``bytes`` of a binary one.

    ``final`` marks the last part. A text is never cut within a character.
    """

    data: str | bytes
    final: bool


@dataclass(frozen=True)
class KeepAlive:
    """How a frozen connection is noticed.

    After each ``every`` seconds of silence the other side receives a ping. After ``limit`` seconds
    of silence the connection counts as broken.
    """

    every: float = 10.0
    limit: float = 30.0


NO_PINGS = KeepAlive(math.inf, math.inf)


class WebSocket:
    """An open websocket. One thread reads its pieces; any thread can send.

    ``subprotocol`` is the one that both sides agreed on, ``""`` if none. A thread that sends a
    message in several pieces holds :attr:`message_lock` meanwhile, so that no other message gets
    between them.
    """

    def __init__(
        self,
        stream: Duplex,
        protocol: WSConnection,
        subprotocol: str = "",
        *,
        keep_alive: KeepAlive = NO_PINGS,
        now: Callable[[], float] = time.monotonic,
    ):
        self.subprotocol = subprotocol
        self.message_lock = threading.RLock()
        self.close_code = 0
        """The code that the other side closed the websocket with, 0 until then."""
        self.stream = stream
        self._protocol = protocol
        self._keep_alive = keep_alive
        self._now = now
        self._sending = threading.Lock()
        self._controls: deque[Event] = deque()

    def pieces(self) -> Iterator[Piece]:
        """Yield the pieces of all messages until the other side closes the websocket.

        Raises :class:`Broken`.
        """
        parts: list[str | bytes] = []
        size = 0
        for event in self._events():
            data = event.data if isinstance(event.data, str) else bytes(event.data)
            parts.append(data)
            size += len(data)
            if event.message_finished or size >= _PIECE:
                yield Piece(join(parts), event.message_finished)
                parts, size = [], 0

    def _events(self) -> Iterator[TextMessage | BytesMessage]:
        while True:
            for event in self._protocol.events():
                if isinstance(event, TextMessage | BytesMessage):
                    yield event
                elif isinstance(event, Ping):
                    self._send_control(event.response())
                elif isinstance(event, CloseConnection):
                    self._raise_if_invalid(event)
                    self.close_code = event.code
                    if self._protocol.state is ConnectionState.REMOTE_CLOSING:
                        with suppress(Broken):
                            self._send_control(event.response())
                    return
            if data := self._receive():
                self._protocol.receive_data(data)
            elif self.stream.sockets.ended.is_set():
                return
            else:
                raise Broken("the connection ended")

    def _raise_if_invalid(self, event: CloseConnection) -> None:
        """Raise an error if this event stands for invalid data. That leaves the state unchanged."""
        if self._protocol.state not in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED):
            is_text = event.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA
            raise (InvalidText if is_text else Broken)("the other side sent an invalid frame")

    def _receive(self) -> bytes:
        """Return the next bytes, ``b""`` at the end; send a ping whenever there are none."""
        every, limit = self._keep_alive.every, self._keep_alive.limit
        began = self._now()
        try:
            while (data := self.stream.receive(every)) is None:
                if self._now() - began >= limit:
                    raise Broken("the other side stopped responding")
                if every < math.inf:
                    self._send_control(Ping())
        except OSError:
            raise Broken("the connection broke") from None
        return data

    def send(self, data: str | bytes, *, final: bool = True) -> None:
        """Send a message or, unless ``final``, a part of one. Raises :class:`Broken`."""
        message = (
            TextMessage(data, message_finished=final)
            if isinstance(data, str)
            else BytesMessage(data, message_finished=final)
        )
        with self._sending:
            self._write(message)
        self._flush()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Tell the other side that no more messages follow. Raises :class:`Broken`."""
        self._send_control(CloseConnection(code=code, reason=reason))

    def _send_control(self, event: Event) -> None:
        """Send a control frame between two frames; never wait for another thread's message.

        Otherwise the reading thread would wait for the sending one, and that for the other side,
        which might itself wait for this side to read.
        """
        self._controls.append(event)
        self._flush()

    def _flush(self) -> None:
        while self._controls and self._sending.acquire(blocking=False):
            try:
                while self._controls:
                    self._write(self._controls.popleft())
            finally:
                self._sending.release()

    def _write(self, event: Event) -> None:
        try:
            self.stream.send_all(self._protocol.send(event), SEND_TIMEOUT)
        except ProtocolError:
            raise Broken("the websocket is closed") from None
        except OSError:
            raise Broken("the connection broke") from None


def join(parts: Sequence[str | bytes]) -> str | bytes:
    """Return parts of one message, at least one, as a whole."""
    if len(parts) == 1:
        return parts[0]
    empty: Any = parts[0][:0]
    return cast("str | bytes", empty.join(parts))


def connect(
    stream: Duplex,
    url: str,
    *,
    headers: Headers = (),
    subprotocols: Sequence[str] = (),
    seconds: float,
    keep_alive: KeepAlive = NO_PINGS,
) -> WebSocket:
    """Open the websocket of a URL (http or https) on a connected socket.

    ``seconds`` limits how long the server can stay silent. Raises :class:`Refused` and
    :class:`Broken`.
    """
    protocol = WSConnection(ConnectionType.CLIENT)
    received = 0
    try:
        stream.send_all(protocol.send(_request(url, headers, subprotocols)), seconds)
        while data := stream.receive(seconds):
            received += len(data)
            protocol.receive_data(data)
            for event in protocol.events():
                if isinstance(event, AcceptConnection):
                    return WebSocket(
                        stream, protocol, event.subprotocol or "", keep_alive=keep_alive
                    )
                if isinstance(event, RejectConnection):
                    raise Refused(event.status_code)
    except (ProtocolError, ValueError):  # ValueError: a value that is not ASCII
        if received > _HEAD_LIMIT:
            raise HeadTooLarge("the response was too large") from None
        raise Broken("the response is not that of a websocket") from None
    except OSError:
        raise Broken("the connection broke") from None
    raise Broken("the server sent no response")


class Offer:
    """A client's request to open a websocket, which a server has read, with its subprotocols.

    Raises :class:`Invalid` if it is not valid.
    """

    def __init__(self, target: bytes, headers: Sequence[tuple[bytes, bytes]]):
        self._protocol = WSConnection(ConnectionType.SERVER)
        try:
            self._protocol.initiate_upgrade_connection(list(headers), target)
            (request,) = self._protocol.events()
        except (ProtocolError, ValueError) as error:
            hint = getattr(error, "event_hint", None)
            status = hint.status_code if isinstance(hint, RejectConnection) else 400
            raise Invalid(status) from None
        self.subprotocols: list[str] = getattr(request, "subprotocols", [])

    def accept(self, stream: Duplex, subprotocol: str = "", *, received: bytes = b"") -> WebSocket:
        """Open the websocket. ``received`` is what the client sent after its request.

        Raises :class:`Broken`.
        """
        chosen = subprotocol if subprotocol in self.subprotocols else None
        opening = self._protocol.send(AcceptConnection(subprotocol=chosen))
        try:
            stream.send_all(opening, SEND_TIMEOUT)
        except OSError:
            raise Broken("the connection broke") from None
        self._protocol.receive_data(received)
        return WebSocket(stream, self._protocol, chosen or "")


def _request(url: str, headers: Headers, subprotocols: Sequence[str]) -> Request:
    parts = urlsplit(requote_uri(url))
    return Request(
        host=parts.netloc,
        target=f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}",
        subprotocols=list(subprotocols),
        extra_headers=[(name.encode(), value.encode()) for name, value in headers],
    )
