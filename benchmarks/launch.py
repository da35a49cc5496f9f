"""How much time clinder adds to a launch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from answers import event
from benchmarks.contenders import curl, npm_client, start
from benchmarks.hub import Launch, chunk, serve_launch
from benchmarks.measure import (
    Bench,
    Command,
    Contender,
    Figures,
    Series,
    difference,
    measure_in_turns,
    ratio,
)
from benchmarks.report import Comparison, Goal, seconds, spread
from hubs import ScriptedHub

_SECONDS = 5
_CURL, _CLIENT, _START = "`curl`", "npm client", "`clinder start`"
_WARM = f"{_START}, warm-up"


def compare(bench: Bench, runs: int) -> Iterator[Comparison]:
    """Compare launches on a hub that is ready at once, and on one that takes five seconds."""
    with ScriptedHub() as hub:
        yield _at_once(_Launches(bench, hub), runs)
        yield _slow(_Launches(bench, hub), runs)


class _Launches:
    """Launches on one hub, each of a session with a new name."""

    def __init__(self, bench: Bench, hub: ScriptedHub):
        self._bench = bench
        self._hub = hub
        self._numbers = itertools.count()

    def contenders(self, seconds: int = 0) -> list[Contender]:
        """Return the contenders. Their hub's session is ready after ``seconds``."""
        url = self._hub.url
        commands = {_CURL: curl(url), _CLIENT: npm_client(url), _START: start(url)}
        if not seconds:
            commands[_WARM] = start(url, "--warm-up")
        return [self._contender(name, each, seconds) for name, each in commands.items()]

    def _contender(self, name: str, command: Command, seconds: int) -> Contender:
        return Contender(name, lambda: self._measure(command, seconds))

    def _measure(self, command: Command, seconds: int) -> Figures:
        name = f"s{seconds}-{next(self._numbers)}"
        log = [chunk(event(phase="building", message="a line\n"))] * seconds
        launch = serve_launch(self._hub, name, blocks=log, every=1.0)
        return _figures(self._bench.figures(command), launch, seconds)


def _figures(cost: Figures, launch: Launch, seconds: int) -> Figures:
    figures = dict(cost)
    if seconds:
        figures["beyond"] = cost["wall"] - (launch.ready - launch.requested)
    if launch.responded:
        figures["readiness"] = launch.responded - launch.ready
    return figures


def _at_once(launches: _Launches, runs: int) -> Comparison:
    series = measure_in_turns(launches.contenders(), runs)
    _, client, ours, warm = series
    warmed = difference(warm, ours, "wall")
    return Comparison(
        "Launch: a hub that is ready at once",
        "From the command to the session's URI. `curl` and the npm client only read the stream to"
        " its end, at `ready`; clinder also checks that the server responds.",
        series,
        (_goal(ours, client),),
        (f"Additional time to warm up a kernel that responds at once: {spread(warmed, seconds)}.",),
        (_CURL, _CLIENT),
    )


def _slow(launches: _Launches, runs: int) -> Comparison:
    series = measure_in_turns(launches.contenders(_SECONDS), runs)
    _, client, ours = series
    return Comparison(
        f"Launch: a hub that takes {_SECONDS} s",
        "The same, with one event per second before `ready`.",
        series,
        (_goal(ours, client),),
        baselines=(_CURL, _CLIENT),
    )


def _goal(ours: Series, client: Series) -> Goal:
    times = ratio(ours, client, "wall").median
    return Goal(f"time of {_START}, relative to the {_CLIENT}", times, 1.0, "\u00d7")
