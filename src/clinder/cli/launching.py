"""A launch as ``start`` and ``run`` perform it, with its session file and its screen."""

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
    for warning in resolution.warnings:
        observer(WarningIssued(warning))
    _announce(resolution, screen)  # before importing wire/, which takes a moment
    path = options.session_file
    previous = claim(path, deadline, options.launch) if path else None
    from clinder.launch.launch import launch

    file = SessionFile(screen, path, previous)

    def observe(event: Event) -> None:
        observer(event)
        file.observe(event)

    return launch(resolution.request, deadline, observe)


def launch_consequence(options: Options) -> str:
    """Return the consequence of ending a launch immediately."""
    embedded = all(hub.lower() == LOCAL for hub in options.launch.hubs or ("",))
    return might_remain("a session being launched", embedded=embedded)


def _announce(resolution: Resolution, screen: Screen) -> None:
    for note in resolution.notes:
        screen.show(note)
    if not resolution.notes:
        request = resolution.request
        hubs = " or ".join("this machine" if hub == LOCAL else hub for hub in request.hubs)
        screen.announce(f"Launching {request.repository.spec} on {hubs}.")
    for warning in resolution.warnings:
        screen.observe(WarningIssued(warning))
