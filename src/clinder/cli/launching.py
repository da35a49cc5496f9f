"""The launch as a command makes it: words first, then the wire; the session file; the signals."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clinder import session_file
from clinder._deadline import Deadline
from clinder.cli.screen import Screen
from clinder.cli.session_files import forget, how_to_stop
from clinder.cli.streams import print_status
from clinder.errors import Cancelled, ClinderError, TokenRefused, UsageError
from clinder.events import Event, SessionLaunched, SessionNotStopped, SessionStopped, WarningIssued
from clinder.launch.options import LOCAL, LaunchOptions
from clinder.launch.request import Resolution, resolve
from clinder.session import Session


@dataclass(frozen=True)
class Options:
    """The options of ``start`` and ``run``."""

    launch: LaunchOptions
    session_file: Path | None
    quiet: bool
    verbose: bool


def launch_session(options: Options, screen: Screen, cancel: threading.Event) -> Session:
    """Return a session, reported on the screen and written to the session file once launched.

    Raises :class:`~clinder.errors.ClinderError`. By then a session that was launched is stopped
    and its file removed, or a line on the screen explains how to stop it.
    """
    deadline = Deadline(options.launch.timeout, cancel=cancel)
    resolution = resolve(options.launch, deadline, os.environ)
    _announce(resolution, screen)  # before importing the wire, which takes a moment
    before = _claim(options.session_file, deadline) if options.session_file else None
    from clinder.launch.launch import launch

    keeper = _Keeper(screen, options.session_file, before)
    session = launch(resolution.request, deadline, keeper.observe)
    keeper.complete(session)
    return session


def _announce(resolution: Resolution, screen: Screen) -> None:
    for note in resolution.notes:
        screen.say(note)
    if not resolution.notes:
        hubs = " or ".join(
            "this machine" if hub == LOCAL else hub for hub in resolution.request.hubs
        )
        screen.begin(f"Launching {resolution.request.repository.spec} on {hubs}.")
    for warning in resolution.warnings:
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


def _claim(path: Path, deadline: Deadline) -> Session | None:
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
        status = wait_for_status(there, deadline.capped(10))
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
