"""How fast clinder reads a long build log, and how much memory it needs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from benchmarks.contenders import curl, npm_client, reader, start
from benchmarks.hub import build_log, serve_launch
from benchmarks.measure import Bench, Command, Contender, Figures, Series, measure_in_turns, ratio
from benchmarks.report import Comparison, Goal
from hubs import ScriptedHub

_SIZE = 50e6
_EVENTS = 1000
"""The number of events in a block, which is sent repeatedly."""
_CURL, _CLIENT, _START = "`curl`", "npm client", "`clinder start`"
_LIBRARIES = "`requests`, `sseclient`, `json`"
_TIMES = 4


def compare(bench: Bench, runs: int) -> Iterator[Comparison]:
    """Compare programs that read 50 MB, and clinder's memory for 50 MB and 200 MB."""
    with ScriptedHub() as hub:
        streams = _Streams(bench, hub)
        series = measure_in_turns(streams.contenders(), runs)
        yield _compare(series, streams.events)
        large = Contender("200 MB", lambda: streams.measure(start(hub.url), _TIMES))
        small = next(each for each in series if each.name == _START)
        yield _memory(Series("50 MB", small.runs), *measure_in_turns([large], runs))


class _Streams:
    """Launches with a long log."""

    def __init__(self, bench: Bench, hub: ScriptedHub):
        self._bench = bench
        self._hub = hub
        self._numbers = itertools.count()
        self._block, self._bytes = build_log(_EVENTS)
        self._blocks = round(_SIZE / self._bytes)
        self.events = self._blocks * _EVENTS

    def contenders(self) -> list[Contender]:
        """Return the contenders. Their output goes to a file."""
        url = self._hub.url
        commands = {
            _CURL: curl(url),
            _CLIENT: npm_client(url),
            _LIBRARIES: reader(url),
            _START: start(url),
            "`clinder start --quiet`": start(url, "--quiet"),
        }
        return [self._contender(name, each) for name, each in commands.items()]

    def _contender(self, name: str, command: Command) -> Contender:
        return Contender(name, lambda: self.measure(command))

    def measure(self, command: Command, times: int = 1) -> Figures:
        """Run a command on ``times`` times 50 MB."""
        blocks = [self._block] * (self._blocks * times)
        serve_launch(self._hub, f"s{next(self._numbers)}", blocks=blocks)
        cost = self._bench.figures(command)
        return {**cost, "speed": self._bytes * len(blocks) / 1e6 / cost["wall"]}


def _compare(series: tuple[Series, ...], events: int) -> Comparison:
    by_name = {each.name: each for each in series}
    ours = by_name[_START]
    return Comparison(
        "A long log",
        f"50 MB of build log in {events} events, each in its own chunk, as BinderHub sends it. The"
        f" output goes to a file. {_LIBRARIES} alone print nothing.",
        series,
        (
            Goal(f"speed of {_START}", ours.median("speed"), 15.0, "MB/s", at_least=True),
            Goal(
                f"time of {_START}, relative to the {_CLIENT}",
                ratio(ours, by_name[_CLIENT], "wall").median,
                1.0,
                "\u00d7",
            ),
        ),
        baselines=(_CURL, _CLIENT),
    )


def _memory(small: Series, large: Series) -> Comparison:
    grown = (large.median("peak") - small.median("peak")) / 1e6
    return Comparison(
        "The memory for a long log",
        "`clinder start` with logs of two sizes.",
        (small, large),
        (
            Goal("peak memory", large.median("peak") / 1e6, 60.0, "MB"),
            Goal("additional peak memory for 200 MB, compared with 50 MB", grown, 2.0, "MB"),
        ),
    )
