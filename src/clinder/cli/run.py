"""``clinder run``: run a command with a session, which is always stopped afterwards."""

from __future__ import annotations

import math
import os
import queue
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import TYPE_CHECKING

from clinder._deadline import Deadline
from clinder._signals import SignalEvent, handle_signals
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
from clinder.cli.launching import (
    PreparedLaunch,
    launch_consequence,
    launch_session,
    launches_locally,
    prepare_launch,
)
from clinder.cli.options import STDOUT, Options
from clinder.cli.process import Process
from clinder.cli.run_report import RunReport
from clinder.cli.screen import choose_screen
from clinder.cli.session_files import stop_or_keep
from clinder.cli.streams import print_status, print_warning
from clinder.cli.variables import read_variables
from clinder.cli.waiting import (
    Exited,
    Grace,
    Happenings,
    LaunchEnded,
    SessionLost,
    Signalled,
    Waiting,
)
from clinder.errors import Cancelled, ClinderError
from clinder.events import Event, Observer
from clinder.launch.on_demand import OnDemand
from clinder.launch.request import Request
from clinder.launch.trust import require_trusted
from clinder.running.variables import Variables, make_preparation
from clinder.session import Session

if TYPE_CHECKING:
    from clinder.gateway.gateway import Gateway
    from clinder.running.keep_alive import Intervals

_CANCEL_LIMIT = 8.0
"""Seconds for a launch to end after its cancellation; it ends within 7."""


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
    gateway, tools that start local kernels run on the session, too, and the launch can wait until
    the command needs the session. Raises
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
        report.record.spec = request.repository.spec
        if variables:
            require_trusted(request, os.environ, settings.env_for)

    try:
        with event_log(options, "run") as log, cancellation(launch_consequence(options)) as cancel:
            report.observer = log.observe

            def observe(event: Event) -> None:
                report.record.observe(event)
                log.observe(event)

            if settings.lazy:
                launch = _launch_later(options, log, prepare_launch(options, cancel, check))
                source = OnDemand(lambda cancel: launch(cancel, observe))
            else:
                with closing(choose_screen(cancel, options)) as screen:
                    log.warn = screen.warn
                    source = OnDemand.of(launch_session(options, screen, cancel, observe, check))
            report.source = source
            running = _Run(source, options, grace or Grace(), log, settings=settings, report=report)
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


def _launch_later(
    options: Options, log: EventLog, launch: PreparedLaunch
) -> Callable[[threading.Event, Observer], Session]:
    """Return a function that launches while the command runs."""

    def launch_now(cancel: threading.Event, observe: Observer) -> Session:
        with closing(choose_screen(cancel, options, beside_command=True)) as screen:
            log.warn = screen.warn
            return launch(screen, cancel, observe)

    return launch_now


class _Run:
    """Runs the command and stops the session afterwards.

    After the first signal, clinder waits for the command to end. If that was a Ctrl-C on a
    terminal, the command has received it, too, and can handle it and continue, as interactive
    programs do; otherwise clinder kills a command that does not end in time. The second signal
    kills the command, and the third ends clinder immediately. A launch that the command waits for
    ends with the first signal.
    """

    def __init__(
        self,
        source: OnDemand,
        options: Options,
        grace: Grace,
        log: EventLog,
        *,
        settings: GatewaySettings,
        report: RunReport,
    ):
        self._source = source
        self._settings = settings
        self._report = report
        self.variables = Variables()
        self._gateway: Gateway | None = None
        self._options = options
        self._grace = grace
        self._log = log
        self._happenings: Happenings = queue.SimpleQueue()
        self._signals: list[int] = []
        self._stop_now = SignalEvent()
        self._is_stopping = False
        self._began = 0.0

    def run(
        self,
        command: Sequence[str],
        cancel: SignalEvent,
        *,
        keep_alive: float,
        intervals: Intervals | None,
    ) -> int:
        """Return the command's exit code once it has ended and the session is stopped."""
        done = threading.Event()

        def keep() -> None:
            _start_thread(self._keep_alive, keep_alive, intervals, done)

        self._source.on_end = lambda: self._happenings.put(LaunchEnded())
        with handle_signals(self._handle):
            try:
                Deadline(1, cancel=cancel).raise_if_expired()
                with self._hand_out(command[0]) as variables:
                    self._raise_if_signalled()
                    self._print(f"Running {shlex.join(command)}")
                    environ = {**os.environ, **variables}
                    to_stderr = self._options.events == STDOUT
                    process = Process(command, environ, output_to_stderr=to_stderr)
                    self._log.observe(CommandStarted())
                    self._began = time.monotonic()
                    _start_thread(self._report_end, process)
                    if self._source.session is not None:
                        keep()
                    return self._wait(process, keep)
            except Cancelled:
                cancel.signum = cancel.signum or self._signals[0]
                raise
            finally:
                done.set()
                self._stop()

    def _raise_if_signalled(self) -> None:
        """Raise :class:`~clinder.errors.Cancelled` after a signal.

        A terminal sends Ctrl-C only to a command that runs already.
        """
        if self._signals:
            raise Cancelled("Cancelled.")

    def _wait(self, process: Process, on_launched: Callable[[], None]) -> int:
        waiting = Waiting(
            process,
            self._source,
            self._happenings,
            self._grace,
            gateway=self._gateway,
            on_launched=on_launched,
        )
        code = waiting.wait()
        self._report.exit_code = code
        self._report.command_seconds = time.monotonic() - self._began
        self._log.observe(CommandEnded(code))
        return waiting.result(code)

    @contextmanager
    def _hand_out(self, command: str) -> Iterator[Mapping[str, str]]:
        """Yield the variables by which the command finds the session, or the gateway to it."""
        if not self._settings.use:
            yield self._source.get().variables
            return
        from clinder.gateway.gateway import Gateway
        from clinder.gateway.upstream import Credential

        timeouts = self._options.launch.timeouts
        prepare = None
        if self.variables:
            self._print(f"Each kernel receives these variables: {', '.join(self.variables.names)}.")
            prepare = make_preparation(self.variables, self._report.warn)
        options = self._settings.make(prepare)
        session = self._source.session
        with Gateway(
            Credential.of(session) if session else lambda: Credential.of(self._source.get()),
            options,
            timeouts=timeouts,
            warn=self._report.warn,
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
            self._source.session,
            gateway.url,
            gateway.token,
            is_local=self._is_local,
            environ=os.environ,
            command=find_executable(command),
            timeouts=self._options.launch.timeouts,
            report=self._print,
        )

    def _handle(self, signum: int) -> None:
        self._signals.append(signum)
        if len(self._signals) > 2:
            exit_immediately(signum, might_remain("the session", embedded=self._is_local))
        if len(self._signals) > 1:
            self._stop_now.set_from_handler()
        elif self._is_stopping:
            write_from_handler(
                "clinder: Stopping the session."
                f" Press Ctrl-C again to give up after {self._grace.hurried_stop:g} s.\n"
            )
        self._happenings.put(Signalled(signum, is_first=len(self._signals) == 1))

    @property
    def _is_local(self) -> bool:
        """Whether the embedded hub launches the session, as far as that is known."""
        session = self._source.session
        return launches_locally(self._options) if session is None else session.is_embedded

    def _print(self, message: str) -> None:
        if not self._options.quiet:
            print_status(f"clinder: {message}")

    def _report_end(self, process: Process) -> None:
        self._happenings.put(Exited(process.wait()))

    def _keep_alive(
        self, seconds: float, intervals: Intervals | None, done: threading.Event
    ) -> None:
        from clinder.running.keep_alive import keep_alive_until_gone

        gone = keep_alive_until_gone(
            self._source.get(),
            Deadline(math.inf, cancel=done),
            keep_alive=seconds,
            timeouts=self._options.launch.timeouts,
            intervals=intervals,
            hurry=None if self._gateway is None else self._gateway.hurry,
        )
        if gone:
            self._happenings.put(SessionLost(gone))

    def _stop(self) -> None:
        timeouts = self._options.launch.timeouts
        self._is_stopping = True
        self._source.end(_CANCEL_LIMIT)
        session = self._source.session
        if session is None:
            self._stop_now.close()
            if self._source.is_launching:
                print_warning(f"{launch_consequence(self._options)}.")
            return
        deadline = Deadline(timeouts.stop_limit(self._grace.stop), cancel=self._stop_now)
        deadline.grace = self._grace.hurried_stop
        began = time.monotonic()
        stopped = stop_or_keep(session, deadline, self._options, self._log.observe)
        self._stop_now.close()
        self._report.stopped, self._report.stop_seconds = stopped, time.monotonic() - began
        if stopped and not (stopped.certain and self._options.quiet):
            print_status(f"clinder: The session {stopped}")


def _start_thread(work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()
