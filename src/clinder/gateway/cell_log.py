"""What ran on one kernel, cell by cell, for the report. Its size is bounded."""

from __future__ import annotations

from dataclasses import replace

from clinder._text import one_line, strip_controls, truncate
from clinder.gateway.failures import Cause
from clinder.gateway.report import CellError, Kernel, SlowCell
from clinder.gateway.request import Kind, Request

MAX_LISTED = 50
"""The maximum number of errors that are listed, and of cells of each kind."""

_MAX_SLOWEST = 5
_MAX_NAME = 200
_MAX_TEXT = 1000


class CellLog:
    """Counts cells and remembers their errors."""

    def __init__(self, page: str):
        self.number = 0
        """The number of the last cell that was sent."""
        self._page = page
        self._cells = self._unfinished = 0
        self._seconds = 0.0
        self._deaths = self._reconnections = self._error_count = 0
        self._slowest: list[SlowCell] = []
        self._errors: list[CellError] = []
        self._time_limits: list[int] = []
        self._across: list[int] = []
        self._dropped: list[int] = []

    def record(self) -> Kernel:
        """Return what has happened so far."""
        return Kernel(
            page=self._page,
            cells=self._cells,
            unfinished=self._unfinished,
            seconds=self._seconds,
            deaths=self._deaths,
            reconnections=self._reconnections,
            error_count=self._error_count,
            slowest=tuple(self._slowest),
            errors=tuple(self._errors),
            time_limits=tuple(self._time_limits),
            across_reconnections=tuple(self._across),
            dropped_output=tuple(self._dropped),
        )

    def count_cell(self, kind: Kind) -> int:
        """Count a cell that was sent, and return its number."""
        if kind is Kind.CELL:
            self.number += 1
        return self.number

    def restart(self) -> None:
        """Count cells from 1 again."""
        self.number = 0

    def count_death(self) -> None:
        """Count that the kernel died."""
        self._deaths += 1

    def count_reconnection(self) -> None:
        """Count that the connection to the server broke and was established again."""
        self._reconnections += 1

    def follow(self) -> None:
        """Note that a cell runs after the errors so far, which did not end their page then."""
        for index in reversed(range(len(self._errors))):
            if self._errors[index].followed:
                break
            self._errors[index] = replace(self._errors[index], followed=True)

    def end(self, request: Request, now: float) -> None:
        """Add a request that is done, unless the kernel never ran it."""
        if _was_restarted(request):
            self.abandon(request, now)
        elif request.counts and request.status != "aborted":
            self.follow()
            if request.kind is Kind.CELL:
                self._cells += 1
            self._add(request, now)

    def abandon(self, request: Request, now: float) -> None:
        """Add a request whose consumer, or whose kernel, is gone before it was done."""
        if request.counts:
            self._unfinished += 1
            self._add(request, now)

    def _add(self, request: Request, now: float) -> None:
        if request.started is not None:
            self._add_seconds(request, (request.ended or now) - request.started)
        if request.error is not None and not _was_restarted(request):
            self.add_error(request)
        for applies, numbers in (
            (request.interrupted is not None, self._time_limits),
            (request.crossed, self._across),
            (request.dropped, self._dropped),
        ):
            if applies and request.number not in numbers and len(numbers) < MAX_LISTED:
                numbers.append(request.number)

    def _add_seconds(self, request: Request, seconds: float) -> None:
        self._seconds += seconds
        is_slow = len(self._slowest) < _MAX_SLOWEST or seconds > self._slowest[-1].seconds
        if request.kind is Kind.CELL and is_slow:
            cells = [*self._slowest, SlowCell(request.number, seconds)]
            self._slowest = sorted(cells, key=lambda each: -each.seconds)[:_MAX_SLOWEST]

    def add_error(self, request: Request) -> None:
        """Add the error of a request. If there are too many, the last one is kept."""
        name, text = request.error or ("", "")
        error = CellError(
            request.number,
            request.kind.value,
            one_line(name, _MAX_NAME),
            truncate(strip_controls(text).strip(), _MAX_TEXT),
        )
        self._errors = [*self._errors[: MAX_LISTED - 1], error]
        self._error_count += 1


def _was_restarted(request: Request) -> bool:
    """Whether somebody restarted the kernel while it ran: that is no error."""
    return request.failure is not None and request.failure.cause is Cause.RESTARTED
