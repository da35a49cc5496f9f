"""A session kept alive and watched while something else uses it."""

from __future__ import annotations

from dataclasses import dataclass

from clinder._deadline import Deadline
from clinder.errors import Cancelled, TimedOut, TokenRefused
from clinder.session import Session
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Server, State


@dataclass(frozen=True)
class Intervals:
    """Seconds between two signs of activity, and between the two looks that make sure."""

    every: float = 60.0
    again: float = 10.0


def keep_alive_until_gone(
    session: Session,
    deadline: Deadline,
    *,
    keep_alive: float,
    transport: Transport,
    intervals: Intervals | None = None,
) -> str:
    """Return, once the session is found gone twice, how that was seen.

    For ``keep_alive`` seconds the look is a request that the server's own culler and the hub's
    both count as activity, after that one that the server's does not count. Returns ``""`` when
    the deadline has come or was cancelled.
    """
    intervals = intervals or Intervals()
    server = Server(session, transport)
    active = deadline.capped(keep_alive)
    before = False
    try:
        while True:
            deadline.wait(intervals.again if before else intervals.every)
            try:
                look = server.keep_alive if active.remaining() else server.status
                status = look(deadline)
            except TokenRefused:
                before = False
                continue
            if status.state is State.GONE and before:
                return status.message
            before = status.state is State.GONE
    except (Cancelled, TimedOut):
        return ""
