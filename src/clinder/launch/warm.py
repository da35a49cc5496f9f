"""Have a hub build an image, and launch and stop it, so that the next launch need not wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clinder._deadline import Deadline
from clinder.errors import Cancelled, HubError, StopFailed, TimedOut
from clinder.events import Observer, SessionNotStopped, SessionStopped, WarningIssued
from clinder.launch.attempt import Image
from clinder.launch.launch import build, launch
from clinder.launch.options import LOCAL
from clinder.launch.request import Request
from clinder.launch.retries import BROKEN_DELAYS
from clinder.running.status import MIGHT_RUN
from clinder.running.stop import stop
from clinder.session import Session
from clinder.timeouts import STOP_TIMEOUT, Timeouts
from clinder.wire.binderhub import is_api_only, members
from clinder.wire.http import Transport

_PROBE_TIMEOUT = 10.0
_STOP_GRACE = 5.0
"""Seconds for stopping a session after a cancellation."""


@dataclass(frozen=True)
class Warmed:
    """An image that a hub has, and whether the hub also launched a session, which is stopped."""

    image: Image
    launched: bool


def warm(request: Request, deadline: Deadline, observer: Observer) -> Warmed:
    """Have the request's first hub build the image and, unless it only builds, launch it.

    A session is stopped before this returns or raises; if that fails, ``observer`` receives
    :class:`~clinder.events.SessionNotStopped`. Raises the errors of
    :func:`~clinder.launch.launch.launch`, and :class:`~clinder.errors.StopFailed`.
    """
    timeouts = request.options.timeouts
    if _only_builds(request.hubs[0], deadline, timeouts):
        return Warmed(build(request, deadline, observer), launched=False)
    session = launch(request, deadline, observer)
    _stop(session, deadline, timeouts, observer)
    image = Image(session.image, session.image_found, session.phases, session.attempts)
    return Warmed(image, launched=True)


def find_members(
    hubs: Sequence[str], timeouts: Timeouts, deadline: Deadline, observer: Observer
) -> tuple[str, ...]:
    """Return the members of each hub that is a federation, and the other hubs themselves.

    If a hub fails to list its members, ``observer`` receives a warning. Raises the deadline's
    errors.
    """
    found = [each for hub in hubs for each in _members(hub, timeouts, deadline, observer) or (hub,)]
    return tuple(dict.fromkeys(found))


def _members(
    hub: str, timeouts: Timeouts, deadline: Deadline, observer: Observer
) -> tuple[str, ...]:
    if hub == LOCAL:
        return ()
    for delay in (*BROKEN_DELAYS, 0.0):
        try:
            return members(Transport(timeouts), hub, deadline=deadline.capped(_PROBE_TIMEOUT))
        except (HubError, TimedOut) as error:
            deadline.wait(delay)
            reason = error.message
    observer(WarningIssued(f"{hub} is treated as one hub. {reason}"))
    return ()


def _only_builds(hub: str, deadline: Deadline, timeouts: Timeouts) -> bool:
    return hub != LOCAL and is_api_only(Transport(timeouts), hub, deadline=deadline)


def _stop(session: Session, deadline: Deadline, timeouts: Timeouts, observer: Observer) -> None:
    """Stop the session, even if the launch has used all of its time."""
    seconds = timeouts.stop_limit(STOP_TIMEOUT)
    limit = Deadline(seconds, cancel=deadline.cancel, now=deadline.now, pause=deadline.pause)
    limit.grace = _STOP_GRACE
    try:
        stopped = stop(session, limit, timeouts=timeouts)
    except (StopFailed, Cancelled) as error:
        observer(SessionNotStopped(session, error.message))
        raise
    if stopped.certain:
        observer(SessionStopped(session))
    else:
        observer(SessionNotStopped(session, MIGHT_RUN))
