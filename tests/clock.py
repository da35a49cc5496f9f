"""Clocks for tests: a pause moves them forward instead of taking time."""

from __future__ import annotations

import threading
import time


class Clock:
    """A running clock. ``now`` and ``pause`` are for a deadline; ``pauses`` records the pauses."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._skipped = 0.0
        self._start = self.now()

    def now(self) -> float:
        return time.monotonic() + self._skipped

    def pause(self, event: threading.Event, seconds: float) -> None:
        self.pauses.append(seconds)
        if not event.is_set():
            self.jump(seconds)

    def jump(self, seconds: float) -> None:
        """Move forward."""
        self._skipped += seconds

    @property
    def passed(self) -> float:
        """The seconds since the clock was created, including pauses."""
        return self.now() - self._start


class StoppedClock(Clock):
    """A clock that only pauses and jumps move forward."""

    def now(self) -> float:
        return self._skipped
