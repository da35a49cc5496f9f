"""Ends the start step of a cancelled job before the runner kills it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from clinder._signals import SignalEvent, cancellation, exit_code
from clinder.action.workflow import Workflow

_SECONDS = 7.0
"""Time limit for ending after a signal. The runner sends another at 7.5 s and kills at 10 s."""
_LAST_MESSAGE = b"Cancelled. The post step stops the session if there is one.\n"


@contextmanager
def cancel_in_time(
    workflow: Workflow, wait: Callable[[Event, float], bool] = Event.wait
) -> Iterator[Event]:
    """Yield an event that a signal sets. A second signal, or the time limit, ends the process.

    ``wait`` waits for an event for a number of seconds and returns whether it was set. A
    :class:`~clinder.errors.Cancelled` that leaves the context has the signal's exit code.
    """
    ended = Event()

    def exit_now(signum: int) -> None:
        os.write(sys.stdout.fileno(), workflow.resuming + _LAST_MESSAGE)
        os._exit(exit_code(signum))

    def exit_when_late(cancel: SignalEvent) -> None:
        cancel.wait()
        if not wait(ended, _SECONDS):
            exit_now(cancel.signum)

    with cancellation(exit_now) as cancel:
        Thread(target=exit_when_late, args=(cancel,), name="clinder-cancel", daemon=True).start()
        try:
            yield cancel
        finally:
            ended.set()
