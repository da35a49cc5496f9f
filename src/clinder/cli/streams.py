"""Stdout, which carries results and nothing else; stderr, which carries messages."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from clinder.errors import ClinderError, UsageError, format_error

LOST = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF)
"""What the system says of an output that cannot be written."""


class OutputLost(UsageError):
    """Stdout or a stream like it cannot be written: a closed pipe, a full disk."""

    hint = "Keep the reader of the output open, and the disk from filling."


def write(text: str, to: TextIO | None = None) -> None:
    """Write a text to stdout, all of it now. Raises :class:`OutputLost`."""
    stream: TextIO | None = to or sys.stdout
    if stream is None:
        raise OutputLost("The output could not be written: closed.")
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding))
        stream.flush()
    except (OSError, ValueError) as error:
        discard(stream)
        reason = getattr(error, "strerror", None) or "closed"
        raise OutputLost(f"The output could not be written: {reason}.") from None


def discard(stream: TextIO) -> None:
    """Let what is still buffered go nowhere: the interpreter would complain when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def print_status(text: str) -> None:
    """Write lines to stderr; where stderr is closed or broken nobody reads, so nothing is lost."""
    if sys.stderr is None:
        return
    try:
        if not text.isascii():
            encoding = sys.stderr.encoding or "utf-8"
            text = text.encode(encoding, "replace").decode(encoding)
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        discard(sys.stderr)  # what is left in it would turn every exit code into 120


def print_error(error: ClinderError) -> None:
    """Write what happened, where, and what to do next."""
    first, *rest = format_error(error)
    print_status(f"clinder: {first}")
    for line in rest:
        print_status(line)
    if isinstance(error, UsageError) and not error.hint:
        print_status("  what to do: `clinder COMMAND --help` shows what can be given.")


def report_unclear(url: str, seconds: float) -> Callable[[str], None]:
    """Return what says that a session's answer is not clear, and that it is asked again."""

    def unclear(words: str) -> None:
        print_status(f"clinder: {url}: {words}; asking again for up to {seconds:g} s.")

    return unclear
