"""``clinder run``: a command with a session, which is stopped whatever happens."""

from __future__ import annotations

import math
import os
import queue
import shlex
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clinder._deadline import Deadline
from clinder._signals import SignalEvent, exit_code, handle_signals
from clinder.cli.interrupts import MAY_KEEP_RUNNING, cancellation, end_at_once
from clinder.cli.launching import Options, launch_session
from clinder.cli.process import Process, find_executable
from clinder.cli.screen import choose_screen
from clinder.cli.session_files import stop_or_keep
from clinder.cli.streams import print_status
from clinder.errors import Cancelled, SessionGone
from clinder.session import Session
from clinder.timeouts import STOP_TIMEOUT

if TYPE_CHECKING:
    from clinder.running.keep_alive import Intervals

_TICK = 1.0


@dataclass(frozen=True)
class Grace:
    """Seconds: for the command to end when asked to, for the stop, for it after a second signal."""

    end: float = 10.0
    stop: float = STOP_TIMEOUT
    stop_in_haste: float = 5.0


@dataclass(frozen=True)
class _Signal:
    number: int


@dataclass(frozen=True)
class _Gone:
    message: str


@dataclass(frozen=True)
class _Ended:
    code: int


@dataclass(frozen=True)
class _GraceExpired:
    pass


_RunEvent = _Signal | _Gone | _Ended | _GraceExpired


def run(
    options: Options,
    command: Sequence[str],
    *,
    keep_alive: float,
    intervals: Intervals | None = None,
    grace: Grace | None = None,
) -> int:
    """Start a session, run the command with it, stop the session; return the command's code.

    ``keep_alive`` is for how many seconds the session is kept from being culled. Raises
    :class:`~clinder.errors.ClinderError` where the launch fails, and
    :class:`~clinder.errors.SessionGone` where the session is found gone meanwhile.
    """
    find_executable(command[0])
    with cancellation(MAY_KEEP_RUNNING) as cancel:
        shown = choose_screen(cancel, quiet=options.quiet, verbose=options.verbose)
        try:
            session = launch_session(options, shown, cancel)
        finally:
            shown.close()
        return _Run(session, options, grace or Grace()).run(
            command, keep_alive=keep_alive, pace=intervals, cancelled=cancel.is_set
        )


class _Run:
    """The command while it runs, and the end of the session after it.

    The first signal waits for the command, the second kills it, the third ends at once.
    """

    def __init__(self, session: Session, options: Options, grace: Grace):
        self._session = session
        self._options = options
        self._patience = grace
        self._events: queue.SimpleQueue[_RunEvent] = queue.SimpleQueue()
        self._signals: list[int] = []
        self._hurry = SignalEvent()

    def run(
        self,
        command: Sequence[str],
        *,
        keep_alive: float,
        pace: Intervals | None,
        cancelled: Callable[[], bool],
    ) -> int:
        """Return the command's code once it has ended and the session is stopped."""
        done = threading.Event()
        with handle_signals(self._handle):
            try:
                if cancelled():
                    raise Cancelled("Cancelled.")
                self._say(f"Running {shlex.join(command)}")
                process = Process(command, {**os.environ, **self._session.variables})
                _start_thread(self._wait, process)
                _start_thread(self._watch, keep_alive, pace, done)
                return self._code(process)
            finally:
                done.set()
                self._stop()

    def _handle(self, number: int) -> None:
        self._signals.append(number)
        if len(self._signals) > 2:
            end_at_once(number, "the session may run on until it is culled")
        if len(self._signals) > 1:
            self._hurry.set_from_handler()
        self._events.put(_Signal(number))

    def _say(self, words: str) -> None:
        if not self._options.quiet:
            print_status(f"clinder: {words}")

    def _wait(self, process: Process) -> None:
        self._events.put(_Ended(process.wait()))

    def _watch(self, keep_alive: float, pace: Intervals | None, done: threading.Event) -> None:
        from clinder.running.keep_alive import keep_alive_until_gone

        words = keep_alive_until_gone(
            self._session,
            Deadline(math.inf, cancel=done),
            keep_alive=keep_alive,
            timeouts=self._options.launch.timeouts,
            intervals=pace,
        )
        if words:
            self._events.put(_Gone(words))

    def _code(self, process: Process) -> int:
        """Return the command's code, having acted on all that happened until it ended."""
        killed_by = 0
        end_by: Deadline | None = None  # when it was told to end, because the session is gone
        while True:
            match self._next(end_by):
                case _Ended(code):
                    break
                case _Signal(number) if len(self._signals) > 1:
                    killed_by = number
                    process.kill()
                case _Signal(number):
                    print_status("clinder: Waiting for the command to end; once more kills it.")
                    process.forward(number)
                case _Gone(words):
                    print_status(f"clinder: The session is gone while the command runs: {words}.")
                    end_by = Deadline(self._patience.end)
                    process.terminate()
                case _GraceExpired():  # pragma: no branch - nothing else can happen
                    process.kill()
        if end_by is not None:
            process.wait_for_children(end_by)
            raise SessionGone(
                "The session went away, so the command was ended.",
                hint="The hub may have culled it, or it ran out of memory.",
            )
        return exit_code(killed_by) if killed_by else code

    def _next(self, end_by: Deadline | None) -> _RunEvent:
        """Return what happens next."""
        while True:
            left = end_by.remaining() if end_by else 0.0
            with suppress(queue.Empty):
                # Never without an end: on Windows a signal would wait for it.
                return self._events.get(timeout=min(_TICK, left or _TICK))
            if end_by and not end_by.remaining():
                return _GraceExpired()

    def _stop(self) -> None:
        timeouts = self._options.launch.timeouts
        deadline = Deadline(timeouts.stop_limit(self._patience.stop), cancel=self._hurry)
        deadline.grace = self._patience.stop_in_haste
        ran = stop_or_keep(self._session, deadline, timeouts, self._options.session_file)
        self._hurry.close()
        if ran is not None:
            self._say(f"The session {'is stopped' if ran else 'was already gone'}.")


def _start_thread(work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()
