"""Commands run, what they cost, and how that compares: contenders take turns, round by round."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

Figures = Mapping[str, float]
"""What was measured in one run, by name: seconds, bytes or counts."""


class BenchmarkFailed(Exception):
    """A run went another way than it should, so that its figures mean nothing."""


@dataclass(frozen=True)
class Command:
    """A command to measure. Its end of stdout must hold ``says``, its exit code be ``code``.

    ``argv`` begins with a path, or with a name that is looked for on PATH. ``timeout`` in seconds.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    says: str = ""
    code: int = 0
    timeout: float = 120.0


@dataclass(frozen=True)
class Cost:
    """What one run took: when it began and ended on the monotonic clock, CPU seconds, bytes."""

    start: float
    end: float
    cpu: float
    peak: float

    @property
    def figures(self) -> dict[str, float]:
        """The time on the clock, the CPU time (user and system), and the peak memory."""
        return {"wall": self.end - self.start, "cpu": self.cpu, "peak": self.peak}


class Bench:
    """Runs commands in a folder, by the small process of :mod:`benchmarks.spawn`.

    Commands get nothing of the environment but PATH, before which come the ``programs`` of the
    environment that has clinder; their home and their temporary files are in the folder.
    """

    def __init__(self, folder: Path, programs: Path):
        self.folder = folder
        self._out, self._err = folder / "stdout", folder / "stderr"
        self.environment: Mapping[str, str] = {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "LANG": "C.UTF-8",
        }

    def __enter__(self) -> Bench:
        spawner = Path(__file__).with_name("spawn.py")
        self._spawner = subprocess.Popen(  # noqa: S603 - no shell, and a program of ours
            [sys.executable, "-I", "-S", str(spawner)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self.folder,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._spawner.terminate()
        self._spawner.communicate()

    def run(self, command: Command) -> Cost:
        """Run a command to its end. Raises :class:`BenchmarkFailed` where it goes wrong."""
        told = {
            "argv": [self.program(command.argv[0]), *command.argv[1:]],
            "env": {**self.environment, **command.env},
            "out": str(self._out),
            "err": str(self._err),
            "timeout": command.timeout,
        }
        if self._spawner.stdin is None or self._spawner.stdout is None:
            raise AssertionError("both are pipes")
        self._spawner.stdin.write(json.dumps(told) + "\n")
        self._spawner.stdin.flush()
        got = json.loads(self._spawner.stdout.readline())
        cost = Cost(got["start"], got["end"], got["cpu"], got["peak"])
        self._look(command, got["code"], cost.end - cost.start)
        return cost

    def figures(self, command: Command) -> Figures:
        """Run a command and return what it cost."""
        return self.run(command).figures

    def program(self, name: str) -> str:
        """Return the path of a program. Raises :class:`BenchmarkFailed` where it is not there."""
        found = shutil.which(name, path=self.environment["PATH"])
        if not found:
            raise BenchmarkFailed(f"{name} was not found: `make bench` installs what is needed.")
        return found

    def _look(self, command: Command, code: int, seconds: float) -> None:
        if code == command.code and command.says in _end(self._out):
            return
        words = [Path(command.argv[0]).name, *command.argv[1:3]]
        raise BenchmarkFailed(
            f"`{' '.join(words)}` ended after {seconds:.1f} s with exit code {code}, where"
            f" {command.code} was expected{command.says and f' and {command.says!r} on stdout'}."
            f" The end of its stderr:\n{_end(self._err).strip() or '(nothing)'}"
        )


def _end(file: Path, characters: int = 2000) -> str:
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - characters))
        return opened.read().decode("utf-8", "replace")


@dataclass(frozen=True)
class Contender:
    """What is compared: ``measured`` runs it once, and returns what that took."""

    name: str
    measured: Callable[[], Figures]


@dataclass(frozen=True)
class Series:
    """A contender's figures, a run each round. Not every run has to have every figure."""

    name: str
    runs: tuple[Figures, ...]

    def all(self, figure: str) -> list[float]:
        """Return one figure of all runs; none where it was not measured."""
        return [run[figure] for run in self.runs if figure in run]

    def median(self, figure: str) -> float:
        """Return the median of a figure, which must have been measured."""
        return statistics.median(self.all(figure))


@dataclass(frozen=True)
class Spread:
    """The median of some numbers, the least and the most of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """Return that of at least one number."""
        return cls(statistics.median(numbers), min(numbers), max(numbers))


def taken_in_turn(contenders: Sequence[Contender], runs: int) -> tuple[Series, ...]:
    """Measure all contenders in as many rounds, after one that is not counted."""
    rounds = [[each.measured() for each in contenders] for _ in range(runs + 1)][1:]
    return tuple(
        Series(contender.name, tuple(one[at] for one in rounds))
        for at, contender in enumerate(contenders)
    )


def ratio(one: Series, baseline: Series, figure: str) -> Spread:
    """Return how many times the baseline's a figure was, each round for itself."""
    pairs = zip(one.all(figure), baseline.all(figure), strict=True)
    return Spread.of([ours / theirs for ours, theirs in pairs])


def difference(one: Series, baseline: Series, figure: str) -> Spread:
    """Return by how much a figure was more than the baseline's, each round for itself."""
    pairs = zip(one.all(figure), baseline.all(figure), strict=True)
    return Spread.of([ours - theirs for ours, theirs in pairs])
