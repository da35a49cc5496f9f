"""Launch a session: attempt after attempt, until one succeeds or no retry is left."""

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
    from clinder.embedded.hub import Hub  # an optional dependency that no other hub needs

    with Hub(directory, stop_servers=False) as embedded:
        yield embedded.url


class _Launch:
    """The attempts of a launch, one after another."""

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
        self._transport: Transport

    def run(self) -> Session:
        step = self._retries.first_step()
        while True:
            attempt = self._start_attempt(step)
            try:
                return attempt.run(self._failed)
            except ClinderError as error:
                if self._deadline.cancel.is_set():
                    raise Cancelled("Cancelled.", context=attempt.context()) from None
                error.context = attempt.context()
                if isinstance(error, TimedOut):
                    error.message = (
                        f"The launch did not finish within {self._request.options.timeout:g} s."
                    )
                next_step = self._retries.step_after(
                    error,
                    launching=attempt.launching,
                    member=attempt.member,
                    other_members=attempt.other_members,
                )
                if next_step is None or next_step.wait >= self._deadline.remaining():
                    self._add_history(error, next_step)
                    raise
                self._failed.append(attempt.record_failure(error))
                self._observer(AttemptFailed(self._failed[-1]))
                step = next_step

    def _start_attempt(self, step: Step) -> LaunchAttempt:
        """Wait until a step is due, and return its attempt."""
        if step.wait:
            self._observer(Waiting(step.wait, step.address))
            self._deadline.grace = 0.0
            self._deadline.wait(step.wait)
        if not step.pinned:  # a new transport has no cookies
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

    def _add_history(self, error: ClinderError, next_step: Step | None) -> None:
        """Add to a busy hub's error how often it was tried, and why there is no retry."""
        if not isinstance(error, HubBusy):
            return
        timeout = self._request.options.timeout
        requests = len(self._failed) + 1
        if requests > 1:
            seconds = timeout - self._deadline.remaining()
            error.message += f" {requests} build requests failed within {seconds:.0f} s."
        if next_step is not None:
            error.message += (
                f" The next retry, in {next_step.wait:.0f} s, would exceed the time limit of"
                f" {timeout:g} s."
            )
