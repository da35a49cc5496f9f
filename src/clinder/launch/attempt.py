"""One build request, and the readiness of what it launches."""

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
from clinder.wire.binderhub import Progress, Ready, Redirected, members, request_build
from clinder.wire.http import Transport

_LOG_LINES = 20
_GRACE = 5.0
"""Seconds after a cancellation in which a server that is being launched may still come up."""
_CANCELLED = 6.5
"""Seconds from a cancellation until a session is let go of: a CI job's step has 7 in all."""
_STOP_AT_LEAST = 1.5
_LAUNCHING = ("built", "launching")
_LEFT = (
    "The launch ended while the server was being launched: if it still comes up, nobody holds its"
    " token, and the hub culls it."
)


class LaunchAttempt:
    """One build request of a launch, made at once or after a wait, and what became of it."""

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
        self._began = deadline.now()
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self.member = ""
        """The base URL of the member to which a federation gave the request."""
        self._phase = ""
        self._phase_began = self._began
        self._phases: dict[str, float] = {}

    @property
    def launching(self) -> bool:
        """Whether a server was being launched: asking again launches another one."""
        return self._phase in _LAUNCHING

    def run(self, failed: Sequence[Attempt]) -> Session:
        """Return the usable session that the build request gives, with the attempts before it.

        Raises the errors of :mod:`clinder.errors`; a session that became known is stopped then.
        """
        session = self._make_session(self._wait_for_ready())
        try:
            self._enter("readiness")
            self._observer(SessionLaunched(session))
            self._raise_for_another_commit(session)
            if is_cleartext(session.url) and not is_cleartext(self._step.address):
                self._observer(
                    WarningIssued(f"{session.url} is plain http: others can see its token.")
                )
            options = self._request.options
            wait_until_usable(session, options.warm_up, self._deadline, timeouts=options.timeouts)
            self._enter("")
        except BaseException:
            self._stop(session)
            raise
        return replace(
            session,
            phases={name: round(seconds, 3) for name, seconds in self._phases.items()},
            attempts=(*failed, self.record("ready")),
        )

    def other_members(self) -> Sequence[str]:
        """Return the members of the federation beside the one that the request was given to."""
        if not self.member:
            return ()
        try:
            listed = members(self._transport, self._step.hub, deadline=self._deadline.capped(10))
        except TimedOut:
            return ()
        return [url for url in listed if url != self.member]

    def context(self) -> Context:
        """Return where this attempt happened, and what the hub said last."""
        repository = self._request.repository
        local = LOCAL in self._request.hubs
        return Context(
            hub=self._step.address,
            repository=repository.spec,
            link="" if local else repository.binder_link(self._step.address),
            log=tuple(self._log),
        )

    def record_failure(self, error: ClinderError) -> Attempt:
        """Return the record of this attempt, which an error ended."""
        return self.record(type(error).__name__, error.message)

    def record(self, outcome: str, reason: str = "") -> Attempt:
        """Return the record of this attempt, which is over."""
        seconds = round(self._deadline.now() - self._began, 3)
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
                self._observer(WarningIssued(_LEFT))
            raise
        raise AssertionError("a build ends with a ready event or an error")  # pragma: no cover

    def _build_token(self) -> str:
        """Return the build token for the hub that it is bound to: the first, never our own."""
        first = self._request.hubs[0]
        return self._request.options.build_token if self._step.address == first != LOCAL else ""

    def _handle(self, event: Redirected | Progress) -> None:
        if isinstance(event, Redirected):
            self.member = event.hub
            return
        if event.phase and event.phase != self._phase:
            self._enter(event.phase)
        if self.launching:
            self._deadline.grace = _GRACE
        if said := tuple(printable_lines(event.message)):
            self._log.extend(said)
            self._observer(LogLines(self._phase, said))
        if event.fallback_ref:
            ref = self._request.repository.ref
            self._observer(
                WarningIssued(
                    f"The hub found no ref {ref} and launches {event.fallback_ref} instead."
                )
            )

    def _enter(self, phase: str) -> None:
        """Account the phase that ends, and begin another, ``""`` for none."""
        now = self._deadline.now()
        if self._phase:
            seconds = now - self._phase_began
            self._phases[self._phase] = self._phases.get(self._phase, 0.0) + seconds
            self._observer(PhaseEnded(self._phase, seconds))
        self._phase, self._phase_began = phase, now
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

    def _raise_for_another_commit(self, session: Session) -> None:
        """Raise where a commit was asked for and the hub does not say that it launched it."""
        repository = self._request.repository
        launched = session.persistent_spec.rpartition("/")[2]
        if repository.is_commit and launched.lower() != repository.ref:
            raise CommitMismatch(
                f"The hub launched {launched or 'an unknown commit'}, not {repository.ref}."
            )

    def _stop(self, session: Session) -> None:
        """Stop a session that will not be handed out, also when all else was cancelled."""
        seconds = self._request.options.timeouts.stop
        if self._deadline.cancel.is_set():
            left = _CANCELLED - self._deadline.cancelled_for
            seconds = min(seconds, max(_STOP_AT_LEAST, left))
        try:
            stop(session, self._deadline.uncancelled(seconds))
        except StopFailed as error:
            self._observer(SessionNotStopped(session, error.message))
        else:
            self._observer(SessionStopped(session))
