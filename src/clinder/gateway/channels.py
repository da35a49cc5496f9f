"""The websockets of one kernel: those of its consumers, and for each of them one to the server.

A :class:`~clinder.gateway.conversation.Conversation` decides what is passed on and what is made up.
Two threads serve a consumer: one reads what it sends, the other what the server sends. A broken
websocket to the server is opened again with the same session id, so that the server sends what it
has kept meanwhile.

A thread that sends holds the message lock of that websocket, then takes the lock of the kernel to
learn what to send. No thread waits for a message lock while it holds the kernel's, and none sends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from urllib.parse import parse_qs

from clinder.gateway.access import Target
from clinder.gateway.conversation import Conversation
from clinder.gateway.effects import (
    Effect,
    ToServer,
    Wait,
)
from clinder.gateway.exchange import Exchange
from clinder.gateway.failures import Cause
from clinder.gateway.pairs import Event, Pair, Pairs, Passing, Renewal, next_piece
from clinder.gateway.relay import refuse
from clinder.gateway.threads import Threads
from clinder.gateway.upstream import HANDSHAKE, Upstream
from clinder.wire import websocket
from clinder.wire.http_connection import Sockets
from clinder.wire.kernel_envelope import Message, Protocol
from clinder.wire.websocket import Offer, Piece, WebSocket

RECONNECT_LIMIT = 180.0
"""Seconds after which a server that cannot be reached is given up."""
_FIRST_DELAY = 0.2
_LONGEST_DELAY = 5.0
_LOST_DELAY = 1.0
_SILENCE = 30.0
"""Seconds for a server to open the websocket of a kernel that has responded before."""
_WAIT = 0.1
_END_TIMEOUT = 1.0
_SUPERSEDED = 1000
"""The code that closes a websocket for good: JupyterLab does not connect again."""
_INTERRUPTED = 4000
"""The code that closes a websocket in the middle of a message: JupyterLab connects again."""
_TOO_LARGE = 1009
"""The code with which a server refuses a message."""


class Channels:
    """The websockets of a kernel. Thread-safe.

    ``is_ours`` means that a consumer has started the kernel through the gateway: then its websocket
    is accepted even if the server cannot be reached, and learns the reason from its cells.
    ``perform`` receives what else the conversation wants done. ``ask`` returns whether the server
    still has the kernel, ``None`` if that is unknown. ``on_trouble`` is called if the server cannot
    be reached. ``now`` is the conversation's clock.
    """

    def __init__(
        self,
        conversation: Conversation,
        upstream: Upstream,
        threads: Threads,
        *,
        is_ours: bool,
        perform: Callable[[Event], None],
        ask: Callable[[], bool | None],
        on_trouble: Callable[[], None],
        now: Callable[[], float],
    ):
        self._conversation = conversation
        self._upstream = upstream
        self._threads = threads
        self._is_ours = is_ours
        self._perform = perform
        self._ask = ask
        self._on_trouble = on_trouble
        self._now = now
        self._lock = threading.Lock()
        self._connecting = threading.Lock()
        self._pairs = Pairs(self._lock)

    @property
    def is_connected(self) -> bool:
        """Whether a consumer's websocket is open."""
        return bool(self._pairs)

    def tell(self, event: Callable[[Conversation], Iterable[Effect] | None]) -> None:
        """Tell the conversation about an event, and do what it returns."""
        with self._lock:
            events = self._pairs.sort(event(self._conversation) or ())
        self._pairs.send_waiting()
        self._do(events)

    def close(self) -> None:
        """Close the websockets of all consumers, because the kernel was deleted."""
        with self._lock:
            pairs = self._pairs.all()
        for pair in pairs:
            pair.close(_SUPERSEDED)

    # One consumer

    def serve(self, exchange: Exchange, target: Target) -> None:
        """Serve a consumer's websocket until it ends."""
        try:
            offer, received = exchange.offer()
        except websocket.Invalid as error:
            refuse(exchange, error)
            return
        session_id = parse_qs(target.query).get("session_id", [""])[0]
        exchange.stream.sockets.ended.wait(self._connect_delay(session_id))
        try:
            pair = self._connect(exchange, offer, received, target, session_id)
        except (websocket.Refused, websocket.Broken) as error:
            if not exchange.responding:
                refuse(exchange, error)
            return
        try:
            reader = self._threads.start("kernel", self._read_server, pair)
            self._read_consumer(pair)
        finally:
            pair.end()
            with self._lock:
                self._conversation.disconnect(pair.link, self._now())
                self._pairs.remove(pair)
            exchange.stream.sockets.end()
        reader.join(_END_TIMEOUT)

    def _connect_delay(self, session_id: str) -> float:
        with self._lock:
            return self._conversation.connect_delay(session_id, self._now())

    def _connect(
        self, exchange: Exchange, offer: Offer, received: bytes, target: Target, session_id: str
    ) -> Pair:
        """Open both websockets. One with the same session id, if any, ends before.

        Raises :class:`~clinder.wire.websocket.Refused` and
        :class:`~clinder.wire.websocket.Broken`.
        """
        with self._connecting:
            with self._lock:
                old = self._pairs.of(session_id)
                has_no_kernel = self._conversation.has_no_kernel
            for each in old:
                each.end()
            offered = [Protocol.V1.value] if Protocol.V1.value in offer.subprotocols else []
            sockets, server = self._upstream.make_sockets(), None
            try:
                if not has_no_kernel:
                    server = self._dial(target, offered, sockets)
            except (websocket.Refused, websocket.Broken):
                if not self._is_ours:
                    for each in old:
                        each.close(_INTERRUPTED)
                    raise
                self._on_trouble()
            subprotocol = server.subprotocol if server else "".join(offered)
            exchange.responding = True
            try:
                consumer = websocket.accept(offer, exchange.stream, subprotocol, received=received)
            except websocket.Broken:
                sockets.end()
                raise
            pair = Pair(consumer, target, Protocol(subprotocol), server, sockets)
            return self._register(pair, session_id)

    def _register(self, pair: Pair, session_id: str) -> Pair:
        def connect(conversation: Conversation) -> list[Effect]:
            pair.link, effects = conversation.connect(session_id, pair.protocol, self._now())
            self._pairs.add(pair)
            if pair.server is None:
                conversation.server_disconnected(pair.link)
                effects = [each for each in effects if not isinstance(each, ToServer)]
            return effects

        self.tell(connect)
        return pair

    def _dial(
        self, target: Target, offered: list[str], sockets: Sockets, silence: float = HANDSHAKE
    ) -> WebSocket:
        """Open the websocket to the server, in one of the protocols that clinder knows."""
        server = self._upstream.open_websocket(target.text, offered, sockets, silence=silence)
        if server.subprotocol not in (*offered, ""):
            server.stream.close()
            raise websocket.Broken("the server uses an unknown protocol")
        return server

    # From the consumer to the server

    def _read_consumer(self, pair: Pair) -> None:
        """Pass on what the consumer sends, until its websocket ends."""
        pieces = pair.consumer.pieces()
        while (first := next_piece(pieces)) is not None:
            while not self._offer(pair, first, pieces):
                if pair.ended.wait(_WAIT):
                    return

    def _offer(self, pair: Pair, first: Piece, pieces: Iterator[Piece]) -> bool:
        """Do with a consumer's message what the conversation decides; ``False``: it must wait."""
        server = pair.server
        if server is None:
            return self._decide(pair, None, first, pieces)
        with server.message_lock:
            if pair.server is not server:
                return False
            return self._decide(pair, server, first, pieces)

    def _decide(
        self, pair: Pair, server: WebSocket | None, first: Piece, pieces: Iterator[Piece]
    ) -> bool:
        message = Message(first.data, first.final)
        with self._lock:
            if pair.server is not server:
                return False
            effects = self._conversation.from_consumer(pair.link, message, self._now())
            if isinstance(effects[0], Wait):
                return False
            events = self._pairs.sort(effects, current=pair.to_server)
        self._do(events)
        rest = pair.last_sent = Passing(first, pieces)
        try:
            if server is not None:
                self._pairs.send_all(pair.to_server, server, rest)
        except websocket.Broken:
            pass  # the other thread opens it again, and the conversation notices what was lost
        finally:
            rest.discard()
        self._pairs.send_waiting()
        return True

    # From the server to the consumer

    def _read_server(self, pair: Pair) -> None:
        """Do :meth:`_read_servers`. A bug there ends the consumer's websocket, too.

        Otherwise its cells would never end.
        """
        try:
            self._read_servers(pair)
        except Exception:
            pair.close(_INTERRUPTED)
            raise

    def _read_servers(self, pair: Pair) -> None:
        """Pass on what the server sends, and open its websocket again if it ends."""
        server = pair.server
        while not pair.ended.is_set():
            if server is not None:
                try:
                    self._pass_on(pair, server)
                except _ConsumerGone:
                    pair.close(_INTERRUPTED)
                finally:
                    server.stream.close()
            is_refused = server is not None and server.close_code == _TOO_LARGE
            server = self._reconnect(pair, too_large=is_refused or pair.has_sent_much)
            if server is None:
                return

    def _pass_on(self, pair: Pair, server: WebSocket) -> None:
        """Pass on what the server sends, until its websocket ends.

        Raises :class:`_ConsumerGone`, also if the consumer has received a part of a message that
        never ends.
        """
        pieces = server.pieces()
        while (first := next_piece(pieces)) is not None:
            with pair.consumer.message_lock:
                message = Message(first.data, first.final)
                with self._lock:
                    effects = self._conversation.from_server(pair.link, message, self._now())
                    events = self._pairs.sort(effects, current=pair.to_consumer)
                self._do(events)
                rest = Passing(first, pieces)
                try:
                    self._pairs.send_all(pair.to_consumer, pair.consumer, rest)
                except websocket.Broken:
                    raise _ConsumerGone from None
                if not rest.discard():
                    if rest.sent:
                        raise _ConsumerGone
                    return
                if not first.final:
                    with self._lock:
                        self._conversation.message_ended(pair.link, self._now())
            self._pairs.send_waiting()

    def _reconnect(self, pair: Pair, *, too_large: bool) -> WebSocket | None:
        """Open the websocket to the server again; ``None`` if the consumer is gone.

        If nothing can reach the kernel, the consumer stays connected: its cells fail.
        """
        with self._lock:
            pair.server = pair.last_sent = None
            pair.to_server.clear()
            effects = self._conversation.server_disconnected(pair.link, too_large=too_large)
            events = self._pairs.sort(effects)
        self._do(events)
        began, delay = self._now(), _FIRST_DELAY
        while not pair.ended.wait(delay):
            with self._lock:
                if self._conversation.has_no_kernel:  # until a consumer restarts it
                    began, delay = self._now(), _LOST_DELAY
                    continue
            if (server := self._dial_again(pair)) is not None:
                return server if self._resume(pair, server) else None
            if self._now() - began >= RECONNECT_LIMIT:
                self.tell(lambda each: each.lose(Cause.UNREACHABLE, "", self._now()))
            delay = min(delay * 1.6, _LONGEST_DELAY)
        return None

    def _dial_again(self, pair: Pair) -> WebSocket | None:
        sockets = self._upstream.make_sockets()
        with self._lock:
            pair.sockets = sockets
            if pair.ended.is_set():
                sockets.end()
        offered = [pair.protocol.value] if pair.protocol.value else []
        try:
            server = self._dial(pair.target, offered, sockets, _SILENCE)
        except (websocket.Refused, websocket.Broken):
            if not pair.ended.is_set():
                self._on_trouble()
                if self._ask() is False:
                    self.tell(lambda each: each.lose(Cause.KERNEL_GONE, "", self._now()))
            return None
        if server.subprotocol != pair.protocol.value:
            server.stream.close()
            pair.close(_INTERRUPTED)  # it must agree on a protocol again
            return None
        return server

    def _resume(self, pair: Pair, server: WebSocket) -> bool:
        with server.message_lock:
            with self._lock:
                if pair.ended.is_set():
                    server.stream.close()
                    return False
                pair.server = server
                events = self._pairs.sort(self._conversation.server_reconnected(pair.link))
            with suppress(websocket.Broken):
                self._pairs.send_all(pair.to_server, server)
        self._pairs.send_waiting()
        self._do(events)
        return True

    def _do(self, events: Iterable[Event | Pair | Renewal]) -> None:
        for event in events:
            if isinstance(event, Pair):
                event.close(_SUPERSEDED)
            elif isinstance(event, Renewal):
                event.pair.sockets.end()  # the thread that reads opens it again
            else:
                self._perform(event)


class _ConsumerGone(Exception):
    """The consumer's websocket is broken, or cannot be used any more."""
