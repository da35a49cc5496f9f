"""A launch as ``start`` and ``run`` perform it, at once or on demand, with its screen and file."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from clinder._deadline import Deadline
from clinder.cli.interrupts import might_remain
from clinder.cli.options import Options
from clinder.cli.screen import Screen
from clinder.cli.session_files import SessionFile, claim
from clinder.events import Event, Observer, WarningIssued
from clinder.launch.options import LOCAL
from clinder.launch.request import Request, Resolution, resolve
from clinder.session import Session

PreparedLaunch = Callable[[Screen, threading.Event, Observer], Session]
"""Launches a session. The event cancels the launch, and the observer receives its events."""


def launch_session(
    options: Options,
    screen: Screen,
    cancel: threading.Event,
    observer: Observer = lambda _: None,
    check: Callable[[Request], None] = lambda _: None,
) -> Session:
    """Launch a session, show its progress, and write it to the session file once launched.

    ``observer`` receives the events, too. ``check`` raises an error if the request must not be
    made. Raises :class:`~clinder.errors.ClinderError`. By then, a
    session that was launched is stopped and its file removed, or a line on the screen explains how
    to stop it.
    """
    deadline = Deadline(options.launch.timeout, cancel=cancel)
    resolution = resolve(options.launch, deadline, os.environ)
    check(resolution.request)
    _announce(resolution, screen, observer)  # before importing wire/, which takes a moment
    file = SessionFile(screen, options.session_file, _claim(options, deadline))
    return _launch(resolution.request, deadline, file, observer)


def prepare_launch(
    options: Options,
    cancel: threading.Event,
    check: Callable[[Request], None],
) -> PreparedLaunch:
    """Return a function that launches a session later, in the way of :func:`launch_session`.

    Whatever can be refused without a hub is refused now. Raises
    :class:`~clinder.errors.ClinderError`.
    """
    deadline = Deadline(options.launch.timeout, cancel=cancel)
    resolution = resolve(options.launch, deadline, os.environ)
    check(resolution.request)
    previous = _claim(options, deadline)

    def launch(screen: Screen, cancel: threading.Event, observer: Observer) -> Session:
        _announce(resolution, screen, observer)
        deadline = Deadline(options.launch.timeout, cancel=cancel)
        file = SessionFile(screen, options.session_file, previous)
        return _launch(resolution.request, deadline, file, observer)

    return launch


def _claim(options: Options, deadline: Deadline) -> Session | None:
    path = options.session_file
    return claim(path, deadline, options.launch) if path else None


def _launch(request: Request, deadline: Deadline, file: SessionFile, observer: Observer) -> Session:
    from clinder.launch.launch import launch

    def observe(event: Event) -> None:
        observer(event)
        file.observe(event)

    return launch(request, deadline, observe)


def launch_consequence(options: Options) -> str:
    """Return the consequence of ending a launch immediately."""
    return might_remain("a session being launched", embedded=launches_locally(options))


def launches_locally(options: Options) -> bool:
    """Whether the embedded hub launches the session."""
    return all(hub.lower() == LOCAL for hub in options.launch.hubs or ("",))


def _announce(resolution: Resolution, screen: Screen, observer: Observer) -> None:
    for warning in resolution.warnings:
        observer(WarningIssued(warning))
    for note in resolution.notes:
        screen.show(note)
    if not resolution.notes:
        request = resolution.request
        hubs = " or ".join("this machine" if hub == LOCAL else hub for hub in request.hubs)
        screen.announce(f"Launching {request.repository.spec} on {hubs}.")
    for warning in resolution.warnings:
        screen.observe(WarningIssued(warning))
