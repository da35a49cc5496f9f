"""``python -m clinder``, and the ``clinder`` command."""

from __future__ import annotations

import gc
import os
import signal
import sys

TYPE_CHECKING = False  # a Ctrl-C while typing is imported would be a traceback
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> None:
    """Run the command line and exit with its code."""
    python = signal.default_int_handler
    heard = signal.getsignal(signal.SIGINT) is python  # one that nohup ignores stays ignored
    if heard:
        signal.signal(signal.SIGINT, _exit_on_sigint)
    # What is imported stays: looking for garbage in it takes a tenth of the time of --help.
    gc.disable()
    from clinder.cli.main import main as run

    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()
    try:
        if heard:
            signal.signal(signal.SIGINT, python)
        code = run()
    except KeyboardInterrupt:
        _exit_on_sigint()
    _exit(code)


def _exit(code: int) -> NoReturn:
    """End with the code, at once: Python's own end takes a tenth of a launch, and frees memory."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            continue  # what was written was flushed before, or told as lost
    os._exit(code)


def _exit_on_sigint(*_: object) -> NoReturn:
    """End at once: an exception would be shown, or be lost, where Python imports what is needed."""
    try:
        os.write(2, b"clinder: Cancelled by SIGINT.\n")
    finally:
        os._exit(130)


if __name__ == "__main__":
    main()
