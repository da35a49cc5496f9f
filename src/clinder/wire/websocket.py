"""A websocket on a connected socket, in either role, whose messages can have any size (RFC 6455).

A message is sent and received in pieces, so that no message need be in memory as a whole. No
extensions are offered or accepted, because a compressed message has no size limit.
"""

from __future__ import annotations

import codecs
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from requests.utils import requote_uri

from clinder.wire.duplex import Duplex
from clinder.wire.frames import (
    Broken,
    Fragment,
    FrameReader,
    Opcode,
    make_close_data,
    make_frame,
    read_close_code,
)
from clinder.wire.handshake import (
    ClientHandshake,
    Headers,
    HeadTooLarge,
    Invalid,
    Offer,
    Refused,
)

__all__ = [
    "NO_PINGS",
    "Broken",
    "HeadTooLarge",
    "Invalid",
    "InvalidText",
    "KeepAlive",
    "Offer",
    "Piece",
    "Refused",
    "WebSocket",
    "accept",
    "connect",
    "join",
]

SEND_TIMEOUT = 60.0
"""Time limit in seconds for the other side to accept more of a message."""
_PIECE = 1024 * 1024
"""Bytes in a piece, unless the message ends. Some clients take time that grows with the square of
the number of pieces (websocket-client)."""


class InvalidText(Broken):
    """The other side sent a text that is not UTF-8."""


class Piece(NamedTuple):
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
        subprotocol: str = "",
        *,
        is_client: bool,
        received: bytes = b"",
        keep_alive: KeepAlive = NO_PINGS,
        now: Callable[[], float] = time.monotonic,
    ):
        self.subprotocol = subprotocol
        self.message_lock = threading.RLock()
        self.close_code = 0
        """The code that the other side closed the websocket with, 0 until then."""
        self.stream = stream
        self._is_client = is_client
        self._reader = FrameReader(masked=not is_client)
        self._received = received
        self._keep_alive = keep_alive
        self._now = now
        self._sending = threading.Lock()
        self._is_inside = False
        """Whether the message that is being sent is not complete."""
        self._is_closed = False
        """Whether this side has sent a close."""
        self._controls: deque[tuple[Opcode, bytes]] = deque()

    def pieces(self) -> Iterator[Piece]:
        """Yield the pieces of all messages until the other side closes the websocket.

        Raises :class:`Broken`.
        """
        parts: list[bytes] = []
        size, rest = 0, b""
        for opcode, data, final in self._fragments():
            parts.append(data)
            size += len(data)
            if not final and size < _PIECE:
                continue
            whole = parts[0] if len(parts) == 1 else b"".join(parts)
            parts, size = [], 0
            if opcode == Opcode.TEXT:
                text, rest = _decode(rest + whole if rest else whole, final)
                yield Piece(text, final)
            else:
                yield Piece(whole, final)

    def _fragments(self) -> Iterator[Fragment]:
        """Yield the parts of messages, and do what control frames ask for."""
        data, self._received = self._received, b""
        while True:
            for fragment in self._reader.feed(data):
                if fragment.opcode < Opcode.CLOSE:
                    yield fragment
                elif fragment.opcode == Opcode.PING:
                    self._send_control(Opcode.PONG, fragment.data)
                elif fragment.opcode == Opcode.CLOSE:
                    self.close_code = read_close_code(fragment.data)
                    if not self._is_closed:
                        with suppress(Broken):
                            self._send_control(Opcode.CLOSE, fragment.data)
                    return
            if not (data := self._receive()):
                if self.stream.sockets.ended.is_set():
                    return
                raise Broken("the connection ended")

    def _receive(self) -> bytes:
        """Return the next bytes, ``b""`` at the end; send a ping whenever there are none."""
        every, limit = self._keep_alive.every, self._keep_alive.limit
        began = self._now()
        try:
            while (data := self.stream.receive(every)) is None:
                if self._now() - began >= limit:
                    raise Broken("the other side stopped responding")
                if every < math.inf:
                    self._send_control(Opcode.PING)
        except OSError:
            raise Broken("the connection broke") from None
        return data

    def send(self, data: str | bytes, *, final: bool = True) -> None:
        """Send a message or, unless ``final``, a part of one. Raises :class:`Broken`."""
        opcode = Opcode.TEXT if isinstance(data, str) else Opcode.BINARY
        encoded = data.encode() if isinstance(data, str) else data
        with self._sending:
            if self._is_inside:
                opcode = Opcode.CONTINUATION
            self._is_inside = not final
            self._write(opcode, encoded, final=final)
        self._flush()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Tell the other side that no more messages follow.

        Raises :class:`Broken`, and :class:`ValueError` for a code that must not be sent.
        """
        self._send_control(Opcode.CLOSE, make_close_data(code, reason))

    def _send_control(self, opcode: Opcode, data: bytes = b"") -> None:
        """Send a control frame between two frames; never wait for another thread's message.

        Otherwise the reading thread would wait for the sending one, and that for the other side,
        which might itself wait for this side to read.
        """
        self._controls.append((opcode, data))
        self._flush()

    def _flush(self) -> None:
        while self._controls and self._sending.acquire(blocking=False):
            try:
                while self._controls:
                    self._write(*self._controls.popleft())
            finally:
                self._sending.release()

    def _write(self, opcode: Opcode, data: bytes, *, final: bool = True) -> None:
        if self._is_closed:
            raise Broken("the websocket is closed")
        self._is_closed = opcode == Opcode.CLOSE
        try:
            for part in make_frame(opcode, data, final=final, masked=self._is_client):
                self.stream.send_all(part, SEND_TIMEOUT)
        except OSError:
            raise Broken("the connection broke") from None


def _decode(data: bytes, final: bool) -> tuple[str, bytes]:
    """Return the text of a part of a message, and the beginning of a character at its end."""
    try:
        text, length = codecs.utf_8_decode(data, "strict", final)
    except UnicodeDecodeError:
        raise InvalidText("the other side sent an invalid frame") from None
    return text, data[length:]


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
    parts = urlsplit(requote_uri(url))
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    handshake = ClientHandshake(parts.netloc, target, headers, subprotocols)
    try:
        stream.send_all(handshake.request, seconds)
        while data := stream.receive(seconds):
            if (opened := handshake.feed(data)) is not None:
                subprotocol, received = opened
                return WebSocket(
                    stream, subprotocol, is_client=True, received=received, keep_alive=keep_alive
                )
    except OSError:
        raise Broken("the connection broke") from None
    raise Broken("the server sent no response")


def accept(
    offer: Offer, stream: Duplex, subprotocol: str = "", *, received: bytes = b""
) -> WebSocket:
    """Open the websocket that a client asks for. ``received`` is what it sent after its request.

    Raises :class:`Broken`.
    """
    chosen = subprotocol if subprotocol in offer.subprotocols else ""
    try:
        stream.send_all(offer.respond(chosen), SEND_TIMEOUT)
    except OSError:
        raise Broken("the connection broke") from None
    return WebSocket(stream, chosen, is_client=False, received=received)
