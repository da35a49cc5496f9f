"""The command that ``clinder run`` starts: signal it, wait for it, end it and its children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from clinder._deadline import Deadline
from clinder.cli.executable import find_executable
from clinder.errors import TimedOut, UsageError

_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_POLL = 0.05
_TOOL_TIMEOUT = 5.0  # seconds for ps or taskkill


class Process:
    """A running command and its children.

    On a terminal the command shares clinder's process group, so that Ctrl-C reaches it directly
    and job control works. Otherwise it leads a group of its own, which its children belong to.
    On Windows it always shares the console, whose Ctrl-C and Ctrl-Break reach it directly. With
    ``output_to_stderr``, its standard output goes to standard error.
    """

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], *, output_to_stderr: bool = False
    ):
        self._in_our_group = _in_foreground()
        self._children: list[int] = []
        path = find_executable(command[0])
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user's own command is run
                [path, *command[1:]],
                env=environ,
                start_new_session=not self._in_our_group,
                stdout=_stderr() if output_to_stderr else None,
            )
        except OSError as error:
            message = f"The command {command[0]!r} did not start: {error.strerror}."
            raise UsageError(message) from None

    def wait(self) -> int:
        """Return the exit code, 128+N for signal N."""
        code = self._process.wait()
        return 128 - code if code < 0 else code

    def receives(self, signum: int) -> bool:
        """Return whether the terminal or the console sends this signal to the command, too."""
        return signum == signal.SIGINT and (self._in_our_group or sys.platform == "win32")

    def forward(self, signum: int) -> None:
        """Pass a signal on, unless the command has received it from the terminal."""
        if sys.platform != "win32" and self._process.poll() is None and not self.receives(signum):
            self._send(signum, [self._process.pid])

    def terminate(self) -> None:
        """Ask the command and its children to end; on Windows, kill them."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the command and its children."""
        self._end(_KILL)

    def wait_for_children(self, grace: Deadline) -> None:
        """After the command has ended, wait for its terminated children, then kill them."""
        try:
            while self._send(0, self._children):
                grace.wait(_POLL)
        except TimedOut:
            self._send(_KILL, self._children)

    def _end(self, signum: int) -> None:
        if self._process.poll() is not None:
            return
        pid = self._process.pid
        if sys.platform == "win32":  # which cannot ask a console program to end
            kill_tree(pid)
            self._process.kill()
        elif self._in_our_group:
            self._children = _descendants(pid)
            self._send(signum, [pid, *self._children])
        else:
            self._children = [pid]
            self._send(signum, [pid])

    def _send(self, signum: int, pids: Sequence[int]) -> bool:
        """Signal processes, or the groups that they lead; return whether any existed."""
        sent = False
        if sys.platform != "win32":
            send = os.kill if self._in_our_group else os.killpg
            for pid in pids:
                with suppress(ProcessLookupError, PermissionError):
                    send(pid, signum)
                    sent = True
        return sent


def _stderr() -> int:
    """Return the descriptor of standard error, unless it is closed."""
    return subprocess.DEVNULL if sys.stderr is None else sys.stderr.fileno()


def kill_tree(pid: int) -> None:
    """Kill a process and its descendants on Windows, as far as ``taskkill`` finds them in time."""
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(  # noqa: S603 - the only argument is a number
            ["taskkill", "/T", "/F", "/PID", str(pid)],  # noqa: S607 - Windows has it
            check=False,  # it fails if one of them has just ended
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_TOOL_TIMEOUT,
        )


def _descendants(pid: int) -> list[int]:
    """Return a process's children and theirs, or none if ``ps`` fails."""
    pids = [pid]
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        listing = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="],  # noqa: S607 - POSIX has it, in no fixed place
            check=True,
            capture_output=True,
            text=True,
            timeout=_TOOL_TIMEOUT,
        ).stdout
        parents = [tuple(map(int, line.split())) for line in listing.splitlines()]
        for each in pids:  # the loop reaches the children that it appends
            pids += [child for child, parent in parents if parent == each]
    return pids[1:]


def _in_foreground() -> bool:
    """Return whether a terminal sends its Ctrl-C to clinder's process group."""
    if sys.platform != "win32":
        with suppress(OSError, AttributeError, ValueError):
            return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    return False
