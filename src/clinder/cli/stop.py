"""``clinder stop``: sessions shut down and seen to be gone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from clinder._deadline import Deadline
from clinder.cli.signals import cancellation
from clinder.cli.sources import Named, forgotten, named
from clinder.cli.stderr import asking_on, say, tell
from clinder.errors import Cancelled, ClinderError


def stop(uris: Sequence[str], files: Sequence[Path], *, timeout: float, quiet: bool) -> int:
    """Stop every session that is named, even if one fails; return the first failure's code."""
    codes: list[int] = []
    found = named(uris, files)
    with cancellation("the session may run on") as cancel:
        for each in found:
            try:
                ran = _stopped(each, timeout, cancel, quiet=quiet)
            except Cancelled:
                raise
            except ClinderError as error:
                tell(error)
                codes.append(error.exit_code)
                continue
            if each.session and not quiet:
                what = "is stopped" if ran else "was already gone"
                say(f"clinder: The session at {each.session.url} {what}.")
    return codes[0] if codes else 0


def _silent(_: str) -> None:
    """Say nothing."""


def _stopped(each: Named, timeout: float, cancel: threading.Event, *, quiet: bool) -> bool:
    from clinder.running.stop import stop as stop_session

    if each.session is None:
        raise each.error or AssertionError("what names no session says why")
    try:
        unclear = _silent if quiet else asking_on(each.session.url, timeout)
        ran = stop_session(each.session, Deadline(timeout, cancel=cancel), unclear=unclear)
    except ClinderError as error:
        error.what = f"{error.what} ({each.session.url})"
        raise
    if each.file:
        forgotten(each.file)
    return ran
