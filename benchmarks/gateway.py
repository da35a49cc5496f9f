"""How much time and memory the gateway adds to what runs between launch and stop."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil

from benchmarks.measure import (
    Bench,
    BenchmarkFailed,
    Command,
    Contender,
    Figures,
    Series,
    measure_in_turns,
    ratio,
)
from benchmarks.report import Comparison, Goal
from clinder._deadline import Deadline
from clinder.embedded.hub import Hub
from clinder.gateway.folder import Handed
from clinder.gateway.gateway import GatewayOptions
from clinder.gateway.process import end_detached, start_detached
from clinder.launch.launch import launch
from clinder.launch.request import Request
from clinder.repository.repository import Repository
from clinder.session import Session
from e2e.myst import MYST, OFFLINE, book, page

_DIRECT, _GATEWAY = "direct", "through the gateway"
_CELLS, _BYTES, _PAGES = 1000, 100_000_000, 10
_CONSUMER = str(Path(__file__).with_name("consumer.py"))
_READY = "seconds: "


def compare(bench: Bench, runs: int) -> Iterator[Comparison]:
    """Compare a session's server with and without the gateway in front of it."""
    with open_session(bench) as session:
        gateways = Gateways(bench, session)
        yield _start(measure_in_turns([Contender(_GATEWAY, gateways.measure_start)], runs))
        with gateways.running() as handed:
            both = _Both(bench, session, handed)
            yield _compare(
                f"The gateway: {_CELLS} cells",
                f"{_CELLS} small cells on each of two kernels, in a program that does nothing else."
                " The kernels take turns of 50 cells, because processors change their speed.",
                both.measure_cells(_CELLS, runs),
            )
            yield _compare(
                f"The gateway: {_BYTES / 1e6:.0f} MB of output",
                "One cell with one output, in the same program, which reads it and discards it.",
                both.measure(lambda: both.consume("output", _BYTES, both.way)[0], runs),
            )
            yield _compare(
                f"The gateway: a book of {_PAGES} pages",
                "MyST executes pages of five cells, each on a kernel of its own.",
                both.measure(both.build_book, runs),
            )


@contextmanager
def open_session(bench: Bench) -> Iterator[Session]:
    """Yield a session of a real Jupyter Server, which the embedded hub starts."""
    folder = Path(tempfile.mkdtemp(prefix="hub-", dir=bench.folder))
    with Hub(folder, stop_servers=True) as hub:
        yield launch(Request(Repository("gh", "org/repo", "HEAD"), (hub.url,)), Deadline(120))


class Gateways:
    """Starts gateways to a session, each in a process of its own, as the action does."""

    def __init__(self, bench: Bench, session: Session):
        self._bench = bench
        self._session = session

    def measure_start(self) -> Figures:
        """Start a gateway, and return the time until it listens."""
        began = time.monotonic()
        with self.running() as handed:
            return {"wall": time.monotonic() - began, **_cost_of(handed.pid)}

    @contextmanager
    def running(self) -> Iterator[Handed]:
        """Yield a gateway that listens, and end it."""
        folder = Path(tempfile.mkdtemp(prefix="gateway-", dir=self._bench.folder))
        handed = start_detached(
            self._session,
            GatewayOptions(),
            folder,
            Deadline(60, pause=lambda event, _: event.wait(0.001)),
            command=(self._bench.program("python"), "-m", "clinder.gateway"),
            environ=self._bench.environment,
        )
        if handed is None:
            raise BenchmarkFailed("The gateway did not start.")
        try:
            yield handed
        finally:
            end_detached(folder, Deadline(60))


class _Both:
    """A consumer that uses the session in turns directly and through the gateway."""

    def __init__(self, bench: Bench, session: Session, handed: Handed):
        self._bench = bench
        self._pid = handed.pid
        self._variables: Mapping[str, Mapping[str, str]] = {
            _DIRECT: session.variables,
            _GATEWAY: {"JUPYTER_BASE_URL": handed.url, "JUPYTER_TOKEN": handed.token},
        }
        self.way = _DIRECT

    def measure(self, work: Callable[[], float], runs: int) -> tuple[Series, ...]:
        """Measure the work both ways, and what it costs the gateway."""

        def run(way: str) -> Figures:
            self.way = way
            before = _cost_of(self._pid)
            seconds = work()
            if way == _DIRECT:
                return {"wall": seconds}
            after = _cost_of(self._pid)
            return {"wall": seconds, "cpu": after["cpu"] - before["cpu"], "peak": after["peak"]}

        return measure_in_turns([Contender(e, partial(run, e)) for e in self._variables], runs)

    def measure_cells(self, number: int, runs: int) -> tuple[Series, ...]:
        """Measure cells that run both ways in turns, and what they cost the gateway."""
        rounds: list[tuple[Figures, ...]] = []
        for _ in range(runs + 1):
            before = _cost_of(self._pid)
            direct, ours = self.consume("cells", number, _DIRECT, _GATEWAY)
            after = _cost_of(self._pid)
            cost = {"cpu": after["cpu"] - before["cpu"], "peak": after["peak"]}
            rounds.append(({"wall": direct}, {"wall": ours, **cost}))
        names = (_DIRECT, _GATEWAY)
        return tuple(
            Series(*each) for each in zip(names, zip(*rounds[1:], strict=True), strict=True)
        )

    def consume(self, task: str, number: int, *ways: str) -> list[float]:
        """Run code in the program that only runs code; return its seconds for each way."""
        variables = [self._variables[each] for each in ways]
        urls = [each["JUPYTER_BASE_URL"] for each in variables]
        tokens = {"JUPYTER_TOKENS": " ".join(each["JUPYTER_TOKEN"] for each in variables)}
        argv = (sys.executable, _CONSUMER, task, f"{number}", *urls)
        self._bench.run(Command(argv, tokens, expected=_READY))
        return [float(each) for each in self._bench.output.rpartition(_READY)[2].split()]

    def build_book(self) -> float:
        """Build a book with MyST."""
        pages = {
            f"page-{number}.md": page(*(f"print({number} * {cell})" for cell in range(5)))
            for number in range(_PAGES)
        }
        folder = book(self._bench.folder / "book", pages)
        command = Command(
            ("sh", "-c", f'cd "{folder}" && exec "$0" build --site --execute', MYST),
            {**self._variables[self.way], **OFFLINE},
            timeout=600,
        )
        seconds = self._bench.figures(command)["wall"]
        shutil.rmtree(folder)
        return seconds


def _cost_of(pid: int) -> dict[str, float]:
    """Return the CPU time and the peak memory of a process so far."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    status = Path(f"/proc/{pid}/status")
    peak = float(process.memory_info().rss)
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        peak = float(lines["VmHWM"].split()[0]) * 1024
    return {"cpu": times.user + times.system, "peak": peak}


def _start(series: tuple[Series, ...]) -> Comparison:
    return Comparison(
        "The gateway's start",
        "From the start of its process, as in the action, until it listens.",
        series,
        (Goal("time until the gateway listens", series[0].median("wall"), 0.25, "s"),),
    )


def _compare(title: str, description: str, series: tuple[Series, ...]) -> Comparison:
    direct, ours = series
    return Comparison(
        title,
        f"{description} CPU and memory are those of the gateway.",
        series,
        (
            Goal(
                "time through the gateway, relative to a direct connection",
                ratio(ours, direct, "wall").median,
                1.1,
                "\u00d7",
            ),
            Goal("peak memory of the gateway", max(ours.all("peak")) / 1e6, 60.0, "MB"),
        ),
        baselines=(_DIRECT,),
    )
