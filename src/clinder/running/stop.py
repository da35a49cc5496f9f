"""Stop a session and verify that it is gone: the only implementation, for every surface."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clinder._deadline import Deadline
from clinder.errors import (
    Cancelled,
    HubTokenRefused,
    HubUnreachable,
    RequestRefused,
    StopFailed,
    TimedOut,
    TokenRefused,
)
from clinder.running.status import MIGHT_RUN
from clinder.session import Account, Session, hub_token_missing
from clinder.timeouts import Timeouts
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Server, State, Status

if TYPE_CHECKING:  # only sessions under an account need it, and importing it takes time
    from clinder.wire.jupyterhub import HubServer, JupyterHub

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
    ``ending``: its JupyterHub has accepted to stop it, and is still doing so.
    """

    ran: bool
    certain: bool = True
    ending: bool = False

    def __str__(self) -> str:
        """Return the outcome as a sentence about the session, without its subject."""
        if not self.certain:
            return f"is gone: the hub does not know it. {MIGHT_RUN}"
        if self.ending:
            return "is being stopped by its hub."
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
    server refuses to shut down, and :class:`~clinder.errors.StopFailed` at the deadline. A session
    under a user's account is stopped by its JupyterHub.
    """
    if session.account:
        return _stop_at_hub(session, session.account, deadline, timeouts, on_unclear)
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


def _stop_at_hub(
    session: Session,
    account: Account,
    deadline: Deadline,
    timeouts: Timeouts | None,
    on_unclear: Callable[[str], None],
) -> Stopped:
    """Have JupyterHub stop the session's server, and remove it if it has a name.

    The user can have started another server at the same address since. It is left alone.
    """
    from clinder.wire.jupyterhub import HubServer, JupyterHub

    server = HubServer.of(session.url)
    if server is None:
        raise StopFailed("The session's URL is not that of a server at a JupyterHub.")
    if not account.token:
        raise hub_token_missing()
    ran = stopping = False
    problem, requested_at = "the JupyterHub did not respond in time", -math.inf
    try:
        for delay in _delays():  # pragma: no branch - it is endless
            # A transport of its own, because cookies could replace the token.
            hub = JupyterHub(server.hub, account.token, Transport(timeouts))
            try:
                known = hub.find(server, account.launch_id, deadline)
                problem, stopping = "", known is not None and known.stopping
                if known is None or not (known.active or known.name):
                    _revoke_token(hub, server, account, deadline)
                    return Stopped(ran)
                ran = ran or known.active
                if deadline.now() - requested_at > _REPEAT_SHUTDOWN:
                    requested_at = deadline.now()
                    _end_server(hub, server, session, deadline)
            except HubTokenRefused as error:
                raise TokenRefused(error.message, hint=error.hint) from None
            except HubUnreachable as error:
                problem = error.message.rstrip(".")
                on_unclear(problem)
                on_unclear = _ignore
            deadline.wait(delay)
    except TimedOut:
        pass
    if stopping:
        return Stopped(ran, ending=True)
    if not problem:
        raise StopFailed("The session still runs: it did not shut down in time.")
    raise StopFailed(f"It is unknown whether the session still runs: {problem}.")


def _end_server(hub: JupyterHub, server: HubServer, session: Session, deadline: Deadline) -> None:
    """Have JupyterHub stop the server or, if the token does not permit that, the server itself."""
    try:
        hub.stop_server(server, deadline)
    except HubTokenRefused:
        with suppress(RequestRefused, TokenRefused):
            if Server(session, hub.transport).shutdown(deadline):
                return
        raise


def _revoke_token(hub: JupyterHub, server: HubServer, account: Account, deadline: Deadline) -> None:
    """Revoke the session's token, which would otherwise open the user's next server there."""
    if account.token_id:
        with suppress(HubTokenRefused, HubUnreachable, TimedOut, Cancelled):
            hub.revoke_token(server, account.token_id, deadline)


def _ignore(_: str) -> None:
    """Do nothing."""


def _delays() -> Iterator[float]:
    yield from _FAST_DELAYS
    delay = _FAST_DELAYS[-1]
    while True:
        delay = min(delay * 1.6, _LONGEST_DELAY)
        yield delay
