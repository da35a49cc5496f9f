"""Signals to a command: the first cancels, the second ends the process immediately."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import AbstractContextManager, suppress

from clinder import _signals

_SHOW_CURSOR = b"\x1b[?25h\n"
SESSION_MIGHT_REMAIN = "a session being launched might keep running until its hub culls it"
"""The consequence of ending a launch immediately."""


def cancellation(consequence: str) -> AbstractContextManager[threading.Event]:
    """Return a context with an event that the first signal sets; the second ends the process.

    ``consequence`` explains what that can leave behind.
    """
    return _signals.cancellation(lambda signum: exit_immediately(signum, consequence))


def exit_immediately(signum: int, consequence: str) -> None:
    """Restore the terminal's cursor, print the consequence, and end the process."""
    with suppress(OSError, ValueError):
        if sys.stderr is not None:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), _SHOW_CURSOR)
            os.write(sys.stderr.fileno(), f"clinder: Ended immediately: {consequence}.\n".encode())
    os._exit(_signals.exit_code(signum))
