"""Signals to a command: the first cancels, the second ends the process at once."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import AbstractContextManager, suppress

from clinder import signals

_SHOW_CURSOR = b"\x1b[?25h\n"
_LAST_WORDS = (
    b"clinder: Ended at once: a session that was in the making may run on until it is culled.\n"
)


def cancellation() -> AbstractContextManager[threading.Event]:
    """Return a context with an event that the first signal sets; the second ends the process."""
    return signals.cancellation(end_at_once)


def end_at_once(number: int) -> None:
    """End the process, leaving the terminal as it was."""
    with suppress(OSError, ValueError):
        if sys.stderr is not None:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), _SHOW_CURSOR)
            os.write(sys.stderr.fileno(), _LAST_WORDS)
    os._exit(signals.exit_code(number))
