"""Does a session still run."""

from __future__ import annotations

from collections.abc import Callable

from clinder._deadline import Deadline
from clinder.errors import ServerUnreachable, TimedOut
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Server, State, Status


def wait_for_status(
    session: Session,
    deadline: Deadline,
    *,
    transport: Transport | None = None,
    on_unclear: Callable[[str], None] = lambda _: None,
) -> Status:
    """Return a status that is running or gone; every other answer is asked again.

    ``unclear`` is told the first of those, in words.
    Raises :class:`~clinder.errors.TokenRefused` at once, and
    :class:`~clinder.errors.ServerUnreachable` when the deadline has come.
    """
    server = Server(session, transport or Transport(Timeouts().for_server))
    words = "it did not answer in time"
    first = True
    delay = 0.2
    try:
        while True:
            status = server.status(deadline)
            if status.state in (State.RUNNING, State.GONE):
                return status
            if first:
                on_unclear(status.message)
            first, words = False, status.message
            deadline.wait(delay)
            delay = min(delay * 1.6, 5.0)
    except TimedOut:
        raise ServerUnreachable(f"Whether the session runs is not known: {words}.") from None
