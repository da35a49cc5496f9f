"""``clinder hub``: the embedded hub in the foreground."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from clinder._signals import SignalEvent, handle_signals
from clinder.cli.interrupts import exit_immediately
from clinder.cli.streams import print_status, write

_TICK = 1.0


def hub(port: int, directory: Path, *, quiet: bool) -> None:
    """Serve until a signal arrives, then stop the sessions; a second signal ends the process.

    Raises :class:`~clinder.errors.UsageError` if the port is taken or the extra is missing.
    """
    from clinder.embedded.hub import Hub

    stop = SignalEvent()

    def handle(signum: int) -> None:
        if stop.is_set():
            exit_immediately(signum, "its sessions stop on their own")
        stop.set_from_handler()

    def report(message: str) -> None:
        if not quiet:
            print_status(f"clinder: {message}")

    with (
        closing(stop),
        handle_signals(handle),
        Hub(directory, port=port, stop_servers=True, report=report) as embedded,
    ):
        write(f"{embedded.url}\n")
        served = directory.resolve()
        report(f"The embedded hub serves {served}. Press Ctrl-C to stop it and its sessions.")
        while not stop.wait(_TICK):  # on Windows, an endless wait would block signals
            pass
        report("Stopping the sessions that this hub started.")
