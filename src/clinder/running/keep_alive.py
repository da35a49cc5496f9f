"""Keep a session alive, and notice when it is gone, while something else uses it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from clinder._deadline import Deadline
from clinder.errors import Cancelled, RequestRefused, TimedOut, TokenRefused
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Server, State, Status

_HURRY_POLL = 1.0
"""Seconds; also the shortest time between two probes."""


@dataclass(frozen=True)
class Intervals:
    """Seconds between two probes, and before each that confirms that a session is gone.

    ``unknown`` is how long its hub must not know a session before it counts as gone: a hub whose
    proxy has restarted soon knows its sessions again.
    """

    every: float = 60.0
    confirm: float = 10.0
    unknown: float = 60.0


def keep_alive_until_gone(
    session: Session,
    deadline: Deadline,
    *,
    keep_alive: float,
    timeouts: Timeouts | None = None,
    intervals: Intervals | None = None,
    hurry: threading.Event | None = None,
) -> Status | None:
    """Return the status of the session once it is gone, at least twice in a row.

    For ``keep_alive`` seconds the probes are requests that the server and the hub both count as
    activity, so neither culls the session; after that the server does not count them. Code that
    cannot reach the session sets ``hurry``, so that the next probe is sent soon. Returns ``None``
    at the deadline or if it is cancelled.
    """
    intervals = intervals or Intervals()
    server = Server(session, Transport(timeouts))
    active = deadline.capped(keep_alive)
    gone_since: float | None = None
    try:
        while True:
            _wait(deadline, intervals.every if gone_since is None else intervals.confirm, hurry)
            probe = server.keep_alive if active.remaining() else server.status
            try:
                status = probe(deadline)
            except (TokenRefused, RequestRefused):
                gone_since = None
                continue
            if status.state is not State.GONE:
                gone_since = None
            elif gone_since is None:
                gone_since = deadline.now()
            elif status.certain or deadline.now() - gone_since >= intervals.unknown:
                return status
    except (Cancelled, TimedOut):
        return None


def _wait(deadline: Deadline, seconds: float, hurry: threading.Event | None) -> None:
    """Wait for some seconds, or until there is a reason to hurry."""
    if hurry is None:
        deadline.wait(seconds)
        return
    until = deadline.now() + seconds
    while deadline.now() < until and not hurry.is_set():
        deadline.wait(min(_HURRY_POLL, until - deadline.now()))
    if hurry.is_set():
        deadline.wait(_HURRY_POLL)
        hurry.clear()
