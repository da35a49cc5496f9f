"""A connected socket that one thread reads while others write, with time limits for both."""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from urllib3.util import wait_for_read, wait_for_write

from clinder.wire.http_connection import Sockets

_CHUNK = 256 * 1024
_TICK = 1.0
"""Seconds after which a wait looks at the socket again: a shutdown does not end it on Windows."""
_A = TypeVar("_A")
_T = TypeVar("_T")
_Wait = Callable[[socket.socket, float], object]


class SendTimeout(OSError):
    """The other side accepted nothing for too long."""


class Duplex:
    """A socket, with or without TLS. ``sockets`` holds it and can end it; the caller closes it.

    The socket is non-blocking, and at most one thread is inside TLS at a time: OpenSSL does not
    allow two, and one thread's blocking read would block another's write (python/cpython#137583).
    """

    def __init__(self, raw: socket.socket, sockets: Sockets):
        raw.setblocking(False)
        self.raw = raw
        self.sockets = sockets
        self._lock = threading.Lock()
        with suppress(OSError):  # it is no TCP socket
            # Otherwise Nagle's algorithm holds a small message back for 40 ms.
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._acknowledges_quickly = _acknowledge_quickly(raw)

    def receive(self, seconds: float = math.inf) -> bytes | None:
        """Return the next bytes, ``b""`` at the end, ``None`` if there are none for ``seconds``.

        Raises ``OSError``.
        """
        data = self._when_ready(wait_for_read, self.raw.recv, _CHUNK, seconds)
        if data is not None and self._acknowledges_quickly:
            _acknowledge_quickly(self.raw)
        # TLS is gone after a shutdown, so these bytes could be encrypted.
        return b"" if self.sockets.ended.is_set() else data

    def send_all(self, data: bytes, seconds: float) -> None:
        """Send all bytes; the other side must accept some of them every ``seconds`` seconds.

        Only one thread can do so at a time. Raises ``OSError``, :class:`SendTimeout` among them.
        """
        view = memoryview(data)
        while view:
            sent = self._when_ready(wait_for_write, self.raw.send, view, seconds)
            if sent is None:
                raise SendTimeout("the other side accepted nothing in time")
            view = view[sent:]

    def _when_ready(
        self, wait: _Wait, do: Callable[[_A], _T], argument: _A, seconds: float
    ) -> _T | None:
        """Return what an operation returns, ``None`` if the socket is not ready in time."""
        until: float | None = None
        while True:
            try:
                with self._lock:
                    return do(argument)
            except BlockingIOError:
                wait_now = wait
            except ssl.SSLWantReadError:
                wait_now = wait_for_read
            except ssl.SSLWantWriteError:
                wait_now = wait_for_write
            if self.sockets.ended.is_set():
                raise ConnectionAbortedError
            now = time.monotonic()
            until = now + seconds if until is None else until
            if (remaining := until - now) <= 0:
                return None
            try:
                wait_now(self.raw, min(remaining, _TICK))
            except ValueError:
                raise ConnectionAbortedError from None  # another thread has closed it

    def close(self) -> None:
        """Shut the socket down and close it. Only the thread that reads it does so."""
        self.sockets.end()
        self.raw.close()


def _acknowledge_quickly(raw: socket.socket) -> bool:
    """Have Linux acknowledge the next bytes at once, and return whether it can.

    A Jupyter Server does not set TCP_NODELAY, so each small message waits for the acknowledgement
    of the one before, up to 40 ms. The setting must be repeated because Linux resets it.
    """
    try:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    except (AttributeError, OSError):  # another system, or no TCP socket
        return False
    return True
