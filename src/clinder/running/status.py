"""Whether a session still runs."""

from __future__ import annotations

from collections.abc import Callable

from clinder._deadline import Deadline
from clinder.errors import (
    HubTokenRefused,
    HubUnreachable,
    ServerUnreachable,
    SessionGone,
    TimedOut,
    TokenRefused,
)
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Server, State, Status

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 5.0

MIGHT_RUN = (
    "If the hub's proxy has just restarted, the session might keep running until the hub culls it."
)
"""The doubt about a session that is gone according to its hub only."""


def wait_for_status(
    session: Session,
    deadline: Deadline,
    *,
    timeouts: Timeouts | None = None,
    on_unclear: Callable[[str], None] = lambda _: None,
) -> Status:
    """Return the session's status once it is clear: running, or gone.

    Until then clinder repeats the request; ``on_unclear`` receives the first unclear response as a
    message. Raises :class:`~clinder.errors.TokenRefused` and
    :class:`~clinder.errors.RequestRefused` at once, and
    :class:`~clinder.errors.ServerUnreachable` at the deadline.
    """
    server = Server(session, Transport(timeouts))
    message = ""
    delay = _FIRST_DELAY
    try:
        while True:
            status = ask_hub(session, deadline, timeouts) or server.status(deadline)
            if status.state in (State.RUNNING, State.GONE):
                return status
            if not message:
                on_unclear(status.message)
            message = status.message
            deadline.wait(delay)
            delay = min(delay * 1.6, _LONGEST_DELAY)
    except TimedOut:
        message = message or "it did not respond in time"
        raise ServerUnreachable(f"It is unknown whether the session runs: {message}.") from None


def ask_hub(session: Session, deadline: Deadline, timeouts: Timeouts | None) -> Status | None:
    """Return the status if JupyterHub shows that the session is gone, or does not respond.

    The user can have another server at its address now.
    """
    account = session.account
    if account is None or not account.token:
        return None
    from clinder.wire.jupyterhub import HubServer, JupyterHub  # importing it takes time

    if (server := HubServer.of(session.url)) is None:
        return None
    try:
        hub = JupyterHub(server.hub, account.token, Transport(timeouts))
        known = hub.find(server, account.launch_id, deadline)
    except HubTokenRefused as error:
        raise TokenRefused(error.message, hint=error.hint) from None
    except HubUnreachable as error:
        return Status(State.UNCLEAR, error.message.rstrip("."))
    if known is None or not known.active:
        return Status(State.GONE, "its JupyterHub has stopped it")
    return None


def session_gone(message: str, status: Status) -> SessionGone:
    """Return the error for a session that is gone, with a hint that states any doubt."""
    hint = SessionGone.hint
    return SessionGone(message, hint=hint if status.certain else f"{hint} {MIGHT_RUN}")
