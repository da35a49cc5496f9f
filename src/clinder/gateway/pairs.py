"""A consumer's websocket and the one to the server, and the messages that wait for them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from clinder.gateway.access import Target
from clinder.gateway.effects import (
    Close,
    Effect,
    Forward,
    Interrupt,
    Link,
    Notice,
    Reconnect,
    Restart,
    ToConsumer,
    ToServer,
)
from clinder.wire import websocket
from clinder.wire.http_connection import Sockets
from clinder.wire.kernel_envelope import Message, Protocol
from clinder.wire.websocket import Piece, WebSocket

MUCH = 10 * 1024 * 1024
"""The size in bytes above which Jupyter Server, by tornado's default, refuses a message. Its close
code can be lost in a proxy, or if the connection is reset."""

Event = Interrupt | Restart | Notice
"""What a conversation wants done, apart from sending messages."""


class Current(NamedTuple):
    """The place of the message that is being passed on, among those that were made up."""


Item = Message | Current


class Pair:
    """A consumer's websocket and the one to the server, which can be missing for a while."""

    def __init__(
        self,
        consumer: WebSocket,
        target: Target,
        protocol: Protocol,
        server: WebSocket | None,
        sockets: Sockets,
    ):
        self.consumer = consumer
        self.target = target
        self.protocol = protocol
        self.server = server
        self.sockets = sockets
        self.link = Link("", 0)
        self.last_sent: Passing | None = None
        """The last message to the server."""
        self.ended = threading.Event()
        self.to_consumer: deque[Item] = deque()
        self.to_server: deque[Item] = deque()

    @property
    def has_sent_much(self) -> bool:
        """Whether the last message to the server, as far as it was sent, is large."""
        return self.last_sent is not None and self.last_sent.sent > MUCH

    def end(self) -> None:
        """End the websocket to the server, for good."""
        self.ended.set()
        self.sockets.end()

    def close(self, code: int) -> None:
        """Close the consumer's websocket, and end the one to the server."""
        with suppress(websocket.Broken):
            self.consumer.close(code)
        self.end()
        self.consumer.stream.sockets.end()


class Renewal(NamedTuple):
    """A pair whose websocket to the server has to be opened again."""

    pair: Pair


class Passing:
    """A message that is being passed on: its first piece, and those that follow."""

    def __init__(self, first: Piece, pieces: Iterator[Piece]):
        self._piece: Piece | None = first
        self._pieces = pieces
        self._is_read = first.final
        self.sent = 0
        """Bytes or characters that were sent, or that clinder tried to send."""

    def send(self, end: WebSocket) -> None:
        """Send the whole message. Raises :class:`~clinder.wire.websocket.Broken`."""
        while self._piece is not None:
            self.sent += len(self._piece.data)
            end.send(self._piece.data, final=self._piece.final)
            self._piece = None if self._is_read else self._read()

    def discard(self) -> bool:
        """Read the rest of the message; return whether it is complete."""
        while not self._is_read and self._read() is not None:
            pass
        return self._is_read

    def _read(self) -> Piece | None:
        piece = next_piece(self._pieces)
        self._is_read = piece is not None and piece.final
        return piece


def next_piece(pieces: Iterator[Piece]) -> Piece | None:
    """Return the next piece, ``None`` once the websocket has ended in any way."""
    try:
        return next(pieces, None)
    except websocket.Broken:
        return None


class Pairs:
    """All pairs of a kernel. ``lock`` is the kernel's: to add or remove a pair, hold it."""

    def __init__(self, lock: threading.Lock):
        self._lock = lock
        self._pairs: dict[Link, Pair] = {}
        self._is_waiting = False
        """Whether a queue might have messages that were made up."""

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def add(self, pair: Pair) -> None:
        """Add a pair whose link is known."""
        self._pairs[pair.link] = pair

    def remove(self, pair: Pair) -> None:
        """Remove a pair, if it was added."""
        self._pairs.pop(pair.link, None)

    def of(self, session_id: str) -> list[Pair]:
        """Return a consumer's pairs: one, and perhaps older ones that are about to end."""
        return [each for link, each in self._pairs.items() if link.session_id == session_id]

    def all(self) -> list[Pair]:
        """Return all pairs."""
        return [*self._pairs.values()]

    def sort(
        self, effects: Iterable[Effect], current: deque[Item] | None = None
    ) -> list[Event | Pair | Renewal]:
        """Put messages into the queues of their websockets; return the rest, and pairs to close.

        ``current`` is the queue in which the message that is being passed on has its place.
        """
        events: list[Event | Pair | Renewal] = []
        for effect in effects:
            match effect:
                case Forward() if current is not None:
                    current.append(Current())
                case ToConsumer(link, message) if link in self._pairs:
                    self._pairs[link].to_consumer.append(message)
                    self._is_waiting = True
                case ToServer(link, message) if link in self._pairs:
                    self._pairs[link].to_server.append(message)
                    self._is_waiting = True
                case Close(link) if link in self._pairs:
                    events.append(self._pairs[link])
                case Reconnect(link) if link in self._pairs:
                    events.append(Renewal(self._pairs[link]))
                case Interrupt() | Restart() | Notice():
                    events.append(effect)
        return events

    def send_all(self, queue: deque[Item], end: WebSocket, rest: Passing | None = None) -> None:
        """Send what is in a queue. The caller holds the message lock.

        Once the caller has released it, it calls :meth:`send_waiting`, because other threads put
        messages into the queue meanwhile. Raises :class:`~clinder.wire.websocket.Broken` if that
        websocket breaks.
        """
        with self._lock:
            items = [*queue]
            queue.clear()
        for item in items:
            if isinstance(item, Message):
                end.send(item.data)
            elif rest is not None:
                rest.send(end)

    def send_waiting(self) -> None:
        """Send what is in the queues. If another thread is sending there, that thread does it."""
        if not self._is_waiting:
            return
        with self._lock:
            pairs = [*self._pairs.values()]
        for pair in pairs:
            for queue, end in ((pair.to_consumer, pair.consumer), (pair.to_server, pair.server)):
                while end is not None and queue and end.message_lock.acquire(blocking=False):
                    try:
                        self.send_all(queue, end)
                    except websocket.Broken:
                        queue.clear()
                        break
                    finally:
                        end.message_lock.release()
        with self._lock:
            self._is_waiting = any(
                pair.to_consumer or pair.to_server for pair in self._pairs.values()
            )
