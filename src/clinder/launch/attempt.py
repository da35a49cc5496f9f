"""One attempt: a build request, and waiting until the session is usable."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime

from clinder._deadline import Deadline
from clinder._text import printable_lines
from clinder._urls import is_cleartext
from clinder.errors import (
    Cancelled,
    ClinderError,
    CommitMismatch,
    Context,
    HubError,
    StopFailed,
    TimedOut,
)
from clinder.events import (
    BuildRequested,
    LogLines,
    Observer,
    PhaseEnded,
    PhaseStarted,
    SessionLaunched,
    SessionNotStopped,
    SessionStopped,
    WarningIssued,
)
from clinder.launch.options import LOCAL
from clinder.launch.readiness import wait_until_usable
from clinder.launch.request import Request
from clinder.launch.retries import Step
from clinder.running.stop import stop
from clinder.session import Attempt, Session
from clinder.timeouts import LAUNCH_STOP
from clinder.wire.binderhub import Progress, Ready, Redirected, members, request_build
from clinder.wire.http import Transport

_LOG_LINES = 20
_LAUNCHING_PHASES = ("built", "launching")
_CANCEL_GRACE = 5.0
"""Seconds that clinder waits after a cancellation for a server that the hub is launching."""
_CANCEL_LIMIT = 6.5
"""Seconds after a cancellation until clinder gives up stopping a session: a CI step has 7."""
_MIN_STOP_TIME = 1.5
_ORPHAN_WARNING = (
    "The launch ended before the server was ready. If the server still starts, nobody holds its"
    " token, and the hub culls it."
)


class LaunchAttempt:
    """One build request of a launch, its log and its phases."""

    def __init__(
        self,
        request: Request,
        step: Step,
        *,
        number: int,
        transport: Transport,
        observer: Observer,
        deadline: Deadline,
        utc: Callable[[], datetime],
    ):
        self._request = request
        self._step = step
        self._number = number
        self._transport = transport
        self._observer = observer
        self._deadline = deadline
        self._utc = utc
        self._started = deadline.now()
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self.member = ""
        """The base URL of the member to which a federation redirected the request."""
        self._phase = ""
        self._phase_started = self._started
        self._phases: dict[str, float] = {}

    @property
    def launching(self) -> bool:
        """Whether the hub was launching a server, so that a retry launches another one."""
        return self._phase in _LAUNCHING_PHASES

    def run(self, failed: Sequence[Attempt]) -> Session:
        """Return the usable session that the hub launches; ``failed`` are the earlier attempts.

        Raises the errors of :mod:`clinder.errors`, after stopping the session if there is one.
        """
        session = self._make_session(self._wait_for_ready())
        try:
            self._start_phase("readiness")
            self._observer(SessionLaunched(session))
            self._require_requested_commit(session)
            if is_cleartext(session.url) and not is_cleartext(self._step.address):
                message = f"{session.url} uses plain HTTP: others on the network can see its token."
                self._observer(WarningIssued(message))
            options = self._request.options
            wait_until_usable(session, options.warm_up, self._deadline, timeouts=options.timeouts)
            self._start_phase("")
        except BaseException:
            self._stop(session)
            raise
        return replace(
            session,
            phases={name: round(seconds, 3) for name, seconds in self._phases.items()},
            attempts=(*failed, self.record("ready")),
        )

    def other_members(self) -> Sequence[str]:
        """Return the federation's members except the one to which it redirected the request."""
        if not self.member:
            return ()
        try:
            urls = members(self._transport, self._step.hub, deadline=self._deadline.capped(10))
        except TimedOut:
            return ()
        return [url for url in urls if url != self.member]

    def context(self) -> Context:
        """Return the hub, the spec, the link and the last log lines for an error."""
        repository = self._request.repository
        is_local = LOCAL in self._request.hubs
        return Context(
            hub=self._step.address,
            repository=repository.spec,
            link="" if is_local else repository.binder_link(self._step.address),
            log=tuple(self._log),
        )

    def record_failure(self, error: ClinderError) -> Attempt:
        """Return the record of this attempt, which failed with an error."""
        return self.record(type(error).__name__, error.message)

    def record(self, outcome: str, reason: str = "") -> Attempt:
        """Return the record of this attempt."""
        seconds = round(self._deadline.now() - self._started, 3)
        waited = round(self._step.wait, 3)
        return Attempt(self._step.address, outcome, reason, seconds, waited)

    def _wait_for_ready(self) -> Ready:
        spec = self._request.repository.spec
        self._deadline.grace = 0.0
        self._observer(BuildRequested(self._step.address, spec, self._number))
        events = request_build(
            self._transport,
            self._step.address,
            spec,
            deadline=self._deadline,
            build_token=self._build_token(),
        )
        try:
            with closing(events):
                for event in events:
                    if isinstance(event, Ready):
                        return event
                    self._handle(event)
        except (Cancelled, TimedOut, HubError):
            if self.launching:
                self._observer(WarningIssued(_ORPHAN_WARNING))
            raise
        raise AssertionError(
            "a build request ends with a ready event or an error"
        )  # pragma: no cover

    def _build_token(self) -> str:
        """Return the build token if this is its hub: the first one, and not the embedded hub."""
        first = self._request.hubs[0]
        return self._request.options.build_token if self._step.address == first != LOCAL else ""

    def _handle(self, event: Redirected | Progress) -> None:
        if isinstance(event, Redirected):
            self.member = event.hub
            return
        if event.phase and event.phase != self._phase:
            self._start_phase(event.phase)
        if self.launching:
            self._deadline.grace = _CANCEL_GRACE
        if lines := tuple(printable_lines(event.message)):
            self._log.extend(lines)
            self._observer(LogLines(self._phase, lines))
        if event.fallback_ref:
            ref = self._request.repository.ref
            message = f"The hub did not find {ref}, and launches {event.fallback_ref} instead."
            self._observer(WarningIssued(message))

    def _start_phase(self, phase: str) -> None:
        """End the current phase, and start another unless it is ``""``."""
        now = self._deadline.now()
        if self._phase:
            seconds = now - self._phase_started
            self._phases[self._phase] = self._phases.get(self._phase, 0.0) + seconds
            self._observer(PhaseEnded(self._phase, seconds))
        self._phase, self._phase_started = phase, now
        if phase:
            self._observer(PhaseStarted(phase))

    def _make_session(self, ready: Ready) -> Session:
        persistent = ready.binder_persistent_request.removeprefix("v2/")
        spec = self._request.repository.spec
        choice = self._request.choice
        return Session(
            ready.url,
            ready.token,
            hub=self._step.address,
            launch_host=ready.binder_launch_host,
            spec=spec,
            asked_spec=choice.requested.spec if choice else "",
            reuse=choice.reason if choice else "",
            persistent_spec=persistent,
            repo_url=ready.repo_url,
            ref_url=ready.binder_ref_url,
            binder_link=f"{self._step.address}v2/{persistent or spec}",
            image=ready.image,
            started_at=self._utc().isoformat(timespec="seconds"),
        )

    def _require_requested_commit(self, session: Session) -> None:
        """Raise if a commit was requested and the hub does not confirm that it launched it."""
        repository = self._request.repository
        launched = session.persistent_spec.rpartition("/")[2]
        if repository.is_commit and launched.lower() != repository.ref:
            raise CommitMismatch(
                f"The hub launched {launched or 'an unknown commit'}, not {repository.ref}."
            )

    def _stop(self, session: Session) -> None:
        """Stop a session after a failure or a cancellation."""
        timeouts = self._request.options.timeouts
        seconds = timeouts.stop_limit(LAUNCH_STOP)
        if self._deadline.cancel.is_set():
            remaining = _CANCEL_LIMIT - self._deadline.cancelled_for
            seconds = min(seconds, max(_MIN_STOP_TIME, remaining))
        try:
            stop(session, self._deadline.uncancelled(seconds), timeouts=timeouts)
        except StopFailed as error:
            self._observer(SessionNotStopped(session, error.message))
        else:
            self._observer(SessionStopped(session))
