"""How much time a bridge adds to a tool that would otherwise start a kernel of this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks.gateway import Gateways, open_session
from benchmarks.measure import (
    Bench,
    Command,
    Contender,
    Figures,
    Series,
    measure_in_turns,
    ratio,
)
from benchmarks.report import Comparison, Goal
from clinder.bridge.kernelspecs import NATIVE, write_kernelspecs

_LOCAL, _BRIDGE = "a local kernel", "a bridge"
_CELLS, _BYTES = 1000, 20_000_000
_TOOL = str(Path(__file__).with_name("tool.py"))
_READY = "seconds: "


def compare(bench: Bench, runs: int) -> Iterator[Comparison]:
    """Compare a kernel of this machine with one of a session on this machine."""
    few = max(1, runs // 3)
    with open_session(bench) as session, Gateways(bench, session).running() as handed:
        folder = bench.folder / "kernelspecs"
        folder.mkdir(mode=0o700)
        write_kernelspecs(
            folder,
            {"kernelspecs": {NATIVE: {"spec": {}}}},
            url=handed.url,
            token=handed.token,
            top=bench.folder,
            local=(),
        )
        tool = _Tool(bench, {"JUPYTER_PATH": str(folder)})
        yield _compare(
            "The bridge: start",
            "From the start of the kernel, or of the bridge, until it responds. The tool, the"
            " gateway, the server and its kernel share this machine.",
            tool.measure("start", 0, runs),
            1.5,
        )
        yield _compare(
            f"The bridge: {_CELLS} cells",
            f"{_CELLS} small cells, one after the other.",
            tool.measure("cells", _CELLS, few),
            1.6,
        )
        yield _compare(
            f"The bridge: {_BYTES / 1e6:.0f} MB of output",
            "One cell with one output.",
            tool.measure("output", _BYTES, runs),
            1.8,
        )


class _Tool:
    """A program that runs code with Jupyter's own client, in turns with and without a bridge."""

    def __init__(self, bench: Bench, variables: Mapping[str, str]):
        self._bench = bench
        self._variables: Mapping[str, Mapping[str, str]] = {_LOCAL: {}, _BRIDGE: variables}

    def measure(self, task: str, number: int, runs: int) -> tuple[Series, ...]:
        """Measure a task both ways."""

        def run(way: str) -> Figures:
            argv = (sys.executable, _TOOL, task, f"{number}")
            self._bench.run(Command(argv, self._variables[way], expected=_READY))
            return {"wall": float(self._bench.output.rpartition(_READY)[2])}

        return measure_in_turns([Contender(e, partial(run, e)) for e in self._variables], runs)


def _compare(title: str, description: str, series: tuple[Series, ...], bound: float) -> Comparison:
    local, ours = series
    figure = ratio(ours, local, "wall").median
    return Comparison(
        title,
        description,
        series,
        (Goal("time with a bridge, relative to a local kernel", figure, bound, "\u00d7"),),
        baselines=(_LOCAL,),
    )
