"""The events of a launch: the values that an observer receives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clinder.session import Attempt, Session


@dataclass(frozen=True)
class BuildRequested:
    """clinder sends a build request. ``number`` counts all requests of the launch, from 1."""

    hub: str
    spec: str
    number: int


@dataclass(frozen=True)
class PhaseStarted:
    """A phase starts. The hub names the phases; the last one is clinder's own, ``readiness``."""

    phase: str


@dataclass(frozen=True)
class PhaseEnded:
    """A phase ended. ``seconds`` is how long it lasted."""

    phase: str
    seconds: float


@dataclass(frozen=True)
class LogLines:
    """Log lines that the hub sent together in a phase, safe to print."""

    phase: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class SessionLaunched:
    """The hub launched the session's server. It is not usable yet, but must be stopped later."""

    session: Session


@dataclass(frozen=True)
class AttemptFailed:
    """An attempt ended without a usable session, and the launch continues."""

    attempt: Attempt


@dataclass(frozen=True)
class Waiting:
    """clinder waits ``seconds`` before its next build request, to ``hub``."""

    seconds: float
    hub: str


@dataclass(frozen=True)
class SessionStopped:
    """clinder stopped a launched session because the launch failed or was cancelled."""

    session: Session


@dataclass(frozen=True)
class SessionNotStopped:
    """clinder could not stop a session, which might still be running. ``reason`` explains why."""

    session: Session
    reason: str


@dataclass(frozen=True)
class WarningIssued:
    """A warning that does not end the launch."""

    message: str


Event = (
    BuildRequested
    | PhaseStarted
    | PhaseEnded
    | LogLines
    | SessionLaunched
    | AttemptFailed
    | Waiting
    | SessionStopped
    | SessionNotStopped
    | WarningIssued
)
Observer = Callable[[Event], None]


def describe(event: Event) -> str:
    """Return an event as a message, or ``""`` if there is none for it."""
    message = ""
    match event:
        case BuildRequested():
            message = f"Requesting {event.spec} from {event.hub}"
        case PhaseEnded():
            message = f"{event.phase}: {event.seconds:.1f} s"
        case AttemptFailed(attempt=failed):
            message = f"No session from {failed.hub} after {failed.seconds:.0f} s: {failed.reason}"
        case Waiting():
            message = f"Trying {event.hub} again in {event.seconds:.0f} s."
        case SessionLaunched():
            message = f"The session is at {event.session.url}"
        case SessionStopped():
            message = f"The session at {event.session.url} is stopped."
        case SessionNotStopped():
            message = f"The session at {event.session.url} might still be running. {event.reason}"
        case WarningIssued():
            message = event.message
    return message
