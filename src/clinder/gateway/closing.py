"""A report in a few lines, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clinder._text import one_line
from clinder.gateway.report import Kernel, Report, Resources

MAX_PAGES = 10
"""The maximum number of pages that are named."""
SLOW = 60.0
"""A cell that took more than this many seconds is named."""

_MAX_TEXT = 200
_MAX_CELLS = 5
_MAX_SLOW = 3
_GIB = 1024**3
_UNNAMED = "a notebook without a name"

NOTHING_RAN = (
    "Nothing ran on the session: no kernel was started on it. Either there was nothing to execute,"
    " or the tool ran it on this machine."
)

FAILED_EARLY = "Nothing ran on the session: the command failed before it started a kernel on it."

NOT_NEEDED = "Nothing was executed, so no session was needed."


def describe_nothing(report: Report) -> str:
    """Return why nothing ran, as far as that is known."""
    skipped = report.launch is not None and report.launch.skipped
    return NOT_NEEDED if skipped else NOTHING_RAN


def closing_lines(report: Report) -> list[str]:
    """Return what ran, what failed, what was allowed to fail, what was slow, and the memory."""
    if not report.kernels:
        return []
    crossed = [each for each in report.kernels if each.across_reconnections]
    dropped = [each for each in report.kernels if each.dropped_output]
    return [
        _summary(report),
        *_listed("ended with an error", [describe_failure(each) for each in report.failed]),
        *_listed("went on after an error", _allowed(report.kernels)),
        *_listed(
            "might lack output, because the connection to the session broke meanwhile",
            [_cells(each, each.across_reconnections) for each in crossed],
        ),
        *_listed(
            "printed more than the session's server passes on",
            [_cells(each, each.dropped_output) for each in dropped],
        ),
        *_slow(report.kernels),
    ]


def describe_failure(kernel: Kernel) -> str:
    """Return which page did not run to its end, in which cell, and why, on one line."""
    error = kernel.ended_by
    page = kernel.page or _UNNAMED
    if error is None:
        return one_line(f"{page}: {kernel.problem}", _MAX_TEXT)
    place = (
        f"cell {error.cell}" if error.kind == "cell" else f"an expression after cell {error.cell}"
    )
    text = f"{error.name}: {error.text}" if error.text else error.name
    return one_line(f"{page}, {place}: {text}", _MAX_TEXT)


def describe_memory(resources: Resources | None) -> str:
    """Return the peak of the session's memory, ``""`` if its server does not report it."""
    if resources is None or resources.memory_peak is None:
        return ""
    peak = f"{resources.memory_peak / _GIB:.1f}"
    if not resources.memory_limit:
        return f"{peak} GiB"
    share = resources.memory_peak / resources.memory_limit
    return f"{peak} of {resources.memory_limit / _GIB:.1f} GiB ({share:.0%})"


def format_seconds(seconds: float) -> str:
    """Return a duration as people read it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _summary(report: Report) -> str:
    pages = len({each.page or each for each in report.kernels})
    cells = sum(each.cells + each.unfinished for each in report.kernels)
    seconds = format_seconds(sum(each.seconds for each in report.kernels))
    memory = describe_memory(report.resources)
    return (
        f"{count(pages, 'page')} with {count(cells, 'cell')} ran on the session; the cells took "
        f"{seconds}{memory and f', and at most {memory} of memory'}."
    )


def _listed(what: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    more = len(items) - MAX_PAGES
    lines = [f"  {item}" for item in items[:MAX_PAGES]]
    return [
        f"{count(len(items), 'page')} {what}:",
        *lines,
        *([f"  … and {more} more"] if more > 0 else []),
    ]


def _allowed(kernels: Iterable[Kernel]) -> list[str]:
    """Return the pages that went on after errors, which they allow."""
    lines = []
    for kernel in kernels:
        errors = [each for each in kernel.errors if each.followed]
        if errors:
            names = ", ".join(dict.fromkeys(each.name for each in errors))
            lines.append(_cells(kernel, [each.cell for each in errors], f": {names}"))
    return lines


def _slow(kernels: Iterable[Kernel]) -> list[str]:
    slow = [
        (each.seconds, f"{kernel.page or _UNNAMED}, cell {each.cell}")
        for kernel in kernels
        for each in kernel.slowest
        if each.seconds > SLOW
    ]
    slowest = sorted(slow, key=lambda each: -each[0])[:_MAX_SLOW]
    texts = [f"{place} ({format_seconds(seconds)})" for seconds, place in slowest]
    return [f"Slowest: {'; '.join(texts)}."] if texts else []


def _cells(kernel: Kernel, cells: Sequence[int], text: str = "") -> str:
    different = list(dict.fromkeys(cells))
    numbers = ", ".join(map(str, different[:_MAX_CELLS]))
    more = ", …" if len(different) > _MAX_CELLS else ""
    noun = "cell" if len(different) == 1 else "cells"
    return one_line(f"{kernel.page or _UNNAMED}, {noun} {numbers}{more}{text}", _MAX_TEXT)
