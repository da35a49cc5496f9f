"""The commands to compare."""

from __future__ import annotations

from pathlib import Path

from benchmarks.hub import SPEC
from benchmarks.measure import Command

_HERE = Path(__file__).parent


def start(hub: str, *options: str) -> Command:
    """Return ``clinder start``, without a warm-up unless the options enable it."""
    return Command(
        ("clinder", "start", SPEC, "--hub", hub, "--no-warm-up", *options), expected="?token="
    )


def curl(hub: str) -> Command:
    """Return a ``curl`` that only reads the stream until it ends, at ``ready``."""
    accept = ("-H", "Accept: text/event-stream")
    return Command(("curl", "-sSNf", *accept, f"{hub}build/{SPEC}"), expected='"ready"')


def npm_client(hub: str) -> Command:
    """Return a short program that uses BinderHub's own npm client."""
    return Command(("node", str(_HERE / "npm" / "client.mjs"), hub, SPEC), expected="?token=")


def reader(hub: str) -> Command:
    """Return a program that reads the stream with clinder's libraries and nothing else."""
    return Command(("python", floor("read_stream"), f"{hub}build/{SPEC}"), expected="ready")


def floor(name: str) -> str:
    """Return the path of a program that does the minimum that clinder has to do."""
    return str(_HERE / "floors" / f"{name}.py")
