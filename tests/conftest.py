"""For all tests: no settings from the environment, and nothing left behind."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.world import World

# A background job inherits an ignored SIGINT, and a job under nohup an ignored SIGHUP.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings of the developer's shell."""
    for name in tuple(os.environ):
        if name.startswith(("CLINDER_", "JUPYTER_BASE_URL", "JUPYTER_TOKEN")):
            monkeypatch.delenv(name)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Run commands that leave nothing behind after the test."""
    world = World(tmp_path)
    yield world
    world.end()


@pytest.fixture
def _no_threads_left() -> Iterator[None]:
    """Wait until all threads that the test started have ended."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=60)
        assert not thread.is_alive(), f"{thread.name} is still running"
