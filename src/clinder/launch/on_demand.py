"""A session that is launched when somebody first needs it, at most once."""

from __future__ import annotations

import threading
from collections.abc import Callable

from clinder._deadline import Deadline
from clinder.errors import ClinderError
from clinder.session import Session

Launch = Callable[[threading.Event], Session]
"""Launches a session. The event cancels the launch. Raises the errors of :mod:`clinder.errors`."""


class OnDemand:
    """A session, which the first call of :meth:`get` launches. Thread-safe.

    :attr:`on_end` is called once a launch has ended, in the thread that needed the session first.
    """

    def __init__(self, launch: Launch):
        self._launch = launch
        self.on_end: Callable[[], object] = lambda: None
        self._cancel = threading.Event()
        self._launching = threading.Lock()
        self.session: Session | None = None
        self.error: Exception | None = None
        """Why the launch failed. Only a bug is not a :class:`~clinder.errors.ClinderError`."""
        self.was_needed = False
        """Whether somebody has needed the session."""

    @classmethod
    def of(cls, session: Session) -> OnDemand:
        """Return a session that runs already."""
        running = cls(lambda _: session)
        running.session = session
        return running

    @property
    def is_launching(self) -> bool:
        """Whether the launch has begun and not ended."""
        return self.was_needed and self.session is None and self.error is None

    def get(self) -> Session:
        """Return the session, or raise the error of its launch, in every call.

        The first call can take minutes; others wait meanwhile.
        """
        with self._launching:
            if self.session is None and self.error is None:
                self._try()
            if self.session is not None:
                return self.session
            if isinstance(self.error, ClinderError):
                raise self.error
            raise ClinderError("The launch ended because of a bug in clinder.") from self.error

    def cancel(self) -> None:
        """Cancel the launch, and any later one."""
        self._cancel.set()

    def end(self, seconds: float) -> None:
        """Cancel the launch, and wait until it has ended, for at most this many seconds."""
        self.cancel()
        if self._launching.acquire(timeout=seconds):
            self._launching.release()

    def _try(self) -> None:
        self.was_needed = True
        try:
            Deadline(1, cancel=self._cancel).raise_if_expired()
            self.session = self._launch(self._cancel)
        except Exception as error:  # noqa: BLE001 - not hidden: callers of get() receive it
            self.error = error
        self.on_end()
