"""The gateway's port: connections of consumers, each served by a thread of its own."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import h11

from clinder.gateway.exchange import ConsumerGone, Exchange, InvalidRequest, next_event
from clinder.gateway.threads import Threads
from clinder.wire.duplex import Duplex
from clinder.wire.http_connection import Sockets

Handler = Callable[[Exchange, Callable[[], None]], None]
"""Serves a request, and calls the function as soon as the request has shown the gateway's token."""

_MAX_STRANGERS = 16
"""Connections that have not shown the token yet. Further ones wait, until the oldest of them has
had its time."""
_STRANGER_TIME = 1.0
"""Seconds in which the oldest of so many strangers can show the token: tools that open many
connections at once are strangers, too."""
_MAX_CONNECTIONS = 256
"""MyST and JupyterLab have at most a few for each kernel. One more closes the one that has been
idle for longest."""
_HEAD_TIMEOUT = 10.0
_IDLE_TIMEOUT = 600.0
_END_TIMEOUT = 1.0
_TICK = 1.0


class _Connection:
    def __init__(self, raw: socket.socket):
        self.sockets = Sockets()
        self.sockets.add(raw)
        self.stream = Duplex(raw, self.sockets)
        self.is_known = False
        """Whether a request on this connection came with the gateway's token."""
        self.began = time.monotonic()
        self.idle_since: float | None = self.began
        """When it began to wait for a request, ``None`` while a request is served."""

    @property
    def has_ended(self) -> bool:
        """Whether the gateway has ended it, even if its thread has not noticed yet."""
        return self.sockets.ended.is_set()


class Listener:
    """Accepts connections on a socket that listens, until it is closed.

    ``warn`` receives, once, that there are too many.
    """

    def __init__(self, listening: socket.socket, threads: Threads, warn: Callable[[str], None]):
        self._listening = listening
        self._listening.setblocking(False)
        self._threads = threads
        self._warn = warn
        self._has_warned = False
        self._handle: Handler | None = None
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        """A stranger has shown the token, or a connection has ended."""
        self._connections: list[_Connection] = []
        self._running: set[threading.Thread] = set()
        self._waker, self._woken = socket.socketpair()
        self._closed = False

    def start(self, handle: Handler) -> None:
        """Serve requests from now on, each in the thread of its connection.

        A consumer that connected before has waited.
        """
        self._handle = handle
        self._start_thread(self._accept)

    def close(self) -> None:
        """Close the port and all connections, and wait for their threads for a second."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()
            connections, threads = list(self._connections), list(self._running)
        self._waker.send(b"x")
        for each in connections:
            each.sockets.end()
        until = time.monotonic() + _END_TIMEOUT
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        for opened in (self._listening, self._waker, self._woken):
            opened.close()

    def _start_thread(self, work: Callable[..., None], *arguments: object) -> None:
        with self._lock:
            self._running.add(self._threads.start("gateway", self._run, work, *arguments))

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        try:
            work(*arguments)
        finally:
            with self._lock:
                self._running.discard(threading.current_thread())

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._closed:
                for key, _ in selector.select(_TICK):
                    if key.fileobj is self._listening:
                        with self._threads.surviving():
                            self._wait_for_strangers()
                            self._accept_one()

    def _wait_for_strangers(self) -> None:
        """Return once another stranger is allowed; end the oldest if it shows no token in time."""
        with self._changed:
            while len(strangers := self._strangers()) >= _MAX_STRANGERS and not self._closed:
                remaining = strangers[0].began + _STRANGER_TIME - time.monotonic()
                if remaining > 0:
                    self._changed.wait(remaining)
                else:
                    strangers[0].sockets.end()

    def _strangers(self) -> list[_Connection]:
        return [each for each in self._connections if not (each.is_known or each.has_ended)]

    def _accept_one(self) -> None:
        try:
            raw, _ = self._listening.accept()
        except BlockingIOError:  # it has gone again
            return
        except OSError:  # too many open files, until a connection ends
            with self._changed:
                self._changed.wait(_TICK)
            return
        self._admit(_Connection(raw))

    def _admit(self, connection: _Connection) -> None:
        with self._lock:
            is_admitted = not self._closed and self._make_room()
            if is_admitted:
                self._connections.append(connection)
        if not is_admitted:
            connection.stream.close()
            return
        try:
            self._start_thread(self._serve, connection)
        except RuntimeError:  # too many threads in this process
            self._remove(connection)

    def _make_room(self) -> bool:
        """Return whether one more connection is allowed, perhaps in place of an idle one."""
        opened = [each for each in self._connections if not each.has_ended]
        if len(opened) < _MAX_CONNECTIONS:
            return True
        idle = [each for each in opened if each.is_known and each.idle_since]
        if idle:
            min(idle, key=lambda each: each.idle_since or 0.0).sockets.end()
        elif not self._has_warned:
            self._has_warned = True
            self._warn(
                f"{_MAX_CONNECTIONS} connections to clinder's gateway are in use, so it refuses "
                "further ones. Run fewer notebooks at once."
            )
        return bool(idle)

    def _serve(self, connection: _Connection) -> None:
        try:
            with suppress(ConsumerGone):
                self._serve_requests(connection)
        finally:
            self._remove(connection)

    def _remove(self, connection: _Connection) -> None:
        with self._lock:
            self._connections.remove(connection)
            self._changed.notify_all()
        connection.stream.close()

    def _trust(self, connection: _Connection) -> None:
        """Note that a consumer has the gateway's token."""
        with self._lock:
            connection.is_known = True
            self._changed.notify_all()

    def _serve_requests(self, connection: _Connection) -> None:
        protocol = h11.Connection(h11.SERVER)
        while True:
            seconds = _IDLE_TIMEOUT if connection.is_known else _HEAD_TIMEOUT
            try:
                request = next_event(connection.stream, protocol, seconds)
                connection.idle_since = None
                exchange = Exchange(connection.stream, protocol, request)
                if self._handle:
                    self._handle(exchange, lambda: self._trust(connection))
            except InvalidRequest as error:
                _refuse(connection.stream, protocol, error.status)
                return
            if not exchange.is_done():
                return
            protocol.start_next_cycle()
            connection.idle_since = time.monotonic()


def _refuse(stream: Duplex, protocol: h11.Connection, status: int) -> None:
    """Respond to something that is not a valid request, if that is still possible."""
    if protocol.our_state in (h11.IDLE, h11.SEND_RESPONSE):
        with suppress(OSError, h11.LocalProtocolError):
            headers = [("Content-Length", "0"), ("Connection", "close")]
            stream.send_all(protocol.send(h11.Response(status_code=status, headers=headers)), 1.0)
