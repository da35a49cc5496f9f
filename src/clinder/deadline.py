"""How long to go on: until a time has come, or until somebody cancels."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from clinder.errors import Cancelled, TimedOut


class Deadline:
    """A point in time, and an event that cancels; every wait below asks it.

    ``seconds`` counts from now. ``now`` is the clock. ``grace`` is for how many seconds work
    goes on once ``cancel`` is set: a launch raises it while a server may be about to appear.
    """

    def __init__(
        self,
        seconds: float,
        *,
        cancel: threading.Event | None = None,
        now: Callable[[], float] = time.monotonic,
    ):
        self.now = now
        self.cancel = cancel or threading.Event()
        self.grace = 0.0
        self._end = now() + seconds
        self._seconds = seconds
        self._cancelled_at: float | None = None

    def remaining(self) -> float:
        """Return the seconds left, never less than 0."""
        return max(0.0, self._end - self.now())

    def sooner(self, seconds: float) -> Deadline:
        """Return a deadline that comes after so many seconds, or with this one if that is first."""
        return Deadline(min(seconds, self.remaining()), cancel=self.cancel, now=self.now)

    def check(self) -> None:
        """Raise :class:`~clinder.errors.Cancelled` or :class:`~clinder.errors.TimedOut` if due."""
        if self.cancel.is_set():
            if self._cancelled_at is None:
                self._cancelled_at = self.now()
            if self.now() >= self._cancelled_at + self.grace:
                raise Cancelled("Cancelled.")
        if not self.remaining():
            raise TimedOut(f"Nothing came of it in {self._seconds:g} s.")

    def wait(self, seconds: float) -> None:
        """Sleep so many seconds, ending early with an error as :meth:`check` has it."""
        self.check()
        cancelled = self.cancel.is_set()  # then only the grace ends the wait early
        (threading.Event() if cancelled else self.cancel).wait(min(seconds, self.remaining()))
        self.check()
