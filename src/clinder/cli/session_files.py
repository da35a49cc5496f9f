"""The end of a session that a command holds: it is stopped, or it can be stopped by hand."""

from __future__ import annotations

import shlex
from pathlib import Path

from clinder import session_file
from clinder._deadline import Deadline
from clinder.cli.streams import print_status
from clinder.errors import Cancelled, ClinderError
from clinder.session import Session


def stop_or_keep(session: Session, deadline: Deadline, path: Path | None) -> bool | None:
    """Stop a session and remove its file; return whether it ran.

    Where that fails, return ``None`` after a warning with the line to type: the session is in
    its file, or else in a new one that only this user can read.
    """
    from clinder.running.stop import stop

    try:
        ran = stop(session, deadline)
    except ClinderError as error:
        why = "It was told to stop in haste." if isinstance(error, Cancelled) else error
        print_status(
            f"clinder: Warning: The session may still run. {why} {how_to_stop(session, path)}"
        )
        return None
    forget(session, path)
    return ran


def forget(session: Session, path: Path | None) -> None:
    """Remove the file of a session that is gone, unless another took it over."""
    if path and session_file.holds(path, session):
        remove_file(path)


def remove_file(path: Path) -> None:
    """Remove the file of a session that is gone, or say why that cannot be done."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        print_status(
            f"clinder: Warning: The session file {path} cannot be removed: {error.strerror}."
        )


def how_to_stop(session: Session, path: Path | None) -> str:
    """Return the line to type to stop a session; it is in its file, or else in a new one."""
    try:
        kept = path if path and session_file.holds(path, session) else _keep_in_new_file(session)
    except OSError as error:
        return f"It is at {session.url}, and could not be kept in a file: {error.strerror}."
    return f"Stop the session with: clinder stop --session-file {shlex.quote(str(kept))}"


def _keep_in_new_file(session: Session) -> Path:
    import tempfile

    path = Path(tempfile.mkdtemp(prefix="clinder-")) / "session.json"
    session_file.write(path, session)
    return path
