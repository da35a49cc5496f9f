"""The benchmarks: what they measure, how they compare it, and the page that shows it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import clinder
from benchmarks import page
from benchmarks.measure import (
    Bench,
    BenchmarkFailed,
    Command,
    Series,
    Spread,
    difference,
    ratio,
)
from benchmarks.report import Report, section

pytestmark = pytest.mark.posix

OURS = Series("ours", ({"wall": 1.0}, {"wall": 6.0}, {"wall": 3.0}))
THEIRS = Series("theirs", ({"wall": 2.0}, {"wall": 3.0}, {"wall": 2.0}))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path, Path(sys.executable).parent) as running:
        yield running


def python(code: str, **settings: object) -> Command:
    return Command((sys.executable, "-I", "-S", "-c", code), **settings)  # type: ignore[arg-type]


# Measuring


def test_elapsed_time_cpu_time_and_memory_are_those_of_the_command(bench: Bench) -> None:
    ballast = bytearray(b"x" * 100_000_000)
    asleep = bench.run(python("import time; time.sleep(0.2)"))
    busy = bench.run(python("bytearray(80_000_000).count(1); sum(range(3_000_000))"))

    assert asleep.end - asleep.start > 0.2
    assert asleep.cpu < min(asleep.figures["wall"], busy.cpu)
    assert 50e6 < busy.peak - asleep.peak < 110e6
    assert asleep.peak < len(ballast)  # the memory of this process does not count


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (python("import sys; sys.exit(sys.stderr.write('a reason') and 3)"), "code 3.*\na reason"),
        (python("print('failed')", expected="ready"), "and 'ready' on stdout"),
        (Command(("no-such-program",)), "no-such-program was not found"),
    ],
)
def test_an_unexpected_result_fails_the_benchmark(
    bench: Bench, command: Command, message: str
) -> None:
    with pytest.raises(BenchmarkFailed, match=message):
        bench.run(command)


def test_a_run_that_takes_too_long_is_killed_with_its_children(
    bench: Bench, tmp_path: Path
) -> None:
    """Both hold the write end of a pipe, which ends when both are gone."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    code = "import os, time; pipe = open('pipe', 'w'); os.fork(); time.sleep(600)"

    with pytest.raises(BenchmarkFailed, match="exit code -9"):
        bench.run(python(code, timeout=0.5))

    with os.fdopen(reader, "rb") as pipe:
        os.set_blocking(reader, True)
        assert pipe.read() == b""


# Comparing


def test_ratios_and_differences_are_computed_for_each_round() -> None:
    assert ratio(OURS, THEIRS, "wall") == Spread(1.5, 0.5, 2.0)
    assert difference(OURS, THEIRS, "wall") == Spread(1.0, -1.0, 3.0)


# The command and the page


def test_a_comparison_runs_and_is_printed_and_saved(tmp_path: Path) -> None:
    """``load`` only counts requests, so it is quick."""
    programs = str(Path(sys.executable).parent)
    result = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "load"),
            *("--programs", programs, "--json", str(tmp_path / "results.json")),
        ],
        cwd=page.ROOT,
        env={**os.environ, "PYTHONPATH": "tests"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert (result.returncode, result.stderr) == (0, "")
    assert "1 of 1 goals are met." in result.stdout
    saved = Report.load(tmp_path / "results.json")
    assert section(saved.comparisons[0]) in result.stdout
    assert saved.machine["clinder"] == clinder.__version__


def test_the_page_shows_the_saved_figures() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.render(), "run: make docs-tables"
