"""Starts the commands that are measured: a JSON object a line in, what each cost a line out.

It is a small process of its own because on Linux a process never seems to have needed less memory
than the one that started it: ``exec`` keeps the peak of what it replaces. Run by ``python -I -S``
this one has about 10 MB, which is the least that is ever reported.
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
"""Bytes in what ``ru_maxrss`` counts."""


class Spawner:
    """Runs one command at a time, in a process group of its own."""

    def __init__(self) -> None:
        self._pid = 0
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for who asks, who ends this then
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGALRM, self._kill)

    def run(self, told: dict[str, Any]) -> dict[str, float]:
        """Run a command to its end, or kill it after ``timeout`` seconds.

        ``start`` and ``end`` are of the monotonic clock, in seconds as ``cpu`` is, user and system
        together; ``peak`` is in bytes; ``code`` is negative where a signal ended it.
        """
        write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        files = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, told["out"], write, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, told["err"], write, 0o600),
        ]
        start = time.monotonic()
        self._pid = os.posix_spawn(
            told["argv"][0],
            told["argv"],
            told["env"],
            file_actions=files,
            setpgroup=0,
            setsigdef=[signal.SIGINT],
        )
        signal.setitimer(signal.ITIMER_REAL, told["timeout"])
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

    def _end(self, number: int, _: FrameType | None) -> None:
        self._kill()
        os._exit(128 + number)


def main() -> None:
    """Run what is asked for until nobody asks any more."""
    spawner = Spawner()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(spawner.run(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
