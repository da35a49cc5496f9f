"""What every test stands on: no hub and no session from the environment, nothing left running."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

# A background job ignores SIGINT, one of nohup SIGHUP, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the developer's shell holds out of the tests."""
    for name in tuple(os.environ):
        if name.startswith(("CLINDER_", "JUPYTER_BASE_URL", "JUPYTER_TOKEN")):
            monkeypatch.delenv(name)


@pytest.fixture
def _no_threads_left() -> Iterator[None]:
    """Wait for the threads of the wire and of the servers to end, each by itself."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=20)
        assert not thread.is_alive(), f"{thread.name} is still running"
