"""The launch as a command makes it: words first, then the wire; the session file; the signals."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from clinder import session_file
from clinder._deadline import Deadline, run_bounded
from clinder.cli.screen import Screen
from clinder.cli.session_files import forget, how_to_stop
from clinder.cli.streams import print_status
from clinder.errors import Cancelled, ClinderError, TokenRefused, UsageError
from clinder.events import Event, SessionLaunched, SessionNotStopped, SessionStopped, WarningIssued
from clinder.launch.request import ATTEMPTS, LOCAL, Resolution, resolve
from clinder.session import Session
from clinder.timeouts import Timeouts


@dataclass(frozen=True)
class Options:
    """What ``start`` and ``run`` are given."""

    repository: str
    hubs: tuple[str, ...]
    ref: str
    timeout: float
    build_token: str = field(repr=False)
    session_file: Path | None
    quiet: bool
    verbose: bool
    warm_up: str | None = ""
    timeouts: Timeouts = field(default_factory=Timeouts)
    attempts: int = ATTEMPTS
    reuse_environment: bool | Literal["force"] = False


def launch_session(options: Options, screen: Screen, cancel: threading.Event) -> Session:
    """Return a session, reported on the screen and written to the session file when known.

    Raises :class:`~clinder.errors.ClinderError`; a session that was known is stopped by then, and
    its file removed, or a line on the screen says how to stop it.
    """
    may_hang = Deadline(options.timeout, cancel=cancel)  # git, on a network's disk
    made = run_bounded(lambda: _resolve(options), may_hang)
    _announce(made, screen)  # words come before the wire is imported, which takes its time
    before = _claim(options.session_file, cancel) if options.session_file else None
    from clinder.launch.launch import launch

    keeper = _Keeper(screen, options.session_file, before)
    session = launch(made.request, keeper.observe, cancel=cancel)
    keeper.complete(session)
    return session


def _resolve(options: Options) -> Resolution:
    return resolve(
        options.repository,
        hubs=options.hubs,
        ref=options.ref,
        timeout=options.timeout,
        build_token=options.build_token,
        warm_up=options.warm_up,
        timeouts=options.timeouts,
        attempts=options.attempts,
        reuse_environment=options.reuse_environment,
        directory=Path(),
        environ=os.environ,
    )


def _announce(made: Resolution, screen: Screen) -> None:
    for note in made.notes:
        screen.say(note)
    if not made.notes:
        hubs = " or ".join("this machine" if hub == LOCAL else hub for hub in made.request.hubs)
        screen.begin(f"Launching {made.request.repository.spec} on {hubs}.")
    for warning in made.warnings:
        screen.observe(WarningIssued(warning))


class _Keeper:
    """Holds what is needed to stop a session, from the moment that it is known.

    The session file is written over no other session's, and removed when its session is stopped.
    """

    def __init__(self, screen: Screen, path: Path | None, before: Session | None):
        self._screen = screen
        self._path = path
        self._before = before

    def observe(self, event: Event) -> None:
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


def _claim(path: Path, cancel: threading.Event) -> Session | None:
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
        status = wait_for_status(there, Deadline(10, cancel=cancel))
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
