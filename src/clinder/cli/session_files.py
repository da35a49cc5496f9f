"""A command's session file: claim it, keep it up to date, and remove it with its session."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from clinder import session_file
from clinder._deadline import Deadline
from clinder.cli.options import Options
from clinder.cli.screen import Screen
from clinder.cli.streams import print_status, print_warning, report_unclear
from clinder.errors import Cancelled, ClinderError, TokenRefused, UsageError
from clinder.events import (
    Event,
    Observer,
    SessionLaunched,
    SessionNotStopped,
    SessionReady,
    SessionStopped,
)
from clinder.launch.options import LaunchOptions
from clinder.session import Session

if TYPE_CHECKING:
    from clinder.running.stop import Stopped

_CLAIM_TIMEOUT = 10.0


def claim(path: Path, deadline: Deadline, options: LaunchOptions) -> Session | None:
    """Return the session that the file holds, which is gone, or ``None`` if there is no file.

    Raises :class:`~clinder.errors.UsageError` if the file cannot be written, or if its session
    might still be running.
    """
    session_file.require_writable(path)
    if not path.exists():
        return None
    from clinder.running.status import wait_for_status
    from clinder.wire.jupyter_server import State

    previous = session_file.read(path).for_user(options.hub_token)
    timeouts = options.timeouts
    hint = f"Run `{stop_command(path)}`, or use another file."
    try:
        limit = deadline.capped(max(_CLAIM_TIMEOUT, timeouts.connect))
        status = wait_for_status(previous, limit, timeouts=timeouts)
    except TokenRefused:
        return previous  # another session's server has its address now
    except Cancelled:
        raise
    except ClinderError as error:
        message = f"The session in {path} might still be running. {error}"
        raise UsageError(message, hint=hint) from None
    if status.state is State.RUNNING:
        raise UsageError(f"The session in {path} is still running.", hint=hint)
    return previous


class SessionFile:
    """Observes a launch: keeps the session file up to date, and passes events to the screen.

    It never overwrites the file of another session.
    """

    def __init__(self, screen: Screen, path: Path | None, previous: Session | None):
        self._screen = screen
        self._path = path
        self._previous = previous

    def observe(self, event: Event) -> None:
        """Write or remove the file, and show the event."""
        if isinstance(event, SessionLaunched) and self._path:
            self._write(self._path, event.session)
        if isinstance(event, SessionReady):
            self._complete(event.session)
        if isinstance(event, SessionStopped):
            forget(event.session, self._path)
        self._screen.observe(event)
        if isinstance(event, SessionNotStopped):
            print_status(f"clinder: {how_to_stop(event.session, self._path)}")

    def _write(self, path: Path, session: Session) -> None:
        try:
            if self._previous and session_file.holds(path, self._previous):
                session_file.write(path, session)
            else:
                session_file.create(path, session)
        except FileExistsError:
            raise UsageError(f"Another session has taken the session file {path}.") from None
        except OSError as error:
            message = f"The session file {path} cannot be written: {error.strerror}."
            raise UsageError(message) from None

    def _complete(self, session: Session) -> None:
        """Add the phases and attempts of the launch to the file."""
        if self._path and session_file.holds(self._path, session):
            with suppress(OSError):
                session_file.write(self._path, session)


def stop_or_keep(
    session: Session, deadline: Deadline, options: Options, observer: Observer = lambda _: None
) -> Stopped | None:
    """Stop a session, remove its file, and return the outcome.

    If that fails, print the command that stops the session and return ``None``. The session is
    then in its file, or in a new one that only this user can read. ``observer`` receives the
    outcome.
    """
    from clinder.running.status import MIGHT_RUN
    from clinder.running.stop import stop

    path, timeouts = options.session_file, options.launch.timeouts
    report = report_unclear(session.url, deadline.remaining(), quiet=options.quiet)
    try:
        stopped = stop(session, deadline, timeouts=timeouts, on_unclear=report)
    except ClinderError as error:
        reason = "A second signal cut the stop short." if isinstance(error, Cancelled) else error
        observer(SessionNotStopped(session, str(reason)))
        print_warning(f"The session might still be running. {reason} {how_to_stop(session, path)}")
        return None
    certain = stopped.certain
    observer(SessionStopped(session) if certain else SessionNotStopped(session, MIGHT_RUN))
    forget(session, path)
    return stopped


def forget(session: Session, path: Path | None) -> None:
    """Remove the file of a session that is gone, unless it holds another session by now."""
    if path and session_file.holds(path, session):
        remove_file(path)


def remove_file(path: Path) -> None:
    """Remove a session file, or print a warning if that fails."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        print_warning(f"The session file {path} cannot be removed: {error.strerror}.")


def how_to_stop(session: Session, path: Path | None) -> str:
    """Return a sentence with the command that stops a session, from its file or a new one."""
    try:
        kept = path if path and session_file.holds(path, session) else _keep_in_new_file(session)
    except OSError as error:
        return f"It is at {session.url}; clinder could not save it in a file: {error.strerror}."
    return f"Stop the session with: {stop_command(kept)}{_hub_token(session)}"


def _hub_token(session: Session) -> str:
    return " --hub-token @FILE" if session.account else ""


def stop_command(*paths: Path) -> str:
    """Return the command that stops the sessions in files."""
    options = " ".join(f"--session-file {shlex.quote(str(path))}" for path in paths)
    return f"clinder stop {options}"


def _keep_in_new_file(session: Session) -> Path:
    import tempfile

    path = Path(tempfile.mkdtemp(prefix="clinder-")) / "session.json"
    session_file.write(path, session)
    return path
