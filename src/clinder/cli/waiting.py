"""Wait for the command of ``clinder run`` to end, and end it if it cannot go on."""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clinder._deadline import Deadline
from clinder._signals import exit_code
from clinder.cli.process import Process
from clinder.cli.streams import print_status
from clinder.errors import Cancelled, SessionGone
from clinder.launch.on_demand import OnDemand
from clinder.timeouts import STOP_TIMEOUT

if TYPE_CHECKING:
    from clinder.gateway.gateway import Gateway
    from clinder.wire.jupyter_server import Status

_TICK = 1.0


@dataclass(frozen=True)
class Grace:
    """Grace periods in seconds.

    ``end``: for the command after SIGTERM, if the session is gone, and before that, if there is
    none because its launch failed. ``fail``: for the command before SIGTERM, if it uses the
    gateway, where all its cells fail then. ``cancel``: for the command after a first signal; a CI
    job that is cancelled has about ten seconds in total. ``stop``: for stopping the session.
    ``hurried_stop``: for stopping it after a second signal.
    """

    end: float = 10.0
    fail: float = 60.0
    cancel: float = 5.0
    stop: float = STOP_TIMEOUT
    hurried_stop: float = 5.0


@dataclass(frozen=True)
class Signalled:
    """clinder has received its first signal, or a later one."""

    signum: int
    is_first: bool


@dataclass(frozen=True)
class LaunchEnded:
    """A launch that the command needed has succeeded or failed."""


@dataclass(frozen=True)
class SessionLost:
    """The session is gone."""

    status: Status


@dataclass(frozen=True)
class Exited:
    """The command has ended."""

    code: int


Happening = Signalled | LaunchEnded | SessionLost | Exited
Happenings = queue.SimpleQueue[Happening]


class Waiting:
    """A command that runs, and what happens meanwhile.

    ``on_launched`` is called if the session of ``source`` is launched meanwhile.
    """

    def __init__(
        self,
        process: Process,
        source: OnDemand,
        happenings: Happenings,
        grace: Grace,
        *,
        gateway: Gateway | None,
        on_launched: Callable[[], None],
    ):
        self._process = process
        self._source = source
        self._happenings = happenings
        self._grace = grace
        self._gateway = gateway
        self._on_launched = on_launched
        self._end_by: Deadline | None = None
        """When clinder kills the command or, if that cannot go on, first ends it."""
        self._is_ending = False
        """Whether clinder has ended the command, because it cannot go on."""
        self._is_gone = self._has_no_session = self._is_cancelled = False
        self._first_signal = self._killed_by = 0

    def wait(self) -> int:
        """Return the command's exit code once it has ended."""
        while True:
            happening = self._next()
            if isinstance(happening, Exited):
                return happening.code
            match happening:
                case Signalled():
                    self._signal(happening)
                case LaunchEnded():
                    self._end_launch()
                case SessionLost(status):
                    self._lose_session(status)
                case None:  # pragma: no branch - there are no others
                    self._act_when_due()

    def result(self, code: int) -> int:
        """Return clinder's exit code if the command's is ``code``.

        Raises the launch's error, or :class:`~clinder.errors.SessionGone`, or
        :class:`~clinder.errors.Cancelled` if a signal has ended the launch.
        """
        if (self._is_gone or self._has_no_session) and self._end_by:
            self._process.wait_for_children(self._end_by)
        if self._is_gone:
            ended = "The session is gone, so clinder ended the command."
            failed = "The session is gone, so the command failed."
            cause = "" if self._gateway is None else self._gateway.likely_cause
            raise SessionGone(
                ended if self._is_ending else failed,
                hint=cause
                or "The hub might have culled the session, or the session ran out of memory.",
            )
        if self._has_no_session and self._source.error is not None:
            raise self._source.error
        if self._is_cancelled and self._source.session is None:
            raise Cancelled("Cancelled.")
        return exit_code(self._killed_by) if self._killed_by else code

    def _signal(self, signalled: Signalled) -> None:
        if not signalled.is_first:
            self._killed_by = signalled.signum
            self._process.kill()
            return
        self._first_signal = signalled.signum
        if self._source.is_launching:
            self._is_cancelled = True
            self._source.cancel()
        seconds = ""
        if not self._process.receives(signalled.signum):
            self._end_by = self._end_by or Deadline(self._grace.cancel)
            seconds = f" up to {_remaining(self._end_by)}"
        print_status(
            f"clinder: Waiting{seconds} for the command to end. Press Ctrl-C again to kill it."
        )
        self._process.forward(signalled.signum)

    def _end_launch(self) -> None:
        if self._source.session is not None:
            self._on_launched()
        elif not self._is_cancelled:
            self._has_no_session = True
            self._end_by = self._end_by or Deadline(self._grace.end)
            print_status(
                f"clinder: The launch failed. The command has {_remaining(self._end_by)} to end."
            )

    def _lose_session(self, status: Status) -> None:
        """End the command or, if it uses kernels, their cells, so that it ends by itself."""
        self._is_gone = True
        gone = f"clinder: The session is gone: {status.message}."
        if self._gateway is None or not self._gateway.is_in_use:
            print_status(f"{gone} Ending the command.")
            self._terminate()
            return
        self._gateway.lose_session(f"{status.message[:1].upper()}{status.message[1:]}.")
        print_status(f"{gone} The command has {self._grace.fail:g} s to end, and its cells fail.")
        self._end_by = self._end_by or Deadline(self._grace.fail)

    def _act_when_due(self) -> None:
        if (self._is_gone or self._has_no_session) and not self._is_ending:
            self._end_by = None
            self._terminate()
        else:
            self._killed_by = self._first_signal
            self._process.kill()

    def _terminate(self) -> None:
        self._is_ending = True
        self._process.terminate()
        self._end_by = self._end_by or Deadline(self._grace.end)

    def _next(self) -> Happening | None:
        """Return what happens next, ``None`` if the command's time is over."""
        while True:
            remaining = self._end_by.remaining() if self._end_by else 0.0
            with suppress(queue.Empty):
                # On Windows, an endless wait would block signals.
                return self._happenings.get(timeout=min(_TICK, remaining or _TICK))
            if self._end_by and not self._end_by.remaining():
                return None


def _remaining(deadline: Deadline) -> str:
    return f"{round(deadline.remaining(), 1):g} s"
