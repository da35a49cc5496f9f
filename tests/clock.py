"""A clock for tests: it runs on by itself, and a pause makes it jump instead of taking time."""

from __future__ import annotations

import threading
import time


class Clock:
    """``now`` and ``pause`` are what a deadline takes; ``pauses`` keeps what was waited for."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._skipped = 0.0
        self._began = self.now()

    def now(self) -> float:
        return time.monotonic() + self._skipped

    def pause(self, event: threading.Event, seconds: float) -> None:
        self.pauses.append(seconds)
        if not event.is_set():
            self.jump(seconds)

    def jump(self, seconds: float) -> None:
        """Have so many seconds gone by."""
        self._skipped += seconds

    @property
    def passed(self) -> float:
        """The seconds since it was made, pauses included."""
        return self.now() - self._began


class Standing(Clock):
    """A clock that does not run on by itself: only a pause and a jump take time."""

    def now(self) -> float:
        return self._skipped
