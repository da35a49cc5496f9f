"""The commands that are compared."""

from __future__ import annotations

from pathlib import Path

from benchmarks.hub import SPEC
from benchmarks.measure import Command

_HERE = Path(__file__).parent


def start(hub: str, *options: str) -> Command:
    """Return ``clinder start``, its first kernel cold unless the options say otherwise."""
    return Command(
        ("clinder", "start", SPEC, "--hub", hub, "--no-warm-up", *options), says="?token="
    )


def curl(hub: str) -> Command:
    """Return what reads the stream to its end, which is at ``ready``, and does nothing else."""
    accept = ("-H", "Accept: text/event-stream")
    return Command(("curl", "-sSNf", *accept, f"{hub}build/{SPEC}"), says='"ready"')


def npm_client(hub: str) -> Command:
    """Return a small program around BinderHub's own client from npm."""
    return Command(("node", str(_HERE / "npm" / "client.mjs"), hub, SPEC), says="?token=")


def reader(hub: str) -> Command:
    """Return the libraries that clinder reads a stream with, alone."""
    return Command(("python", floor("read_stream"), f"{hub}build/{SPEC}"), says="ready")


def floor(name: str) -> str:
    """Return the path of a program that does the least that clinder must."""
    return str(_HERE / "floors" / f"{name}.py")
