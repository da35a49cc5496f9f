"""``clinder run``: run a command with a session, which is always stopped afterwards."""

from __future__ import annotations

import math
import os
import queue
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clinder._deadline import Deadline
from clinder._signals import SignalEvent, exit_code, handle_signals
from clinder.cli.event_log import CommandEnded, CommandStarted, EventLog, event_log
from clinder.cli.executable import find_executable, require_node
from clinder.cli.gateway_options import GatewaySettings
from clinder.cli.interrupts import (
    cancellation,
    exit_immediately,
    might_remain,
    write_from_handler,
)
from clinder.cli.kernels import offer_kernels
from clinder.cli.launching import launch_consequence, launch_session
from clinder.cli.options import STDOUT, Options
from clinder.cli.process import Process
from clinder.cli.run_report import RunReport
from clinder.cli.screen import choose_screen
from clinder.cli.session_files import stop_or_keep
from clinder.cli.streams import print_status
from clinder.cli.variables import read_variables
from clinder.errors import Cancelled, ClinderError, SessionGone
from clinder.events import Event
from clinder.launch.request import Request
from clinder.launch.trust import require_trusted
from clinder.running.variables import Variables, make_preparation
from clinder.session import Session
from clinder.timeouts import STOP_TIMEOUT

if TYPE_CHECKING:
    from clinder.gateway.gateway import Gateway
    from clinder.running.keep_alive import Intervals
    from clinder.wire.jupyter_server import Status

_TICK = 1.0


@dataclass(frozen=True)
class Grace:
    """Grace periods in seconds.

    ``end``: for the command after SIGTERM, if the session is gone. ``fail``: for the command
    before that, if it uses the gateway, where all its cells fail then. ``cancel``: for the command
    after a first signal; a CI job that is cancelled has about ten seconds in total. ``stop``: for
    stopping the session. ``hurried_stop``: for stopping it after a second signal.
    """

    end: float = 10.0
    fail: float = 60.0
    cancel: float = 5.0
    stop: float = STOP_TIMEOUT
    hurried_stop: float = 5.0


@dataclass(frozen=True)
class _Signal:
    signum: int


@dataclass(frozen=True)
class _SessionGone:
    status: Status


@dataclass(frozen=True)
class _CommandEnded:
    code: int


_RunEvent = _Signal | _SessionGone | _CommandEnded


def run(
    options: Options,
    command: Sequence[str],
    *,
    keep_alive: float,
    gateway: GatewaySettings | None = None,
    intervals: Intervals | None = None,
    grace: Grace | None = None,
) -> int:
    """Start a session, run a command with it, stop the session; return the command's exit code.

    For ``keep_alive`` seconds, clinder keeps the hub from culling the session. The command
    receives the URL and the token of a gateway or, without one, those of the session. With a
    gateway, tools that start local kernels run on the session, too. Raises
    :class:`~clinder.errors.ClinderError` if the launch fails, and
    :class:`~clinder.errors.SessionGone` if the session is gone before the command ends.
    """
    settings = gateway or GatewaySettings()
    settings.check()
    find_executable(command[0])
    require_node(command[0], os.environ)
    variables = read_variables(settings.env, settings.env_files)
    report = RunReport(settings.report, quiet=options.quiet)
    report.variables = variables.names
    problem: ClinderError | None = None

    def check(request: Request) -> None:
        if variables:
            require_trusted(request, os.environ, settings.env_for)

    try:
        with event_log(options, "run") as log, cancellation(launch_consequence(options)) as cancel:
            report.observer = log.observe

            def observe(event: Event) -> None:
                report.observe(event)
                log.observe(event)

            with closing(choose_screen(cancel, options)) as screen:
                log.warn = screen.warn
                report.session = launch_session(options, screen, cancel, observe, check)
            running = _Run(
                report.session, options, grace or Grace(), log, settings=settings, report=report
            )
            running.variables = variables
            log.exit_code = running.run(command, cancel, keep_alive=keep_alive, intervals=intervals)
            if settings.fail_on_cell_error and not log.exit_code:
                report.raise_if_a_cell_failed()
            return log.exit_code
    except ClinderError as error:
        problem = error
        raise
    finally:
        report.write(problem)


class _Run:
    """Runs the command and stops the session afterwards.

    After the first signal, clinder waits for the command to end. If that was a Ctrl-C on a
    terminal, the command has received it, too, and can handle it and continue, as interactive
    programs do; otherwise clinder kills a command that does not end in time. The second signal
    kills the command, and the third ends clinder immediately.
    """

    def __init__(
        self,
        session: Session,
        options: Options,
        grace: Grace,
        log: EventLog,
        *,
        settings: GatewaySettings,
        report: RunReport,
    ):
        self._session = session
        self._settings = settings
        self._report = report
        self.variables = Variables()
        self._gateway: Gateway | None = None
        self._options = options
        self._grace = grace
        self._log = log
        self._events: queue.SimpleQueue[_RunEvent] = queue.SimpleQueue()
        self._signals: list[int] = []
        self._stop_now = SignalEvent()
        self._is_stopping = False
        self._began = 0.0

    def run(
        self,
        command: Sequence[str],
        cancel: threading.Event,
        *,
        keep_alive: float,
        intervals: Intervals | None,
    ) -> int:
        """Return the command's exit code once it has ended and the session is stopped."""
        done = threading.Event()
        with handle_signals(self._handle):
            try:
                if cancel.is_set():
                    raise Cancelled("Cancelled.")
                with self._hand_out(command[0]) as variables:
                    self._print(f"Running {shlex.join(command)}")
                    environ = {**os.environ, **variables}
                    to_stderr = self._options.events == STDOUT
                    process = Process(command, environ, output_to_stderr=to_stderr)
                    self._log.observe(CommandStarted())
                    self._began = time.monotonic()
                    _start_thread(self._report_end, process)
                    _start_thread(self._keep_alive, keep_alive, intervals, done)
                    return self._wait_for_end(process)
            finally:
                done.set()
                self._stop()

    @contextmanager
    def _hand_out(self, command: str) -> Iterator[Mapping[str, str]]:
        """Yield the variables by which the command finds the session, or the gateway to it."""
        if not self._settings.use:
            yield self._session.variables
            return
        from clinder.gateway.gateway import Gateway
        from clinder.gateway.upstream import Credential

        credential = Credential.of(self._session)
        timeouts = self._options.launch.timeouts
        prepare = None
        if self.variables:
            self._print(f"Each kernel receives these variables: {', '.join(self.variables.names)}.")
            prepare = make_preparation(self.variables, self._report.warn)
        options = self._settings.make(prepare)
        with Gateway(
            lambda: credential, options, timeouts=timeouts, warn=self._report.warn
        ) as gateway:
            self._gateway = gateway
            self._report.use(gateway)
            try:
                with self._offer_kernels(gateway, command) as kernels:
                    yield {**gateway.variables(os.environ), **kernels}
            finally:
                if not self._signals:
                    self._report.close()

    def _offer_kernels(
        self, gateway: Gateway, command: str
    ) -> AbstractContextManager[Mapping[str, str]]:
        """Yield the variable by which tools that start local kernels find the gateway."""
        if not self._settings.kernels:
            return nullcontext({})
        return offer_kernels(
            self._session,
            gateway.url,
            gateway.token,
            environ=os.environ,
            command=find_executable(command),
            timeouts=self._options.launch.timeouts,
            report=self._print,
        )

    def _handle(self, signum: int) -> None:
        self._signals.append(signum)
        if len(self._signals) > 2:
            embedded = self._session.is_embedded
            exit_immediately(signum, might_remain("the session", embedded=embedded))
        if len(self._signals) > 1:
            self._stop_now.set_from_handler()
        elif self._is_stopping:
            write_from_handler(
                "clinder: Stopping the session."
                f" Press Ctrl-C again to give up after {self._grace.hurried_stop:g} s.\n"
            )
        self._events.put(_Signal(signum))

    def _print(self, message: str) -> None:
        if not self._options.quiet:
            print_status(f"clinder: {message}")

    def _report_end(self, process: Process) -> None:
        self._events.put(_CommandEnded(process.wait()))

    def _keep_alive(
        self, seconds: float, intervals: Intervals | None, done: threading.Event
    ) -> None:
        from clinder.running.keep_alive import keep_alive_until_gone

        gone = keep_alive_until_gone(
            self._session,
            Deadline(math.inf, cancel=done),
            keep_alive=seconds,
            timeouts=self._options.launch.timeouts,
            intervals=intervals,
            hurry=None if self._gateway is None else self._gateway.hurry,
        )
        if gone:
            self._events.put(_SessionGone(gone))

    def _wait_for_end(self, process: Process) -> int:
        """Return the command's exit code once it has ended, and act on events until then."""
        killed_by = 0
        gone = is_ending = False
        end_by: Deadline | None = None  # then clinder kills the command
        while True:
            match self._next(end_by):
                case _CommandEnded(code):
                    self._report.exit_code = code
                    self._report.command_seconds = time.monotonic() - self._began
                    self._log.observe(CommandEnded(code))
                    break
                case _Signal(signum) if len(self._signals) > 1:
                    killed_by = signum
                    process.kill()
                case _Signal(signum):
                    seconds = ""
                    if not process.receives(signum):
                        end_by = end_by or Deadline(self._grace.cancel)
                        seconds = f" up to {round(end_by.remaining(), 1):g} s"
                    print_status(
                        f"clinder: Waiting{seconds} for the command to end."
                        " Press Ctrl-C again to kill it."
                    )
                    process.forward(signum)
                case _SessionGone(status):
                    gone = True
                    grace = self._fail_cells(status)
                    if not grace:
                        process.terminate()
                    end_by = end_by or Deadline(grace or self._grace.end)
                    is_ending = not grace
                case None if gone and not is_ending:
                    is_ending, end_by = True, Deadline(self._grace.end)
                    process.terminate()
                case None:  # pragma: no branch - there are no other events
                    killed_by = self._signals[0] if self._signals else 0
                    process.kill()
        if gone and end_by:
            process.wait_for_children(end_by)
            ended = "The session is gone, so clinder ended the command."
            failed = "The session is gone, so the command failed."
            cause = "" if self._gateway is None else self._gateway.likely_cause
            raise SessionGone(
                ended if is_ending else failed,
                hint=cause or "The hub might have culled the session, or it ran out of memory.",
            )
        return exit_code(killed_by) if killed_by else code

    def _fail_cells(self, status: Status) -> float:
        """End the command's cells, because the session is gone.

        Returns how many seconds the command has to end by itself, 0 if it uses no kernel.
        """
        gone = f"clinder: The session is gone: {status.message}."
        if self._gateway is None or not self._gateway.is_in_use:
            print_status(f"{gone} Ending the command.")
            return 0.0
        self._gateway.lose_session(f"{status.message[:1].upper()}{status.message[1:]}.")
        print_status(f"{gone} The command has {self._grace.fail:g} s to end, and its cells fail.")
        return self._grace.fail

    def _next(self, end_by: Deadline | None) -> _RunEvent | None:
        while True:
            remaining = end_by.remaining() if end_by else 0.0
            with suppress(queue.Empty):
                # On Windows, an endless wait would block signals.
                return self._events.get(timeout=min(_TICK, remaining or _TICK))
            if end_by and not end_by.remaining():
                return None

    def _stop(self) -> None:
        timeouts = self._options.launch.timeouts
        self._is_stopping = True
        deadline = Deadline(timeouts.stop_limit(self._grace.stop), cancel=self._stop_now)
        deadline.grace = self._grace.hurried_stop
        began = time.monotonic()
        stopped = stop_or_keep(self._session, deadline, self._options, self._log.observe)
        self._stop_now.close()
        self._report.stopped, self._report.stop_seconds = stopped, time.monotonic() - began
        if stopped and not (stopped.certain and self._options.quiet):
            print_status(f"clinder: The session {stopped}")


def _start_thread(work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()
