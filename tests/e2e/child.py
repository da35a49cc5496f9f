"""A command for ``clinder run`` that prints the signals it receives.

``child.py [ignore] [child]``: without ``ignore``, the first signal ends it with exit code 7. With
``child``, it first starts a copy that ignores signals.
"""

from __future__ import annotations

import signal
import subprocess
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def show(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(*arguments: str) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    if "child" in arguments:
        # clinder must end it, so this does not wait for it.
        subprocess.Popen([sys.executable, __file__, "ignore"])
    else:
        show("ready")
    while True:
        show(f"got {signal.Signals(signal.sigwait(SIGNALS)).name}")
        if "ignore" not in arguments:
            return 7


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
