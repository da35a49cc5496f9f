"""A kernel of a session for as long as it is needed, and the code that runs on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

from clinder._deadline import Deadline
from clinder.errors import (
    Cancelled,
    ClinderError,
    CodeRaised,
    OutputDropped,
    ServerNotReady,
    ServerUnreachable,
    SessionGone,
    TimedOut,
    TokenRefused,
)
from clinder.session import Session
from clinder.wire.http import Transport
from clinder.wire.http_errors import TransportError
from clinder.wire.jupyter_server import Server, State
from clinder.wire.kernel_channel import KernelChannel, KernelDied, TooLarge
from clinder.wire.kernel_messages import KernelError, Output

READY_WITHIN = 180.0
"""Seconds that a kernel may take to answer: a cold machine's first one takes tens of them."""

_CLEANUP = 5.0
_CLEANUP_AT_LEAST = 1.5
_LISTED = 0.5
_RESTARTED = 0.5
_POLL = 2.0
"""Seconds between two looks at a kernel that does not answer yet."""


class KernelNotRemoved(TimedOut):
    """The time was over, and the kernel may run on: it could not be removed."""


@contextmanager
def running_kernel(
    session: Session,
    name: str,
    deadline: Deadline,
    *,
    transport: Transport,
    ready_within: float = READY_WITHIN,
    cleanup_timeout: float = _CLEANUP,
) -> Iterator[KernelChannel]:
    """Yield a kernel that has answered, of the named kernelspec (``""``: the server's default).

    It is deleted on leaving, whatever happened; what it runs then is interrupted by that. Its start
    and its end may each take ``beyond`` seconds more than the deadline, and after a cancellation
    both together, and at worst 1.5 more; where the answer to its start is lost, it is looked for,
    and deleted. Raises
    :class:`~clinder.errors.KernelspecMissing`, :class:`~clinder.errors.ServerNotReady` where the
    kernel dies at once or does not answer within so many seconds,
    :class:`~clinder.wire.kernel_channel.KernelDied` where it dies later,
    :class:`~clinder.errors.ServerUnreachable`, :class:`~clinder.errors.OutputDropped` for a message
    too large to be taken, what the deadline raises: :class:`KernelNotRemoved`
    where the kernel could not be deleted.
    """
    server = Server(session, transport)
    identity = _start(server, name, deadline, cleanup_timeout)
    died = late = False
    try:
        deadline.raise_if_expired()
        with _connect(server, identity, deadline, ready_within) as kernel:
            yield kernel
    except TooLarge:
        raise OutputDropped("The kernel sent too much in one piece.") from None
    except TransportError as error:
        raise ServerUnreachable(f"The session's kernel is unreachable: {error.message}.") from None
    except (KernelDied, ServerNotReady):
        died = True
        raise
    except TimedOut:
        late = True
        raise
    finally:
        if not _remove(server, identity, _cleanup(deadline, cleanup_timeout), died=died) and late:
            raise KernelNotRemoved("The session's server did not say that it removed the kernel.")


def _start(server: Server, name: str, deadline: Deadline, cleanup_timeout: float) -> str:
    """Start a kernel; whoever cancels, or the end of the time, waits a little for its id."""
    kernelspec = server.kernelspec(name, deadline)
    label = f"clinder-{uuid4()}"
    starting = deadline.extended(cleanup_timeout)
    starting.grace = cleanup_timeout
    deadline.raise_if_expired()
    try:
        return server.start_kernel(kernelspec, label, starting)
    except (Cancelled, ServerUnreachable, TimedOut) as error:
        gone = _remove_unanswered(server, label, _cleanup(deadline, cleanup_timeout))
        if not gone and isinstance(error, TimedOut):
            what = "The session's server did not say which kernel it started."
            raise KernelNotRemoved(what) from None
        raise


def _cleanup(deadline: Deadline, cleanup_timeout: float) -> Deadline:
    """Return the deadline for removing a kernel; what a cancellation took already is not had."""
    seconds = max(_CLEANUP_AT_LEAST, (cleanup_timeout or _CLEANUP) - deadline.cancelled_for)
    return deadline.uncancelled(seconds) if cleanup_timeout else deadline.capped(seconds)


def _remove_unanswered(server: Server, label: str, deadline: Deadline) -> bool:
    """Delete the kernel whose start was not answered, once the server lists it; return whether.

    It may have started none: then nothing comes of it within the time.
    """
    with suppress(ClinderError, TransportError):
        while not (identity := server.find_kernel(label, deadline)):
            deadline.wait(_LISTED)
        return server.delete_kernel(identity, deadline)
    return False


def _connect(server: Server, kernel_id: str, deadline: Deadline, seconds: float) -> KernelChannel:
    ready_by = deadline.capped(seconds)
    try:
        kernel = KernelChannel(
            server.session,
            kernel_id,
            deadline=ready_by,
            timeouts=server.transport.timeouts,
            poll=_watch(server, kernel_id, ready_by),
        )
        try:
            kernel.wait_until_ready(ready_by)
        except BaseException:
            kernel.close()
            raise
    except TimedOut:
        deadline.raise_if_expired()
        what = f"it did not answer within {seconds:g} s"
    except KernelDied as error:
        what = error.message
    else:
        return kernel
    raise ServerNotReady(
        f"The kernel cannot be used: {what}.",
        hint="The image's environment is broken for this kernel: try it in a browser.",
    )


def _watch(server: Server, kernel_id: str, deadline: Deadline) -> Callable[[], None]:
    """Return what looks at the kernel now and then, and raises ``KernelDied`` once it is dead.

    A server lets go of the websocket of a dead kernel only after a minute.
    """
    looked = deadline.now()

    def watch() -> None:
        nonlocal looked
        if deadline.now() - looked < _POLL:
            return
        if server.kernel_is_dead(kernel_id, deadline):
            raise KernelDied("the kernel died while it started")
        looked = deadline.now()

    return watch


def _remove(server: Server, kernel_id: str, deadline: Deadline, *, died: bool) -> bool:
    """Delete the kernel and return whether it is gone.

    One that died is deleted again a little later: while it restarts, nobody can.
    """
    with suppress(ClinderError, TransportError):
        gone = server.delete_kernel(kernel_id, deadline)
        if died:
            deadline.wait(_RESTARTED)
            gone = server.delete_kernel(kernel_id, deadline)
        return gone
    return False


def execute(
    session: Session,
    code: str,
    deadline: Deadline,
    *,
    kernel: str = "",
    write: Callable[[Output | KernelError], None],
    transport: Transport,
) -> None:
    """Run code on a kernel of its own and pass on what it prints, as it comes.

    Raises :class:`~clinder.errors.CodeRaised` where the code raises or its kernel dies,
    :class:`~clinder.errors.OutputDropped` where the server kept some of it back,
    :class:`~clinder.errors.SessionGone` where the session is found gone, and what
    :func:`running_kernel` raises.
    """
    raised: KernelError | None = None
    dropped = False
    try:
        with running_kernel(session, kernel, deadline, transport=transport) as running:
            for output in running.execute(code, deadline):
                write(output)
                if isinstance(output, Output):
                    dropped = dropped or output.reports_dropped_output
                elif not output.is_clean_exit:
                    raised = output
    except KernelDied as error:
        raise CodeRaised(
            f"The session's code did not end: {error.message}.",
            hint="It may have used more memory than the session has.",
        ) from None
    except (ServerUnreachable, TokenRefused):
        raise_if_gone(session, deadline, transport=transport)
        raise
    if raised is not None:
        raise CodeRaised(f"The code raised {raised.name} on the session.")
    if dropped:
        raise OutputDropped("The session's server dropped a part of the output, as it says above.")


def raise_if_gone(session: Session, deadline: Deadline, *, transport: Transport) -> None:
    """Raise :class:`~clinder.errors.SessionGone` if one look at the server says so."""
    status = Server(session, transport).status(deadline)
    if status.state is State.GONE:
        raise SessionGone(f"The session is gone: {status.message}.")
