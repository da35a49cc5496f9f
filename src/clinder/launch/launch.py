"""Hubs, attempts and clocks: a request in, a session out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path

from clinder._deadline import Deadline
from clinder.errors import Cancelled, ClinderError, HubBusy, TimedOut
from clinder.events import AttemptFailed, Observer, Waiting
from clinder.launch.attempt import LaunchAttempt
from clinder.launch.options import LOCAL
from clinder.launch.request import Request
from clinder.launch.retries import Retries, Step
from clinder.session import Attempt, Session
from clinder.wire.http import Transport


def _no_observer(_: object) -> None:
    """Observe nothing."""


def _utc() -> datetime:
    return datetime.now(timezone.utc)


def launch(
    request: Request,
    deadline: Deadline,
    observer: Observer | None = None,
    *,
    utc: Callable[[], datetime] = _utc,
    random: Callable[[], float] = random.random,
) -> Session:
    """Launch a session on the first of the request's hubs that gives one, and return it.

    :mod:`clinder.launch.retries` decides which hub to try next, and when. If a session was
    launched but cannot be used, it is stopped. ``observer`` receives the events. Once the
    deadline is cancelled the launch ends at once; if a server is about to appear, the launch waits
    up to 5 s for it in order to stop it. Raises the errors of :mod:`clinder.errors`, each with its
    :class:`~clinder.errors.Context`.
    """
    options = request.options
    with ExitStack() as stack:
        hubs = [stack.enter_context(_base_url(hub, options.directory)) for hub in request.hubs]
        retries = Retries(hubs, options.attempts, random)
        return _Launch(request, retries, observer or _no_observer, deadline, utc).run()


@contextmanager
def _base_url(hub: str, directory: Path) -> Iterator[str]:
    if hub != LOCAL:
        yield hub
        return
    from clinder.embedded.hub import Hub  # an extra, and needed for no other hub

    with Hub(directory, stop_servers=False) as embedded:
        yield embedded.url


class _Launch:
    """The build requests of a launch, one after another."""

    def __init__(
        self,
        request: Request,
        retries: Retries,
        observer: Observer,
        deadline: Deadline,
        utc: Callable[[], datetime],
    ):
        self._request = request
        self._retries = retries
        self._observer = observer
        self._deadline = deadline
        self._utc = utc
        self._failed: list[Attempt] = []
        self._transport: Transport  # of the attempt before; the first has its own

    def run(self) -> Session:
        step = self._retries.first_step()
        while True:
            attempt = self._attempt(step)
            try:
                return attempt.run(self._failed)
            except ClinderError as error:
                if self._deadline.cancel.is_set():
                    raise Cancelled("Cancelled.", context=attempt.context()) from None
                error.context = attempt.context()
                if isinstance(error, TimedOut):
                    error.message = (
                        f"The launch did not end within {self._request.options.timeout:g} s."
                    )
                following = self._retries.step_after(
                    error,
                    launching=attempt.launching,
                    member=attempt.member,
                    other_members=attempt.other_members,
                )
                if following is None or following.wait >= self._deadline.remaining():
                    self._explain(error, following)
                    raise
                self._failed.append(attempt.record_failure(error))
                self._observer(AttemptFailed(self._failed[-1]))
                step = following

    def _attempt(self, step: Step) -> LaunchAttempt:
        """Return the attempt that a step is, once it is due."""
        if step.wait:
            self._observer(Waiting(step.wait, step.address))
            self._deadline.grace = 0.0
            self._deadline.wait(step.wait)
        if not step.pinned:
            self._transport = Transport(self._request.options.timeouts)
        return LaunchAttempt(
            self._request,
            step,
            number=len(self._failed) + 1,
            transport=self._transport,
            observer=self._observer,
            deadline=self._deadline,
            utc=self._utc,
        )

    def _explain(self, error: ClinderError, following: Step | None) -> None:
        """Have an error of a hub that is busy say how long it was so, and why that was all."""
        if not isinstance(error, HubBusy):
            return
        times = len(self._failed) + 1
        if times > 1:
            seconds = self._request.options.timeout - self._deadline.remaining()
            error.message += f" {times} build requests in {seconds:.0f} s gave no session."
        if following is not None:
            error.message += (
                f" The next one, after {following.wait:.0f} s, would be beyond the timeout"
                f" of {self._request.options.timeout:g} s."
            )
