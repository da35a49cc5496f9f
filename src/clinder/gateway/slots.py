"""How many kernels run at once: the others wait, in order, until one ends.

MyST starts as many kernels as the machine that builds the pages has processors, whatever the
session's memory is. Of 66 real builds, 6 ran out of memory in this way.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from clinder._deadline import Deadline
from clinder._text import one_line
from clinder.errors import UsageError

AUTO = "auto"
NONE = "none"
MEMORY_PER_KERNEL = 2 * 1024**3
"""Bytes of the session's memory that allow one kernel."""
FULL = 0.75
"""No further kernel starts while more than this share of the memory is in use."""
HALF_FULL = 0.5
"""Above this share, kernels start one by one, so that the memory of each is measured."""
LONGEST_WAIT = 3600.0
"""A kernel that has waited for this many seconds starts anyway."""

_TICK = 0.2
_MAX_DIGITS = 9
_GIB = 1024**3
_MAX_LABEL = 300


@dataclass(frozen=True)
class KernelLimit:
    """A limit for the number of kernels: a fixed one, or one that the session's memory sets.

    ``maximum`` is ``None`` if there is none. Raises :class:`~clinder.errors.UsageError` unless it
    is positive.
    """

    maximum: int | None = None
    by_memory: bool = False

    def __post_init__(self) -> None:
        if self.maximum is not None and self.maximum < 1:
            raise UsageError("At least one kernel must be allowed.")

    @classmethod
    def parse(cls, text: str) -> KernelLimit:
        """Parse a number, ``auto`` (by memory) or ``none``."""
        if text in (AUTO, NONE):
            return cls(by_memory=text == AUTO)
        if not text.isdecimal() or len(text) > _MAX_DIGITS:
            raise UsageError("The limit for kernels must be a number, `auto` or `none`.")
        return cls(int(text))


@dataclass(frozen=True)
class Memory:
    """The session's memory in bytes: what is in use, and the limit, 0 if it is unknown."""

    used: int
    limit: int

    @property
    def share(self) -> float:
        """The share that is in use, 0 if the limit is unknown."""
        return self.used / self.limit if self.limit > 0 else 0.0


class Line:
    """Kernels that run, and those that wait, in their order. It is not thread-safe."""

    def __init__(self, limit: KernelLimit):
        self._limit = limit
        self._memory = Memory(0, 0)
        self._is_measured = True
        self._running = 0
        self._waiting: list[tuple[object, float]] = []

    def join(self, ticket: object, now: float) -> None:
        """Join the line."""
        self._waiting.append((ticket, now))

    def leave(self, ticket: object) -> None:
        """Leave the line without having started."""
        self._waiting = [each for each in self._waiting if each[0] is not ticket]

    def may_start(self, ticket: object, now: float) -> bool:
        """Whether the kernel is the next one, and is allowed to start or has waited too long."""
        first, since = self._waiting[0]
        return first is ticket and (not self.reason or now - since >= LONGEST_WAIT)

    def start(self, ticket: object) -> None:
        """Count the kernel as running."""
        self.leave(ticket)
        self._running += 1
        self._is_measured = False

    def end(self) -> None:
        """Count one kernel fewer."""
        self._running -= 1

    def measure(self, memory: Memory) -> None:
        """Note how much memory is in use."""
        self._memory = memory
        self._is_measured = True

    @property
    def reason(self) -> str:
        """Why no kernel can start now, as a clause; ``""`` if one can."""
        if not self._running:
            return ""
        if self._running >= self._maximum:
            kernels = "one kernel" if self._maximum == 1 else f"{self._maximum:.0f} kernels"
            limit = f"{self._memory.limit / _GIB:.1f} GiB"
            cause = f", because its memory is limited to {limit}" if self._limit.by_memory else ""
            return f"the session runs at most {kernels} at a time{cause}"
        share = self._memory.share if self._limit.by_memory else 0.0
        if share > FULL or (share > HALF_FULL and not self._is_measured):
            return f"{share:.0%} of the session's memory is in use"
        return ""

    @property
    def _maximum(self) -> float:
        if self._limit.maximum is not None:
            return self._limit.maximum
        if self._limit.by_memory and self._memory.limit > 0:
            return max(1, self._memory.limit // MEMORY_PER_KERNEL)
        return math.inf


class Slot:
    """The right to run a kernel, until :meth:`release` is called."""

    def __init__(self, release: Callable[[], None], waited: float):
        self.waited = waited
        """How many seconds the kernel waited for it."""
        self._release = release
        self._lock = threading.Lock()
        self._is_released = False

    def release(self) -> None:
        """Let another kernel start. Further calls do nothing."""
        with self._lock:
            was_released, self._is_released = self._is_released, True
        if not was_released:
            self._release()


class Slots:
    """Hands out slots in the order in which they were requested. It is thread-safe.

    ``warn`` receives, once, why pages wait, and each page that waited for too long.
    """

    def __init__(self, limit: KernelLimit, warn: Callable[[str], None]):
        self._line = Line(limit)
        self._warn = warn
        self._has_warned = False
        self._changed = threading.Condition()

    def acquire(self, label: str, deadline: Deadline) -> Slot:
        """Return a slot once a kernel can start. ``label`` names its page in a warning.

        Raises what the deadline raises.
        """
        ticket = object()
        began = deadline.now()
        with self._changed:
            self._line.join(ticket, began)
            try:
                reason = self._wait(ticket, deadline)
            except BaseException:
                self._line.leave(ticket)
                self._changed.notify_all()
                raise
            self._line.start(ticket)
        waited = deadline.now() - began
        if reason:
            page = one_line(label, _MAX_LABEL) or "A notebook"
            self._warn(f"{page} waited {waited / 60:.0f} min and starts now, although {reason}.")
        return Slot(self._release, waited)

    def update_memory(self, used: int, limit: int | None) -> None:
        """Note how much of the session's memory is in use, and its limit, in bytes."""
        with self._changed:
            self._line.measure(Memory(used, limit or 0))
            self._changed.notify_all()

    def _wait(self, ticket: object, deadline: Deadline) -> str:
        """Return once the kernel can start: ``""``, or the reason why it should still wait."""
        while not self._line.may_start(ticket, deadline.now()):
            if self._line.reason and not self._has_warned:
                self._has_warned = True
                self._warn(f"Pages wait for a kernel: {self._line.reason}.")
            deadline.raise_if_expired()
            self._changed.wait(_TICK)
        return self._line.reason

    def _release(self) -> None:
        with self._changed:
            self._line.end()
            self._changed.notify_all()
