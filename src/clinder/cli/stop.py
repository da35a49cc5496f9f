"""``clinder stop``: shut sessions down, and check that they are gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clinder._deadline import Deadline
from clinder.cli.interrupts import cancellation
from clinder.cli.session_files import remove_file
from clinder.cli.sources import Source, read_sessions
from clinder.cli.streams import print_error, print_status, report_unclear
from clinder.errors import Cancelled, ClinderError, UsageError
from clinder.timeouts import Timeouts


def stop(
    uris: Sequence[str], files: Sequence[Path], *, timeout: float, timeouts: Timeouts, quiet: bool
) -> int:
    """Stop all sessions, even if one fails; return the exit code of the first failure, or 0."""
    codes: list[int] = []
    sources = read_sessions(uris, files)
    with cancellation("the session might keep running") as cancel:
        for source in sources:
            try:
                deadline = Deadline(timeout, cancel=cancel)
                _stop(source, deadline, timeout, timeouts, quiet=quiet)
            except Cancelled:
                raise
            except ClinderError as error:
                print_error(error)
                codes.append(error.exit_code)
    return codes[0] if codes else 0


def _stop(
    source: Source, deadline: Deadline, timeout: float, timeouts: Timeouts, *, quiet: bool
) -> None:
    from clinder.running.stop import stop as stop_session

    session = source.session
    if isinstance(session, UsageError):
        raise session
    report = (lambda _: None) if quiet else report_unclear(session.url, timeout)
    try:
        stopped = stop_session(session, deadline, timeouts=timeouts, on_unclear=report)
    except ClinderError as error:
        error.message = f"{error.message} ({session.url})"
        raise
    if source.file:
        remove_file(source.file)
    if not (stopped.certain and quiet):
        print_status(f"clinder: The session at {session.url} {stopped}")
