"""``clinder stop``: sessions shut down and seen to be gone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from clinder._deadline import Deadline
from clinder.cli.interrupts import cancellation
from clinder.cli.session_files import remove_file
from clinder.cli.sources import Source, read_sessions
from clinder.cli.streams import print_error, print_status, report_unclear
from clinder.errors import Cancelled, ClinderError
from clinder.timeouts import Timeouts


def stop(
    uris: Sequence[str], files: Sequence[Path], *, timeout: float, timeouts: Timeouts, quiet: bool
) -> int:
    """Stop every session that is named, even if one fails; return the first failure's code."""
    codes: list[int] = []
    found = read_sessions(uris, files)
    with cancellation("the session may run on") as cancel:
        for each in found:
            try:
                ran = _stop(each, timeout, timeouts, cancel, quiet=quiet)
            except Cancelled:
                raise
            except ClinderError as error:
                print_error(error)
                codes.append(error.exit_code)
                continue
            if each.session and not quiet:
                what = "is stopped" if ran else "was already gone"
                print_status(f"clinder: The session at {each.session.url} {what}.")
    return codes[0] if codes else 0


def _no_report(_: str) -> None:
    """Say nothing."""


def _stop(
    each: Source, timeout: float, timeouts: Timeouts, cancel: threading.Event, *, quiet: bool
) -> bool:
    from clinder.running.stop import stop as stop_session

    if each.session is None:
        raise each.error or AssertionError("what names no session says why")
    try:
        unclear = _no_report if quiet else report_unclear(each.session.url, timeout)
        deadline = Deadline(timeout, cancel=cancel)
        ran = stop_session(each.session, deadline, timeouts=timeouts, on_unclear=unclear)
    except ClinderError as error:
        error.message = f"{error.message} ({each.session.url})"
        raise
    if each.file:
        remove_file(each.file)
    return ran
