"""What was measured, in words: tables of Markdown, and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Series, Spread, ratio


@dataclass(frozen=True)
class Goal:
    """What a figure is to be at most, or ``at_least``; ``unit`` is read after either."""

    what: str
    figure: float
    bound: float
    unit: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it is so."""
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound

    @property
    def row(self) -> tuple[str, str, str, str]:
        """What it is about, what it wants, what was measured, and the verdict."""
        least = "at least" if self.at_least else "at most"
        return (
            self.what,
            f"{least} {self.bound:g}{_NARROW}{self.unit}",
            f"{self.figure:.3g}{_NARROW}{self.unit}",
            "met" if self.met else "**missed**",
        )


@dataclass(frozen=True)
class Comparison:
    """Contenders on one task. Those named ``baselines`` are what all are set against.

    ``words`` say what is measured, ``compared`` which figure, ``notes`` what the table does not.
    """

    title: str
    words: str
    series: tuple[Series, ...]
    goals: tuple[Goal, ...] = ()
    notes: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    compared: str = "wall"


@dataclass(frozen=True)
class Report:
    """A run of the benchmarks: where and of what, and what came out."""

    machine: Mapping[str, str]
    comparisons: tuple[Comparison, ...]

    def saved(self, path: Path) -> None:
        """Write it as JSON, to be read by people too: the figures of a contender on one line."""
        text = json.dumps(asdict(self), indent=1, default=float)
        text = re.sub(r"\{[^{}\[\]]*\}", lambda found: " ".join(found[0].split()), text)
        text = re.sub(r"\d+\.\d{7,}", lambda found: f"{float(found[0]):.6f}", text)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def loaded(cls, path: Path) -> Report:
        """Return what was saved."""
        told = json.loads(path.read_text(encoding="utf-8"))
        return cls(told["machine"], tuple(map(_comparison, told["comparisons"])))


def _comparison(told: Mapping[str, Any]) -> Comparison:
    series = tuple(Series(each["name"], tuple(each["runs"])) for each in told["series"])
    goals = tuple(Goal(**each) for each in told["goals"])
    kept = {"notes": tuple(told["notes"]), "baselines": tuple(told["baselines"])}
    return Comparison(**{**told, **kept, "series": series, "goals": goals})


_NARROW = "\u202f"  # a blank at which no table breaks its line
_SECONDS = f"{_NARROW}s"


def seconds(value: float) -> str:
    """Return seconds as a table has them."""
    return f"{value:.3f}{_NARROW}s" if value < 1 else f"{value:.2f}{_NARROW}s"


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.0f}{_NARROW}MB"


def _kilobytes(value: float) -> str:
    return f"{value / 1e3:.1f}{_NARROW}kB"


@dataclass(frozen=True)
class _Column:
    head: str
    written: Callable[[float], str]
    spread: bool = False


_COLUMNS = {
    "wall": _Column("time", seconds, spread=True),
    "beyond": _Column("beyond the hub's own time", seconds, spread=True),
    "request": _Column("until the build request", seconds, spread=True),
    "speed": _Column("MB/s", "{:.1f}".format),
    "readiness": _Column("of it readiness", seconds),
    "cpu": _Column("CPU", seconds),
    "peak": _Column("peak memory", _megabytes),
    "builds": _Column("build requests", "{:.0f}".format),
    "requests": _Column("requests in all", "{:.0f}".format),
    "received": _Column("to the hub", _kilobytes),
    "sent": _Column("from the hub", _kilobytes),
}
"""What is measured, as it stands in a table, from left to right."""


def written(report: Report) -> str:
    """Return all of a report as Markdown."""
    parts = [machine(report.machine), goals(report.comparisons), *map(section, report.comparisons)]
    return "\n\n".join(parts) + "\n"


def machine(told: Mapping[str, str]) -> str:
    """Return what was measured on, and of what versions."""
    return "### What was measured on\n\n" + table([("what", "which"), *told.items()], align="---")


def goals(comparisons: Sequence[Comparison]) -> str:
    """Return every goal, and whether it is met."""
    rows = [(one.title, *goal.row) for one in comparisons for goal in one.goals]
    met = sum(goal.met for one in comparisons for goal in one.goals)
    return f"### The goals\n\nMet are {met} of {len(rows)}.\n\n" + table(
        [("comparison", "of what", "goal", "measured", ""), *rows], align="---"
    )


def section(comparison: Comparison) -> str:
    """Return one comparison as Markdown."""
    parts = [f"### {comparison.title}", comparison.words, _figures(comparison), *comparison.notes]
    return "\n\n".join(parts)


def _figures(comparison: Comparison) -> str:
    """Return the table: medians, with the least and the most of what there is a ratio of."""
    series = comparison.series
    shown = [name for name in _COLUMNS if any(each.all(name) for each in series)]
    against = [each for each in series if each.name in comparison.baselines]
    head = ["", *(_COLUMNS[name].head for name in shown), *(f"of {one.name}" for one in against)]
    rows = [
        [
            each.name,
            *(_cell(each, name) for name in shown),
            *(spread(ratio(each, one, comparison.compared)) for one in against),
        ]
        for each in series
    ]
    return table([head, *rows])


def _cell(series: Series, figure: str) -> str:
    column, all_ = _COLUMNS[figure], series.all(figure)
    if not all_:
        return ""
    if not column.spread or len(all_) == 1:
        return column.written(Spread.of(all_).median)
    return spread(Spread.of(all_), column.written)


def spread(numbers: Spread, as_text: Callable[[float], str] = "{:.2f}".format) -> str:
    """Return a median, and in brackets the least and the most."""
    least, most = (as_text(each) for each in (numbers.least, numbers.most))
    return (
        f"{as_text(numbers.median)} ({least.removesuffix(_SECONDS)}-{most.removesuffix(_SECONDS)})"
    )


def table(rows: Sequence[Sequence[str]], align: str = "---:") -> str:
    """Return a table whose first row is its head; what is in its first column is text."""
    rule = "|---|" + f"{align}|" * (len(rows[0]) - 1)
    lines = [f"| {' | '.join(cell.strip() for cell in row)} |" for row in rows]
    return "\n".join([lines[0], rule, *lines[1:]])
