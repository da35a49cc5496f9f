"""What a launch reports while it goes on: the values that every observer receives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clinder.session import Attempt, Session


@dataclass(frozen=True)
class BuildRequested:
    """A build request goes out; ``number`` counts those of the whole launch, from 1."""

    hub: str
    spec: str
    number: int


@dataclass(frozen=True)
class PhaseStarted:
    """The launch enters a phase, as the hub names it, or ``readiness``."""

    phase: str


@dataclass(frozen=True)
class PhaseEnded:
    """The launch leaves a phase after so many seconds."""

    phase: str
    seconds: float


@dataclass(frozen=True)
class LogLines:
    """Lines of what the hub says in a phase, as many as came together: foreign words."""

    phase: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class SessionLaunched:
    """A server and its token are known, and must be stopped from now on. Not usable yet."""

    session: Session


@dataclass(frozen=True)
class AttemptFailed:
    """A build request ended without a session that is usable, and the launch goes on."""

    attempt: Attempt


@dataclass(frozen=True)
class Waiting:
    """The launch waits so many seconds before it asks a hub again."""

    seconds: float
    hub: str


@dataclass(frozen=True)
class SessionStopped:
    """A session that was known, and is not handed out, is gone."""

    session: Session


@dataclass(frozen=True)
class SessionNotStopped:
    """A session that was known, and is not handed out, may still run; ``why`` is a sentence."""

    session: Session
    reason: str


@dataclass(frozen=True)
class WarningIssued:
    """Something to know that does not end the launch."""

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
    """Return the words for an event, or ``""`` where it has none."""
    words = ""
    match event:
        case BuildRequested():
            words = f"Asking {event.hub} to launch {event.spec}."
        case PhaseEnded():
            words = f"{event.phase}: {event.seconds:.1f} s"
        case AttemptFailed(attempt=attempt):
            words = f"{attempt.hub} gave no session after {attempt.seconds:.0f} s: {attempt.reason}"
        case Waiting():
            words = f"Asking {event.hub} again in {event.seconds:.0f} s."
        case SessionLaunched():
            words = f"The session is at {event.session.url}"
        case SessionStopped():
            words = f"The session at {event.session.url} is stopped: it will not be handed out."
        case SessionNotStopped():
            words = f"The session at {event.session.url} may still run. {event.reason}"
        case WarningIssued():
            words = event.message
    return words
