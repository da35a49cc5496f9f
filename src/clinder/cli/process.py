"""The command that ``clinder run`` runs: its signals, and the end of it and of its children."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from clinder.errors import UsageError


def found(command: Sequence[str]) -> None:
    """Raise :class:`~clinder.errors.UsageError` where the command does not exist."""
    if shutil.which(command[0]) is None:
        raise UsageError(f"The command {command[0]!r} was not found, so nothing was started.")


class Process:
    """A running command. On a terminal it shares our process group, elsewhere it leads its own.

    On a terminal Ctrl-C reaches it by itself, and job control goes on working; elsewhere its own
    group is what ends the children it has made, too.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]):
        self._shared = _in_foreground() or os.name != "posix"
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user's own command is run
                command, env=environment, start_new_session=not self._shared
            )
        except OSError as error:
            raise UsageError(
                f"The command {command[0]!r} did not start: {error.strerror}."
            ) from None

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code, 128+N for signal N; or ``None`` after so many seconds."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        return 128 - code if code < 0 else code

    def forward(self, number: int) -> None:
        """Pass a signal on, unless the terminal has given it to the command already."""
        if not (self._shared and number == signal.SIGINT):
            self._send(number, self._pids()[:1] if self._shared else [])

    def terminate(self) -> None:
        """Ask the command and its children to end."""
        self._send(signal.SIGTERM, self._pids() if self._shared else [])

    def kill(self) -> None:
        """End the command and its children."""
        number = getattr(signal, "SIGKILL", signal.SIGTERM)
        self._send(number, self._pids() if self._shared else [])

    def _send(self, number: int, pids: Sequence[int]) -> None:
        if self._process.poll() is not None:
            return
        with suppress(ProcessLookupError, PermissionError):
            if not self._shared:
                os.killpg(self._process.pid, number)
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def _pids(self) -> list[int]:
        """Return the command and, where ``ps`` tells, its descendants."""
        pids = [self._process.pid]
        with suppress(OSError, subprocess.SubprocessError, ValueError):
            listed = subprocess.run(
                ["ps", "-A", "-o", "pid=,ppid="],  # noqa: S607 - POSIX has it, in no fixed place
                check=True,
                capture_output=True,
                text=True,
                timeout=5,
            ).stdout
            parents = [tuple(map(int, line.split())) for line in listed.splitlines()]
            for pid in pids:  # grows while it is walked
                pids += [child for child, parent in parents if parent == pid]
        return pids


def _in_foreground() -> bool:
    """Return whether a terminal sends its Ctrl-C to our process group."""
    with suppress(OSError, AttributeError, ValueError):
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    return False
