"""``python -m clinder``, and the ``clinder`` command."""

from __future__ import annotations

import gc
import os
import signal
import sys

TYPE_CHECKING = False  # importing typing would leave time for a Ctrl-C to print a traceback
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> None:
    """Run the command line and exit with its code."""
    default = signal.default_int_handler
    handles_sigint = signal.getsignal(signal.SIGINT) is default  # nohup makes Python ignore it
    if handles_sigint:
        signal.signal(signal.SIGINT, _exit_on_sigint)
    # Imported modules stay: collecting garbage among them takes a tenth of the time of --help.
    gc.disable()
    from clinder.cli.main import main as run

    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()
    try:
        if handles_sigint:
            signal.signal(signal.SIGINT, default)
        code = run()
    except KeyboardInterrupt:
        _exit_on_sigint()
    _exit(code)


def _exit(code: int) -> NoReturn:
    """Exit at once. Python's own shutdown takes a tenth of a launch, only to free memory."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            continue  # the output was flushed before, or reported as lost
    os._exit(code)


def _exit_on_sigint(*_: object) -> NoReturn:
    """Exit at once. While a module is imported, Python might print or lose an exception."""
    try:
        os.write(2, b"clinder: Cancelled by SIGINT.\n")
        if "start" in sys.argv and any(each.endswith("shell") for each in sys.argv):
            os.write(1, b"false\n")  # the shell that evaluates this must fail
    finally:
        os._exit(130)


if __name__ == "__main__":
    main()
