"""Stopping a session until it is verifiably gone: the one implementation that all surfaces call."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from clinder._deadline import Deadline
from clinder.errors import StopFailed, TimedOut, TokenRefused
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Server, State, Status

_ABSENT_TWICE = 2
_CONFIRM_DELAY = 0.05
"""Seconds before it is made sure that a server which shut down is gone, while it just was told to:
later a proxy's hiccup is likelier."""
_FAST_DELAYS = (0.05, *[0.1] * 12)
"""Seconds between the first looks: most servers end within one or two of being told."""
_SLOWEST_DELAY = 2.0
_ASK_AGAIN = 5.0


def stop(
    session: Session,
    deadline: Deadline,
    *,
    transport: Transport | None = None,
    on_unclear: Callable[[str], None] = lambda _: None,
) -> bool:
    """Shut the session's server down and return once it is gone: whether it ran before.

    ``unclear`` is told the first answer, in words, where that says neither that it runs nor that
    it is gone.
    Gone is what :class:`~clinder.wire.jupyter_server.State` says, or, after our own shutdown was
    accepted, an absent server twice in a row. Raises :class:`~clinder.errors.TokenRefused` at
    once, :class:`~clinder.errors.StopFailed` when the deadline has come.
    """
    server = Server(session, transport or Transport(Timeouts().for_server))
    status = Status(State.UNCLEAR, "it did not answer in time")
    accepted = ran = False
    absent, asked_at, first = 0, 0.0, True
    try:
        for delay in _delays():  # pragma: no branch - they have no end
            status = server.status(deadline)
            absent = absent + 1 if status.state is State.ABSENT else 0
            if status.state is State.GONE or (accepted and absent >= _ABSENT_TWICE):
                return ran
            if first and status.state is not State.RUNNING:
                on_unclear(status.message)
            first = False
            if status.state is State.RUNNING:
                ran = True
                if not accepted or deadline.now() - asked_at > _ASK_AGAIN:
                    accepted = _shut_down(server, deadline) or accepted
                    asked_at = deadline.now()
            deadline.wait(
                _CONFIRM_DELAY if accepted and absent and delay in _FAST_DELAYS else delay
            )
    except TimedOut:
        pass
    if status.state is State.RUNNING:
        raise StopFailed("The session still runs: it did not shut down in time.")
    raise StopFailed(f"Whether the session still runs is not known: {status.message}.")


def _shut_down(server: Server, deadline: Deadline) -> bool:
    try:
        return server.shutdown(deadline)
    except TokenRefused:
        # Behind a hub this is also what a server answers that has gone since we asked.
        return False


def _delays() -> Iterator[float]:
    yield from _FAST_DELAYS
    delay = _FAST_DELAYS[-1]
    while True:
        delay = min(delay * 1.6, _SLOWEST_DELAY)
        yield delay
