"""A bounded queue from the thread that reads a response to the one that waits for it.

A hub sends a build's log in many small chunks. Chunks that arrive while the other thread is busy
are merged, because each switch between threads costs more than a chunk.
"""

from __future__ import annotations

import threading
from collections import deque

LIMIT = 128 * 1024
"""Maximum number of waiting bytes, which one chunk can exceed."""


class ByteQueue:
    """Items in their order; successive ``bytes`` become one ``bytearray``."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: deque[object] = deque()
        self._bytes = bytearray()
        self._closed = False

    def put(self, item: object) -> bool:
        """Add an item once fewer than :data:`LIMIT` bytes wait; ``False`` if it is closed."""
        with self._changed:
            while len(self._bytes) >= LIMIT and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            if isinstance(item, bytes):
                is_queued = bool(self._bytes)
                self._bytes += item
                if is_queued or not item:
                    return True
                item = self._bytes
            self._items.append(item)
            self._changed.notify()
            return True

    def get(self, seconds: float) -> object | None:
        """Remove and return the first item, ``None`` if none arrives within ``seconds``."""
        with self._changed:
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
        """Accept no more items, and wake up every waiting thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
