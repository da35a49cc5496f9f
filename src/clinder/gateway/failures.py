"""Why a cell could not run to its end, for the author of the notebook.

Such an error takes the place of the cell's own on its page, so each text explains what happened and
what to change.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Cause(Enum):
    """What ended a cell, or keeps it from running. The value is its name in the report."""

    KERNEL_DIED = "kernel-died"
    TIME_LIMIT = "time-limit"
    OUTPUT_LOST = "output-lost"
    TOO_LARGE = "too-large"
    """The server closed the connection because the cell itself was too large for it."""
    NOT_RECEIVED = "not-received"
    """The kernel answered a later request, but not the cell."""
    KERNEL_GONE = "kernel-gone"
    """The server no longer has the kernel: somebody deleted it, or the server culled it."""
    SESSION_GONE = "session-gone"
    UNREACHABLE = "unreachable"
    """The session exists, but has not responded for too long."""
    RESTARTED = "restarted"
    """A consumer restarted the kernel while the cell ran."""
    NOT_STARTED = "not-started"
    """The server could not start the kernel, or it never responded."""
    NOT_RESTARTED = "not-restarted"
    """The server could not restart the kernel."""

    @property
    def leaves_no_kernel(self) -> bool:
        """Whether no request of any kind can reach the kernel any more."""
        return self in _NO_KERNEL

    @property
    def is_final(self) -> bool:
        """Whether the kernel's state is lost without anybody having asked for that."""
        return self is Cause.KERNEL_DIED or self.leaves_no_kernel


_NO_KERNEL = (Cause.KERNEL_GONE, Cause.SESSION_GONE, Cause.UNREACHABLE, Cause.NOT_STARTED)


@dataclass(frozen=True)
class _Words:
    name: str
    """The class of the error on the page, like the name of an exception."""
    event: str
    """What happened to the kernel, in a sentence whose subject is the kernel."""
    running: str
    """What happened to a cell that ran."""
    refused: str
    """Why a cell was not run."""
    advice: str


_WORDS = {
    Cause.KERNEL_DIED: _Words(
        "KernelDied",
        "died",
        "The kernel died while this cell ran.",
        "This cell was not run because its kernel had died.",
        "If the session was short of memory, use less of it, or let fewer kernels run at once "
        "(clinder's max-kernels). Otherwise look for code that ends or crashes its process.",
    ),
    Cause.TIME_LIMIT: _Words(
        "CellTimedOut",
        "was restarted",
        "This cell reached the time limit.",
        "This cell was not run because an earlier one reached the time limit, and clinder had to "
        "restart the kernel.",
        "Make the cell that took so long faster, or raise the limit (clinder's cell-timeout).",
    ),
    Cause.OUTPUT_LOST: _Words(
        "OutputLost",
        "sent output that was lost",
        "The connection to the session broke while this cell ran, and its result, or part of its "
        "output, was lost.",
        "This cell was not run because the connection to the session broke.",
        "Run it again: such interruptions usually pass.",
    ),
    Cause.TOO_LARGE: _Words(
        "CellTooLarge",
        "received a cell that was too large",
        "The session's server did not accept this cell, because it is too large.",
        "This cell was not run because the session's server did not accept an earlier one.",
        "A Jupyter Server accepts messages of 10 MiB, unless its tornado_settings have another "
        "websocket_max_message_size. Let the code read its data from a file or a URL.",
    ),
    Cause.NOT_RECEIVED: _Words(
        "CellNotReceived",
        "did not receive a cell",
        "The kernel never received this cell, probably because it was restarting.",
        "This cell was not run because the kernel did not receive an earlier one.",
        "Run the notebook again.",
    ),
    Cause.KERNEL_GONE: _Words(
        "KernelGone",
        "is gone",
        "The session's server removed the kernel while this cell ran.",
        "This cell was not run because the session's server no longer has its kernel.",
        "Somebody deleted the kernel, or the server removed it because it was idle. Run the "
        "notebook again.",
    ),
    Cause.SESSION_GONE: _Words(
        "SessionGone",
        "is gone, because the session ended",
        "The session ended while this cell ran.",
        "This cell was not run because the session had ended.",
        "The hub might have culled the session, or the session ran out of memory. Run the notebook "
        "again in a new session.",
    ),
    Cause.UNREACHABLE: _Words(
        "SessionUnreachable",
        "is lost, because the session stopped responding",
        "The session stopped responding while this cell ran.",
        "This cell was not run because the session no longer responds.",
        "Check the network, and the hub's page. Then run the notebook again.",
    ),
    Cause.RESTARTED: _Words(
        "KernelRestarted",
        "was restarted",
        "The kernel was restarted while this cell ran.",
        "This cell was not run because the kernel was restarted.",
        "Run the notebook again from its first cell.",
    ),
    Cause.NOT_STARTED: _Words(
        "KernelNotStarted",
        "did not start",
        "The kernel of this notebook did not start.",
        "This cell was not run because its kernel did not start.",
        "Check that the image has what this kernel needs: try it in a browser.",
    ),
    Cause.NOT_RESTARTED: _Words(
        "KernelNotRestarted",
        "could not be restarted",
        "The session's server could not restart the kernel.",
        "This cell was not run because the session's server could not restart its kernel.",
        "Restart the kernel again, or run the notebook in a new session.",
    ),
}


@dataclass(frozen=True)
class Failure:
    """What ended a cell. ``detail`` is what else is known, as whole sentences that are ours."""

    cause: Cause
    detail: str = ""

    @property
    def name(self) -> str:
        """The name of the error."""
        return _WORDS[self.cause].name

    @property
    def event(self) -> str:
        """What happened to the kernel, as the predicate of a sentence."""
        return _WORDS[self.cause].event

    @property
    def text(self) -> str:
        """The message for the cell that was running."""
        return self._text(_WORDS[self.cause].running)

    @property
    def refusal(self) -> str:
        """The message for a cell that was sent later."""
        return self._text(_WORDS[self.cause].refused)

    def _text(self, happened: str) -> str:
        return " ".join(filter(None, (happened, self.detail, _WORDS[self.cause].advice)))
