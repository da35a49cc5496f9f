"""The step's log of a launch, with the hub's log folded by phase."""

from __future__ import annotations

from clinder.action.workflow import Workflow
from clinder.events import Event, LogLines, PhaseStarted, SessionNotStopped, WarningIssued, describe


class Log:
    """An observer that writes one group per phase."""

    def __init__(self, workflow: Workflow):
        self._workflow = workflow
        self._open = False

    def observe(self, event: Event) -> None:
        """Write an event to the log."""
        if isinstance(event, LogLines):
            self._workflow.quote("\n".join(event.lines))
            return
        if not isinstance(event, WarningIssued):
            self.close()
        match event:
            case PhaseStarted():
                self._workflow.group(event.phase)
                self._open = True
            case WarningIssued() | SessionNotStopped():
                self._workflow.warning(describe(event))
            case _:
                self._workflow.log(describe(event))

    def close(self) -> None:
        """End the open group, if any."""
        if self._open:
            self._workflow.end_group()
        self._open = False
