"""Keep a session alive, and notice when it is gone, while something else uses it."""

from __future__ import annotations

from dataclasses import dataclass

from clinder._deadline import Deadline
from clinder.errors import Cancelled, TimedOut, TokenRefused
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Server, State


@dataclass(frozen=True)
class Intervals:
    """Seconds between two probes, and before the one that confirms that a session is gone."""

    every: float = 60.0
    confirm: float = 10.0


def keep_alive_until_gone(
    session: Session,
    deadline: Deadline,
    *,
    keep_alive: float,
    timeouts: Timeouts | None = None,
    intervals: Intervals | None = None,
) -> str:
    """Return a message that explains how clinder found the session gone, twice in a row.

    For ``keep_alive`` seconds the probes are requests that the server and the hub both count as
    activity, so neither culls the session; after that the server does not count them. Returns
    ``""`` at the deadline or if it is cancelled.
    """
    intervals = intervals or Intervals()
    server = Server(session, Transport(timeouts))
    active = deadline.capped(keep_alive)
    was_gone = False
    try:
        while True:
            deadline.wait(intervals.confirm if was_gone else intervals.every)
            probe = server.keep_alive if active.remaining() else server.status
            try:
                status = probe(deadline)
            except TokenRefused:
                was_gone = False
                continue
            if status.state is State.GONE and was_gone:
                return status.message
            was_gone = status.state is State.GONE
    except (Cancelled, TimedOut):
        return ""
