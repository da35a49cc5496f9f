"""Signals for the surfaces that handle them: the first cancels, the second ends at once."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import FrameType

from clinder.errors import Cancelled, Context

CANCEL_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class SignalEvent(threading.Event):
    """An event that a signal handler may set.

    An event's lock is not reentrant, and the main thread may hold it in ``wait`` when the signal
    so the handler only puts into a queue, and a thread sets the event.
    ``number`` is the signal's, where there was one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.signum = 0
        self._rung = False
        self._bell: queue.SimpleQueue[bool] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="clinder-alarm", daemon=True).start()

    def set_from_handler(self) -> None:
        """Set the event, soon; :meth:`is_set` knows at once."""
        self._rung = True
        self._bell.put(True)

    def is_set(self) -> bool:
        """Return whether it is set, or about to be."""
        return self._rung or super().is_set()

    def close(self) -> None:
        """End the thread of an alarm that nobody rings any more."""
        self._bell.put(False)

    def _listen(self) -> None:
        if self._bell.get():
            self.set()


@contextmanager
def handle_signals(handle: Callable[[int], None]) -> Iterator[None]:
    """Give the cancelling signals to ``handle`` for as long as the context lasts."""

    def handler(number: int, _: FrameType | None) -> None:
        handle(number)

    # A signal that is ignored (nohup) stays ignored.
    before = {
        number: signal.signal(number, handler)
        for number in CANCEL_SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextmanager
def cancellation(end: Callable[[int], object]) -> Iterator[SignalEvent]:
    """Yield an event that the first signal sets; ``end`` is given the number of each later one.

    :class:`~clinder.errors.Cancelled` leaves with the first signal's exit code.
    """
    cancel = SignalEvent()

    def handle(number: int) -> None:
        if cancel.signum:
            end(number)
        cancel.signum = cancel.signum or number
        cancel.set_from_handler()

    with handle_signals(handle), closing(cancel):
        try:
            yield cancel
        except Cancelled as error:
            error.exit_code = exit_code(cancel.signum)
            error.message = f"Cancelled by {signal.Signals(cancel.signum).name}."
            error.context = Context()  # who cancels does not ask what the hub said
            raise


def exit_code(signum: int) -> int:
    """Return the exit code of a signal, in the table of :mod:`clinder.errors`."""
    return 130 if signum == signal.SIGINT else 143
