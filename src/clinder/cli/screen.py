"""Shows a launch to a person: one line that is redrawn on a terminal, otherwise a log."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from clinder import events
from clinder.cli.options import Options
from clinder.cli.streams import print_status, print_warning

if TYPE_CHECKING:
    from rich.text import Text


_DUMB = ("dumb", "unknown")
_WARNINGS = (events.WarningIssued, events.SessionNotStopped)
_PERMANENT = (*_WARNINGS, events.AttemptFailed, events.Waiting, events.SessionReady)
_RESERVED = 4  # columns, so that a terminal can echo ^C without breaking the line


class Screen:
    """Observes a launch and shows only warnings; its subclasses show more."""

    def announce(self, message: str) -> None:
        """Show what is about to be launched."""

    def observe(self, event: events.Event) -> None:
        """Show an event."""
        if isinstance(event, _WARNINGS):
            print_warning(events.describe(event))

    def warn(self, message: str) -> None:
        """Show a warning."""
        self.observe(events.WarningIssued(message))

    def show(self, message: str) -> None:
        """Show a message that is not an event."""

    def advise(self, text: str) -> None:
        """Show advice to somebody who is sitting at this terminal."""

    def close(self) -> None:
        """Restore the terminal."""


class LogScreen(Screen):
    """Writes a line per phase and, if it ``shows_log``, each of the hub's log lines."""

    def __init__(self, *, shows_log: bool = True):
        self._shows_log = shows_log

    def announce(self, message: str) -> None:
        """Write a message, marked as clinder's rather than the hub's."""
        print_status(f"clinder: {message}")

    show = announce

    def advise(self, text: str) -> None:
        """Write the advice if this is a terminal, which is a dumb one."""
        if sys.stderr is not None and sys.stderr.isatty():
            print_status(text)

    def observe(self, event: events.Event) -> None:
        """Write the event as lines."""
        if isinstance(event, events.LogLines):
            if self._shows_log:
                print_status("\n".join(event.lines))
        elif message := _describe(event):
            self.show(message)


class LineScreen(Screen):
    """Redraws one line: the phase, the time since the start, and the last log line."""

    def __init__(self, cancel: threading.Event, *, verbose: bool):
        from rich.console import Console
        from rich.live import Live

        self._cancel = cancel
        self._verbose = verbose
        self._start = time.monotonic()
        self._phase = "starting"
        self._line = ""
        self._console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def announce(self, message: str) -> None:
        """Draw the message in place of the last log line."""
        self._line = message
        with suppress(OSError):
            self._live.refresh()

    def observe(self, event: events.Event) -> None:
        """Redraw the line, and write permanent messages above it."""
        if isinstance(event, events.LogLines):
            self._line = event.lines[-1]
            if self._verbose:
                self._print("\n".join(event.lines))
        elif isinstance(event, events.PhaseStarted):
            self._phase, self._line = event.phase, ""
        elif self._verbose or isinstance(event, _PERMANENT):
            self.show(_describe(event))
        if isinstance(event, events.Waiting):
            self._phase, self._line = "waiting", events.describe(event)

    def show(self, message: str) -> None:
        """Write a message above the redrawn line."""
        self._print(f"clinder: {message}")

    def advise(self, text: str) -> None:
        """Write the advice."""
        self._print(text)

    def close(self) -> None:
        """Remove the line and show the cursor again."""
        with suppress(OSError):
            self._live.stop()

    def _print(self, message: str) -> None:
        with suppress(OSError):  # the terminal was closed, so nobody reads this
            self._console.print(message, soft_wrap=True)

    def _render(self) -> Text:
        from rich.text import Text

        minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
        phase, line = self._phase, self._line
        if self._cancel.is_set():
            phase = "cancelling"
            line = "press Ctrl-C again to quit now (might leave a session running)"
        line = f"{phase}  {minutes}:{seconds:02}  {line}"
        text = Text(line, no_wrap=True, end="")
        text.truncate(max(1, self._console.width - _RESERVED), overflow="ellipsis")
        return text


def choose_screen(
    cancel: threading.Event, options: Options, *, beside_command: bool = False
) -> Screen:
    """Return the screen that suits stderr: one that redraws a line on a terminal, or a log.

    It also shows when ``cancel`` is set. Nothing is redrawn ``beside_command``, whose output could
    be on the same terminal.
    """
    if options.quiet:
        return Screen()
    if sys.stderr is None or not sys.stderr.isatty():
        return LogScreen()
    if beside_command:
        return LogScreen(shows_log=options.verbose)
    if os.environ.get("TERM") not in _DUMB:
        return LineScreen(cancel, verbose=options.verbose)
    return LogScreen()


def _describe(event: events.Event) -> str:
    message = events.describe(event)
    return f"Warning: {message}" if isinstance(event, _WARNINGS) else message
