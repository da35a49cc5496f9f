"""``clinder run --report``: what happened, in a file, however the run ends."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from clinder.cli.streams import print_status, print_warning
from clinder.errors import ClinderError, CodeRaised, UsageError
from clinder.events import Observer, WarningIssued
from clinder.gateway.report import LaunchRecord

if TYPE_CHECKING:
    from clinder.gateway.gateway import Gateway
    from clinder.gateway.report import Report
    from clinder.launch.on_demand import OnDemand
    from clinder.running.stop import Stopped

ENDED_EARLY = "The command ended during the launch, so clinder cancels the launch."

_MAX_WARNINGS = 100

_NAMED_ABOVE = "The lines above name each page and its error."
_WITHOUT_QUIET = "Omit --quiet, or add --report FILE: either names each page and its error."


class RunReport:
    """Collects what belongs in the report of one run.

    ``path`` is where to write it, if anywhere. Raises :class:`~clinder.errors.UsageError` if it has
    no folder to be written to.
    """

    def __init__(self, path: Path | None, *, quiet: bool):
        if path is not None and (not path.name or not path.parent.is_dir() or path.is_dir()):
            hint = "Name a file in a folder that exists."
            raise UsageError(f"The report cannot be written to {str(path)!r}.", hint=hint)
        self._path = path
        self._quiet = quiet
        self.record = LaunchRecord()
        self._warnings: list[str] = []
        self._gateway: Gateway | None = None
        self.observer: Observer = lambda _: None
        """Receives the warnings, too."""
        self.source: OnDemand | None = None
        """The session, or its launch."""
        self.variables: tuple[str, ...] = ()
        self.exit_code: int | None = None
        self.command_seconds = 0.0
        self.stopped: Stopped | None = None
        self.stop_seconds = 0.0

    def warn(self, message: str) -> None:
        """Print a warning, and note it."""
        print_warning(message)
        self.observer(WarningIssued(message))
        if len(self._warnings) < _MAX_WARNINGS:
            self._warnings.append(message)

    def use(self, gateway: Gateway) -> None:
        """Note the gateway whose kernels belong in the report."""
        self._gateway = gateway

    def close(self) -> None:
        """Show what ran, once the command has ended."""
        from clinder.gateway.closing import FAILED_EARLY, NOT_NEEDED, NOTHING_RAN, closing_lines

        if self._gateway is None or self.source is None or self.exit_code is None:
            return
        if self.source.session is None:
            if not self._quiet and not self.source.was_needed:
                print_status(f"clinder: {NOT_NEEDED}")
            elif self.source.is_launching:
                self.warn(ENDED_EARLY)
            return
        report = self.make(None)
        has_pages = any(each.cells or each.unfinished or each.problem for each in report.kernels)
        if not report.kernels:
            self.warn(NOTHING_RAN if self.exit_code == 0 else FAILED_EARLY)
        elif has_pages and not self._quiet:
            for line in closing_lines(report):
                print_status(f"clinder: {line}")

    def raise_if_a_cell_failed(self) -> None:
        """Raise :class:`~clinder.errors.CodeRaised` if a page did not run to its end."""
        from clinder.gateway.closing import count

        if failed := self.make(None).failed:
            message = f"{count(len(failed), 'page')} ended with an error in a cell."
            raise CodeRaised(message, hint=_WITHOUT_QUIET if self._quiet else _NAMED_ABOVE)

    def make(self, problem: ClinderError | None) -> Report:
        """Return the report as far as it is known."""
        from clinder.gateway.report import Command, Problem, Report, Stop

        session = self.source.session if self.source is not None else None
        stop = None
        if self.stopped is not None:
            outcome = "stopped" if self.stopped.ran else "gone"
            outcome = outcome if self.stopped.certain else "unknown"
            message = f"The session {self.stopped}"
            stop = Stop(outcome, message, self.stop_seconds)
        elif session is not None and self.stop_seconds:
            stop = Stop("running", "The session might still be running.", self.stop_seconds)
        gateway, code = self._gateway, self.exit_code
        return Report(
            launch=self.record.launch(self.source),
            kernels=gateway.kernels if gateway is not None else (),
            resources=gateway.resources if gateway is not None else None,
            command=None if code is None else Command(code, self.command_seconds),
            stop=stop,
            problem=None if problem is None else Problem.of(problem),
            warnings=tuple(self._warnings),
            variables=self.variables,
        )

    def write(self, problem: ClinderError | None) -> None:
        """Write the report, completely or not at all; print a warning if that fails."""
        if self._path is None:
            return
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            new.write_text(self.make(problem).to_json() + "\n", encoding="utf-8")
            new.replace(self._path)
        except OSError as error:
            print_warning(f"The report {self._path} cannot be written: {error.strerror}.")
            with suppress(OSError):
                new.unlink()
