"""Signals to a command: the first cancels, the second ends the process at once."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import AbstractContextManager, suppress

from clinder import _signals

_SHOW_CURSOR = b"\x1b[?25h\n"
MAY_KEEP_RUNNING = "a session that was in the making may run on until it is culled"
"""What a launch leaves behind that a second signal ends."""


def cancellation(left: str) -> AbstractContextManager[threading.Event]:
    """Return a context with an event that the first signal sets; the second ends the process.

    ``left`` says what that may leave behind.
    """
    return _signals.cancellation(lambda number: end_at_once(number, left))


def end_at_once(number: int, left: str) -> None:
    """End the process, leaving the terminal as it was, and saying what else it leaves."""
    with suppress(OSError, ValueError):
        if sys.stderr is not None:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), _SHOW_CURSOR)
            os.write(sys.stderr.fileno(), f"clinder: Ended at once: {left}.\n".encode())
    os._exit(_signals.exit_code(number))
