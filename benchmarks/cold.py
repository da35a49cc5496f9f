"""How long a command takes that does next to nothing."""

from __future__ import annotations

from collections.abc import Iterator

import certifi

from benchmarks.contenders import floor
from benchmarks.hub import TOKEN
from benchmarks.measure import Bench, Command, Contender, ratio, taken_in_turn
from benchmarks.report import Comparison, Goal
from hubs import ScriptedHub

_NODE, _HELP = "`node -e 0`", "`clinder --help`"
_CERTIFICATES = f"{_NODE}, certificates"
_ROUNDS = 3
"""How many times the rounds of the others: they are short."""


def compare(bench: Bench, runs: int) -> Iterator[Comparison]:
    """Compare short commands with the start of node and of Python."""
    with ScriptedHub() as hub:
        commands = _commands(f"{hub.origin}/user/gone/")
        contenders = [_contender(bench, name, each) for name, each in commands.items()]
        series = taken_in_turn(contenders, runs * _ROUNDS)
    by_name = {each.name: each for each in series}
    yield Comparison(
        "Cold start",
        "A click program of three commands is the least that `--help` could take. The session that"
        " `clinder stop` stops is gone already, as the hub says at once. With"
        " `NODE_EXTRA_CA_CERTS`, which many networks need, node reads some 140 certificates"
        " before all else.",
        series,
        tuple(
            Goal(
                f"{_HELP}, of the time of {node}",
                ratio(by_name[_HELP], by_name[node], "wall").median,
                1.0,
                "times",
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
            ("python", floor("three_commands"), "--help"), says="three"
        ),
        _HELP: Command(("clinder", "--help"), says="Exit codes:"),
        "`clinder --version`": Command(("clinder", "--version"), says="clinder "),
        "completion": Command(("clinder",), completion, says="plain,status"),
        "`clinder stop`": Command(("clinder", "stop"), session),
    }
