"""Hubs, attempts and clocks: a request in, a session out."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from clinder.deadline import Deadline
from clinder.errors import (
    BotsRefused,
    Cancelled,
    ClinderError,
    CommitMismatch,
    Context,
    HubBusy,
    HubError,
    HubUnreachable,
    LaunchFailed,
    LoginRequired,
    NetworkRefused,
    StopFailed,
    TimedOut,
)
from clinder.events import (
    AttemptFailed,
    BuildRequested,
    LogLine,
    Observer,
    PhaseEntered,
    PhaseLeft,
    SessionKnown,
    Warned,
)
from clinder.policy.readiness import wait_until_usable
from clinder.policy.request import LOCAL, Request
from clinder.policy.stop import stop
from clinder.session import Attempt, Session
from clinder.text import lines
from clinder.wire.binderhub import Progress, Ready, build
from clinder.wire.transport import Transport

_LOG_LINES = 20
_GRACE = 5.0
_STOP = 10.0
_ANOTHER_HUB = (HubBusy, HubError, LaunchFailed, NetworkRefused, BotsRefused, LoginRequired)
_LAUNCHING = ("built", "launching")


def _ignored(_: object) -> None:
    """Observe nothing."""


def _utc() -> datetime:
    return datetime.now(timezone.utc)


def launch(
    request: Request,
    observer: Observer | None = None,
    *,
    cancel: threading.Event | None = None,
    now: Callable[[], float] = time.monotonic,
    utc: Callable[[], datetime] = _utc,
) -> Session:
    """Return a session that answers, from the first of the request's hubs that gives one.

    A session that became known but not usable is stopped. ``observer`` receives what happens.
    When ``cancel`` is set the launch ends at once or, where a server may be about to appear,
    after up to 5 s of waiting for it, to stop it. Raises the errors of :mod:`clinder.errors`,
    each with its :class:`~clinder.errors.Context`.
    """
    observer = observer or _ignored
    deadline = Deadline(request.timeout, cancel=cancel, now=now)
    attempts: list[Attempt] = []
    for number, hub in enumerate(request.hubs, start=1):
        with _base_url(hub, request.directory) as url:
            attempt = _Attempt(request, url, number, observer=observer, deadline=deadline, utc=utc)
            try:
                return attempt.session(tuple(attempts))
            except ClinderError as error:
                error.context = attempt.context()
                if isinstance(error, TimedOut):
                    error.what = f"The launch did not end within {request.timeout:g} s."
                if number == len(request.hubs) or not isinstance(error, _ANOTHER_HUB):
                    raise
                attempts.append(attempt.failed(error))
                observer(AttemptFailed(attempts[-1]))
    raise AssertionError("a request names at least one hub")


@contextmanager
def _base_url(hub: str, directory: Path) -> Iterator[str]:
    if hub != LOCAL:
        yield hub
        return
    from clinder.embedded.hub import Hub  # an extra, and needed for no other hub

    with Hub(directory, stop_servers=False) as embedded:
        yield embedded.url


class _Attempt:
    """One build request, and the readiness of what it launches."""

    def __init__(
        self,
        request: Request,
        hub: str,
        number: int,
        *,
        observer: Observer,
        deadline: Deadline,
        utc: Callable[[], datetime],
    ):
        self._request = request
        self._hub = hub
        self._number = number
        self._observer = observer
        self._deadline = deadline
        self._utc = utc
        self._began = deadline.now()
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._phase = ""
        self._phase_began = self._began
        self._phases: dict[str, float] = {}

    def session(self, failed: tuple[Attempt, ...]) -> Session:
        """Return the usable session that one build request gives."""
        session = self._known(self._ready())
        try:
            self._deadline.grace = 0.0
            self._enter("readiness")
            self._observer(SessionKnown(session))
            self._deadline.check()
            self._raise_for_another_commit(session)
            wait_until_usable(
                session, self._deadline, transport=Transport(self._request.clocks.of_server)
            )
            self._enter("")
        except BaseException:
            self._stop(session)
            raise
        return replace(
            session,
            phases={name: round(seconds, 3) for name, seconds in self._phases.items()},
            attempts=(*failed, Attempt(self._hub, "ready", "", self._seconds())),
        )

    def context(self) -> Context:
        """Return where this attempt happened, and what the hub said last."""
        repository = self._request.repository
        local = LOCAL in self._request.hubs
        return Context(
            hub=self._hub,
            repository=repository.spec,
            link="" if local else repository.binder_link(self._hub),
            log=tuple(self._log),
        )

    def failed(self, error: ClinderError) -> Attempt:
        """Return the record of this attempt, which an error ended."""
        return Attempt(self._hub, type(error).__name__, error.what, self._seconds())

    def _ready(self) -> Ready:
        spec = self._request.repository.spec
        self._deadline.grace = 0.0
        self._observer(BuildRequested(self._hub, spec, self._number))
        events = build(
            Transport(),
            self._hub,
            spec,
            deadline=self._deadline,
            build_token=self._build_token(),
        )
        try:
            with closing(events):
                for event in events:
                    if isinstance(event, Ready):
                        return event
                    self._progress(event)
        except (Cancelled, TimedOut, HubUnreachable):
            if self._phase in _LAUNCHING:
                self._observer(
                    Warned(
                        "The launch ended while the server was being launched: if it still comes"
                        " up, nobody holds its token, and the hub culls it."
                    )
                )
            raise
        raise AssertionError("a build ends with a ready event or an error")

    def _build_token(self) -> str:
        """Return the build token for the hub that it is bound to: the first, never our own."""
        return "" if self._number > 1 or LOCAL in self._request.hubs else self._request.build_token

    def _progress(self, event: Progress) -> None:
        if event.phase and event.phase != self._phase:
            self._enter(event.phase)
        if self._phase in _LAUNCHING:
            self._deadline.grace = _GRACE
        for line in lines(event.message):
            self._log.append(line)
            self._observer(LogLine(self._phase, line))

    def _enter(self, phase: str) -> None:
        """Account the phase that ends, and begin another, ``""`` for none."""
        now = self._deadline.now()
        if self._phase:
            seconds = now - self._phase_began
            self._phases[self._phase] = self._phases.get(self._phase, 0.0) + seconds
            self._observer(PhaseLeft(self._phase, seconds))
        self._phase, self._phase_began = phase, now
        if phase:
            self._observer(PhaseEntered(phase))

    def _known(self, ready: Ready) -> Session:
        persistent = ready.binder_persistent_request.removeprefix("v2/")
        return Session(
            ready.url,
            ready.token,
            hub=self._hub,
            launch_host=ready.binder_launch_host,
            spec=self._request.repository.spec,
            persistent_spec=persistent,
            repo_url=ready.repo_url,
            ref_url=ready.binder_ref_url,
            binder_link=f"{self._hub}v2/{persistent or self._request.repository.spec}",
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
        try:
            stop(session, Deadline(_STOP, now=self._deadline.now))
        except StopFailed as error:
            self._observer(
                Warned(f"The session at {session.url} may still run until it is culled: {error}")
            )

    def _seconds(self) -> float:
        return round(self._deadline.now() - self._began, 3)
