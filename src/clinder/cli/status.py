"""``clinder status``: does a session run, and since when."""

from __future__ import annotations

import json
from pathlib import Path

from clinder._deadline import Deadline
from clinder.cli.interrupts import cancellation
from clinder.cli.sources import read_session
from clinder.cli.streams import report_unclear, write
from clinder.errors import ClinderError, SessionGone
from clinder.timeouts import Timeouts


def status(
    uri: str | None, file: Path | None, *, timeout: float, timeouts: Timeouts, output: str
) -> None:
    """Write the session's status. Raises :class:`~clinder.errors.SessionGone` where it is gone."""
    from clinder.running.status import wait_for_status
    from clinder.wire.jupyter_server import State

    session = read_session([] if uri is None else [uri], [] if file is None else [file])
    with cancellation("whether the session runs is not known") as cancel:
        deadline = Deadline(timeout, cancel=cancel)
        try:
            found = wait_for_status(
                session,
                deadline,
                timeouts=timeouts,
                on_unclear=report_unclear(session.url, timeout),
            )
        except ClinderError as error:
            error.message = f"{error.message} ({session.url})"
            raise
    told = {
        "url": session.url,
        "state": found.state.value,
        "kernels": found.kernels,
        "started": found.started,
        "last_activity": found.last_activity,
    }
    if output == "json":
        write(json.dumps(told) + "\n")
    elif found.state is State.RUNNING:
        write("".join(f"{name + ':':<15}{value}\n" for name, value in told.items()))
    if found.state is State.GONE:
        raise SessionGone(f"The session at {session.url} is gone: {found.message}.")
