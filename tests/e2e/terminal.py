"""A terminal of a given width, which records what a command draws and types keys."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from e2e.world import World

CTRL_C = b"\x03"
_TOKEN = re.compile(r"\x1b\[([0-?]*)[ -/]*([@-~])|\x1b[()][A-Z0-9]|\x1b.|(.)", re.DOTALL)
# The command leads the terminal's session, like a job in a shell's foreground.
_LEAD = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    " os.execvp(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A command on a terminal; ``stdout`` can be a pipe, as in ``command | cat``."""

    def __init__(
        self, world: World, command: Sequence[str], *, columns: int = 80, **options: Any
    ) -> None:
        self.world = world
        self.columns = columns
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        streams = {"stdin": slave, "stdout": slave, "stderr": slave, **options}
        self.process = world.popen(
            [sys.executable, "-c", _LEAD, *command], start_new_session=True, **streams
        )
        os.close(slave)
        self.drawn = ""

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def read_until(self, text: str, seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.drawn:
            assert time.monotonic() < deadline, self.drawn
            assert self._read(deadline), self.drawn

    def finish(self, seconds: float = 90.0) -> int:
        """Read until the end, and return the exit code."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            assert time.monotonic() < deadline, self.drawn
        code = self.process.wait(seconds)
        self.close()
        self.world.check_messages(self.drawn)
        return code

    def close(self) -> None:
        """Close the terminal, like closing its window."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
        data = b""
        if ready:
            with suppress(OSError):  # Linux reports the end of a terminal this way
                data = os.read(self.master, 65536)
        self.drawn += data.decode(errors="replace")
        return bool(data)

    @property
    def sequences(self) -> list[str]:
        """The escape sequences that the command sent."""
        return [match[0] for match in _TOKEN.finditer(self.drawn) if match[0][0] == "\x1b"]

    @property
    def cursor(self) -> bool:
        """Whether the cursor is visible at the end."""
        return self.drawn.rfind("\x1b[?25l") <= self.drawn.rfind("\x1b[?25h")

    @property
    def lines(self) -> list[str]:
        """The lines on the terminal at the end, without trailing empty ones."""
        return _displayed(self.drawn, self.columns)


def _displayed(drawn: str, columns: int) -> list[str]:
    """Return the rows that a terminal shows, given the few control sequences that clinder uses."""
    rows: list[list[str]] = [[]]
    row = column = 0
    for match in _TOKEN.finditer(drawn):
        argument, command, character = match.groups()
        if command == "A":
            row = max(0, row - int(argument or 1))
        elif command == "K":
            assert argument == "2", "only whole lines are erased"
            rows[row] = []
        elif command is not None:
            assert command in "mhl", f"CSI {argument}{command} is not supported here"
        elif character == "\r":
            column = 0
        elif character == "\n":
            row += 1
            if row == len(rows):
                rows.append([])
        elif character is not None:
            if column == columns:  # the line is full, so the text continues below
                row, column = row + 1, 0
                if row == len(rows):
                    rows.append([])
            rows[row] += " " * (column + 1 - len(rows[row]))
            rows[row][column] = character
            column += 1
    lines = ["".join(each).rstrip() for each in rows]
    while lines and not lines[-1]:
        lines.pop()
    return lines
