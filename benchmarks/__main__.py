"""``python -m benchmarks [NAME ...]``: run all comparisons, or only these."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

from benchmarks import action, bridge, cold, gateway, launch, lazy, load, stopping, stream
from benchmarks.machine import describe
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
    "gateway": gateway.compare,
    "bridge": bridge.compare,
    "lazy": lazy.compare,
}


def main() -> int:
    """Run the comparisons and print their results. Return 1 if a run fails."""
    parser = argparse.ArgumentParser(
        prog="benchmarks", description="Compare clinder with the alternatives."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(COMPARISONS))
    parser.add_argument("--runs", type=int, default=9, help="number of rounds [default: 9]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all figures to this file")
    parser.add_argument(
        "--programs",
        type=Path,
        default=ROOT / ".venv" / "bench" / "bin",
        metavar="FOLDER",
        help="the programs of an environment with clinder [default: that of `make bench`]",
    )
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in COMPARISONS]
    if unknown or arguments.runs < 1:
        parser.error(
            f"there is no comparison named {unknown[0]}" if unknown else "--runs must be at least 1"
        )
    try:
        report = _report(arguments.names or list(COMPARISONS), arguments.runs, arguments.programs)
    except BenchmarkFailed as error:
        sys.stderr.write(f"benchmarks: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("benchmarks: Cancelled.\n")
        return 130
    if arguments.json:
        report.save(arguments.json)
    return 0


def _report(names: Sequence[str], runs: int, programs: Path) -> Report:
    """Run the comparisons, and show each as soon as it is done."""
    comparisons: list[Comparison] = []
    with (
        tempfile.TemporaryDirectory(prefix="clinder-bench-") as folder,
        Bench(Path(folder), programs.resolve()) as bench,
    ):
        details = {**describe(bench, date.today()), "rounds": f"{runs}"}
        _show(machine(details))
        for name in names:
            for comparison in COMPARISONS[name](bench, runs):
                comparisons.append(comparison)
                _show(section(comparison))
    _show(goals(comparisons))
    return Report(details, tuple(comparisons))


def _show(text: str) -> None:
    sys.stdout.write(f"{text}\n\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
