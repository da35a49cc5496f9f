"""How much of a build's log goes through in a second, and how much memory that takes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from benchmarks.contenders import curl, npm_client, reader, start
from benchmarks.hub import launching, log
from benchmarks.measure import Bench, Command, Contender, Figures, Series, ratio, taken_in_turn
from benchmarks.report import Comparison, Goal
from hubs import ScriptedHub

_SIZE = 50e6
_EVENTS = 1000
"""Those of a block, which comes again and again."""
_CURL, _CLIENT, _START = "`curl`", "npm client", "`clinder start`"
_LIBRARIES = "`requests`, `sseclient`, `json`"
_TIMES = 4


def compare(bench: Bench, runs: int) -> Iterator[Comparison]:
    """Compare readers of 50 MB, and what clinder needs for those and for 200 MB."""
    with ScriptedHub() as hub:
        streams = _Streams(bench, hub)
        series = taken_in_turn(streams.contenders(), runs)
        yield _compared(series, streams.events)
        large = Contender("200 MB", lambda: streams.measured(start(hub.url), _TIMES))
        small = next(each for each in series if each.name == _START)
        yield _memory(Series("50 MB", small.runs), *taken_in_turn([large], runs))


class _Streams:
    """Launches with a long log."""

    def __init__(self, bench: Bench, hub: ScriptedHub):
        self._bench = bench
        self._hub = hub
        self._numbers = itertools.count()
        self._block, self._bytes = log(_EVENTS)
        self._blocks = round(_SIZE / self._bytes)
        self.events = self._blocks * _EVENTS

    def contenders(self) -> list[Contender]:
        """Return the contenders; the log goes to a file."""
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
        return Contender(name, lambda: self.measured(command))

    def measured(self, command: Command, times: int = 1) -> Figures:
        """Run a command on so many times 50 MB."""
        blocks = [self._block] * (self._blocks * times)
        launching(self._hub, f"s{next(self._numbers)}", blocks=blocks)
        cost = self._bench.figures(command)
        return {**cost, "speed": self._bytes * len(blocks) / 1e6 / cost["wall"]}


def _compared(series: tuple[Series, ...], events: int) -> Comparison:
    by_name = {each.name: each for each in series}
    ours = by_name[_START]
    return Comparison(
        "A long log",
        f"50 MB of build log in {events} events, each a chunk as BinderHub sends it; what is shown"
        f" of it goes to a file. {_LIBRARIES} alone read it to its end, and show nothing.",
        series,
        (
            Goal(_START, ours.median("speed"), 15.0, "MB/s", at_least=True),
            Goal(
                f"{_START}, of the time of the {_CLIENT}",
                ratio(ours, by_name[_CLIENT], "wall").median,
                1.0,
                "times",
            ),
        ),
        baselines=(_CURL, _CLIENT),
    )


def _memory(small: Series, large: Series) -> Comparison:
    grown = (large.median("peak") - small.median("peak")) / 1e6
    return Comparison(
        "The memory for a long log",
        "`clinder start` on logs of two sizes.",
        (small, large),
        (
            Goal("Peak memory", large.median("peak") / 1e6, 60.0, "MB"),
            Goal("More of it for 200 MB than for 50 MB", grown, 2.0, "MB"),
        ),
    )
