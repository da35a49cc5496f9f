"""Signals to a command: the first cancels, the second ends the process immediately."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, suppress

from clinder import _signals

_SHOW_CURSOR = b"\x1b[?25h\n"


def might_remain(session: str, *, embedded: bool) -> str:
    """Return the consequence of ending immediately, before a session is stopped."""
    end = "it has been idle for an hour" if embedded else "its hub culls it"
    return f"{session} might keep running until {end}"


def cancellation(
    consequence: str, *, output: str = ""
) -> AbstractContextManager[_signals.SignalEvent]:
    """Return a context with an event that the first signal sets; the second ends the process.

    ``consequence`` explains what that can leave behind; ``output`` is then written to stdout.
    """
    return _signals.cancellation(lambda signum: exit_immediately(signum, consequence, output))


def exit_immediately(signum: int, consequence: str, output: str = "") -> None:
    """Restore the terminal's cursor, print the consequence and output, and end the process."""
    with suppress(OSError, ValueError):
        if sys.stderr is not None and sys.stderr.isatty():
            os.write(sys.stderr.fileno(), _SHOW_CURSOR)
    write_from_handler(f"clinder: Ended immediately: {consequence}.\n")
    with suppress(OSError, ValueError):
        if sys.stdout is not None:
            os.write(sys.stdout.fileno(), output.encode())
    os._exit(_signals.exit_code(signum))


def write_from_handler(text: str) -> None:
    """Write to stderr in a signal handler, which might have interrupted a buffered write."""
    with suppress(OSError, ValueError):
        if sys.stderr is not None:
            os.write(sys.stderr.fileno(), text.encode())
