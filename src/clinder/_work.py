"""Work that cannot be bounded by itself, in a thread that can be left behind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from clinder._deadline import Deadline

T = TypeVar("T")

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
