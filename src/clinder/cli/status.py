"""``clinder status``: whether sessions are running, and since when."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clinder._deadline import Deadline
from clinder.cli.interrupts import cancellation
from clinder.cli.sources import read_sessions
from clinder.cli.streams import OutputLost, print_error, report_unclear, write
from clinder.errors import Cancelled, ClinderError
from clinder.session import Session
from clinder.timeouts import Timeouts

if TYPE_CHECKING:
    from clinder.wire.jupyter_server import Status


def status(
    arguments: Sequence[str],
    files: Sequence[Path],
    *,
    timeout: float,
    timeouts: Timeouts,
    output: str,
    hub_token: str = "",
) -> int:
    """Write the status of all sessions; return the exit code of the first failure, or 0.

    A session that is gone is a failure, too.
    """
    from clinder.running.status import session_gone
    from clinder.wire.jupyter_server import State

    codes: list[int] = []
    separator = ""
    sources = read_sessions(arguments, files, hub_token)
    with cancellation("the status of the session is unknown") as cancel:
        for source in sources:
            try:
                session = source.session
                current = _check(session, Deadline(timeout, cancel=cancel), timeout, timeouts)
                if output == "json" or current.state is State.RUNNING:
                    write(separator + _format(session, current, output))
                    separator = "" if output == "json" else "\n"
                if current.state is State.GONE:
                    message = f"The session at {session.url} is gone: {current.message}."
                    raise session_gone(message, current)
            except (Cancelled, OutputLost):
                raise
            except ClinderError as error:
                print_error(error)
                codes.append(error.exit_code)
    return codes[0] if codes else 0


def _check(session: Session, deadline: Deadline, timeout: float, timeouts: Timeouts) -> Status:
    from clinder.running.status import wait_for_status

    report = report_unclear(session.url, timeout)
    try:
        return wait_for_status(session, deadline, timeouts=timeouts, on_unclear=report)
    except ClinderError as error:
        error.message = f"{error.message} ({session.url})"
        raise


def _format(session: Session, current: Status, output: str) -> str:
    fields = {
        "url": session.url,
        "state": current.state.value,
        "kernels": current.kernels,
        "started": current.started,
        "last_activity": current.last_activity,
    }
    if output == "json":
        return json.dumps(fields) + "\n"
    return "".join(f"{name + ':':<15}{value}\n" for name, value in fields.items())
