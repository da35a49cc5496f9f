"""``python -m benchmarks [NAME ...]``: all comparisons, or those that are named."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

from benchmarks import action, cold, launch, load, stopping, stream
from benchmarks.machine import described
from benchmarks.measure import Bench, BenchmarkFailed
from benchmarks.page import ROOT
from benchmarks.report import Comparison, Report, goals, machine, section

COMPARISONS: Mapping[str, Callable[[Bench, int], Iterator[Comparison]]] = {
    "launch": launch.compare,
    "cold": cold.compare,
    "stream": stream.compare,
    "stop": stopping.compare,
    "action": action.compare,
    "load": load.compare,
}


def main() -> int:
    """Run what is asked for and write what comes out; 1 where a run fails."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Clinder measured.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(COMPARISONS))
    parser.add_argument("--runs", type=int, default=9, help="counted rounds [default: 9]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all figures go")
    parser.add_argument(
        "--programs",
        type=Path,
        default=ROOT / ".venv" / "bench" / "bin",
        metavar="FOLDER",
        help="those of an environment that has clinder [default: what `make bench` makes]",
    )
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in COMPARISONS]
    if unknown or given.runs < 1:
        parser.error(f"there is no comparison {unknown[0]}" if unknown else "--runs is at least 1")
    try:
        report = _report(given.names or list(COMPARISONS), given.runs, given.programs)
    except BenchmarkFailed as error:
        sys.stderr.write(f"benchmarks: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("benchmarks: Cancelled.\n")
        return 130
    if given.json:
        report.saved(given.json)
    return 0


def _report(names: Sequence[str], runs: int, programs: Path) -> Report:
    """Make the comparisons, and show each as soon as it is made."""
    made: list[Comparison] = []
    with (
        tempfile.TemporaryDirectory(prefix="clinder-bench-") as folder,
        Bench(Path(folder), programs.resolve()) as bench,
    ):
        told = {**described(bench, date.today()), "rounds": f"{runs}"}
        _show(machine(told))
        for name in names:
            for comparison in COMPARISONS[name](bench, runs):
                made.append(comparison)
                _show(section(comparison))
    _show(goals(made))
    return Report(told, tuple(made))


def _show(text: str) -> None:
    sys.stdout.write(f"{text}\n\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
