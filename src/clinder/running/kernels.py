"""A session's kernel, for as long as it is needed, and the code that runs on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

from clinder import errors
from clinder._deadline import Deadline
from clinder.running.status import ask_hub, session_gone
from clinder.running.variables import NotSet, Variables, set_variables
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.http import Transport
from clinder.wire.http_errors import TransportError
from clinder.wire.jupyter_server import Server, State
from clinder.wire.kernel_channel import KernelChannel, KernelDied, TooLarge
from clinder.wire.kernel_messages import KernelError, Output

READY_TIMEOUT = 180.0
"""Time limit for a kernel to respond, in seconds: the first one on a cold machine takes 30 s."""

_CLEANUP_TIMEOUT = 5.0
_SHORTEST_CLEANUP = 1.5
_LIST_DELAY = 0.5
_RESTART_DELAY = 0.5
_CHECK_INTERVAL = 2.0
_RESET = 60.0
"""A websocket that breaks after this many seconds was reset because the kernel was silent."""


class KernelNotRemoved(errors.TimedOut):
    """The time limit was reached, and the kernel could not be deleted: it might still run."""

    hint = "`clinder stop` stops the session and everything that runs in it."


@contextmanager
def running_kernel(
    session: Session,
    name: str,
    deadline: Deadline,
    *,
    timeouts: Timeouts | None = None,
    ready_timeout: float = READY_TIMEOUT,
    cleanup_timeout: float = _CLEANUP_TIMEOUT,
    variables: Variables | None = None,
) -> Iterator[KernelChannel]:
    """Yield a kernel of the named kernelspec, once it responds (``""``: the server's default).

    The kernel has the ``variables``. It is deleted on leaving the context, which interrupts any
    code that it runs. If the response to its start is lost, clinder searches for it and deletes it.
    Starting and deleting the kernel can each overrun the deadline by ``cleanup_timeout`` seconds.
    After a cancellation they share that allowance, plus at most 1.5 s.

    Raises :class:`~clinder.errors.KernelspecMissing`, :class:`~clinder.errors.ServerNotReady` if
    the kernel dies while it starts or does not respond within ``ready_timeout`` seconds,
    :class:`~clinder.wire.kernel_channel.KernelDied` if it dies later,
    :class:`~clinder.errors.ServerUnreachable`, :class:`~clinder.errors.OutputDropped` for a message
    that is too large, and what the deadline raises: :class:`KernelNotRemoved` if the kernel could
    not be deleted.
    """
    server = Server(session, Transport(timeouts))
    kernel_id = _start(server, name, deadline, cleanup_timeout)
    died = timed_out = False
    try:
        deadline.raise_if_expired()
        with connect_kernel(server, kernel_id, deadline, ready_timeout) as kernel:
            if variables:
                set_variables(kernel, variables, deadline)
            yield kernel
    except TooLarge:
        raise errors.OutputDropped("The kernel sent a message that is too large.") from None
    except TransportError as error:
        message = f"The session's kernel is unreachable: {error.message}."
        raise errors.ServerUnreachable(message) from None
    except NotSet as error:
        hint = "Omit the variables, or use a kernel for Python, R or Julia."
        raise errors.CodeRaised(error.message, hint=hint) from None
    except (KernelDied, errors.ServerNotReady):
        died = True
        raise
    except errors.TimedOut:
        timed_out = True
        raise
    finally:
        removed = _remove(server, kernel_id, _cleanup(deadline, cleanup_timeout), died=died)
        if timed_out and not removed:
            message = "The session's server did not confirm that it removed the kernel."
            raise KernelNotRemoved(message)


def _start(server: Server, name: str, deadline: Deadline, cleanup_timeout: float) -> str:
    """Start a kernel and return its id; after a cancellation, wait a little for the id."""
    kernelspec = server.kernelspec(name, deadline)
    label = f"clinder-{uuid4()}"
    deadline.raise_if_expired()
    starting = deadline.extended(cleanup_timeout)
    starting.grace = cleanup_timeout
    try:
        return server.start_kernel(kernelspec, label, starting)
    except (errors.Cancelled, errors.ServerUnreachable, errors.TimedOut) as error:
        removed = _remove_by_label(server, label, _cleanup(deadline, cleanup_timeout))
        if isinstance(error, errors.TimedOut) and not removed:
            message = "The session's server did not report which kernel it started."
            raise KernelNotRemoved(message) from None
        raise


def _cleanup(deadline: Deadline, cleanup_timeout: float) -> Deadline:
    """Return the deadline for deleting a kernel, which deducts the time since a cancellation."""
    if not cleanup_timeout:
        return deadline.capped(_CLEANUP_TIMEOUT)
    cleanup = deadline.extended(cleanup_timeout)
    cleanup.grace = max(cleanup_timeout, deadline.cancelled_for + _SHORTEST_CLEANUP)
    return cleanup


def _remove_by_label(server: Server, label: str, deadline: Deadline) -> bool:
    """Delete the kernel with this label once the server lists it; return whether it did.

    If the server has started none, it never lists one, and this ends with the deadline.
    """
    with suppress(errors.ClinderError, TransportError):
        while not (kernel_id := server.find_kernel(label, deadline)):
            deadline.wait(_LIST_DELAY)
        return server.delete_kernel(kernel_id, deadline)
    return False


def connect_kernel(
    server: Server,
    kernel_id: str,
    deadline: Deadline,
    ready_timeout: float,
    *,
    is_given_up: Callable[[], bool] = lambda: False,
) -> KernelChannel:
    """Return the websocket of a kernel that was just started, once the kernel responds.

    A server resets a silent kernel's websocket after two minutes (``nudge`` in Jupyter Server), so
    it is opened again until ``ready_timeout`` seconds have passed or ``is_given_up`` returns true.
    Raises :class:`~clinder.errors.ServerNotReady`,
    :class:`~clinder.wire.http_errors.TransportError` and the deadline's errors.
    """
    ready_by = deadline.capped(ready_timeout)
    while True:
        began = deadline.now()
        try:
            return _open_kernel(server, kernel_id, ready_by)
        except errors.TimedOut:
            deadline.raise_if_expired()
            reason = f"it did not respond within {ready_timeout:g} s"
        except KernelDied as error:
            reason = error.message
        except TransportError as error:
            if isinstance(error, TooLarge) or is_given_up() or deadline.now() - began < _RESET:
                raise
            continue
        raise errors.ServerNotReady(
            f"The kernel cannot be used: {reason}.",
            hint="The image's environment is broken for this kernel: try it in a browser.",
        )


def _open_kernel(server: Server, kernel_id: str, ready_by: Deadline) -> KernelChannel:
    kernel = KernelChannel(
        server.session,
        kernel_id,
        deadline=ready_by,
        timeouts=server.transport.timeouts,
        poll=_death_check(server, kernel_id, ready_by),
    )
    try:
        kernel.wait_until_ready(ready_by)
    except BaseException:
        kernel.close()
        raise
    return kernel


def _death_check(server: Server, kernel_id: str, deadline: Deadline) -> Callable[[], None]:
    """Return a function that raises ``KernelDied`` if the kernel is dead; it checks every 2 s.

    The websocket does not show it: a server closes a dead kernel's websocket only after a minute.
    """
    checked_at = deadline.now()

    def check() -> None:
        nonlocal checked_at
        if deadline.now() - checked_at < _CHECK_INTERVAL:
            return
        if server.kernel_is_dead(kernel_id, deadline):
            raise KernelDied("the kernel died while it started")
        checked_at = deadline.now()

    return check


def _remove(server: Server, kernel_id: str, deadline: Deadline, *, died: bool) -> bool:
    """Delete the kernel and return whether it is gone.

    A server cannot delete a kernel while it restarts it, so one that died is deleted twice.
    """
    with suppress(errors.ClinderError, TransportError):
        removed = server.delete_kernel(kernel_id, deadline)
        if died:
            deadline.wait(_RESTART_DELAY)
            removed = server.delete_kernel(kernel_id, deadline)
        return removed
    return False


def execute(
    session: Session,
    code: str,
    deadline: Deadline,
    *,
    kernel: str = "",
    write: Callable[[Output | KernelError], None],
    variables: Variables | None = None,
    timeouts: Timeouts | None = None,
) -> None:
    """Run code on a kernel of its own, with the variables, and pass on its output as it arrives.

    Raises :class:`~clinder.errors.CodeRaised` if the code raises or its kernel dies,
    :class:`~clinder.errors.OutputDropped` if the server dropped some of the output,
    :class:`~clinder.errors.SessionGone` if the session is gone, and what :func:`running_kernel`
    raises.
    """
    at_hub = ask_hub(session, deadline, timeouts)
    if at_hub and at_hub.state is State.GONE:
        raise session_gone(f"The session is gone: {at_hub.message}.", at_hub)
    raised: KernelError | None = None
    dropped = False
    try:
        with running_kernel(
            session, kernel, deadline, timeouts=timeouts, variables=variables
        ) as running:
            for output in running.execute(code, deadline):
                write(output)
                if isinstance(output, Output):
                    dropped = dropped or output.reports_dropped_output
                elif not output.is_clean_exit:
                    raised = output
    except KernelDied as error:
        raise errors.CodeRaised(
            f"The code did not finish: {error.message}.",
            hint="The code might have used more memory than the session has.",
        ) from None
    except (errors.ServerUnreachable, errors.TokenRefused, errors.RequestRefused):
        status = Server(session, Transport(timeouts)).status(deadline)
        if status.state is State.GONE:
            raise session_gone(f"The session is gone: {status.message}.", status) from None
        raise
    if raised is not None:
        raise errors.CodeRaised(f"The code raised {raised.name} in the session.")
    if dropped:
        message = "The session's server dropped some of the output. Its own message is above."
        raise errors.OutputDropped(message)
