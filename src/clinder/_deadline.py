"""Time limits and cancellation: when to give up waiting or working."""

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
    at: float | None = None


class Deadline:
    """A point in time, and an event that cancels work. Whatever waits checks both.

    ``seconds`` counts from now. ``now`` is the clock; ``pause`` waits for an event, but at most
    for a number of seconds. ``grace`` is how many seconds work continues after ``cancel`` is set:
    a launch raises it while a server might be about to appear.
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
        self._cancel_time = _CancelTime()

    def remaining(self) -> float:
        """Return the seconds left, never less than 0."""
        return max(0.0, self._end - self.now())

    def capped(self, seconds: float) -> Deadline:
        """Return a deadline ``seconds`` from now, capped at this one."""
        return self._derive(min(seconds, self.remaining()), self.cancel)

    def uncancelled(self, seconds: float) -> Deadline:
        """Return an uncancellable deadline on the same clock, for cleanup."""
        return self._derive(seconds, None)

    def extended(self, seconds: float) -> Deadline:
        """Return a deadline ``seconds`` after this one, with the same cancellation."""
        return self._derive(self.remaining() + seconds, self.cancel)

    def restart(self, seconds: float, *, within: Deadline) -> None:
        """Let this deadline end ``seconds`` from now, but not after ``within``."""
        self._end = min(self.now() + seconds, within._end)

    @property
    def cancelled_for(self) -> float:
        """Seconds since the cancellation was first noticed, or 0 if there is none."""
        return 0.0 if self._cancel_time.at is None else self.now() - self._cancel_time.at

    def raise_if_expired(self) -> None:
        """Raise :class:`~clinder.errors.Cancelled` or :class:`~clinder.errors.TimedOut` if due."""
        if self.cancel.is_set():
            if self._cancel_time.at is None:
                self._cancel_time.at = self.now()
            if self.now() >= self._cancel_time.at + self.grace:
                raise Cancelled("Cancelled.")
        if not self.remaining():
            raise TimedOut(f"The time limit of {self._seconds:g} s expired.")

    def wait(self, seconds: float) -> None:
        """Sleep for ``seconds``, or until :meth:`raise_if_expired` raises."""
        self.raise_if_expired()
        event = threading.Event() if self.cancel.is_set() else self.cancel  # a set one ends a sleep
        self.pause(event, min(seconds, self.remaining()))
        self.raise_if_expired()

    def _derive(self, seconds: float, cancel: threading.Event | None) -> Deadline:
        derived = Deadline(seconds, cancel=cancel, now=self.now, pause=self.pause)
        derived._cancel_time = self._cancel_time
        return derived


_POLL_INTERVAL = 0.1


@dataclass(frozen=True)
class WorkFailed:
    """The error that work raised."""

    error: BaseException


def no_op() -> None:
    """Do nothing."""


def run_bounded(work: Callable[[], T], deadline: Deadline, poll: Callable[[], None] = no_op) -> T:
    """Run work that cannot observe a deadline in a thread, and return its result.

    ``poll`` is called repeatedly meanwhile. Raises the errors of the work, and those of the
    deadline and of ``poll``, which leave the thread running.
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
            result = outcome.get(timeout=min(_POLL_INTERVAL, deadline.remaining()))
            if isinstance(result, WorkFailed):
                raise result.error
            return result
