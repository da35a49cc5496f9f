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
"""Connections that have not shown the token yet. One more closes the oldest of them."""
_MAX_CONNECTIONS = 256
"""MyST and JupyterLab have at most a few for each kernel."""
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

    def trust(self) -> None:
        """Note that its consumer has the gateway's token."""
        self.is_known = True


class Listener:
    """Accepts connections on a socket that listens, until it is closed."""

    def __init__(self, listening: socket.socket, threads: Threads):
        self._listening = listening
        self._listening.setblocking(False)
        self._threads = threads
        self._handle: Handler | None = None
        self._lock = threading.Lock()
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
                        with self._threads.surviving(), suppress(OSError):
                            raw, _ = self._listening.accept()
                            self._admit(_Connection(raw))

    def _admit(self, connection: _Connection) -> None:
        with self._lock:
            full = self._closed or len(self._connections) >= _MAX_CONNECTIONS
            strangers = [each for each in self._connections if not each.is_known]
            if not full:
                self._connections.append(connection)
        if full:
            connection.stream.close()
            return
        for each in strangers[: max(0, len(strangers) + 1 - _MAX_STRANGERS)]:
            each.sockets.end()
        try:
            self._start_thread(self._serve, connection)
        except RuntimeError:  # too many threads in this process
            self._remove(connection)

    def _serve(self, connection: _Connection) -> None:
        try:
            with suppress(ConsumerGone):
                self._serve_requests(connection)
        finally:
            self._remove(connection)

    def _remove(self, connection: _Connection) -> None:
        with self._lock:
            self._connections.remove(connection)
        connection.stream.close()

    def _serve_requests(self, connection: _Connection) -> None:
        protocol = h11.Connection(h11.SERVER)
        while True:
            seconds = _IDLE_TIMEOUT if connection.is_known else _HEAD_TIMEOUT
            try:
                request = next_event(connection.stream, protocol, seconds)
                exchange = Exchange(connection.stream, protocol, request)
                if self._handle:
                    self._handle(exchange, connection.trust)
            except InvalidRequest as error:
                _refuse(connection.stream, protocol, error.status)
                return
            if not exchange.is_done():
                return
            protocol.start_next_cycle()


def _refuse(stream: Duplex, protocol: h11.Connection, status: int) -> None:
    """Respond to something that is not a valid request, if that is still possible."""
    if protocol.our_state in (h11.IDLE, h11.SEND_RESPONSE):
        with suppress(OSError, h11.LocalProtocolError):
            headers = [("Content-Length", "0"), ("Connection", "close")]
            stream.send_all(protocol.send(h11.Response(status_code=status, headers=headers)), 1.0)
