"""The command that ``clinder run`` runs: its signals, and the end of it and of its children."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from clinder._deadline import Deadline
from clinder.errors import UsageError

_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_LOOK_AGAIN = 0.05


def find_executable(command: Sequence[str]) -> None:
    """Raise :class:`~clinder.errors.UsageError` where the command does not exist."""
    if shutil.which(command[0]) is None:
        raise UsageError(
            f"The command {command[0]!r} was not found, or cannot be run: nothing was started."
        )


class Process:
    """A running command. On a terminal it shares our process group, elsewhere it leads its own.

    On a terminal Ctrl-C reaches it by itself, and job control goes on working; elsewhere its own
    group is what ends the children it has made, too.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]):
        self._shared = _in_foreground() or os.name != "posix"
        self._rest: list[int] = []
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user's own command is run
                command, env=environ, start_new_session=not self._shared
            )
        except OSError as error:
            raise UsageError(
                f"The command {command[0]!r} did not start: {error.strerror}."
            ) from None

    def wait(self) -> int:
        """Return the exit code, 128+N for signal N."""
        code = self._process.wait()
        return 128 - code if code < 0 else code

    def forward(self, number: int) -> None:
        """Pass a signal on, unless the terminal has given it to the command already."""
        if self._process.poll() is None and not (self._shared and number == signal.SIGINT):
            self._send(number, [self._process.pid])

    def terminate(self) -> None:
        """Ask the command and its children to end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the command and its children."""
        self._end(_KILL)

    def wait_for_children(self, grace: Deadline) -> None:
        """Once the command has ended: wait for the children that were asked to, then kill them."""
        while self._send(0, self._rest):
            if not grace.remaining():
                self._send(_KILL, self._rest)
                return
            time.sleep(_LOOK_AGAIN)

    def _end(self, number: int) -> None:
        if self._process.poll() is None:
            pid = self._process.pid
            self._rest = _descendants(pid) if self._shared else [pid]
            self._send(number, [pid, *self._rest] if self._shared else [pid])

    def _send(self, number: int, pids: Sequence[int]) -> bool:
        """Send a signal to processes, or to the groups that they lead; whether there was one."""
        send = os.kill if self._shared else os.killpg
        sent = False
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                send(pid, number)
                sent = True
        return sent


def _descendants(pid: int) -> list[int]:
    """Return the processes that a process has made, and those have made, where ``ps`` tells."""
    pids = [pid]
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="],  # noqa: S607 - POSIX has it, in no fixed place
            check=True,
            capture_output=True,
            text=True,
            timeout=5,
        ).stdout
        parents = [tuple(map(int, line.split())) for line in listed.splitlines()]
        for each in pids:  # grows while it is walked
            pids += [child for child, parent in parents if parent == each]
    return pids[1:]


def _in_foreground() -> bool:
    """Return whether a terminal sends its Ctrl-C to our process group."""
    with suppress(OSError, AttributeError, ValueError):
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    return False
