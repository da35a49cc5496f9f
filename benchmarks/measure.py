"""Run commands, measure their cost, and compare it. Contenders take turns, round by round."""

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
"""The figures of one run, by name: seconds, bytes or counts."""


class BenchmarkFailed(Exception):
    """A run ended in an unexpected way, so its figures mean nothing."""


@dataclass(frozen=True)
class Command:
    """A command to measure. The end of its stdout must contain ``expected``.

    ``argv`` begins with a path, or with a name to find on PATH. ``code`` is the expected exit code,
    and ``timeout`` is in seconds.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    expected: str = ""
    code: int = 0
    timeout: float = 120.0


@dataclass(frozen=True)
class Cost:
    """One run: its start and end on the monotonic clock, CPU seconds, and peak memory in bytes."""

    start: float
    end: float
    cpu: float
    peak: float

    @property
    def figures(self) -> dict[str, float]:
        """The elapsed time, the CPU time (user and system), and the peak memory."""
        return {"wall": self.end - self.start, "cpu": self.cpu, "peak": self.peak}


class Bench:
    """Runs commands in a folder, from the small process of :mod:`benchmarks.spawn`.

    Commands inherit only PATH, preceded by ``programs``, the folder of an environment with clinder.
    Their home and their temporary files are in the folder.
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
        self._spawner = subprocess.Popen(  # noqa: S603 - no shell, and our own program
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
        """Run a command until it ends. Raises :class:`BenchmarkFailed` if it goes wrong."""
        request = {
            "argv": [self.program(command.argv[0]), *command.argv[1:]],
            "env": {**self.environment, **command.env},
            "out": str(self._out),
            "err": str(self._err),
            "timeout": command.timeout,
        }
        if self._spawner.stdin is None or self._spawner.stdout is None:
            raise AssertionError("both are pipes")
        self._spawner.stdin.write(json.dumps(request) + "\n")
        self._spawner.stdin.flush()
        reply = json.loads(self._spawner.stdout.readline())
        cost = Cost(reply["start"], reply["end"], reply["cpu"], reply["peak"])
        self._check(command, reply["code"], cost.end - cost.start)
        return cost

    @property
    def output(self) -> str:
        """The end of the last command's stdout."""
        return _end(self._out)

    def figures(self, command: Command) -> Figures:
        """Run a command and return what it cost."""
        return self.run(command).figures

    def program(self, name: str) -> str:
        """Return the path of a program. Raises :class:`BenchmarkFailed` if there is none."""
        path = shutil.which(name, path=self.environment["PATH"])
        if not path:
            raise BenchmarkFailed(f"{name} was not found; `make bench` installs everything.")
        return path

    def _check(self, command: Command, code: int, seconds: float) -> None:
        if code == command.code and command.expected in _end(self._out):
            return
        shown = [Path(command.argv[0]).name, *command.argv[1:3]]
        raise BenchmarkFailed(
            f"`{' '.join(shown)}` ended after {seconds:.1f} s with exit code {code}; expected"
            f" {command.code}{command.expected and f' and {command.expected!r} on stdout'}."
            f" The end of its stderr:\n{_end(self._err).strip() or '(nothing)'}"
        )


def _end(file: Path, characters: int = 2000) -> str:
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - characters))
        return opened.read().decode("utf-8", "replace")


@dataclass(frozen=True)
class Contender:
    """A participant in a comparison; ``measure`` runs it once and returns the figures."""

    name: str
    measure: Callable[[], Figures]


@dataclass(frozen=True)
class Series:
    """A contender's figures, one run per round. Runs can lack some figures."""

    name: str
    runs: tuple[Figures, ...]

    def all(self, figure: str) -> list[float]:
        """Return a figure of all runs that measured it."""
        return [run[figure] for run in self.runs if figure in run]

    def median(self, figure: str) -> float:
        """Return the median of a figure that at least one run measured."""
        return statistics.median(self.all(figure))


@dataclass(frozen=True)
class Spread:
    """The median, minimum and maximum of some numbers."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """Return the spread of at least one number."""
        return cls(statistics.median(numbers), min(numbers), max(numbers))


def measure_in_turns(contenders: Sequence[Contender], runs: int) -> tuple[Series, ...]:
    """Measure all contenders in ``runs`` rounds, after one that does not count."""
    rounds = [[each.measure() for each in contenders] for _ in range(runs + 1)][1:]
    return tuple(
        Series(contender.name, tuple(one[at] for one in rounds))
        for at, contender in enumerate(contenders)
    )


def ratio(one: Series, baseline: Series, figure: str) -> Spread:
    """Return a figure relative to the baseline's, computed for each round."""
    pairs = zip(one.all(figure), baseline.all(figure), strict=True)
    return Spread.of([ours / theirs for ours, theirs in pairs])


def difference(one: Series, baseline: Series, figure: str) -> Spread:
    """Return a figure minus the baseline's, computed for each round."""
    pairs = zip(one.all(figure), baseline.all(figure), strict=True)
    return Spread.of([ours - theirs for ours, theirs in pairs])
