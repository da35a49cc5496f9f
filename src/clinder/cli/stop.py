"""``clinder stop``: shut sessions down, and check that they are gone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from clinder._deadline import Deadline
from clinder.cli.interrupts import cancellation
from clinder.cli.kernels import end_bridges
from clinder.cli.session_files import remove_file, stop_command
from clinder.cli.sources import Source, read_sessions
from clinder.cli.streams import print_error, print_status, report_unclear
from clinder.errors import Cancelled, ClinderError, UsageError
from clinder.timeouts import Timeouts


def stop(
    arguments: Sequence[str],
    files: Sequence[Path],
    *,
    timeout: float,
    timeouts: Timeouts,
    quiet: bool,
    hub_token: str = "",
) -> int:
    """Stop all sessions, even if one fails; return the exit code of the first failure, or 0."""
    codes: list[int] = []
    sources = read_sessions(arguments, files, hub_token)
    with cancellation("the session might keep running") as cancel:
        for number, source in enumerate(sources):
            try:
                deadline = Deadline(timeout, cancel=cancel)
                _stop(source, deadline, timeout, timeouts, quiet=quiet)
            except Cancelled as error:
                error.hint = how_to_continue(sources[number:])
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
    report = report_unclear(session.url, timeout, quiet=quiet)
    try:
        stopped = stop_session(session, deadline, timeouts=timeouts, on_unclear=report)
    except ClinderError as error:
        error.message = f"{error.message} ({session.url})"
        raise
    end_bridges(session, os.environ, deadline)
    if source.file:
        remove_file(source.file)
    if not (stopped.certain and quiet):
        print_status(f"clinder: The session at {session.url} {stopped}")


def how_to_continue(sources: Sequence[Source]) -> str:
    """Return which sessions might still be running after a cancellation, and how to stop them."""
    remaining = [each for each in sources if not isinstance(each.outcome, UsageError)]
    urls = [each.session.url for each in remaining]
    files = [each.file for each in remaining if each.file]
    can_name = len(files) == len(urls) and not any(each.session.account for each in remaining)
    command = f"`{stop_command(*files)}`" if can_name else "the same command again"
    subject, them = ("The session", "it") if len(urls) == 1 else ("The sessions", "them")
    return (
        f"{subject} at {' and '.join(urls)} might still be running. To stop {them}, run {command}."
    )
