"""Runs commands and measures their cost: one JSON object per line in, one per line out.

This is a separate, small process because on Linux a process never appears to need less memory than
the one that started it: ``exec`` keeps the peak of the process it replaces. Run with ``python -I
-S`` this one needs about 10 MB, which is the lowest peak that is ever reported.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from types import FrameType
from typing import Any

PEAK_UNIT = 1 if sys.platform == "darwin" else 1024
"""The unit of ``ru_maxrss``, in bytes."""


class Spawner:
    """Runs one command at a time, each in its own process group."""

    def __init__(self) -> None:
        self._pid = 0
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends this
        signal.signal(signal.SIGTERM, self._exit)
        signal.signal(signal.SIGALRM, self._kill)

    def run(self, request: dict[str, Any]) -> dict[str, float]:
        """Run a command until it ends, or kill it after ``timeout`` seconds.

        ``start`` and ``end`` are seconds on the monotonic clock, ``cpu`` is seconds of user and
        system time, ``peak`` is in bytes, and ``code`` is negative if a signal ended the command.
        """
        write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        files = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, request["out"], write, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, request["err"], write, 0o600),
        ]
        start = time.monotonic()
        self._pid = os.posix_spawn(
            request["argv"][0],
            request["argv"],
            request["env"],
            file_actions=files,
            setpgroup=0,
            setsigdef=[signal.SIGINT],
        )
        signal.setitimer(signal.ITIMER_REAL, request["timeout"])
        _, status, used = os.wait4(self._pid, 0)
        end = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._pid = 0
        return {
            "start": start,
            "end": end,
            "cpu": used.ru_utime + used.ru_stime,
            "peak": used.ru_maxrss * PEAK_UNIT,
            "code": os.waitstatus_to_exitcode(status),
        }

    def _kill(self, *_: object) -> None:
        if self._pid:
            os.killpg(self._pid, signal.SIGKILL)

    def _exit(self, signum: int, _: FrameType | None) -> None:
        self._kill()
        os._exit(128 + signum)


def main() -> None:
    """Run commands until stdin ends."""
    spawner = Spawner()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(spawner.run(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
