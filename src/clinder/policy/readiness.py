"""Is the server usable: what is handed out must work."""

from __future__ import annotations

from clinder.deadline import Deadline
from clinder.errors import ServerNotReady, TimedOut, TokenRefused
from clinder.session import Session
from clinder.wire.jupyter import Server, State
from clinder.wire.transport import Transport

TIMEOUT = 120.0
"""Seconds that a server may take from ``ready`` until it answers."""


def wait_until_usable(
    session: Session, deadline: Deadline, *, transport: Transport, timeout: float = TIMEOUT
) -> None:
    """Return once the server answers ``api/status`` with the session's token.

    The hub's proxy may need a moment after ``ready``, so every other answer is asked again.
    Raises :class:`~clinder.errors.ServerNotReady` after ``timeout`` seconds, and what the
    deadline raises.
    """
    server = Server(session, transport)
    ready_by = deadline.sooner(timeout)
    words = "it was not asked yet"
    delay = 0.1
    try:
        while True:
            try:
                status = server.status(ready_by)
            except TokenRefused:
                words = "it refuses its own token"
            else:
                if status.state is State.RUNNING:
                    return
                words = status.words
            ready_by.wait(delay)
            delay = min(delay * 1.6, 3.0)
    except TimedOut:
        deadline.check()
        raise ServerNotReady(f"The server was launched but never became usable: {words}.") from None
