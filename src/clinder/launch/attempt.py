"""One attempt: a build request, and waiting until the session is usable."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from clinder import errors, events
from clinder._deadline import Deadline
from clinder._text import printable_lines
from clinder._urls import is_cleartext
from clinder.launch.options import LOCAL
from clinder.launch.readiness import wait_until_usable
from clinder.launch.request import Request
from clinder.launch.retries import Step
from clinder.running.stop import stop
from clinder.session import Attempt, Session
from clinder.timeouts import LAUNCH_STOP
from clinder.wire.binderhub import (
    Built,
    Progress,
    Ready,
    Redirected,
    api_only_error,
    members,
    request_build,
)
from clinder.wire.http import Transport

if TYPE_CHECKING:  # most launches need neither, and importing them takes time
    from clinder.launch.account import AccountLaunch
    from clinder.launch.build_failure import Diagnosis

_KEPT_LINES = 1000
"""How many lines at the end of the log are kept, in case the build fails."""
_SHOWN_LINES = 20
"""How many lines at the end of the log an error shows, unless one line explains it."""
_LAUNCHING_PHASES = ("built", "launching")
_CANCEL_GRACE = 5.0
"""After a cancellation, how long to wait for a server that the hub is launching, in seconds."""
_CANCEL_LIMIT = 6.5
"""Time limit for stopping a session, in seconds from a cancellation: a CI step has 7."""
_MIN_STOP_TIME = 1.5
_PROBE = 5.0
"""Seconds for a request to the JupyterHub of a hub that requires a login."""
_ENDED = "The launch ended before the server was ready."
_ORPHAN_WARNING = (
    f"{_ENDED} If the server still starts, nobody holds its token, and the hub culls it."
)


@dataclass(frozen=True)
class Image:
    """An image that a hub has, and how it came about.

    ``found`` tells whether the hub had it before; ``None`` is unknown.
    """

    name: str
    found: bool | None
    phases: Mapping[str, float]
    attempts: tuple[Attempt, ...]


@dataclass
class LaunchAttempt:
    """One build request of a launch, its log and its phases.

    ``utc`` returns the time. ``rejoins``: an earlier attempt might have built the same image.
    """

    request: Request
    step: Step
    number: int
    transport: Transport
    observer: events.Observer
    deadline: Deadline
    utc: Callable[[], datetime]
    rejoins: bool = False

    def __post_init__(self) -> None:
        self._started = self.deadline.now()
        self._phase = ""
        self._log: deque[str] = deque(maxlen=_KEPT_LINES)
        self._diagnosis: Diagnosis | None = None
        self._log_deadline = self.deadline.capped(math.inf)
        """Ends when the build has logged nothing for too long."""
        self._restart_log_deadline()
        self.built = self.rejoins
        """Whether the hub builds or built the image for this launch."""
        self.member = ""
        """The base URL of the member to which a federation redirected the request."""
        self._phase_started = self._started
        self._phases: dict[str, float] = {}
        self._account = self._make_account()
        self._specs = {self.request.repository.spec}
        """The specs that the hub might launch."""

    @property
    def launching(self) -> bool:
        """Whether the hub was launching a server, so that a retry launches another one."""
        return self._phase in _LAUNCHING_PHASES

    def run(self, failed: Sequence[Attempt]) -> Session:
        """Return the usable session that the hub launches; ``failed`` are the earlier attempts.

        Raises the errors of :mod:`clinder.errors`, after stopping the session if there is one.
        """
        profile = self.request.options.profile if self._account else ""
        ready = self._wait_for_end(build_only=bool(profile))
        if isinstance(ready, Built):
            ready = self._start_image(ready, profile)
        session = self._adopt(ready)
        try:
            self._start_phase("readiness")
            session = self._issue_token(session)
            self.observer(events.SessionLaunched(session))
            self._require_requested_commit(session)
            if is_cleartext(session.url) and not is_cleartext(self.step.address):
                message = f"{session.url} uses plain HTTP: others on the network can see its token."
                self.observer(events.WarningIssued(message))
            options = self.request.options
            wait_until_usable(session, options.warm_up, self.deadline, timeouts=options.timeouts)
            self._start_phase("")
            usable = replace(
                session,
                phases=self._rounded_phases(),
                attempts=(*failed, self.record("ready")),
            )
            self.observer(events.SessionReady(usable))
        except BaseException:
            self._stop(session)
            raise
        return usable

    def build(self, failed: Sequence[Attempt]) -> Image:
        """Return the image that the hub builds; ``failed`` are the earlier attempts.

        Raises the errors of :mod:`clinder.errors`.
        """
        built = self._wait_for_end(build_only=True)
        self._start_phase("")
        if isinstance(built, Ready):  # from a hub that ignores the wish to build only
            self._stop(self._make_session(built))
        attempts = (*failed, self.record("built"))
        return Image(built.image, not self.built, self._rounded_phases(), attempts)

    def other_members(self) -> Sequence[str]:
        """Return the federation's members except the one to which it redirected the request."""
        if not self.member:
            return ()
        try:
            urls = members(self.transport, self.step.hub, deadline=self.deadline.capped(10))
        except (errors.TimedOut, errors.HubError):
            return ()
        return [url for url in urls if url != self.member]

    def context(self) -> errors.Context:
        """Return the hub, the spec, the link and the log lines for an error."""
        repository = self.request.repository
        is_local = LOCAL in self.request.hubs
        diagnosis = self._diagnosis
        return errors.Context(
            hub=self.step.address,
            repository=repository.spec,
            link="" if is_local else repository.binder_link(self.step.address),
            log=diagnosis.around if diagnosis else tuple(self._log)[-_SHOWN_LINES:],
            cause=diagnosis.cause.name if diagnosis else "",
            log_line=diagnosis.line if diagnosis else "",
        )

    def record(self, outcome: str, reason: str = "") -> Attempt:
        """Return the record of this attempt."""
        seconds = round(self.deadline.now() - self._started, 3)
        waited = round(self.step.wait, 3)
        context = self.context()
        return Attempt(
            self.step.address, outcome, reason, seconds, waited, context.cause, context.log_line
        )

    def _wait_for_end(self, *, build_only: bool = False) -> Ready | Built:
        spec, options = self.request.repository.spec, self.request.options
        if self._account:
            self._account.begin(self.deadline, only_builds=build_only and not options.profile)
        self.observer(events.BuildRequested(self.step.address, spec, self.number))
        address, token = self.step.address, self._build_token()
        requested = request_build(
            self.transport,
            address,
            spec,
            deadline=self._log_deadline,
            build_token=token,
            hub_token=self._account.token if self._account else "",
            build_only=build_only,
        )
        try:
            with closing(requested):
                for event in requested:
                    if isinstance(event, Ready | Built):
                        return event
                    self._handle(event)
        except errors.ClinderError as reported:
            error = self._explain(reported)
            if self._leaves_a_server(error) and not self._cancel_at_hub(error):
                self.observer(events.WarningIssued(self._orphan_warning()))
            raise error from None
        raise AssertionError("a build request ends with a session or an error")  # pragma: no cover

    def _explain(self, error: errors.ClinderError) -> errors.ClinderError:
        """Return the error that a failed or stalled build means, or any other error unchanged."""
        from clinder.launch.build_failure import diagnose, diagnose_stall

        timeouts = self.request.options.timeouts
        if isinstance(error, errors.BuildFailed):
            self._diagnosis = diagnose([*self._log], error.context.log)
        elif isinstance(error, errors.TimedOut) and self.deadline.remaining():
            self._diagnosis = diagnose_stall([*self._log], timeouts.build_idle)
        elif isinstance(error, errors.LoginRequired | errors.HubTokenRefused):
            return self._explain_login(error)
        return self._diagnosis.to_error() if self._diagnosis else error

    def _explain_login(
        self, error: errors.LoginRequired | errors.HubTokenRefused
    ) -> errors.ClinderError:
        """Return the error with the address at which the user can create a token."""
        from clinder.launch.account import how_to_get_a_token
        from clinder.wire.jupyterhub import find_jupyterhub

        if self._account:
            return self._account.explain(error)
        with suppress(errors.TimedOut, errors.Cancelled):
            limit = self.deadline.capped(_PROBE)
            jupyterhub, service = find_jupyterhub(self.transport, self.step.address, limit)
            if jupyterhub:
                hands_out = self.request.options.hands_out
                error.hint = how_to_get_a_token(jupyterhub, service, hands_out=hands_out)
        return error

    def _leaves_a_server(self, error: errors.ClinderError) -> bool:
        """Whether the hub requested a server, which can still start.

        A full hub requests none, and neither does one that only builds images.
        """
        requested = self.launching or isinstance(error, errors.LaunchFailed)
        return requested and not isinstance(error, errors.HubBusy | errors.NotABinderHub)

    def _build_token(self) -> str:
        """Return the build token if this is its hub: the first one, and not the embedded hub."""
        first = self.request.hubs[0]
        return self.request.options.build_token if self.step.address == first != LOCAL else ""

    def _make_account(self) -> AccountLaunch | None:
        """Return the account if this is its hub: the first one, and not one of its members."""
        options, first = self.request.options, self.request.hubs[0]
        if not options.hub_token or not self.step.address == first != LOCAL:
            return None
        from clinder.launch.account import AccountLaunch

        return AccountLaunch(
            first,
            options.hub_token,
            options.timeouts,
            hands_out=options.hands_out,
            profile=options.profile,
        )

    def _start_image(self, built: Built, name: str) -> Ready:
        """Start an image through JupyterHub, and return its server."""
        from clinder.launch.profile import Profile, start_image

        if self._account is None or not name:
            raise api_only_error()
        self._start_phase("launching")
        profile = Profile(name, built.image, self.request.repository.spec)
        ready = start_image(
            self._account,
            profile,
            self.deadline,
            report=self._report,
            stop=self._stop_image,
        )
        repository, tag = self.request.repository, built.image.rpartition(":")[2]
        if re.fullmatch(r"[0-9a-f]{40}", tag):  # BinderHub's builder.py
            repository = repository.with_ref(tag)
        return replace(ready, binder_persistent_request=f"v2/{repository.spec}")

    def _report(self, message: str) -> None:
        self._log.append(message)
        self.observer(events.LogLines(self._phase, (message,)))

    def _adopt(self, ready: Ready) -> Session:
        """Return the session of a server that the hub reports to be ready.

        Even a cancelled launch first checks whose server it is, in order to stop it.
        """
        session = self._make_session(ready)
        if self._account is None:
            return session
        account = self._account.adopt(ready, self.deadline.uncancelled(_PROBE))
        self._account.remove_failed(self._specs, self.deadline.uncancelled(_PROBE))
        return replace(session, token="", account=account)

    def _stop_image(self, ready: Ready) -> None:
        """Stop a server that was requested, whether or not it has started."""
        if self._account:
            session = self._make_session(ready)
            self._stop(replace(session, token="", account=self._account.own(ready.token)))

    def _issue_token(self, session: Session) -> Session:
        if self._account is None:
            return session
        return self._account.issue_token(session, self.deadline.capped(_PROBE))

    def _cancel_at_hub(self, error: errors.ClinderError) -> bool:
        """Stop the server that the hub might still start; return whether none is left."""
        if self._account is None:
            return False
        seconds = self._stop_limit()
        pending = not isinstance(error, errors.LaunchFailed)
        return self._account.cancel(
            self._specs, self.deadline.uncancelled(seconds), pending=pending
        )

    def _orphan_warning(self) -> str:
        if self._account is None:
            return _ORPHAN_WARNING
        home = self._account.home or "the JupyterHub's page /hub/home"
        return (
            f"{_ENDED} If the server still starts, it runs under your account: stop it on {home}."
        )

    def _handle(self, event: Redirected | Progress) -> None:
        if isinstance(event, Redirected):
            self.member = event.hub
            return
        if event.phase and event.phase != self._phase:
            self._start_phase(event.phase)
        lines = tuple(printable_lines(event.message))
        if self.launching and not (self._account and self._account.can_cancel):
            self._log_deadline.grace = _CANCEL_GRACE
        if lines or self.launching:
            self._restart_log_deadline()
        other_ref = event.fallback_ref and lines[-1].startswith("Trying again with ")
        self.built = self.built or not (self.launching or other_ref)
        if lines:
            self._log.extend(lines)
            self.observer(events.LogLines(self._phase, lines))
        if event.fallback_ref:
            ref = self.request.repository.ref
            with suppress(errors.UsageError):  # a hub can send any text
                self._specs.add(self.request.repository.with_ref(event.fallback_ref).spec)
            message = f"The hub did not find {ref}, and launches {event.fallback_ref} instead."
            self.observer(events.WarningIssued(message))

    def _restart_log_deadline(self) -> None:
        """Wait for the build's next log lines or, once a server is being launched, for the end."""
        idle = self.request.options.timeouts.build_idle
        self._log_deadline.restart(math.inf if self.launching else idle, within=self.deadline)

    def _start_phase(self, phase: str) -> None:
        now = self.deadline.now()
        if self._phase:
            seconds = now - self._phase_started
            self._phases[self._phase] = self._phases.get(self._phase, 0.0) + seconds
            self.observer(events.PhaseEnded(self._phase, seconds))
        self._phase, self._phase_started = phase, now
        if phase:
            self.observer(events.PhaseStarted(phase))

    def _rounded_phases(self) -> dict[str, float]:
        return {name: round(seconds, 3) for name, seconds in self._phases.items()}

    def _make_session(self, ready: Ready) -> Session:
        persistent = ready.binder_persistent_request.removeprefix("v2/")
        spec, choice = self.request.repository.spec, self.request.choice
        return Session(
            ready.url,
            ready.token,
            hub=self.step.address,
            launch_host=ready.binder_launch_host,
            spec=spec,
            asked_spec=choice.requested.spec if choice else "",
            reuse=choice.reason if choice else "",
            persistent_spec=persistent,
            repo_url=ready.repo_url,
            ref_url=ready.binder_ref_url,
            binder_link=f"{self.step.address}v2/{persistent or spec}",
            image=ready.image,
            image_found=False if self.built else self.launching or None,
            started_at=self.utc().isoformat(timespec="seconds"),
        )

    def _require_requested_commit(self, session: Session) -> None:
        """Raise if a commit was requested and the hub does not confirm that it launched it."""
        repository = self.request.repository
        launched = session.persistent_spec.rpartition("/")[2] or "an unknown commit"
        if repository.is_commit and launched.lower() != repository.ref:
            raise errors.CommitMismatch(f"The hub launched {launched}, not {repository.ref}.")

    def _stop(self, session: Session) -> None:
        timeouts = self.request.options.timeouts
        limit = self.deadline.uncancelled(self._stop_limit())
        try:
            stopped = stop(session, limit, timeouts=timeouts)
        except errors.StopFailed as error:
            self.observer(events.SessionNotStopped(session, error.message))
        else:
            self.observer(events.SessionStopped(session))
            if not stopped.certain:
                self.observer(events.WarningIssued(f"The session {stopped}"))

    def _stop_limit(self) -> float:
        """Return how many seconds are left for stopping the session."""
        seconds = self.request.options.timeouts.stop_limit(LAUNCH_STOP)
        if self.deadline.cancel.is_set():
            remaining = _CANCEL_LIMIT - self.deadline.cancelled_for
            seconds = min(seconds, max(_MIN_STOP_TIME, remaining))
        return seconds
