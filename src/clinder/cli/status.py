"""``clinder status``: whether a session is running, and since when."""

from __future__ import annotations

import json
from pathlib import Path

from clinder._deadline import Deadline
from clinder.cli.interrupts import cancellation
from clinder.cli.sources import read_session
from clinder.cli.streams import report_unclear, write
from clinder.errors import ClinderError
from clinder.timeouts import Timeouts


def status(
    uri: str | None, file: Path | None, *, timeout: float, timeouts: Timeouts, output: str
) -> None:
    """Write a session's status. Raises :class:`~clinder.errors.SessionGone` if it is gone."""
    from clinder.running.status import session_gone, wait_for_status
    from clinder.wire.jupyter_server import State

    session = read_session([] if uri is None else [uri], [] if file is None else [file])
    with cancellation("the status of the session is unknown") as cancel:
        deadline = Deadline(timeout, cancel=cancel)
        report = report_unclear(session.url, timeout)
        try:
            current = wait_for_status(session, deadline, timeouts=timeouts, on_unclear=report)
        except ClinderError as error:
            error.message = f"{error.message} ({session.url})"
            raise
    fields = {
        "url": session.url,
        "state": current.state.value,
        "kernels": current.kernels,
        "started": current.started,
        "last_activity": current.last_activity,
    }
    if output == "json":
        write(json.dumps(fields) + "\n")
    elif current.state is State.RUNNING:
        write("".join(f"{name + ':':<15}{value}\n" for name, value in fields.items()))
    if current.state is State.GONE:
        raise session_gone(f"The session at {session.url} is gone: {current.message}.", current)
