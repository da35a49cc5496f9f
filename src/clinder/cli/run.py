"""``clinder run``: a command with a session, which is stopped whatever happens."""

from __future__ import annotations

import os
import queue
import shlex
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clinder import session_file
from clinder.cli.launching import Options, launched
from clinder.cli.process import Process, found
from clinder.cli.screen import say, screen
from clinder.cli.signals import cancellation, end_at_once, exit_code, handled
from clinder.cli.start import stopped
from clinder.deadline import Deadline
from clinder.errors import Cancelled, ClinderError, SessionGone
from clinder.session import Session

if TYPE_CHECKING:
    from clinder.policy.watch import Pace

_TO_END = 10.0
_STOP = 30.0
_STOP_AFTER_KILL = 5.0


@dataclass(frozen=True)
class _Signal:
    number: int


@dataclass(frozen=True)
class _Gone:
    words: str


@dataclass(frozen=True)
class _Ended:
    code: int


def run(
    options: Options, command: Sequence[str], *, keep_alive: float, pace: Pace | None = None
) -> int:
    """Start a session, run the command with it, stop the session; return the command's code.

    ``keep_alive`` is for how many seconds the session is kept from being culled. Raises
    :class:`~clinder.errors.ClinderError` where the launch fails, and
    :class:`~clinder.errors.SessionGone` where the session is found gone meanwhile.
    """
    found(command)
    shown = screen(quiet=options.quiet, verbose=options.verbose)
    with cancellation() as cancel:
        try:
            session = launched(options, shown, cancel)
        finally:
            shown.close()
        if cancel.is_set():
            stopped(session, options)
            raise Cancelled("Cancelled.")
        shown.say(f"Running {shlex.join(command)}")
        return _Run(session, options).of(command, keep_alive, pace)


class _Run:
    """The command while it runs, and the end of the session after it.

    The first signal waits for the command, the second kills it, the third ends at once.
    """

    def __init__(self, session: Session, options: Options):
        self._session = session
        self._options = options
        self._events: queue.SimpleQueue[_Signal | _Gone | _Ended] = queue.SimpleQueue()
        self._signals: list[int] = []
        self._stop_within = _STOP

    def of(self, command: Sequence[str], keep_alive: float, pace: Pace | None) -> int:
        """Return the command's code once it has ended and the session is stopped."""
        done = threading.Event()
        with handled(self._handle):
            try:
                process = Process(command, {**os.environ, **self._session.environment})
                self._in_thread(self._wait, process)
                self._in_thread(self._watch, keep_alive, pace, done)
                return self._code(process)
            finally:
                done.set()
                self._stop()

    def _handle(self, number: int) -> None:
        self._signals.append(number)
        if len(self._signals) > 2:
            end_at_once(number)
        self._events.put(_Signal(number))

    def _in_thread(self, work: object, *arguments: object) -> None:
        if callable(work):
            threading.Thread(target=work, args=arguments, daemon=True).start()

    def _wait(self, process: Process) -> None:
        self._events.put(_Ended(process.wait() or 0))

    def _watch(self, keep_alive: float, pace: Pace | None, done: threading.Event) -> None:
        from clinder.policy.stop import SERVER_CLOCKS
        from clinder.policy.watch import gone
        from clinder.wire.transport import Transport

        words = gone(
            self._session,
            Deadline(keep_alive, cancel=done),
            transport=Transport(SERVER_CLOCKS),
            pace=pace,
        )
        if words:
            self._events.put(_Gone(words))

    def _code(self, process: Process) -> int:
        killed_by = 0
        while True:
            match self._events.get():
                case _Ended(code):
                    return exit_code(killed_by) if killed_by else code
                case _Signal(number) if len(self._signals) > 1:
                    killed_by, self._stop_within = number, _STOP_AFTER_KILL
                    process.kill()
                case _Signal(number):
                    say("clinder: Waiting for the command to end; once more kills it.")
                    process.forward(number)
                case _Gone(words):
                    say(f"clinder: The session is gone while the command runs: {words}.")
                    process.terminate()
                    if process.wait(_TO_END) is None:
                        process.kill()
                    raise SessionGone(
                        "The session went away, so the command was ended.",
                        hint="The hub may have culled it, or it ran out of memory.",
                    )

    def _stop(self) -> None:
        from clinder.policy.stop import stop

        path = self._options.session_file
        try:
            ran = stop(self._session, Deadline(self._stop_within))
        except ClinderError as error:
            path = path or _kept(self._session)
            line = f"clinder stop --session-file {shlex.quote(str(path))}"
            say(f"clinder: Warning: {error} Stop the session with: {line}")
            return
        if path:
            with suppress(OSError):
                path.unlink()
        if not self._options.quiet:
            say(f"clinder: The session {'is stopped' if ran else 'was already gone'}.")


def _kept(session: Session) -> Path:
    """Return a new file that holds the session, private to this user."""
    path = Path(tempfile.mkdtemp(prefix="clinder-")) / "session.json"
    session_file.write(path, session)
    return path
