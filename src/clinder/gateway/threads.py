"""The gateway's threads. A bug in one of them becomes a warning, and the others continue."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clinder._bugs import describe_bug


class Threads:
    """Starts threads. ``warn`` receives each bug in them, once, in place of a traceback."""

    def __init__(self, warn: Callable[[str], None]):
        self._warn = warn
        self._reported: set[str] = set()

    def start(self, name: str, work: Callable[..., object], *arguments: object) -> threading.Thread:
        """Run work in a thread that does not keep the process from ending."""
        thread = threading.Thread(
            target=self._run, args=(work, arguments), name=f"clinder-{name}", daemon=True
        )
        thread.start()
        return thread

    @contextmanager
    def surviving(self) -> Iterator[None]:
        """Report a bug in the context, and continue after it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a bug: one warning, without a traceback
            self.report(error)

    def report(self, error: Exception) -> None:
        """Warn of a bug, unless the same one was reported before."""
        description = describe_bug(error)
        if description not in self._reported:
            self._reported.add(description)
            self._warn(description)

    def _run(self, work: Callable[..., object], arguments: tuple[object, ...]) -> None:
        with self.surviving():
            work(*arguments)
