"""Launch a session: attempt after attempt, until one succeeds or no retry is left."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from clinder._deadline import Deadline
from clinder.errors import BuildInterrupted, Cancelled, ClinderError, HubBusy, TimedOut
from clinder.events import AttemptFailed, Observer, Waiting, WarningIssued
from clinder.launch.attempt import Image, LaunchAttempt
from clinder.launch.options import LOCAL
from clinder.launch.request import Request
from clinder.launch.retries import TRY_FALLBACK, Retries, Step
from clinder.session import Attempt, Session
from clinder.wire.http import Transport

if TYPE_CHECKING:
    from clinder.checkout.reuse import Choice

_Result = TypeVar("_Result")


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


def launch(
    request: Request,
    deadline: Deadline,
    observer: Observer | None = None,
    *,
    utc: Callable[[], datetime] = _utc_now,
    random: Callable[[], float] = random.random,
) -> Session:
    """Launch a session on the first of the request's hubs that provides one, and return it.

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
        attempts = _Attempts(request, retries, observer or (lambda _: None), deadline, utc)
        return attempts.make(LaunchAttempt.run)


def build(request: Request, deadline: Deadline, observer: Observer) -> Image:
    """Have a hub build the image without launching it, which only API-only mode permits.

    The hubs, the attempts and the errors are those of :func:`launch`.
    """
    retries = Retries(request.hubs, request.options.attempts, random.random)
    return _Attempts(request, retries, observer, deadline, _utc_now).make(LaunchAttempt.build)


@contextmanager
def _base_url(hub: str, directory: Path) -> Iterator[str]:
    if hub != LOCAL:
        yield hub
        return
    from clinder.embedded.hub import Hub  # an optional dependency that no other hub needs

    with Hub(directory, stop_servers=False) as embedded:
        yield embedded.url


@dataclass
class _Attempts:
    request: Request
    retries: Retries
    observer: Observer
    deadline: Deadline
    utc: Callable[[], datetime]
    _failed: list[Attempt] = field(default_factory=list)
    _transport: Transport = field(init=False)
    _built: set[tuple[str, bool]] = field(default_factory=set)
    """Where, and for which of the two commits, an image has been built, or has begun to be."""
    _build_started: float = 0.0
    _build_seconds: float = math.nan
    """How long the first interrupted build took, if there was one."""

    def make(self, perform: Callable[[LaunchAttempt, Sequence[Attempt]], _Result]) -> _Result:
        """Return the result of the first attempt that succeeds."""
        step = self.retries.first_step()
        while True:
            attempt = self._start_attempt(step)
            try:
                return perform(attempt, self._failed)
            except ClinderError as error:
                if self.deadline.cancel.is_set():
                    raise Cancelled("Cancelled.", context=attempt.context()) from None
                error.context = attempt.context()
                if isinstance(error, TimedOut):
                    limit = self.request.options.timeout
                    error.message = f"The launch did not finish within {limit:g} s."
                if attempt.built:
                    self._built.add((step.address, step.fallback))
                if isinstance(error, BuildInterrupted) and math.isnan(self._build_seconds):
                    self._build_seconds = self.deadline.now() - self._build_started
                next_step = self.retries.step_after(
                    error,
                    launching=attempt.launching,
                    member=attempt.member,
                    other_members=attempt.other_members,
                    has_fallback=attempt.request.has_fallback,
                    spare=self.deadline.remaining() - self._build_seconds,
                )
                if isinstance(error, BuildInterrupted):
                    self._add_builds(error, step)
                if next_step is None or next_step.wait >= self.deadline.remaining():
                    self._add_history(error, next_step)
                    _explain_refusal(error, attempt.request.fallback)
                    raise
                self._failed.append(attempt.record(type(error).__name__, error.message))
                self.observer(AttemptFailed(self._failed[-1]))
                fallback = attempt.request.fallback
                if fallback and next_step.fallback and isinstance(error, TRY_FALLBACK):
                    self.observer(WarningIssued(fallback.reason))
                step = next_step

    def _start_attempt(self, step: Step) -> LaunchAttempt:
        if step.wait:
            self.observer(Waiting(step.wait, step.address))
            self.deadline.wait(step.wait)
        if not step.pinned:  # a new transport has no cookies
            self._transport = Transport(self.request.options.timeouts)
        if not step.pinned or self._failed[-1].cause:  # otherwise it rejoins the same build
            self._build_started = self.deadline.now()
        return LaunchAttempt(
            self.request.for_fallback() if step.fallback else self.request,
            step,
            len(self._failed) + 1,
            self._transport,
            self.observer,
            self.deadline,
            self.utc,
            rejoins=(step.address, step.fallback) in self._built,
        )

    def _add_builds(self, error: BuildInterrupted, step: Step) -> None:
        """Add to an interrupted build's error how often it happened, and why there is no retry."""
        same = [each for each in self._failed if each.cause == error.context.cause]
        times = 1 + sum(each.hub == step.address for each in same)
        if times > 1:
            seconds = self.request.options.timeout - self.deadline.remaining()
            often = "twice" if times == 2 else f"{times} times"
            error.message += f" This happened {often} within {seconds:.0f} s."
        if self.retries.lacks_time:
            error.message += (
                f" clinder does not request this build again, because it took"
                f" {self._build_seconds:.0f} s and only {self.deadline.remaining():.0f} s remain."
            )

    def _add_history(self, error: ClinderError, next_step: Step | None) -> None:
        """Add to a busy hub's error how often it was tried, and why there is no retry."""
        if not isinstance(error, HubBusy):
            return
        timeout = self.request.options.timeout
        requests = len(self._failed) + 1
        if requests > 1:
            seconds = timeout - self.deadline.remaining()
            error.message += f" {requests} build requests failed within {seconds:.0f} s."
        if next_step is not None:
            error.message += (
                f" The next retry, in {next_step.wait:.0f} s, would exceed the time limit of"
                f" {timeout:g} s."
            )


def _explain_refusal(error: ClinderError, fallback: Choice | None) -> None:
    """Add to a fork's refusal why the target repository's commit is not launched instead."""
    if not isinstance(error, TRY_FALLBACK) or fallback is None:
        return
    if fallback.refused:
        error.hint += f" {fallback.reason}"
    else:
        error.hint += (
            f" {fallback.launched.spec} has the same environment, but clinder has no build request"
            " to this hub left."
        )
