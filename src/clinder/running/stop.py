"""Stop a session and verify that it is gone: the only implementation, for every surface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clinder._deadline import Deadline
from clinder.errors import RequestRefused, StopFailed, TimedOut
from clinder.running.status import MIGHT_RUN
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Server, State, Status

_CONFIRMED_ABSENT = 2
_CONFIRM_DELAY = 0.05
"""Seconds until the second check of a server that was absent right after the shutdown. If it was
absent later, its proxy might only have failed, so the usual delay applies."""
_FAST_DELAYS = (0.05, *[0.1] * 12)
"""Most servers end within one or two seconds of the shutdown."""
_LONGEST_DELAY = 2.0
_REPEAT_SHUTDOWN = 5.0
_REFUSALS = 2
"""How often a server that runs must refuse the shutdown. The first refusal can be the hub's, if the
server has just ended, or if the proxy has lost its route for a moment."""


@dataclass(frozen=True)
class Stopped:
    """A session that is gone: whether it ran before, and whether it is certain that it is gone.

    It is not certain if the hub does not know the session, and no server accepted the shutdown.
    """

    ran: bool
    certain: bool = True

    def __str__(self) -> str:
        """Return the outcome as a sentence about the session, without its subject."""
        if not self.certain:
            return f"is gone: the hub does not know it. {MIGHT_RUN}"
        return "is stopped." if self.ran else "was already gone."


def stop(
    session: Session,
    deadline: Deadline,
    *,
    timeouts: Timeouts | None = None,
    on_unclear: Callable[[str], None] = lambda _: None,
) -> Stopped:
    """Shut the session's server down and return once it is gone.

    A server is gone if its response proves it (:class:`~clinder.wire.jupyter_server.State`), or if
    it accepted the shutdown and was absent twice in a row. If the first response shows neither
    that the session runs nor that it is gone, ``on_unclear`` receives it as a message. Raises
    :class:`~clinder.errors.TokenRefused` at once, :class:`~clinder.errors.RequestRefused` if the
    server refuses to shut down, and :class:`~clinder.errors.StopFailed` at the deadline.
    """
    server = Server(session, Transport(timeouts))
    status = Status(State.UNCLEAR, "it did not respond in time")
    accepted = ran = False
    absent, requested_at, first = 0, 0.0, True
    refusals = 0
    try:
        for delay in _delays():  # pragma: no branch - it is endless
            status = server.status(deadline)
            absent = absent + 1 if status.state is State.ABSENT else 0
            if status.state is State.GONE or (accepted and absent >= _CONFIRMED_ABSENT):
                return Stopped(ran, certain=accepted or status.certain)
            if first and status.state is not State.RUNNING:
                on_unclear(status.message)
            first = False
            if status.state is State.RUNNING:
                ran = True
                if not accepted or deadline.now() - requested_at > _REPEAT_SHUTDOWN:
                    requested_at = deadline.now()
                    try:
                        accepted = server.shutdown(deadline) or accepted
                    except RequestRefused:
                        refusals += 1
                        if refusals == _REFUSALS:
                            raise
            is_fast = delay in _FAST_DELAYS
            deadline.wait(_CONFIRM_DELAY if accepted and absent and is_fast else delay)
    except TimedOut:
        pass
    if status.state is State.RUNNING:
        raise StopFailed("The session still runs: it did not shut down in time.")
    raise StopFailed(f"It is unknown whether the session still runs: {status.message}.")


def _delays() -> Iterator[float]:
    yield from _FAST_DELAYS
    delay = _FAST_DELAYS[-1]
    while True:
        delay = min(delay * 1.6, _LONGEST_DELAY)
        yield delay
