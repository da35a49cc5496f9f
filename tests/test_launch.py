"""A request in, a session out: hubs in order, readiness, and nothing left running."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from answers import Answer, Ending, Raw, event, json_page, moved, page, ready
from clinder import errors
from clinder._deadline import Deadline, Pause
from clinder.checkout.reuse import Choice
from clinder.errors import Cancelled, ClinderError, ServerNotReady, TimedOut
from clinder.events import (
    AttemptFailed,
    BuildRequested,
    Event,
    LogLines,
    Observer,
    PhaseEnded,
    PhaseStarted,
    SessionLaunched,
    SessionNotStopped,
    SessionStopped,
    Waiting,
    WarningIssued,
)
from clinder.launch.launch import launch as launch_by
from clinder.launch.options import LaunchOptions
from clinder.launch.request import Request
from clinder.repository import Repository
from clinder.session import Session
from clinder.timeouts import LAUNCH_STOP, Timeouts
from clock import Clock, StoppedClock
from faults import FALLBACK_REF, Silence
from hubs import Jupyter, ScriptedHub
from kernels import Kernel, Mood

TOKEN = "s3cret-token"
REPOSITORY = Repository("gh", "org/repo", "feature/x")
SPEC = "gh/org/repo/feature/x"
COMMIT = "a" * 40
LOG = event(phase="waiting", message="Waiting\n") + event(message="a log line\n")
BUILT = event(phase="built", message="Built image, launching...\n")
LAUNCHING = BUILT + event(phase="launching", message="Launching server...\n")
FULL = Answer(event(phase="failed", message="Too many users on this BinderHub! Try again soon.\n"))

pytestmark = pytest.mark.usefixtures("_no_threads_left")


class Recorder:
    """An observer that keeps what it sees, and may do something at it."""

    def __init__(self, then: Callable[[Event], None] = lambda _: None):
        self.events: list[Event] = []
        self._then = then

    def __call__(self, seen: Event) -> None:
        self.events.append(seen)
        self._then(seen)

    def of(self, kind: type[Event]) -> list[Event]:
        return [each for each in self.events if isinstance(each, kind)]


def asked(
    *hubs: ScriptedHub, timeout: float = 60, warm_up: str | None = None, **more: Any
) -> Request:
    options = LaunchOptions(timeout=timeout, warm_up=warm_up, **more)
    return Request(REPOSITORY, tuple(hub.url for hub in hubs), options)


def launch(
    request: Request,
    observer: Observer | None = None,
    *,
    cancel: threading.Event | None = None,
    now: Callable[[], float] = time.monotonic,
    pause: Pause = threading.Event.wait,
    **more: Any,
) -> Session:
    deadline = Deadline(request.options.timeout, cancel=cancel, now=now, pause=pause)
    return launch_by(request, deadline, observer, **more)


def launchable(hub: ScriptedHub, told: Jupyter | None = None, before: bytes = b"") -> str:
    """Have the hub's next launch succeed; return the server's URL."""
    url = hub.serve("x", told or Jupyter(TOKEN))
    persistent = f"v2/gh/org/repo/{COMMIT}"
    hub.then(Answer(before + ready(url, TOKEN, binder_persistent_request=persistent)))
    return url


def shutdowns(hub: ScriptedHub) -> int:
    return len(hub.calls("POST", "api/shutdown"))


def after(happened: Callable[[], object], seconds: float) -> Callable[[], float]:
    """A clock that jumps once something has happened."""
    return lambda: time.monotonic() + (seconds if happened() else 0)


# A session.


def test_a_launch_gives_a_session_and_reports_each_step() -> None:
    recorder = Recorder()
    noon = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
    with ScriptedHub() as hub:
        url = launchable(hub, before=LOG + LAUNCHING)
        session = launch(asked(hub), recorder, now=lambda: 1000.0, utc=lambda: noon)
    link = f"{hub.url}v2/gh/org/repo/{COMMIT}"
    known = Session(
        url,
        TOKEN,
        hub=hub.url,
        spec=SPEC,
        persistent_spec=f"gh/org/repo/{COMMIT}",
        binder_link=link,
        started_at="2026-01-01T12:00:00+00:00",
    )
    assert recorder.events == [
        BuildRequested(hub.url, SPEC, 1),
        PhaseStarted("waiting"),
        LogLines("waiting", ("Waiting",)),
        LogLines("waiting", ("a log line",)),
        PhaseEnded("waiting", 0.0),
        PhaseStarted("built"),
        LogLines("built", ("Built image, launching...",)),
        PhaseEnded("built", 0.0),
        PhaseStarted("launching"),
        LogLines("launching", ("Launching server...",)),
        PhaseEnded("launching", 0.0),
        PhaseStarted("readiness"),
        SessionLaunched(known),
        PhaseEnded("readiness", 0.0),
    ]
    assert session.phases == {"waiting": 0, "built": 0, "launching": 0, "readiness": 0}
    assert [each.outcome for each in session.attempts] == ["ready"]
    assert (session.url, session.token, session.binder_link) == (url, TOKEN, link)
    assert shutdowns(hub) == 0


def test_an_observer_is_not_needed() -> None:
    with ScriptedHub() as hub:
        url = launchable(hub)
        session = launch(asked(hub))
    assert session.url == url
    assert datetime.fromisoformat(session.started_at).utcoffset() == timedelta(0)


def test_without_a_resolved_ref_the_link_is_the_one_asked_for() -> None:
    with ScriptedHub() as hub:
        hub.then(Answer(ready(hub.serve("x", Jupyter(TOKEN)), TOKEN)))
        session = launch(asked(hub))
    assert session.binder_link == f"{hub.url}v2/{SPEC}"
    assert session.persistent_spec == ""


def test_a_phase_goes_on_until_another_comes_and_an_event_without_a_message_is_no_line() -> None:
    more = threading.Event()
    recorder = Recorder(lambda seen: more.set() if isinstance(seen, LogLines) else None)
    building = event(phase="building", message="x")
    with ScriptedHub() as hub:
        end = ready(hub.serve("x", Jupyter(TOKEN)), TOKEN)
        hub.then(Answer((event(message="w") + building, more, event(phase="building"), end)))
        launch(asked(hub), recorder)
    assert recorder.of(PhaseStarted) == [PhaseStarted("building"), PhaseStarted("readiness")]
    assert recorder.of(LogLines) == [LogLines("", ("w",)), LogLines("building", ("x",))]


def test_the_session_holds_what_the_hub_says_of_it_and_why_this_commit() -> None:
    choice = Choice(
        REPOSITORY.with_ref("b" * 40), REPOSITORY.with_ref(COMMIT), "It has the same environment."
    )
    told = {
        "image": "registry.example/image:1",
        "repo_url": "https://github.com/org/repo",
        "binder_ref_url": f"https://github.com/org/repo/tree/{COMMIT}",
        "binder_launch_host": "https://member.example/",
        "binder_persistent_request": f"v2/gh/org/repo/{COMMIT}",
    }
    with ScriptedHub() as hub:
        hub.then(Answer(ready(hub.serve("x", Jupyter(TOKEN)), TOKEN, **told)))
        session = launch(replace(asked(hub), repository=choice.launched, choice=choice))
    assert session.image == told["image"]
    assert session.repo_url == told["repo_url"]
    assert session.ref_url == told["binder_ref_url"]
    assert session.launch_host == told["binder_launch_host"]
    assert session.persistent_spec == session.spec == f"gh/org/repo/{COMMIT}"
    assert session.asked_spec == f"gh/org/repo/{'b' * 40}"
    assert session.reuse == "It has the same environment."


def test_a_phase_that_comes_again_is_accounted_once_in_all() -> None:
    ticks = itertools.count()
    body = b"".join(event(phase=phase, message="x") for phase in ("building", "pushing") * 2)
    with ScriptedHub() as hub:
        launchable(hub, before=body)
        session = launch(asked(hub, timeout=10_000), now=lambda: float(next(ticks)))
    assert list(session.phases) == ["building", "pushing", "readiness"]
    assert all(seconds > 0 for seconds in session.phases.values())


def test_the_seconds_are_those_that_a_phase_an_attempt_and_its_wait_took() -> None:
    clock = StoppedClock()

    def then(seen: Event) -> None:
        if isinstance(seen, LogLines):
            clock.jump(1.23456)

    recorder = Recorder(then)
    phases = ("building", "pushing", "building")
    body = b"".join(event(phase=phase, message="x") for phase in phases)
    with ScriptedHub(Answer(body, ending=Ending.BROKEN)) as hub:
        launchable(hub, before=body)
        session = launch(
            asked(hub), recorder, now=clock.now, pause=clock.pause, random=lambda: 1 / 3
        )
    assert [each.seconds for each in session.attempts] == [3.704, 3.704]
    assert [each.waited for each in session.attempts] == [0, 1.833]
    assert session.phases == {"building": 2.469, "pushing": 1.235, "readiness": 0}
    left = [each.seconds for each in recorder.of(PhaseEnded) if isinstance(each, PhaseEnded)]
    assert left == pytest.approx([1.23456] * 2 + [1.23456] * 3 + [0])


def test_the_build_token_goes_to_the_hub() -> None:
    with ScriptedHub() as hub:
        launchable(hub)
        launch(asked(hub, build_token="t.o.k"))
        assert hub.builds[0].path == f"/build/{SPEC}?build_token=t.o.k"


# Hubs, in order.


def failed(message: str, *before: bytes, **fields: object) -> Answer:
    return Answer(b"".join(before) + event(phase="failed", message=message, **fields))


ANOTHER_HUB: dict[str, tuple[Answer | Raw, type[ClinderError]]] = {
    "full": (FULL, errors.HubFull),
    "rate limit": (failed("Rate limit exceeded. Try again in 3600 s"), errors.RateLimited),
    "quota": (failed("Too many users running x! Try again soon."), errors.QuotaReached),
    "network": (failed("Requests from x are not allowed"), errors.NetworkRefused),
    "bots": (failed("Bots not allowed"), errors.BotsRefused),
    "login": (failed("Forbidden"), errors.LoginRequired),
    "launch": (failed("Spawn failed: x", LAUNCHING), errors.LaunchFailed),
    "page": (page(200), errors.NotABinderHub),
    "no token": (Answer(ready("http://127.0.0.1/user/x/", "")), errors.ServerUnusable),
    "no http": (Answer(ready("ftp://127.0.0.1/user/x/", TOKEN)), errors.ServerUnusable),
}
AGAIN: dict[str, tuple[Answer | Raw, type[ClinderError]]] = {
    "broken": (failed("Internal Server Error"), errors.HubBroken),
    "forge": (failed("Error resolving ref for gh:x: y"), errors.RepositoryHostFailed),
    "dropped": (Answer(LOG), errors.HubUnreachable),
    "reset": (Raw([], Ending.RESET), errors.HubUnreachable),
    "bad gateway": (page(502), errors.HubBroken),
}
FINAL: dict[str, tuple[Answer, type[ClinderError]]] = {
    "provider": (failed("No provider found for prefix xx"), errors.UnknownProvider),
    "spec": (failed('Spec is not of the form "user/repo/ref"'), errors.MalformedSpec),
    "not found": (failed("Could not resolve ref for gh:x"), errors.RefNotFound),
    "banned": (failed("Sorry, x is not allowed to launch."), errors.Banned),
    "build token": (failed("Invalid build token"), errors.BuildTokenRefused),
    "build": (failed("Error during build", LOG), errors.BuildFailed),
    "refused": (failed("No", status_code=400), errors.Refused),
}


@pytest.mark.parametrize("case", ANOTHER_HUB)
def test_what_lies_at_the_hub_is_tried_at_the_next(case: str) -> None:
    answer, kind = ANOTHER_HUB[case]
    recorder = Recorder()
    with ScriptedHub(answer) as first, ScriptedHub() as second:
        url = launchable(second)
        session = launch(asked(first, second), recorder)
        assert session.url == url
        assert session.hub == second.url
        assert [len(first.builds), len(second.builds)] == [1, 1]
    assert [(each.hub, each.outcome) for each in session.attempts] == [
        (first.url, kind.__name__),
        (second.url, "ready"),
    ]
    assert session.attempts[0].reason
    assert session.attempts[1].reason == ""
    assert recorder.of(AttemptFailed) == [AttemptFailed(session.attempts[0])]
    assert recorder.of(BuildRequested) == [
        BuildRequested(first.url, SPEC, 1),
        BuildRequested(second.url, SPEC, 2),
    ]


@pytest.mark.parametrize("case", AGAIN)
def test_what_broke_is_asked_again_and_then_the_next_hub(case: str) -> None:
    answer, kind = AGAIN[case]
    clock = Clock()
    recorder = Recorder()
    with ScriptedHub(*[answer] * 3) as first, ScriptedHub() as second:
        url = launchable(second)
        request = asked(first, second)
        session = launch(request, recorder, now=clock.now, pause=clock.pause, random=lambda: 0.5)
        assert session.url == url
        assert [len(first.builds), len(second.builds)] == [3, 1]
    assert [each.outcome for each in session.attempts] == [kind.__name__] * 3 + ["ready"]
    assert [each.waited for each in session.attempts] == [0, 2, 4, 0]
    assert recorder.of(Waiting) == [Waiting(2, first.url), Waiting(4, first.url)]
    assert recorder.of(AttemptFailed) == [AttemptFailed(each) for each in session.attempts[:3]]


@pytest.mark.parametrize("case", FINAL)
def test_what_lies_in_the_request_is_final(case: str) -> None:
    answer, kind = FINAL[case]
    with ScriptedHub(answer) as first, ScriptedHub() as second:
        with pytest.raises(kind) as error:
            launch(asked(first, second))
        assert not second.requests
    assert error.value.context.hub == first.url


def test_the_last_hubs_error_is_the_launchs_with_where_it_happened() -> None:
    said = b"".join(event(message=f"line {number}\n") for number in range(30))
    with (
        ScriptedHub(page(200)) as first,
        ScriptedHub(failed("Spawn failed: x", LAUNCHING, said)) as second,
        pytest.raises(errors.LaunchFailed) as error,
    ):
        launch(asked(first, second))
    context = error.value.context
    assert context.hub == second.url
    assert context.repository == SPEC
    assert context.link == f"{second.url}v2/{SPEC}"
    assert context.log == tuple(f"line {number}" for number in range(10, 30))


def test_a_server_that_never_gets_usable_is_stopped_and_the_next_hub_tried() -> None:
    with ScriptedHub() as first, ScriptedHub() as second:
        launchable(first, Jupyter(TOKEN, before=(503,) * 3))
        launchable(second)
        asked_often = after(lambda: len(first.calls("GET", "api/status")) >= 3, 121)
        session = launch(asked(first, second, timeout=1000), now=asked_often)
        assert shutdowns(first) == 1
        assert shutdowns(second) == 0
    assert [each.outcome for each in session.attempts] == ["ServerNotReady", "ready"]


# Readiness.


def test_the_proxy_may_need_a_moment_to_know_the_server() -> None:
    with ScriptedHub() as hub:
        launchable(hub, Jupyter(TOKEN, before=(404, 503, 302, 502, 424)))
        launch(asked(hub))
        assert len(hub.calls("GET", "api/status")) == 6
        assert shutdowns(hub) == 0


def test_a_server_is_asked_often_at_first_then_every_3_s_and_for_120_s_in_all() -> None:
    clock = StoppedClock()
    left: list[float] = []
    with ScriptedHub() as hub:
        launchable(hub, Jupyter(TOKEN, before=(503,) * 500))
        recorder = Recorder(lambda seen: left.append(clock.passed))
        with pytest.raises(ServerNotReady, match="503"):
            launch(asked(hub, timeout=1000), recorder, now=clock.now, pause=clock.pause)
    assert clock.pauses[:3] == pytest.approx([0.1, 0.16, 0.256])
    assert max(clock.pauses) == 3
    assert recorder.of(SessionNotStopped)
    assert left[-1] == pytest.approx(120 + LAUNCH_STOP)


def test_a_server_that_never_gets_usable_is_an_error_and_is_stopped() -> None:
    with ScriptedHub() as hub:
        launchable(hub, Jupyter(TOKEN, before=(503,) * 3))
        asked_often = after(lambda: len(hub.calls("GET", "api/status")) >= 3, 121)
        with pytest.raises(ServerNotReady, match="never became usable") as error:
            launch(asked(hub, timeout=1000), now=asked_often)
        assert shutdowns(hub) == 1
    assert error.value.exit_code == 8
    assert error.value.context.hub == hub.url


@pytest.mark.parametrize(
    ("seconds", "words"), [(25, "it sent nothing for 10 s"), (5, "it did not answer in time")]
)
def test_a_silent_server_is_asked_again_after_10_s_and_the_error_says_so(
    seconds: float, words: str
) -> None:
    clock = Clock()
    with ScriptedHub() as hub:
        launchable(hub)
        hub.pages["/user/x/api/status"] = Raw((Silence(clock, 0.5),))
        request = asked(hub, timeouts=Timeouts(readiness=seconds))
        with pytest.raises(ServerNotReady, match=f"never became usable: {words}"):
            launch(request, now=clock.now, pause=clock.pause)


def test_a_server_that_refuses_its_own_token_cannot_be_stopped_either() -> None:
    recorder = Recorder()
    with ScriptedHub() as hub:
        launchable(hub, Jupyter("another-token"))
        asked_often = after(lambda: len(hub.calls("GET", "api/status")) >= 2, 121)
        with pytest.raises(ServerNotReady, match="usable: it rejects its own token"):
            launch(asked(hub, timeout=1000), recorder, now=asked_often)
    (left,) = recorder.of(SessionNotStopped)
    assert "token" in str(left)
    assert TOKEN not in str(left)


# Nothing is left running.


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, BrokenPipeError])
@pytest.mark.parametrize(
    "at",
    [
        lambda seen: isinstance(seen, PhaseEnded) and seen.phase == "launching",
        lambda seen: seen == PhaseStarted("readiness"),
        lambda seen: isinstance(seen, SessionLaunched),
        lambda seen: isinstance(seen, PhaseEnded) and seen.phase == "readiness",
    ],
    ids=["launched", "readiness begins", "session known", "usable"],
)
def test_an_observer_that_fails_costs_the_session(
    at: Callable[[Event], bool], error: type[BaseException]
) -> None:
    def then(seen: Event) -> None:
        if at(seen):
            raise error

    with ScriptedHub() as hub:
        launchable(hub, before=LAUNCHING)
        with pytest.raises(error):
            launch(asked(hub), then)
        assert shutdowns(hub) == 1


def test_a_session_that_cannot_be_stopped_is_warned_of() -> None:
    def then(seen: Event) -> None:
        if isinstance(seen, SessionLaunched):
            raise ZeroDivisionError

    recorder = Recorder(then)
    with ScriptedHub() as hub:
        url = launchable(hub, Jupyter(TOKEN, stays=True))
        stopped = after(lambda: shutdowns(hub), 11)
        with pytest.raises(ZeroDivisionError):
            launch(asked(hub, timeout=1000), recorder, now=stopped)
    (left,) = recorder.of(SessionNotStopped)
    assert url in str(left)
    assert "still runs" in str(left)
    assert TOKEN not in str(left)


# Cancelling.


class Cancelling(Recorder):
    """An observer that cancels at the first log line of a phase."""

    def __init__(self, phase: str, then: Callable[[], None] = lambda: None):
        self.cancel = threading.Event()

        def at(seen: Event) -> None:
            if isinstance(seen, LogLines) and seen.phase == phase and not self.cancel.is_set():
                self.cancel.set()
                then()

        super().__init__(at)


def test_cancelling_a_build_ends_it_at_once() -> None:
    """Nothing can appear yet: the clock stands still, so no grace would ever end."""
    recorder = Cancelling("waiting")
    with ScriptedHub(Answer(LOG, ending=Ending.HELD)) as hub:
        with pytest.raises(Cancelled) as error:
            launch(asked(hub), recorder, cancel=recorder.cancel, now=lambda: 1000.0)
        assert hub.builds[0].left.wait(20)
    assert not recorder.of(WarningIssued)
    assert error.value.context.log[0] == "Waiting"


def test_a_server_that_comes_up_within_the_grace_is_stopped() -> None:
    """The clock stands still: the grace lasts until the server is there."""
    more = threading.Event()
    recorder = Cancelling("launching", more.set)
    with ScriptedHub() as hub:
        url = hub.serve("x", Jupyter(TOKEN))
        hub.then(Answer((LAUNCHING, more, ready(url, TOKEN)), ending=Ending.HELD))
        with pytest.raises(Cancelled):
            launch(asked(hub), recorder, cancel=recorder.cancel, now=lambda: 1000.0)
        assert shutdowns(hub) == 1
        assert len(hub.builds) == 1
    assert not recorder.of(WarningIssued)
    assert recorder.of(SessionLaunched)


@pytest.mark.parametrize(("seconds", "stopped"), [(4.9, 1), (5.1, 0)])
def test_the_grace_is_5_s_from_when_the_cancelling_was_seen(seconds: float, stopped: int) -> None:
    clock = StoppedClock()
    more, last = threading.Event(), threading.Event()
    recorder = Cancelling("launching", more.set)

    def then(seen: Event) -> None:
        recorder(seen)
        if isinstance(seen, LogLines) and seen.lines == ("still",):
            clock.jump(seconds)
            if stopped:
                last.set()

    with ScriptedHub() as hub:
        comes_up = ready(hub.serve("x", Jupyter(TOKEN)), TOKEN)
        hub.then(
            Answer((LAUNCHING, more, event(phase="launching", message="still"), last, comes_up))
        )
        with pytest.raises(Cancelled):
            launch(asked(hub), then, cancel=recorder.cancel, now=clock.now)
        assert shutdowns(hub) == stopped
    assert len(recorder.of(WarningIssued)) == 1 - stopped


def test_a_server_that_does_not_come_up_within_the_grace_is_warned_of() -> None:
    recorder = Cancelling("launching")
    with ScriptedHub(Answer(LAUNCHING, ending=Ending.HELD)) as hub:
        seconds = itertools.count()  # one passes each time the clock is looked at
        with pytest.raises(Cancelled):
            launch(
                asked(hub),
                recorder,
                cancel=recorder.cancel,
                now=lambda: float(next(seconds) if recorder.cancel.is_set() else 0),
            )
        assert hub.builds[0].left.wait(20)
        assert shutdowns(hub) == 0
    (warning,) = recorder.of(WarningIssued)
    assert "nobody holds its token" in str(warning)


def test_cancelling_while_the_server_gets_usable_stops_it() -> None:
    cancel = threading.Event()

    def then(seen: Event) -> None:
        if isinstance(seen, SessionLaunched):
            cancel.set()

    with ScriptedHub() as hub:
        launchable(hub, before=LAUNCHING)
        with pytest.raises(Cancelled):
            launch(asked(hub), then, cancel=cancel, now=lambda: 1000.0)
        assert shutdowns(hub) == 1


class Late(Cancelling):
    """It cancels while launching; when the server is there, so many seconds have gone by."""

    def __init__(self, hub: ScriptedHub, told: Jupyter, seconds: float):
        more = threading.Event()
        super().__init__("launching", more.set)
        self.clock = StoppedClock()
        self._seconds = seconds
        hub.then(Answer((LAUNCHING, more, ready(hub.serve("x", told), TOKEN)), ending=Ending.HELD))

    def __call__(self, seen: Event) -> None:
        super().__call__(seen)
        if isinstance(seen, SessionLaunched):
            self.clock.jump(self._seconds)

    def launches(self, hub: ScriptedHub, **more: Any) -> None:
        clock = self.clock
        with pytest.raises(Cancelled):
            launch(asked(hub, **more), self, cancel=self.cancel, now=clock.now, pause=clock.pause)


@pytest.mark.parametrize(("seconds", "ends"), [(0.0, 6.5), (4.5, 6.5), (10.0, 11.5)])
def test_a_cancelled_session_is_asked_to_stop_until_the_step_is_to_end(
    seconds: float, ends: float
) -> None:
    """And for 1.5 s however late it is."""
    with ScriptedHub() as hub:
        late = Late(hub, Jupyter(TOKEN, stays=True), seconds)
        late.launches(hub)
        assert shutdowns(hub)
    assert late.of(SessionNotStopped)
    assert late.clock.passed == pytest.approx(ends)


def test_a_cancelled_session_is_asked_to_stop_no_longer_than_any_other() -> None:
    with ScriptedHub() as hub:
        late = Late(hub, Jupyter(TOKEN, stays=True), 0)
        late.launches(hub, timeouts=Timeouts(stop=2))
    assert late.clock.passed == pytest.approx(2)


def test_a_cancelled_session_is_stopped_however_late_it_is() -> None:
    with ScriptedHub() as hub:
        late = Late(hub, Jupyter(TOKEN), 20)
        late.launches(hub)
        assert shutdowns(hub) == 1
    (known,) = (each for each in late.events if isinstance(each, SessionLaunched))
    assert late.of(SessionStopped) == [SessionStopped(known.session)]
    assert not late.of(SessionNotStopped)


def test_a_session_that_is_not_cancelled_is_asked_to_stop_for_its_own_time() -> None:
    def fails(seen: Event) -> None:
        if isinstance(seen, SessionLaunched):
            raise ZeroDivisionError

    clock = StoppedClock()
    with ScriptedHub() as hub:
        launchable(hub, Jupyter(TOKEN, stays=True))
        with pytest.raises(ZeroDivisionError):
            launch(asked(hub), fails, now=clock.now, pause=clock.pause)
    assert clock.passed == pytest.approx(LAUNCH_STOP)


def test_a_launch_that_was_cancelled_before_asks_nobody() -> None:
    """By a clock that is slow to read: what was sent before has arrived by then."""
    cancel = threading.Event()
    cancel.set()

    recorder = Recorder()

    def slow() -> float:
        if recorder.of(BuildRequested):
            with hub.came:
                hub.came.wait_for(lambda: hub.requests, timeout=0.3)
        return 1000.0

    with ScriptedHub() as hub:
        launchable(hub)
        with pytest.raises(Cancelled):
            launch(asked(hub), recorder, cancel=cancel, now=slow)
        assert not hub.requests


def test_a_cancelled_launch_asks_no_other_hub() -> None:
    recorder = Cancelling("waiting")
    with ScriptedHub(Answer(LOG, ending=Ending.HELD)) as first, ScriptedHub() as second:
        with pytest.raises(Cancelled):
            launch(asked(first, second), recorder, cancel=recorder.cancel)
        assert not second.requests


def test_a_launch_that_fails_once_it_was_cancelled_ends_as_cancelled() -> None:
    more = threading.Event()
    recorder = Cancelling("launching", more.set)
    fails = event(phase="failed", message="Spawn failed: no\n")
    with ScriptedHub() as first, ScriptedHub() as second:
        first.then(Answer((LAUNCHING, more, fails)))
        with pytest.raises(Cancelled, match=r"^Cancelled\.$") as error:
            launch(asked(first, second), recorder, cancel=recorder.cancel, now=lambda: 1000.0)
        assert not second.requests
    assert error.value.context.hub == first.url


def test_cancelling_a_wait_after_a_launch_that_dropped_asks_nobody_again() -> None:
    """No server is about to appear: there is no grace."""
    clock = StoppedClock()
    cancel = threading.Event()
    recorder = Recorder(lambda seen: cancel.set() if isinstance(seen, Waiting) else None)
    with ScriptedHub(Answer(LAUNCHING, ending=Ending.BROKEN)) as hub:
        with pytest.raises(Cancelled) as error:
            launch(asked(hub), recorder, cancel=cancel, now=clock.now, pause=clock.pause)
        assert len(hub.builds) == 1
    assert len(recorder.of(BuildRequested)) == 1
    assert clock.passed == 0
    assert error.value.exit_code == 130


# Time.


def test_a_launch_that_takes_too_long_is_ended_for_good() -> None:
    with ScriptedHub(Answer(LOG, ending=Ending.HELD)) as first, ScriptedHub() as second:
        with pytest.raises(TimedOut, match=r"did not finish within 0\.3 s") as error:
            launch(asked(first, second, timeout=0.3))
        assert not second.requests
        assert first.builds[0].left.wait(20)
    assert error.value.exit_code == 7
    assert error.value.context.log == ("Waiting", "a log line")


def test_a_launch_that_runs_out_of_time_while_getting_usable_is_stopped() -> None:
    with ScriptedHub() as hub:
        launchable(hub, Jupyter(TOKEN, before=(503,) * 3))
        asked_often = after(lambda: len(hub.calls("GET", "api/status")) >= 3, 61)
        with pytest.raises(TimedOut, match="within 60 s"):
            launch(asked(hub), now=asked_often)
        assert shutdowns(hub) == 1


@pytest.mark.parametrize("ending", [Ending.HELD, Ending.RESET])
def test_a_launch_that_is_lost_while_launching_is_warned_of(ending: Ending) -> None:
    """From ``built`` on, a server may come up whose token nobody holds."""
    recorder = Recorder()
    with ScriptedHub(Answer(LAUNCHING, ending=ending)) as hub:
        last = LogLines("launching", ("Launching server...",))
        launched = after(lambda: last in recorder.events, 61)
        with pytest.raises((TimedOut, errors.HubUnreachable)):
            launch(asked(hub), recorder, now=launched)
    (warning,) = recorder.of(WarningIssued)
    assert "nobody holds its token" in str(warning)


def test_a_stream_that_drops_once_the_image_is_built_is_asked_for_once_more() -> None:
    """A server is being launched from then on, each time another."""
    clock = Clock()
    recorder = Recorder()
    dropped = Answer(LOG + BUILT, ending=Ending.BROKEN)
    with ScriptedHub(dropped, dropped) as hub:
        with pytest.raises(errors.HubUnreachable):
            launch(asked(hub), recorder, now=clock.now, pause=clock.pause)
        assert len(hub.builds) == 2
    assert ["nobody holds its token" in str(each) for each in recorder.of(WarningIssued)] == [
        True
    ] * 2


# The commit that was asked for.


def test_a_commit_that_the_hub_launched_as_asked_is_handed_out() -> None:
    with ScriptedHub() as hub:
        launchable(hub)

        session = launch(replace(asked(hub), repository=REPOSITORY.with_ref(COMMIT)))

    assert session.persistent_spec == f"gh/org/repo/{COMMIT}"


@pytest.mark.parametrize(
    ("persistent", "words"),
    [(f"v2/gh/org/repo/{'b' * 40}", "b" * 40), ("", "an unknown commit")],
)
def test_another_commit_than_the_one_asked_for_is_stopped_and_refused(
    persistent: str, words: str
) -> None:
    with ScriptedHub() as hub:
        url = hub.serve("x", Jupyter(TOKEN))
        hub.then(Answer(ready(url, TOKEN, binder_persistent_request=persistent)))

        with pytest.raises(errors.CommitMismatch) as caught:
            launch(replace(asked(hub), repository=REPOSITORY.with_ref(COMMIT)))

        assert shutdowns(hub) == 1
    assert caught.value.message == f"The hub launched {words}, not {COMMIT}."
    assert caught.value.exit_code == 3


def test_a_cancellation_at_the_second_hub_waits_for_no_server_of_the_first() -> None:
    cancel = threading.Event()
    hanging = threading.Event()

    def then(seen: Event) -> None:
        if isinstance(seen, LogLines) and "a log line" in seen.lines:
            cancel.set()

    with ScriptedHub() as first, ScriptedHub() as second:
        first.then(Answer(LAUNCHING + event(phase="failed", message="Spawn failed: no\n")))
        second.then(Answer((LOG, hanging)))
        frozen = time.monotonic()

        with pytest.raises(Cancelled):
            launch(asked(first, second), Recorder(then), cancel=cancel, now=lambda: frozen)

        hanging.set()


# The build token.


def test_a_build_token_goes_to_the_hub_that_it_is_bound_to() -> None:
    with ScriptedHub(FULL) as first, ScriptedHub() as second:
        launchable(second)

        launch(asked(first, second, build_token="tok"))

        assert [each.path for each in first.builds] == [f"/build/{SPEC}?build_token=tok"]
        assert [each.path for each in second.builds] == [f"/build/{SPEC}"]


def test_a_federation_is_asked_again_with_its_cookie_so_that_the_build_is_attached_to() -> None:
    clock = Clock()
    with ScriptedHub(Answer(LOG)) as member, ScriptedHub() as federation:
        launchable(member)
        there = f"{member.url}build/{SPEC}"
        cookie = f"host=member; Path=/build/{SPEC}"
        federation.then(page(307, b"", Location=there, Set_Cookie=cookie), moved(there, 307))

        session = launch(asked(federation), now=clock.now, pause=clock.pause)

        cookies = [each.headers.get("cookie") for each in federation.builds]
        assert cookies == [None, "host=member"]
        assert len(member.builds) == 2
    assert session.hub == federation.url


def test_a_federation_that_is_full_is_drawn_from_anew_without_its_cookie() -> None:
    clock = Clock()
    with ScriptedHub(FULL) as member, ScriptedHub() as federation:
        launchable(member)
        there = f"{member.url}build/{SPEC}"
        cookie = f"host=member; Path=/build/{SPEC}"
        federation.then(page(307, b"", Location=there, Set_Cookie=cookie), moved(there, 307))

        launch(asked(federation, timeout=100), now=clock.now, pause=clock.pause)

        assert [each.headers.get("cookie") for each in federation.builds] == [None, None]


def test_a_member_that_is_named_beside_its_federation_gets_three_requests_in_all() -> None:
    clock = Clock()
    with ScriptedHub(*[FULL] * 4) as member, ScriptedHub() as federation:
        there = f"{member.url}build/{SPEC}"
        federation.then(*[moved(there, 307)] * 3)
        with pytest.raises(errors.HubFull):
            launch(asked(federation, member, timeout=1000), now=clock.now, pause=clock.pause)
        assert len(member.builds) == 3


def test_a_busy_hub_says_how_long_it_was_asked() -> None:
    clock = Clock()
    with ScriptedHub(FULL, FULL) as hub, pytest.raises(errors.HubFull) as caught:
        launch(asked(hub, timeout=200), now=clock.now, pause=clock.pause)
    assert len(hub.requests) == 2, "it is no federation, and has no members to list"
    assert caught.value.message.startswith("The hub is full: Too many users on this BinderHub!")
    assert "2 build requests failed within 60 s." in caught.value.message
    assert "The next retry, in 240 s, would exceed the time limit of 200 s." in caught.value.message


def test_only_a_busy_hub_says_how_often_it_was_asked() -> None:
    clock = Clock()
    with ScriptedHub(*[page(502)] * 3) as hub, pytest.raises(errors.HubBroken) as caught:
        launch(asked(hub), now=clock.now, pause=clock.pause)
    assert caught.value.message == "The hub answered 502."


def test_a_hub_may_be_silent_for_as_long_as_the_request_says() -> None:
    with ScriptedHub(Answer(LOG, ending=Ending.HELD)) as hub:
        with pytest.raises(errors.HubUnreachable):
            launch(asked(hub, timeouts=Timeouts(idle=0.2), attempts=1, timeout=1000))
        assert hub.builds[0].left.wait(20)


def test_a_busy_hub_is_not_waited_for_until_the_time_is_over() -> None:
    clock = StoppedClock()
    with ScriptedHub(FULL) as hub, pytest.raises(errors.HubFull) as caught:
        launch(asked(hub, timeout=60), now=clock.now, pause=clock.pause)
    assert clock.passed == 0
    assert "The next retry, in 60 s, would exceed the time limit of 60 s." in caught.value.message
    assert "build requests" not in caught.value.message


def test_a_build_token_does_not_go_to_another_member() -> None:
    with ScriptedHub(FULL) as member, ScriptedHub() as other, ScriptedHub() as federation:
        launchable(other)
        listed = {"one": {"url": member.url}, "two": {"url": other.url}, "odd": {"url": 7}}
        federation.pages["/active_hosts"] = json_page(200, {"active_hosts": listed})
        federation.then(moved(f"{member.url}build/{SPEC}", 307))

        launch(asked(federation, build_token="tok"))

        assert federation.builds[0].path.endswith("?build_token=tok")
        assert other.builds[0].path == f"/build/{SPEC}"


def test_a_server_on_plain_http_of_another_machine_is_warned_of() -> None:
    recorder = Recorder()
    with ScriptedHub() as hub:
        hub.then(Answer(ready("http://server.invalid/user/x/", TOKEN)))
        with pytest.raises(ServerNotReady):
            launch(asked(hub, timeouts=Timeouts(readiness=0.3, stop=0.3)), recorder)
    (warning,) = recorder.of(WarningIssued)
    assert "http://server.invalid/user/x/ uses plain HTTP" in str(warning)


@pytest.mark.posix  # where 0.0.0.0 leads to this machine, and is none of its loopback's addresses
def test_a_server_on_plain_http_is_not_warned_of_where_its_hub_is_no_better() -> None:
    recorder = Recorder()
    with ScriptedHub() as hub:
        url = hub.serve("x", Jupyter(TOKEN)).replace("127.0.0.1", "0.0.0.0")
        hub.then(Answer(ready(url, TOKEN)))
        request = replace(asked(hub), hubs=(hub.url.replace("127.0.0.1", "0.0.0.0"),))
        assert launch(request, recorder).url == url
    assert not recorder.of(WarningIssued)


def test_a_ref_that_the_hub_did_not_find_is_warned_of() -> None:
    recorder = Recorder()
    with ScriptedHub() as hub:
        launchable(hub, before=FALLBACK_REF)
        launch(replace(asked(hub), repository=Repository("gh", "org/repo", "master")), recorder)
    (warning,) = recorder.of(WarningIssued)
    assert warning == WarningIssued("The hub did not find master, and launches HEAD instead.")


def test_cancelling_a_warm_up_that_hangs_stops_the_session_at_once() -> None:
    """The clock stands still, so no grace would ever end."""
    cancel = threading.Event()
    with ScriptedHub() as hub:
        launchable(hub)
        hub.pages["/user/x/api/sessions"] = Raw((threading.Event(),))

        def cancel_then() -> None:
            hub.awaited("POST", "api/sessions")
            cancel.set()

        waiter = threading.Thread(target=cancel_then)
        waiter.start()
        with pytest.raises(Cancelled):
            launch(asked(hub, warm_up=""), cancel=cancel, now=lambda: 1000.0)
        waiter.join()
        assert shutdowns(hub) == 1
        assert not hub.calls("GET", "api/sessions"), "its kernel ends with it"


def test_a_warm_up_that_does_not_reach_its_kernel_is_tried_three_times() -> None:
    clock = Clock()
    with ScriptedHub() as hub:
        launchable(hub, Jupyter(TOKEN, kernel=Kernel(Mood.UNREACHABLE)))
        with pytest.raises(ServerNotReady, match="the warm-up failed"):
            launch(asked(hub, warm_up=""), now=clock.now, pause=clock.pause)
        assert [each for each in clock.pauses if each >= 1] == [1, 3]
        assert len(hub.calls("POST", "api/sessions")) == 3
        assert len(hub.calls("DELETE", "api/kernels/k1")) == 3


def test_a_warm_up_takes_the_kernelspec_that_was_asked_for() -> None:
    with ScriptedHub() as hub:
        launchable(hub)
        with pytest.raises(errors.KernelspecMissing, match="no kernelspec 'ir', only: python3"):
            launch(asked(hub, warm_up="ir"))


def test_the_first_kernel_may_take_as_long_as_the_server_to_get_usable() -> None:
    """Of a clock that runs once the kernel is asked, and stops after it is given up."""
    seen = itertools.count(step=5)
    with ScriptedHub() as hub:
        launchable(hub, Jupyter(TOKEN, kernel=Kernel(Mood.SILENT)))
        request = asked(hub, timeout=1000, warm_up="", timeouts=Timeouts(readiness=300))

        def now() -> float:
            return min(float(next(seen)), 301.0) if hub.calls("GET", "channels") else 0.0

        with pytest.raises(ServerNotReady, match="usable: its first kernel did not answer in time"):
            launch(request, now=now)
        assert shutdowns(hub) == 1
