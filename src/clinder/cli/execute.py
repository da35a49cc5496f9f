"""``clinder exec``: code on a kernel of a session, its output here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from clinder._deadline import Deadline
from clinder._text import strip_controls
from clinder.cli.interrupts import cancellation
from clinder.cli.sources import STDIN, read_environment, read_session, read_standard_input
from clinder.cli.streams import print_status, write
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
    """Run code on the session. Raises :class:`~clinder.errors.CodeRaised` where the code does."""
    named = _session(session)
    source = _code(file, code)
    from clinder.running.kernels import KernelNotRemoved
    from clinder.running.kernels import execute as execute_on

    with cancellation("the code may run on in its session") as cancel:
        try:
            execute_on(
                named,
                source,
                Deadline(timeout, cancel=cancel),
                kernel=kernel,
                write=_write,
                timeouts=timeouts,
            )
        except KernelNotRemoved:
            raise TimedOut(
                f"The code did not end within {timeout:g} s, and its kernel may still run: "
                "the session's server did not answer.",
                hint="`clinder stop` ends the session and what runs on it.",
            ) from None
        except TimedOut:
            raise TimedOut(
                f"The code did not end within {timeout:g} s, so its kernel was removed.",
                hint="Give it longer with --timeout SECONDS.",
            ) from None


def _session(given: str | None) -> Session:
    if given is None:
        return read_environment(hint="Name a session: --session @FILE, or --session - for stdin.")
    return (
        read_session([], [Path(given[1:])]) if given.startswith("@") else read_session([given], [])
    )


def _code(file: str | None, code: str | None) -> str:
    if (file is None) == (code is None):
        raise UsageError(
            "Give the code once: as FILE, as `-` for standard input, or with -c.",
            hint='For example: clinder exec -c "import xarray"',
        )
    if code is not None:
        return code
    if file == STDIN:
        return read_standard_input()
    if str(file).endswith(".ipynb"):
        raise UsageError(
            "clinder exec runs plain code, not notebooks.",
            hint="Notebooks are executed by MyST: clinder run -- myst build --execute",
        )
    try:
        return Path(str(file)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"The file {file} cannot be read: {reason}.") from None


def _write(output: Output | KernelError) -> None:
    """Write what came: as it is into a pipe, on a terminal without what could take it over."""
    from clinder.wire.kernel_messages import KernelError

    if isinstance(output, KernelError):
        if output.is_clean_exit:
            return
        for line in "\n".join(output.traceback).split("\n"):
            print_status(strip_controls(line))
        return
    stream = sys.stderr if output.stream == "stderr" else sys.stdout
    if stream is not None or output.stream != "stderr":  # who closed stderr does not want it
        write(strip_controls(output.text) if _is_terminal(stream) else output.text, stream)


def _is_terminal(stream: object) -> bool:
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())
