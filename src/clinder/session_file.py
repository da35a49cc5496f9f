"""The file that holds a session and its token. Only its owner can read it."""

from __future__ import annotations

import json
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from clinder._private_files import require_private
from clinder.errors import UsageError
from clinder.session import Session

_MAX_CHARACTERS = 1024 * 1024


def read(path: Path) -> Session:
    """Return the session in a file that belongs to this user and that nobody else can access.

    Raises :class:`~clinder.errors.UsageError`.
    """
    session, status = _read(path)
    require_private(path, status, "session file")
    return session


def _read(path: Path) -> tuple[Session, os.stat_result]:
    require_regular_file(path)
    try:
        with path.open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            text = file.read(_MAX_CHARACTERS)
    except OSError as error:
        raise UsageError(
            f"The session file {path} cannot be read: {error.strerror}.",
            hint="`clinder start --session-file PATH` creates it; `clinder stop` deletes it.",
        ) from None
    except UnicodeDecodeError:
        raise _invalid_file(path) from None
    if sys.platform != "win32" and status.st_uid != os.geteuid():
        raise UsageError(
            f"The session file {path} belongs to another user.",
            hint="Use a session file that you created yourself.",
        )
    try:
        return Session.from_json(text), status
    except UsageError:
        raise _invalid_file(path) from None


def holds(path: Path, session: Session) -> bool:
    """Return whether the file still holds this session."""
    try:
        return _read(path)[0].is_same(session)
    except UsageError:
        return False


def create(path: Path, session: Session) -> None:
    """Write the session like :func:`write`, but never overwrite a file.

    Raises :class:`FileExistsError`, and any other :class:`OSError`.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        write(path, session)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def write(path: Path, session: Session) -> None:
    """Write the session atomically, with mode 0600 from the start.

    Raises :class:`OSError`.
    """
    import tempfile

    text = json.dumps(session.to_json()) + "\n"
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def require_regular_file(path: Path) -> None:
    """Raise :class:`~clinder.errors.UsageError` for a pipe or a device: reading might not end."""
    with suppress(OSError):
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(
                f"The session file {path} is a directory, a pipe or a device.",
                hint="Use a regular file. To read a session from a pipe, use standard input, `-`.",
            )


def require_writable(path: Path) -> None:
    """Raise :class:`~clinder.errors.UsageError` if no session file can be written there."""
    require_regular_file(path)
    if path.is_symlink() and not path.exists():
        raise UsageError(
            f"The session file {path} is a link to a file that does not exist.",
            hint="Delete the link, or choose another file.",
        )
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-"):
            pass
    except OSError as error:
        raise UsageError(
            f"The session file {path} cannot be written: {error.strerror}.",
            hint="Choose a file in an existing directory that you can write to.",
        ) from None


def _invalid_file(path: Path) -> UsageError:
    return UsageError(
        f"{path} is not a session file.",
        hint="A session file is the JSON that `clinder start` writes, with `url` and `token`. To"
        " create one, choose another name: clinder does not overwrite other files.",
    )
