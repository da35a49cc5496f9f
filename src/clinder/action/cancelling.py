"""A cancelled job: the start step ends in time, by itself or at once."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clinder._signals import SignalEvent, cancellation, exit_code
from clinder.action.workflow import Workflow

_SECONDS = 7.0
"""From a signal to the end: after 7.5 the runner sends another one, 2.5 later it kills."""
_LAST_WORDS = b"Cancelled: the post step stops what is left.\n"


@contextmanager
def cancel_in_time(
    workflow: Workflow, wait: Callable[[threading.Event, float], bool] = threading.Event.wait
) -> Iterator[threading.Event]:
    """Yield an event that a signal sets. A second signal ends the process, and so does the time.

    ``wait`` waits for an event so many seconds, and returns whether it came.
    :class:`~clinder.errors.Cancelled` leaves with the signal's exit code.
    """
    over = threading.Event()

    def end(number: int) -> None:
        os.write(sys.stdout.fileno(), workflow.resuming + _LAST_WORDS)
        os._exit(exit_code(number))

    def watch(cancel: SignalEvent) -> None:
        cancel.wait()
        if not wait(over, _SECONDS):
            end(cancel.signum)

    with cancellation(end) as cancel:
        threading.Thread(target=watch, args=(cancel,), name="clinder-cancel", daemon=True).start()
        try:
            yield cancel
        finally:
            over.set()
