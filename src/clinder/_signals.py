"""Signals that cancel: the first sets an event, and a surface decides what later ones do."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import FrameType

from clinder.errors import Cancelled, Context

CANCEL_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # Windows has the last, not SIGHUP
    if hasattr(signal, name)
)


class SignalEvent(threading.Event):
    """An event that a signal handler can set. ``signum`` is the first signal, or 0.

    An event's lock is not reentrant, and the main thread might hold it in :meth:`wait` when the
    signal arrives. The handler therefore only writes to a queue; a thread sets the event.
    """

    def __init__(self) -> None:
        super().__init__()
        self.signum = 0
        self._requested = False
        self._requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
        threading.Thread(target=self._set_on_request, name="clinder-signal", daemon=True).start()

    def set_from_handler(self) -> None:
        """Set the event soon; :meth:`is_set` returns True at once."""
        self._requested = True
        self._requests.put(True)

    def is_set(self) -> bool:
        """Return whether the event is set or about to be."""
        return self._requested or super().is_set()

    def close(self) -> None:
        """End the thread."""
        self._requests.put(False)

    def _set_on_request(self) -> None:
        if self._requests.get():
            self.set()


@contextmanager
def handle_signals(handle: Callable[[int], None]) -> Iterator[None]:
    """Pass the cancelling signals to ``handle`` until the context ends."""

    def handler(signum: int, _: FrameType | None) -> None:
        handle(signum)

    previous = {
        signum: signal.signal(signum, handler)
        for signum in CANCEL_SIGNALS
        if signal.getsignal(signum) is not signal.SIG_IGN  # nohup: it stays ignored
    }
    try:
        yield
    finally:
        for signum, previous_handler in previous.items():
            signal.signal(signum, previous_handler)


@contextmanager
def cancellation(on_later_signal: Callable[[int], object]) -> Iterator[SignalEvent]:
    """Yield an event that the first signal sets; later ones are passed to ``on_later_signal``.

    A :class:`~clinder.errors.Cancelled` that passes through gets the first signal's exit code.
    """
    cancel = SignalEvent()

    def handle(signum: int) -> None:
        if cancel.signum:
            on_later_signal(signum)
        cancel.signum = cancel.signum or signum
        cancel.set_from_handler()

    with handle_signals(handle), closing(cancel):
        try:
            yield cancel
        except Cancelled as error:
            error.exit_code = exit_code(cancel.signum)
            error.message = f"Cancelled by {signal.Signals(cancel.signum).name}."
            error.context = Context()  # the hub has nothing to do with it
            raise


def exit_code(signum: int) -> int:
    """Return the exit code for a signal, from the table in :mod:`clinder.errors`."""
    return 130 if signum == signal.SIGINT else 143
