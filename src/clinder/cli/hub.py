"""``clinder hub``: the embedded hub in the foreground."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from clinder._signals import SignalEvent, handle_signals
from clinder.cli.interrupts import end_at_once
from clinder.cli.streams import print_status, write

_TICK = 1.0


def hub(port: int, directory: Path, *, quiet: bool) -> None:
    """Serve until a signal comes, then stop the servers that were started; a second ends at once.

    Raises :class:`~clinder.errors.UsageError` where the port is taken or the extra is missing.
    """
    from clinder.embedded.hub import Hub

    ending = SignalEvent()

    def handle(number: int) -> None:
        if ending.is_set():
            end_at_once(number, "its sessions end by themselves")
        ending.set_from_handler()

    def report(words: str) -> None:
        if not quiet:
            print_status(f"clinder: {words}")

    with (
        closing(ending),
        handle_signals(handle),
        Hub(directory, port=port, stop_servers=True, report=report) as embedded,
    ):
        write(f"{embedded.url}\n")
        report(
            f"A hub for this machine, serving {directory.resolve()}."
            " Ctrl-C ends it and its sessions."
        )
        while not ending.wait(_TICK):  # not without an end: on Windows a signal would wait for it
            pass
        report("Stopping the sessions that this hub started.")
