"""Is the server usable: what is handed out must work, and its first kernel quickly."""

from __future__ import annotations

from collections.abc import Iterator

from clinder._deadline import Deadline
from clinder.errors import ServerNotReady, ServerUnreachable, TimedOut, TokenRefused
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Server, State

_AGAIN_AFTER = (1.0, 3.0)
"""Seconds before a warm-up that did not reach the server is tried again: proxies have hiccups."""


def wait_until_usable(
    session: Session, kernel: str | None, deadline: Deadline, *, timeouts: Timeouts
) -> None:
    """Return once the server answers, and a kernel of that kernelspec has.

    The kernel is removed again; what it costs once (a cold disk, caches) is paid then, where MyST
    gives its first kernel ten seconds and drops all outputs after them. ``""`` is the server's
    default kernelspec; with ``None`` no kernel is started. Raises
    :class:`~clinder.errors.ServerNotReady` where that fails or takes longer than
    ``clocks.readiness``, :class:`~clinder.errors.KernelspecMissing`, and what the deadline raises.
    """
    transport = Transport(timeouts.for_server)
    ready_by = deadline.capped(timeouts.readiness)
    words = "it did not answer in time"
    try:
        for answer in _wait_until_running(session, ready_by, transport):
            words = answer
        words = "no kernel of it answered in time"
        if kernel is not None:
            _warm_up(session, kernel, ready_by, transport)
    except TimedOut:
        deadline.raise_if_expired()
        raise ServerNotReady(f"The server was launched but never became usable: {words}.") from None


def _wait_until_running(
    session: Session, deadline: Deadline, transport: Transport
) -> Iterator[str]:
    """Ask ``api/status`` until it answers 200: the hub's proxy may need a moment.

    Yields each other answer in words.
    """
    server = Server(session, transport)
    delay = 0.1
    while True:
        try:
            status = server.status(deadline)
        except TokenRefused:
            yield "it refuses its own token"
        else:
            if status.state is State.RUNNING:
                return
            yield status.message
        deadline.wait(delay)
        delay = min(delay * 1.6, 3.0)


def _warm_up(session: Session, kernel: str, ready_by: Deadline, transport: Transport) -> None:
    """Start a kernel, await its answer and remove it; raises what is final."""
    from clinder.running.kernels import running_kernel  # with the websocket, while the hub works
    from clinder.wire.kernel_channel import KernelDied

    for delay in (*_AGAIN_AFTER, None):  # pragma: no branch - the last one returns or raises
        try:
            with running_kernel(
                session,
                kernel,
                ready_by,
                transport=transport,
                ready_within=ready_by.remaining(),
                cleanup_timeout=0.0,  # if it fails, the session is stopped anyway
            ):
                return
        except (ServerUnreachable, TokenRefused, KernelDied) as error:
            if delay is None:
                raise ServerNotReady(f"The server was launched, but no kernel: {error}") from None
            ready_by.wait(delay)
