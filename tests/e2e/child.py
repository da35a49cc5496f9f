"""A command for ``clinder run``: says what signals it gets, and does with them as it is told.

``child.py [ignore] [child]``: without ``ignore`` it ends at the first with exit code 7, with
``child`` it first starts another process like it, that ignores them.
"""

from __future__ import annotations

import signal
import subprocess
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def main(*words: str) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    if "child" in words:
        # Not waited for: it is to be ended by clinder.
        subprocess.Popen([sys.executable, __file__, "ignore"])
    else:
        say("ready")
    while True:
        say("got", signal.Signals(signal.sigwait(SIGNALS)).name)
        if "ignore" not in words:
            return 7


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
