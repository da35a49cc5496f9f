"""A connected socket that one thread reads while others write, with time limits for both."""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from urllib3.util import wait_for_read, wait_for_write

from clinder.wire.http_connection import Sockets

_CHUNK = 256 * 1024
_TICK = 1.0
"""Seconds after which a wait looks at the socket again: a shutdown does not end it on Windows."""
_WANTS_READ = (BlockingIOError, ssl.SSLWantReadError)
_WANTS_WRITE = (BlockingIOError, ssl.SSLWantWriteError)


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
        until = time.monotonic() + seconds
        while True:
            try:
                with self._lock:
                    data = self.raw.recv(_CHUNK)
            except _WANTS_READ:
                wait = wait_for_read
            except ssl.SSLWantWriteError:  # pragma: no cover - TLS 1.2 renegotiates
                wait = wait_for_write
            else:
                if self._acknowledges_quickly:
                    _acknowledge_quickly(self.raw)
                # TLS is gone after a shutdown, so these bytes could be encrypted.
                return b"" if self.sockets.ended.is_set() else data
            if (remaining := until - time.monotonic()) <= 0:
                return None
            _wait(wait, self.raw, min(remaining, _TICK))

    def send_all(self, data: bytes, seconds: float) -> None:
        """Send all bytes; the other side must accept some of them every ``seconds`` seconds.

        Only one thread may do so at a time. Raises ``OSError``, :class:`SendTimeout` among them.
        """
        view = memoryview(data)
        until = time.monotonic() + seconds
        while view:
            try:
                with self._lock:
                    sent = self.raw.send(view)
            except _WANTS_WRITE:
                wait = wait_for_write
            except ssl.SSLWantReadError:  # pragma: no cover - TLS 1.2 renegotiates
                wait = wait_for_read
            else:
                view = view[sent:]
                until = time.monotonic() + seconds
                continue
            if self.sockets.ended.is_set():
                raise ConnectionAbortedError
            if time.monotonic() >= until:
                raise SendTimeout("the other side accepted nothing in time")
            _wait(wait, self.raw, _TICK)

    def close(self) -> None:
        """Shut the socket down and close it. Only the thread that reads it does so."""
        self.sockets.end()
        self.raw.close()


def _wait(
    wait: Callable[[socket.socket, float], object], raw: socket.socket, seconds: float
) -> None:
    try:
        wait(raw, seconds)
    except ValueError:
        raise ConnectionAbortedError from None  # another thread has closed it


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
