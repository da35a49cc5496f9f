"""``clinder exec``: run code in a session and show its output."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from clinder._deadline import Deadline
from clinder._text import strip_controls
from clinder.cli.interrupts import cancellation
from clinder.cli.sources import STDIN, read_environ, read_session
from clinder.cli.streams import print_status, read_text, write
from clinder.errors import TimedOut, UsageError
from clinder.session import Session
from clinder.timeouts import Timeouts

if TYPE_CHECKING:
    from clinder.wire.kernel_messages import KernelError, Output


def execute(
    file: str | None,
    code: str | None,
    *,
    session: str | None,
    kernel: str,
    timeout: float,
    timeouts: Timeouts,
) -> None:
    """Run code in a session. Raises :class:`~clinder.errors.CodeRaised` if the code raises."""
    target = _read_session(session)
    source = _read_code(file, code)
    from clinder.running.kernels import KernelNotRemoved
    from clinder.running.kernels import execute as execute_on

    with cancellation("the code might keep running in its session") as cancel:
        try:
            deadline = Deadline(timeout, cancel=cancel)
            execute_on(target, source, deadline, kernel=kernel, write=_write, timeouts=timeouts)
        except KernelNotRemoved:
            raise TimedOut(
                f"The code did not end within {timeout:g} s. Its kernel might still be running,"
                " because the session's server did not respond.",
                hint="`clinder stop` stops the session and everything that runs in it.",
            ) from None
        except TimedOut:
            raise TimedOut(
                f"The code did not end within {timeout:g} s, so clinder shut its kernel down.",
                hint="Allow more time with --timeout SECONDS.",
            ) from None


def _read_session(text: str | None) -> Session:
    if text is None:
        return read_environ(hint="Use --session @FILE, or --session - for standard input.")
    if text.startswith("@"):
        return read_session([], [Path(text[1:])])
    return read_session([text], [])


def _read_code(file: str | None, code: str | None) -> str:
    if (file is None) == (code is None):
        raise UsageError(
            "Pass the code exactly once: as FILE, as `-` for standard input, or with -c.",
            hint='For example: clinder exec -c "import xarray"',
        )
    if code is not None:
        return code
    if str(file).endswith(".ipynb"):
        raise UsageError(
            "clinder exec runs plain code, not notebooks.",
            hint="To execute notebooks, use MyST: clinder run -- myst build --execute",
        )
    return read_text(None if file == STDIN else Path(str(file)))


def _write(output: Output | KernelError) -> None:
    """Write output unchanged, except for control characters on a terminal."""
    from clinder.wire.kernel_messages import KernelError

    if isinstance(output, KernelError):
        if output.is_clean_exit:
            return
        for line in "\n".join(output.traceback).split("\n"):
            print_status(strip_controls(line))
        return
    stream = sys.stderr if output.stream == "stderr" else sys.stdout
    if stream is not None or output.stream != "stderr":  # a closed stderr is intended
        write(strip_controls(output.text) if _is_terminal(stream) else output.text, stream)


def _is_terminal(stream: object) -> bool:
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())
