"""What the log of the step shows of a launch: what the hub says, folded by phase."""

from __future__ import annotations

from clinder.action.workflow import Workflow
from clinder.events import (
    AttemptFailed,
    BuildRequested,
    Event,
    LogLine,
    PhaseEntered,
    PhaseLeft,
    SessionKnown,
    SessionLeft,
    SessionStopped,
    Waiting,
    Warned,
)


class Log:
    """An observer that writes one group for each phase."""

    def __init__(self, workflow: Workflow):
        self._workflow = workflow
        self._open = False

    def observe(self, event: Event) -> None:
        """Write what happened."""
        if isinstance(event, LogLine):
            self._workflow.quote(event.text)
            return
        if not isinstance(event, Warned):
            self.close()
        match event:
            case PhaseEntered():
                self._workflow.group(event.phase)
                self._open = True
            case Warned():
                self._workflow.warning(event.text)
            case SessionLeft():
                self._workflow.warning(
                    f"The session at {event.session.url} may still run: {event.why}"
                )
            case _:
                self._workflow.say(_words(event))

    def close(self) -> None:
        """End the group that is open."""
        if self._open:
            self._workflow.end_group()
        self._open = False


def _words(event: Event) -> str:
    words = ""
    match event:
        case BuildRequested():
            words = f"Asking {event.hub} to launch {event.spec}."
        case PhaseLeft():
            words = f"{event.phase}: {event.seconds:.1f} s"
        case AttemptFailed(attempt=attempt):
            words = f"{attempt.hub} gave no session after {attempt.seconds:.0f} s: {attempt.reason}"
        case Waiting():
            words = f"Asking {event.hub} again in {event.seconds:.0f} s."
        case SessionKnown():
            words = f"The session is at {event.session.url}"
        case SessionStopped():
            words = f"The session at {event.session.url} is stopped: it will not be handed out."
    return words
