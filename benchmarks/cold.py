"""How long commands that do almost nothing take."""

from __future__ import annotations

from collections.abc import Iterator

import certifi

from benchmarks.contenders import floor
from benchmarks.hub import TOKEN
from benchmarks.measure import Bench, Command, Contender, measure_in_turns, ratio
from benchmarks.report import Comparison, Goal
from hubs import ScriptedHub

_NODE, _HELP = "`node -e 0`", "`clinder --help`"
_CERTIFICATES = f"{_NODE}, certificates"
_ROUNDS = 3
"""These commands are short, so they run this many times the usual rounds."""


def compare(bench: Bench, runs: int) -> Iterator[Comparison]:
    """Compare short commands with starting node and Python."""
    with ScriptedHub() as hub:
        commands = _commands(f"{hub.origin}/user/gone/")
        contenders = [_contender(bench, name, each) for name, each in commands.items()]
        series = measure_in_turns(contenders, runs * _ROUNDS)
    by_name = {each.name: each for each in series}
    yield Comparison(
        "Cold start",
        "The click program has three commands. `clinder stop` runs on a session that is already"
        " gone. With `NODE_EXTRA_CA_CERTS`, which many networks need, node first reads about 140"
        " certificates.",
        series,
        tuple(
            Goal(
                f"time of {_HELP}, relative to {node}",
                ratio(by_name[_HELP], by_name[node], "wall").median,
                1.0,
                "\u00d7",
            )
            for node in (_NODE, _CERTIFICATES)
        ),
        baselines=(_NODE, _CERTIFICATES),
    )


def _contender(bench: Bench, name: str, command: Command) -> Contender:
    return Contender(name, lambda: bench.figures(command))


def _commands(gone: str) -> dict[str, Command]:
    session = {"JUPYTER_BASE_URL": gone, "JUPYTER_TOKEN": TOKEN}
    completion = {
        "_CLINDER_COMPLETE": "bash_complete",
        "COMP_WORDS": "clinder st",
        "COMP_CWORD": "1",
    }
    return {
        _NODE: Command(("node", "-e", "0")),
        _CERTIFICATES: Command(("node", "-e", "0"), {"NODE_EXTRA_CA_CERTS": certifi.where()}),
        "`python -c pass`": Command(("python", "-c", "pass")),
        "a click program's help": Command(
            ("python", floor("three_commands"), "--help"), expected="three"
        ),
        _HELP: Command(("clinder", "--help"), expected="Exit codes:"),
        "`clinder --version`": Command(("clinder", "--version"), expected="clinder "),
        "completion": Command(("clinder",), completion, expected="plain,status"),
        "`clinder stop`": Command(("clinder", "stop"), session),
    }
