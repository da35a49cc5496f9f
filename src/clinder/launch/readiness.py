"""Wait until a launched server responds and, in the warm-up, its first kernel."""

from __future__ import annotations

from collections.abc import Iterator

from clinder._deadline import Deadline
from clinder.errors import (
    RequestRefused,
    ServerNotReady,
    ServerUnreachable,
    TimedOut,
    TokenRefused,
)
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Server, State

_WARM_UP_DELAYS = (1.0, 3.0)
"""Seconds before each retry of a warm-up that failed, because proxies have brief failures."""


def wait_until_usable(
    session: Session, kernel: str | None, deadline: Deadline, *, timeouts: Timeouts
) -> None:
    """Return once the server and a first kernel of the kernelspec ``kernel`` respond.

    The first kernel is slow because the disk and the caches are cold, but MyST waits for a kernel
    only ten seconds, and drops all outputs if it takes longer. ``""`` is the server's default
    kernelspec; ``None`` starts no kernel. The kernel is removed again.

    Raises :class:`~clinder.errors.ServerNotReady` if this fails or takes longer than
    ``timeouts.readiness``, :class:`~clinder.errors.KernelspecMissing`, and the deadline's errors.
    """
    readiness_deadline = deadline.capped(timeouts.readiness)
    reason = "it did not respond in time"
    try:
        for answer in _wait_until_running(session, readiness_deadline, timeouts):
            reason = answer
        reason = "its first kernel did not respond in time"
        if kernel is not None:
            _warm_up(session, kernel, readiness_deadline, timeouts)
    except TimedOut:
        deadline.raise_if_expired()
        message = f"The server was launched but never became usable: {reason}."
        raise ServerNotReady(message) from None


def _wait_until_running(session: Session, deadline: Deadline, timeouts: Timeouts) -> Iterator[str]:
    """Poll ``api/status`` until it responds with 200, because the hub's proxy might need a moment.

    Yields a description of every other response.
    """
    server = Server(session, Transport(timeouts))
    delay = 0.1
    while True:
        try:
            status = server.status(deadline)
        except TokenRefused:
            yield "it rejects its own token"
        except RequestRefused as error:
            message = f"The server was launched but never became usable: {error}"
            raise ServerNotReady(message, hint=error.hint) from None
        else:
            if status.state is State.RUNNING:
                return
            yield status.message
        deadline.wait(delay)
        delay = min(delay * 1.6, 3.0)


def _warm_up(session: Session, kernel: str, deadline: Deadline, timeouts: Timeouts) -> None:
    from clinder.running.kernels import running_kernel  # imported while the hub works
    from clinder.wire.kernel_channel import KernelDied

    for delay in (*_WARM_UP_DELAYS, None):  # pragma: no branch - the last one returns or raises
        try:
            with running_kernel(
                session,
                kernel,
                deadline,
                timeouts=timeouts,
                ready_timeout=deadline.remaining(),
                cleanup_timeout=0.0,  # if removing it fails, the session is stopped anyway
            ):
                return
        except (ServerUnreachable, TokenRefused, RequestRefused, KernelDied) as error:
            if delay is None:
                message = f"The server was launched, but the warm-up failed: {error}"
                hint = error.hint if isinstance(error, RequestRefused) else None
                raise ServerNotReady(message, hint=hint) from None
            deadline.wait(delay)
