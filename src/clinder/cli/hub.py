"""``clinder hub``: the embedded hub in the foreground."""

from __future__ import annotations

import os
import secrets
from contextlib import closing
from pathlib import Path

from clinder._private_files import read_token
from clinder._signals import SignalEvent, handle_signals
from clinder.cli.interrupts import exit_immediately
from clinder.cli.streams import print_status, write
from clinder.errors import UsageError

_TICK = 1.0


def hub(port: int, directory: Path, token_file: Path | None, *, quiet: bool) -> None:
    """Serve until a signal arrives, then stop the sessions; a second signal ends the process.

    With a token file, the hub needs a login. Raises :class:`~clinder.errors.UsageError` if the port
    is taken, the extra is missing, or the token file is invalid.
    """
    from clinder.embedded.hub import Hub

    token = _read_or_create_token(token_file) if token_file else ""
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
        Hub(directory, port=port, stop_servers=True, report=report, token=token) as embedded,
    ):
        write(f"{embedded.url}\n")
        served = directory.resolve()
        report(f"The embedded hub serves {served}. Press Ctrl-C to stop it and its sessions.")
        if token_file:
            report(f"It requires the token in {token_file}: use --hub-token @{token_file}")
        while not stop.wait(_TICK):  # on Windows, an endless wait would block signals
            pass
        report("Stopping the sessions that this hub started.")


def _read_or_create_token(path: Path) -> str:
    """Return the token in a file that nobody else can read. If there is no file, create one."""
    token = secrets.token_hex(16)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_token(path, "token file")
    except OSError as error:
        raise UsageError(f"The token file {path} cannot be written: {error.strerror}.") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{token}\n")
    return token
