"""The events of a launch: the values that an observer receives, and their form in JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from clinder.session import Attempt, Session

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SCHEMA = 1
"""The version of the events' form in JSON. It changes if a field is removed or changes its meaning,
but not if an event or a field is added."""


@dataclass(frozen=True)
class BuildRequested:
    """clinder sends a build request. ``number`` counts those of the launch, from 1."""

    hub: str
    spec: str
    number: int


@dataclass(frozen=True)
class PhaseStarted:
    """A phase starts. The hub names the phases; the last one is clinder's own, ``readiness``."""

    phase: str


@dataclass(frozen=True)
class PhaseEnded:
    """A phase ended after ``seconds``."""

    phase: str
    seconds: float


@dataclass(frozen=True)
class LogLines:
    """Log lines of a phase, safe to print."""

    phase: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class SessionLaunched:
    """The hub launched the server. It is not usable yet, but must be stopped later."""

    session: Session


@dataclass(frozen=True)
class SessionReady:
    """The session is usable, and the launch ends."""

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
    """clinder stopped a session, for example one whose launch was cancelled."""

    session: Session


@dataclass(frozen=True)
class SessionNotStopped:
    """clinder could not stop a session, for this ``reason``. It might still run."""

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
    | SessionReady
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
            if failed.log_line:
                message += f" The log shows: {failed.log_line}"
        case Waiting():
            message = f"Trying {event.hub} again in {event.seconds:.0f} s."
        case SessionLaunched():
            message = f"The session is at {event.session.url}"
        case SessionReady(session):
            seconds = sum(each.waited + each.seconds for each in session.attempts)
            message = f"The session is ready after {seconds:.0f} s."
        case SessionStopped():
            message = f"The session at {event.session.url} is stopped."
        case SessionNotStopped():
            message = f"The session at {event.session.url} might still be running. {event.reason}"
        case WarningIssued():
            message = event.message
    return message


def to_json(event: DataclassInstance) -> dict[str, Any]:
    """Return an event as a JSON object: its name as ``event``, then its fields.

    A session is an object, too, but without its token. Seconds are rounded to milliseconds.
    """
    return {"event": json_name(type(event)), **_fields_of(event)}


def json_name(kind: type) -> str:
    """Return the name of an event's class in JSON: ``phase_ended`` for ``PhaseEnded``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def _fields_of(value: DataclassInstance) -> dict[str, Any]:
    return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}


def _plain(value: Any) -> Any:
    if isinstance(value, Session):
        return _plain(value.without_token())
    if is_dataclass(value) and not isinstance(value, type):
        return _fields_of(value)
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value
