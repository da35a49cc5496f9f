"""The results as Markdown tables and as JSON."""

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
    """An upper bound for a figure, or a lower one if ``at_least``; both are in ``unit``."""

    metric: str
    figure: float
    bound: float
    unit: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure respects the bound."""
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound

    @property
    def row(self) -> tuple[str, str, str, str]:
        """The metric, the goal, the measured figure, and whether the goal is met."""
        limit = "at least" if self.at_least else "at most"
        return (
            self.metric,
            f"{limit} {self.bound:g}{_NARROW}{self.unit}",
            f"{self.figure:.3g}{_NARROW}{self.unit}",
            "met" if self.met else "**missed**",
        )


@dataclass(frozen=True)
class Comparison:
    """Contenders on one task. All of them are compared with those named in ``baselines``.

    ``compared`` is the figure to compare. ``notes`` are shown below the table.
    """

    title: str
    description: str
    series: tuple[Series, ...]
    goals: tuple[Goal, ...] = ()
    notes: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    compared: str = "wall"


@dataclass(frozen=True)
class Report:
    """A run of the benchmarks: the machine, the versions and the results."""

    machine: Mapping[str, str]
    comparisons: tuple[Comparison, ...]

    def save(self, path: Path) -> None:
        """Write the report as JSON, for people too: one line for each run of a contender."""
        text = json.dumps(asdict(self), indent=1, default=float)
        text = re.sub(r"\{[^{}\[\]]*\}", lambda match: " ".join(match[0].split()), text)
        text = re.sub(r"\d+\.\d{7,}", lambda match: f"{float(match[0]):.6f}", text)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Report:
        """Return a saved report."""
        saved = json.loads(path.read_text(encoding="utf-8"))
        return cls(saved["machine"], tuple(map(_comparison, saved["comparisons"])))


def _comparison(saved: Mapping[str, Any]) -> Comparison:
    series = tuple(Series(each["name"], tuple(each["runs"])) for each in saved["series"])
    goals = tuple(Goal(**each) for each in saved["goals"])
    kept = {"notes": tuple(saved["notes"]), "baselines": tuple(saved["baselines"])}
    return Comparison(**{**saved, **kept, "series": series, "goals": goals})


_NARROW = "\u202f"  # a space at which lines do not break
_SECONDS = f"{_NARROW}s"


def seconds(value: float) -> str:
    """Return seconds as the tables show them."""
    return f"{value:.3f}{_NARROW}s" if value < 1 else f"{value:.2f}{_NARROW}s"


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.0f}{_NARROW}MB"


def _kilobytes(value: float) -> str:
    return f"{value / 1e3:.1f}{_NARROW}kB"


@dataclass(frozen=True)
class _Column:
    header: str
    written: Callable[[float], str]
    spread: bool = False


_COLUMNS = {
    "wall": _Column("time", seconds, spread=True),
    "beyond": _Column("time added to the hub's own", seconds, spread=True),
    "request": _Column("time until the build request", seconds, spread=True),
    "speed": _Column("MB/s", "{:.1f}".format),
    "readiness": _Column("readiness alone", seconds),
    "cpu": _Column("CPU", seconds),
    "peak": _Column("peak memory", _megabytes),
    "builds": _Column("build requests", "{:.0f}".format),
    "requests": _Column("all requests", "{:.0f}".format),
    "received": _Column("to the hub", _kilobytes),
    "sent": _Column("from the hub", _kilobytes),
}
"""The figures, in the order of a table's columns."""


def render(report: Report) -> str:
    """Return a report as Markdown."""
    parts = [machine(report.machine), goals(report.comparisons), *map(section, report.comparisons)]
    return "\n\n".join(parts) + "\n"


def machine(details: Mapping[str, str]) -> str:
    """Return the machine and the versions as Markdown."""
    items = "\n".join(f"- {name}: {value}" for name, value in details.items())
    return f"### Machine and versions\n\n{items}"


def goals(comparisons: Sequence[Comparison]) -> str:
    """Return all goals as Markdown, and whether they are met."""
    rows = [(one.title, *goal.row) for one in comparisons for goal in one.goals]
    met = sum(goal.met for one in comparisons for goal in one.goals)
    return f"### Goals\n\n{met} of {len(rows)} goals are met.\n\n" + table(
        [("comparison", "metric", "goal", "measured", ""), *rows], align="---"
    )


def section(comparison: Comparison) -> str:
    """Return a comparison as Markdown."""
    parts = [
        f"### {comparison.title}",
        comparison.description,
        _figures(comparison),
        *comparison.notes,
    ]
    return "\n\n".join(parts)


def _figures(comparison: Comparison) -> str:
    """Return the table of medians; times and ratios also have their minimum and maximum."""
    series = comparison.series
    shown = [name for name in _COLUMNS if any(each.all(name) for each in series)]
    against = [each for each in series if each.name in comparison.baselines]
    header = [
        "",
        *(_COLUMNS[name].header for name in shown),
        *(f"relative to {one.name}" for one in against),
    ]
    rows = [
        [
            each.name,
            *(_cell(each, name) for name in shown),
            *(spread(ratio(each, one, comparison.compared)) for one in against),
        ]
        for each in series
    ]
    return table([header, *rows])


def _cell(series: Series, figure: str) -> str:
    column, all_ = _COLUMNS[figure], series.all(figure)
    if not all_:
        return ""
    if not column.spread or len(all_) == 1:
        return column.written(Spread.of(all_).median)
    return spread(Spread.of(all_), column.written)


def spread(numbers: Spread, as_text: Callable[[float], str] = "{:.2f}".format) -> str:
    """Return the median, with minimum and maximum in brackets."""
    least, most = (as_text(each) for each in (numbers.least, numbers.most))
    return (
        f"{as_text(numbers.median)} ({least.removesuffix(_SECONDS)}-{most.removesuffix(_SECONDS)})"
    )


def table(rows: Sequence[Sequence[str]], align: str = "---:") -> str:
    """Return a table; the first row is its header, the first column is text."""
    rule = "|---|" + f"{align}|" * (len(rows[0]) - 1)
    lines = [f"| {' | '.join(cell.strip() for cell in row)} |" for row in rows]
    return "\n".join([lines[0], rule, *lines[1:]])
