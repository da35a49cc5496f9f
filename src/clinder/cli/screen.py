"""What a person sees of a launch: one calm line on a terminal, a log in a pipe."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from clinder.cli.streams import print_status
from clinder.events import (
    AttemptFailed,
    Event,
    LogLines,
    PhaseStarted,
    SessionNotStopped,
    Waiting,
    WarningIssued,
    describe,
)

if TYPE_CHECKING:
    from rich.text import Text


_DUMB = ("dumb", "unknown")
_WARNINGS = (WarningIssued, SessionNotStopped)
_STAYS = (*_WARNINGS, AttemptFailed, Waiting)
_SPARE = 4  # columns in which the terminal echoes a ^C without breaking the line


class Screen(Protocol):
    """One observer of a launch, and the place for words beside it."""

    def begin(self, words: str) -> None:
        """Show what is about to happen, before anything does."""

    def observe(self, event: Event) -> None:
        """Show what happened."""

    def say(self, words: str) -> None:
        """Show words that are no event."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def choose_screen(
    cancel: threading.Event,
    *,
    quiet: bool,
    verbose: bool,
    now: Callable[[], float] = time.monotonic,
) -> Screen:
    """Return the screen that suits stderr: a terminal that can redraw a line, or a log.

    A set ``cancel`` is shown, too.
    """
    if quiet:
        return QuietScreen()
    if sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") not in _DUMB:
        return LineScreen(cancel, verbose=verbose, now=now)
    return LogScreen()


def _describe(event: Event) -> str:
    return f"Warning: {describe(event)}" if isinstance(event, _WARNINGS) else describe(event)


class QuietScreen:
    """Warnings only."""

    def begin(self, words: str) -> None:
        """Show nothing."""

    def observe(self, event: Event) -> None:
        """Show warnings."""
        if isinstance(event, _WARNINGS):
            print_status(f"clinder: Warning: {describe(event)}")

    def say(self, words: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Do nothing: nothing was drawn."""


class LogScreen:
    """The hub's log lines as they come, and one line for each phase."""

    def begin(self, words: str) -> None:
        """Write the words as a line."""
        self.say(words)

    def observe(self, event: Event) -> None:
        """Write the event as lines."""
        if isinstance(event, LogLines):
            print_status("\n".join(event.lines))
        elif words := _describe(event):
            self.say(words)

    def say(self, words: str) -> None:
        """Write our own words, told apart from the hub's."""
        print_status(f"clinder: {words}")

    def close(self) -> None:
        """Do nothing: nothing was drawn."""


class LineScreen:
    """One line that is drawn anew: the phase, the time since the start, the last log line."""

    def __init__(self, cancel: threading.Event, *, verbose: bool, now: Callable[[], float]):
        from rich.console import Console
        from rich.live import Live

        self._cancel = cancel
        self._verbose = verbose
        self._now = now
        self._began = now()
        self._phase = "asking"
        self._line = ""
        self._console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._drawn,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def begin(self, words: str) -> None:
        """Draw the words where the last log line will be."""
        self._line = words
        with suppress(OSError):
            self._live.refresh()

    def observe(self, event: Event) -> None:
        """Draw the line anew, and write above it what is to stay."""
        if isinstance(event, LogLines):
            self._line = event.lines[-1]
            if self._verbose:
                self._print("\n".join(event.lines))
        elif isinstance(event, PhaseStarted):
            self._phase, self._line = event.phase, ""
        elif self._verbose or isinstance(event, _STAYS):
            self.say(_describe(event))
        if isinstance(event, Waiting):
            self._phase, self._line = "waiting", describe(event)

    def say(self, words: str) -> None:
        """Write a line above the one that is drawn anew."""
        self._print(f"clinder: {words}")

    def close(self) -> None:
        """Take the line away and show the cursor again."""
        with suppress(OSError):
            self._live.stop()

    def _print(self, words: str) -> None:
        with suppress(OSError):  # the terminal was closed: nobody reads, so nothing is lost
            self._console.print(words, soft_wrap=True)

    def _drawn(self) -> Text:
        from rich.text import Text

        minutes, seconds = divmod(int(self._now() - self._began), 60)
        phase, line = self._phase, self._line
        if self._cancel.is_set():
            phase, line = "cancelling", "once more ends at once, and may leave a session"
        line = f"{phase}  {minutes}:{seconds:02}  {line}"
        text = Text(line, no_wrap=True, end="")
        text.truncate(max(1, self._console.width - _SPARE), overflow="ellipsis")
        return text
