"""``clinder exec``: run code in a session and show its output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clinder._deadline import Deadline
from clinder._text import strip_controls
from clinder.cli.interrupts import cancellation
from clinder.cli.sources import STDIN, names_session, read_session
from clinder.cli.streams import print_status, read_text, write
from clinder.cli.variables import read_variables
from clinder.errors import TimedOut, UsageError
from clinder.timeouts import Timeouts

if TYPE_CHECKING:
    from clinder.wire.kernel_messages import KernelError, Output


def execute(
    arguments: Sequence[str],
    files: Sequence[Path],
    *,
    session: str | None,
    code: str | None,
    kernel: str,
    timeout: float,
    timeouts: Timeouts,
    env: Sequence[str],
    env_files: Sequence[Path],
    hub_token: str = "",
) -> None:
    """Run code in a session. Raises :class:`~clinder.errors.CodeRaised` if the code raises.

    ``arguments`` name the session, the file with the code, or both in this order; ``session`` names
    the session, too, and ``files`` are session files.
    """
    sessions, code_files = _split(arguments, session, code)
    target = read_session(sessions, files, hub_token)
    source = _read_code(code_files, code)
    variables = read_variables(env, env_files, [target.url])
    from clinder.running.kernels import KernelNotRemoved
    from clinder.running.kernels import execute as execute_on

    with cancellation("the code might keep running in its session") as cancel:
        try:
            deadline = Deadline(timeout, cancel=cancel)
            execute_on(
                target,
                source,
                deadline,
                kernel=kernel,
                write=_write,
                variables=variables,
                timeouts=timeouts,
            )
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


def _split(
    arguments: Sequence[str], session: str | None, code: str | None
) -> tuple[list[str], list[str]]:
    """Return the arguments that name sessions, and those that name files with code.

    Raises :class:`~clinder.errors.UsageError` unless the code is given exactly once.
    """
    sessions = [] if session is None else [session]
    sessions += [each for each in arguments if names_session(each)]
    rest = [each for each in arguments if not names_session(each)]
    if rest[:1] == [STDIN] and not sessions and len(rest) == (2 if code is None else 1):
        sessions = [rest.pop(0)]  # the session, because it comes before the code
    if len(rest) != (code is None):
        raise UsageError(
            "Pass the code exactly once: as SCRIPT, as `-` for standard input, or with -c.",
            hint='For example: clinder exec -c "import xarray"',
        )
    if STDIN in sessions and STDIN in rest:
        raise UsageError(
            "Standard input cannot contain both the session and the code.",
            hint="Name a session file, as in @session.json, or a file with the code.",
        )
    if rest and rest[0].endswith(".ipynb"):
        raise UsageError(
            "clinder exec runs plain code, not notebooks.",
            hint="To execute a notebook: clinder run -- jupyter execute NOTEBOOK, or use MyST.",
        )
    return sessions, rest


def _read_code(files: Sequence[str], code: str | None) -> str:
    if code is not None:
        return code
    (file,) = files
    return read_text(None if file == STDIN else Path(file))


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
