"""Files with a secret, which only their owner can read."""

from __future__ import annotations

import os
import re
import shlex
import stat
import sys
from pathlib import Path

from clinder.errors import UsageError

_ACCESS_BY_OTHERS = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH
_MAX_TOKEN = 4096


def require_private(path: Path, status: os.stat_result, kind: str) -> None:
    """Raise :class:`~clinder.errors.UsageError` if other users can read or change the file.

    ``kind`` is the file's kind in the message. On Windows, the permissions of the user's folder
    protect the file.
    """
    if sys.platform != "win32" and status.st_mode & _ACCESS_BY_OTHERS:
        raise UsageError(
            f"Other users can read or change the {kind} {path}:"
            f" its mode is {stat.S_IMODE(status.st_mode):04o}.",
            hint=f"Restrict access to yourself: chmod 600 {shlex.quote(str(path))}",
        )


def read_token(path: Path, kind: str) -> str:
    """Return the token in a private file. Raises :class:`~clinder.errors.UsageError`."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe might take forever
            raise UsageError(f"The {kind} {path} is not a regular file.")
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            require_private(path, status, kind)
            token = file.read(_MAX_TOKEN).strip()
    except OSError as error:
        raise UsageError(f"The {kind} {path} cannot be read: {error.strerror}.") from None
    if not re.fullmatch(rb"[!-~]+", token):
        raise UsageError(f"The {kind} {path} does not contain a token.")
    return token.decode("ascii")
