"""How long to go on: until a time has come, or until somebody cancels."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from clinder.errors import Cancelled, TimedOut

T = TypeVar("T")
Pause = Callable[[threading.Event, float], object]


class _CancelTime:
    """When a cancellation was first seen."""

    at: float | None = None


class Deadline:
    """A point in time, and an event that cancels; every wait below asks it.

    ``seconds`` counts from now. ``now`` is the clock, and ``pause`` waits for an event so many
    seconds. ``grace`` is for how many seconds work goes on once ``cancel`` is set: a launch
    raises it while a server may be about to appear.
    """

    def __init__(
        self,
        seconds: float,
        *,
        cancel: threading.Event | None = None,
        now: Callable[[], float] = time.monotonic,
        pause: Pause = threading.Event.wait,
    ):
        self.now = now
        self.pause = pause
        self.cancel = cancel or threading.Event()
        self.grace = 0.0
        self._end = now() + seconds
        self._seconds = seconds
        self._seen = _CancelTime()

    def remaining(self) -> float:
        """Return the seconds left, never less than 0."""
        return max(0.0, self._end - self.now())

    def capped(self, seconds: float) -> Deadline:
        """Return a deadline that comes after so many seconds, or with this one if that is first."""
        return self._derive(min(seconds, self.remaining()), self.cancel)

    def uncancelled(self, seconds: float) -> Deadline:
        """Return a deadline by the same clock that nobody cancels, for what must still be done."""
        return self._derive(seconds, None)

    def extended(self, seconds: float) -> Deadline:
        """Return a deadline that comes so many seconds after this one, cancelled as this one."""
        return self._derive(self.remaining() + seconds, self.cancel)

    @property
    def cancelled_for(self) -> float:
        """Seconds since the cancellation was first seen; 0 where there is none."""
        return 0.0 if self._seen.at is None else self.now() - self._seen.at

    def raise_if_expired(self) -> None:
        """Raise :class:`~clinder.errors.Cancelled` or :class:`~clinder.errors.TimedOut` if due."""
        if self.cancel.is_set():
            if self._seen.at is None:
                self._seen.at = self.now()
            if self.now() >= self._seen.at + self.grace:
                raise Cancelled("Cancelled.")
        if not self.remaining():
            raise TimedOut(f"Nothing came of it in {self._seconds:g} s.")

    def wait(self, seconds: float) -> None:
        """Sleep so many seconds, ending early with an error as :meth:`raise_if_expired` has it."""
        self.raise_if_expired()
        cancelled = self.cancel.is_set()  # then only the grace ends the wait early
        event = threading.Event() if cancelled else self.cancel
        self.pause(event, min(seconds, self.remaining()))
        self.raise_if_expired()

    def _derive(self, seconds: float, cancel: threading.Event | None) -> Deadline:
        made = Deadline(seconds, cancel=cancel, now=self.now, pause=self.pause)
        made._seen = self._seen
        return made


_TICK = 0.1


@dataclass(frozen=True)
class WorkFailed:
    """The error that ended some work."""

    error: BaseException


def no_op() -> None:
    """Watch nothing."""


def run_bounded(work: Callable[[], T], deadline: Deadline, poll: Callable[[], None] = no_op) -> T:
    """Return what some work returns that cannot be bounded by itself; it runs in a thread.

    ``watch`` is called again and again meanwhile. Raises what the work raises, and what the
    deadline and the watch raise, leaving the work to end by itself.
    """
    outcome: queue.Queue[T | WorkFailed] = queue.Queue()

    def run() -> None:
        try:
            outcome.put(work())
        except BaseException as error:  # noqa: BLE001 - not hidden: the caller raises it
            outcome.put(WorkFailed(error))

    threading.Thread(target=run, name="clinder-work", daemon=True).start()
    while True:
        deadline.raise_if_expired()
        poll()
        with suppress(queue.Empty):
            result = outcome.get(timeout=min(_TICK, deadline.remaining()))
            if isinstance(result, WorkFailed):
                raise result.error
            return result
