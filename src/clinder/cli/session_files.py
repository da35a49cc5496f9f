"""The end of a session that a command holds: it is stopped, or it can be stopped by hand."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path

from clinder import session_file
from clinder._deadline import Deadline
from clinder.cli.screen import Screen
from clinder.cli.streams import print_status
from clinder.errors import Cancelled, ClinderError, TokenRefused, UsageError
from clinder.events import Event, SessionLaunched, SessionNotStopped, SessionStopped
from clinder.session import Session
from clinder.timeouts import Timeouts

_CLAIM_TIMEOUT = 10.0


def claim(path: Path, deadline: Deadline, timeouts: Timeouts) -> Session | None:
    """Return the session of the file, which is gone, or ``None`` where there is no file.

    Raises :class:`~clinder.errors.UsageError` where the file cannot be written, or names a
    session that may still run.
    """
    session_file.require_writable(path)
    if not path.exists():
        return None
    from clinder.running.status import wait_for_status
    from clinder.wire.jupyter_server import State

    there = session_file.read(path)
    hint = f"Stop it with `clinder stop --session-file {path}`, or name another file."
    try:
        limit = deadline.capped(max(_CLAIM_TIMEOUT, timeouts.connect))
        status = wait_for_status(there, limit, timeouts=timeouts)
    except TokenRefused:
        return there  # what runs there now is not the session of the file
    except Cancelled:
        raise
    except ClinderError as error:
        raise UsageError(
            f"The session file {path} names a session that may still run. {error}", hint=hint
        ) from None
    if status.state is State.RUNNING:
        raise UsageError(f"The session file {path} names a session that still runs.", hint=hint)
    return there


class SessionFile:
    """Holds what is needed to stop a session, from the moment that it is known.

    The session file is written over no other session's, and removed when its session is stopped.
    """

    def __init__(self, screen: Screen, path: Path | None, before: Session | None):
        self._screen = screen
        self._path = path
        self._before = before

    def observe(self, event: Event) -> None:
        """Keep the file as the launch goes, and show the event."""
        if isinstance(event, SessionLaunched) and self._path:
            self._keep(self._path, event.session)
        if isinstance(event, SessionStopped):
            forget(event.session, self._path)
        self._screen.observe(event)
        if isinstance(event, SessionNotStopped):
            print_status(f"clinder: {how_to_stop(event.session, self._path)}")

    def _keep(self, path: Path, session: Session) -> None:
        try:
            if self._before and session_file.holds(path, self._before):
                session_file.write(path, session)
            else:
                session_file.create(path, session)
        except FileExistsError:
            raise UsageError(f"The session file {path} was taken by another session.") from None
        except OSError as error:
            raise UsageError(
                f"The session file {path} cannot be written: {error.strerror}."
            ) from None

    def complete(self, session: Session) -> None:
        """Write what is known by now of the session of the file: its phases and attempts."""
        if self._path and session_file.holds(self._path, session):
            with suppress(OSError):
                session_file.write(self._path, session)


def stop_or_keep(
    session: Session, deadline: Deadline, timeouts: Timeouts, path: Path | None
) -> bool | None:
    """Stop a session and remove its file; return whether it ran.

    Where that fails, return ``None`` after a warning with the line to type: the session is in
    its file, or else in a new one that only this user can read.
    """
    from clinder.running.stop import stop

    try:
        ran = stop(session, deadline, timeouts=timeouts)
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
