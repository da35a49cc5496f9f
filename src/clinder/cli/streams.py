"""Text from standard input and files, results to stdout, messages to stderr."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from clinder.errors import ClinderError, UsageError, format_error

LOST = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF)
"""The error numbers of an output that cannot be written."""


class OutputLost(ClinderError):
    """The output cannot be written, because of a closed pipe or a full disk."""

    exit_code = 74  # EX_IOERR in sysexits.h
    hint = (
        "Make sure that the program reading clinder's output keeps running and that the disk is"
        " not full."
    )


def write(text: str, to: TextIO | None = None) -> None:
    """Write all of a text to stdout and flush it. Raises :class:`OutputLost`."""
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


def read_text(path: Path | None) -> str:
    """Return the text of a file, or of standard input. Raises :class:`UsageError`."""
    try:
        if path is None:
            return sys.stdin.read() if sys.stdin is not None else ""
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        name = f"The file {path}" if path else "Standard input"
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"{name} cannot be read: {reason}.") from None


def discard(stream: TextIO) -> None:
    """Discard the stream's buffer, which the interpreter would otherwise fail to flush at exit."""
    with suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)


def print_status(text: str) -> None:
    """Write lines to stderr, unless it is closed or broken."""
    if sys.stderr is None:
        return
    try:
        if not text.isascii():
            encoding = sys.stderr.encoding or "utf-8"
            text = text.encode(encoding, "replace").decode(encoding)
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        discard(sys.stderr)  # what is still buffered would turn the exit code into 120


def print_warning(message: str) -> None:
    """Write a warning to stderr."""
    print_status(f"clinder: Warning: {message}")


def print_error(error: ClinderError) -> None:
    """Write an error with its context and hint to stderr."""
    print_status("clinder: " + "\n".join(format_error(error)))
    if isinstance(error, UsageError) and not error.hint:
        print_status("  what to do: `clinder COMMAND --help` lists the arguments and options.")


def report_unclear(url: str, seconds: float, *, quiet: bool = False) -> Callable[[str], None]:
    """Return a function that reports an unclear status, which clinder is going to check again."""

    def report(message: str) -> None:
        if not quiet:
            limit = f"{round(seconds, 1):g} s"
            print_status(f"clinder: {url}: {message}; checking again for up to {limit}.")

    return report
