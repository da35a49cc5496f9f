"""From the thread that reads an answer to the one that waits for it: bounded, and in few steps.

A hub sends a build's log in many small pieces. Those that came while the other thread was busy are
taken as one, as each step between two threads costs more than a piece.
"""

from __future__ import annotations

import threading
from collections import deque

LIMIT = 128 * 1024
"""Bytes that may lie here, more or less one piece."""


class ByteQueue:
    """Items in order, of which bytes that follow each other become one ``bytearray``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._items: deque[object] = deque()
        self._bytes = bytearray()
        self._closed = False

    def put(self, item: object) -> bool:
        """Hand an item over: whether anybody will take it. Waits while :data:`LIMIT` lie here."""
        with self._lock:
            while len(self._bytes) >= LIMIT and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            if isinstance(item, bytes):
                waiting = bool(self._bytes)
                self._bytes += item
                if waiting or not item:
                    return True
                item = self._bytes
            self._items.append(item)
            self._changed.notify()
            return True

    def get(self, seconds: float) -> object | None:
        """Return the next item, ``None`` where none came in so many seconds."""
        with self._lock:
            if not self._items:
                self._changed.wait(seconds)
            if not self._items:
                return None
            item = self._items.popleft()
            if item is self._bytes:
                self._bytes = bytearray()
                self._changed.notify()
            return item

    def close(self) -> None:
        """Take nothing any more."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()
