"""A server on this machine that handles each connection in a thread."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

S = TypeVar("S", bound="Loopback")


class Loopback:
    """A server that runs, with its threads, until the context ends."""

    scheme = "http"

    def __init__(self) -> None:
        self.listener = _Listener(self)
        self.open: set[socket.socket] = set()
        """Sockets to shut down at the end."""
        self.port: int = self.listener.server_address[1]
        self.origin = f"{self.scheme}://127.0.0.1:{self.port}"

    def __enter__(self: S) -> S:
        threading.Thread(target=self.listener.serve_forever, args=(0.01,), name="loopback").start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.listener.shutdown()
        for each in tuple(self.open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.listener.server_close()  # joins the threads of the connections

    def handle(self, connection: socket.socket) -> None:
        """Serve one connection until it ends, and close it."""
        raise NotImplementedError


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, server: Loopback):
        self._server = server
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)

    def finish_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        self._server.handle(request)

    def shutdown_request(self, request: object) -> None:
        """Do nothing: ``handle`` closes the connection."""
