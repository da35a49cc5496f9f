"""Stdout, which carries results and nothing else."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TextIO

from clinder.errors import UsageError

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
