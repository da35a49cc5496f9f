"""``python -m clinder``, and the ``clinder`` command."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    # Until there is somebody to handle it, a Ctrl-C ends this without a traceback.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from clinder.cli.main import main as run

    signal.signal(signal.SIGINT, interrupt)
    sys.exit(run())


if __name__ == "__main__":
    main()
