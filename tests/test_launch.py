"""From a request to a session: hubs in order, readiness, cancellation, and nothing left running."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import pytest

from answers import Answer, Ending, Raw, event, json_page, moved, page, ready
from clinder import errors
from clinder._deadline import Deadline, Pause
from clinder.checkout.reuse import Choice
from clinder.errors import Cancelled, ServerNotReady, TimedOut
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
    SessionReady,
    Waiting,
    WarningIssued,
    describe,
)
from clinder.launch.launch import launch as launch_before
from clinder.launch.options import LaunchOptions
from clinder.launch.request import Request
from clinder.repository import Repository
from clinder.session import Attempt, Session
from clinder.timeouts import LAUNCH_STOP, Timeouts
from clock import Clock, StoppedClock
from faults import Silence
from hubs import Jupyter, ScriptedHub
from kernels import Kernel, Mood

Kind = TypeVar("Kind")
TOKEN = "s3cret-token"
REPOSITORY = Repository("gh", "org/repo", "feature/x")
SPEC = "gh/org/repo/feature/x"
COMMIT = "a" * 40
LOG = event(phase="waiting", message="Waiting\n") + event(message="a log line\n")
LAUNCHING = event(phase="built", message="Built image, launching...\n") + event(
    phase="launching", message="Launching server...\n"
)
SPAWN_FAILED = event(phase="failed", message="Spawn failed: no\n")
FULL = Answer(event(phase="failed", message="Too many users on this BinderHub! Try again soon.\n"))

pytestmark = pytest.mark.usefixtures("_no_threads_left")


class Recorder:
    """An observer that keeps the events, and calls ``react`` with each."""

    def __init__(self, react: Callable[[Event], None] = lambda _: None):
        self.events: list[Event] = []
        self._react = react

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._react(event)

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [each for each in self.events if isinstance(each, kind)]


def request_for(
    *hubs: ScriptedHub, timeout: float = 60, warm_up: str | None = None, **options: Any
) -> Request:
    urls = tuple(hub.url for hub in hubs)
    return Request(REPOSITORY, urls, LaunchOptions(timeout=timeout, warm_up=warm_up, **options))


def launch(
    request: Request,
    observer: Observer | None = None,
    *,
    cancel: threading.Event | None = None,
    clock: Clock | None = None,
    now: Callable[[], float] = time.monotonic,
    pause: Pause = threading.Event.wait,
    **more: Any,
) -> Session:
    if clock:
        now, pause = clock.now, clock.pause
    deadline = Deadline(request.options.timeout, cancel=cancel, now=now, pause=pause)
    return launch_before(request, deadline, observer, **more)


def launchable(hub: ScriptedHub, server: Jupyter | None = None, before: bytes = b"") -> str:
    """Let the hub's next launch succeed; return the server's URL."""
    url = hub.serve("x", server or Jupyter(TOKEN))
    persistent = f"v2/gh/org/repo/{COMMIT}"
    hub.then(Answer(before + ready(url, TOKEN, binder_persistent_request=persistent)))
    return url


def shutdowns(hub: ScriptedHub) -> int:
    return len(hub.calls("POST", "api/shutdown"))


def jump_after_polls(hub: ScriptedHub, polls: int, seconds: float) -> Callable[[], float]:
    """Return a clock that jumps once the server has been polled ``polls`` times."""
    status = ("GET", "api/status")
    return lambda: time.monotonic() + (seconds if len(hub.calls(*status)) >= polls else 0)


# The session


def test_a_launch_returns_a_session_and_reports_each_step() -> None:
    recorder = Recorder()
    noon = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
    with ScriptedHub() as hub:
        url = launchable(hub, before=LOG + LAUNCHING)
        session = launch(request_for(hub), recorder, now=lambda: 1000.0, utc=lambda: noon)
    link = f"{hub.url}v2/gh/org/repo/{COMMIT}"
    launched = Session(
        url,
        TOKEN,
        hub=hub.url,
        spec=SPEC,
        persistent_spec=f"gh/org/repo/{COMMIT}",
        binder_link=link,
        image_found=False,
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
        SessionLaunched(launched),
        PhaseEnded("readiness", 0.0),
        SessionReady(session),
    ]
    assert session.phases == {"waiting": 0, "built": 0, "launching": 0, "readiness": 0}
    assert [each.outcome for each in session.attempts] == ["ready"]
    assert (session.url, session.token, session.binder_link) == (url, TOKEN, link)
    assert shutdowns(hub) == 0


def test_without_a_resolved_ref_the_link_is_for_the_requested_one() -> None:
    with ScriptedHub() as hub:
        hub.then(Answer(ready(hub.serve("x", Jupyter(TOKEN)), TOKEN)))
        session = launch(request_for(hub))
    assert session.binder_link == f"{hub.url}v2/{SPEC}"
    assert session.persistent_spec == ""
    assert datetime.fromisoformat(session.started_at).utcoffset() == timedelta(0)


def test_a_phase_lasts_until_another_starts_and_empty_messages_are_not_lines() -> None:
    more = threading.Event()
    recorder = Recorder(lambda event: more.set() if isinstance(event, LogLines) else None)
    building = event(phase="building", message="x")
    with ScriptedHub() as hub:
        end = ready(hub.serve("x", Jupyter(TOKEN)), TOKEN)
        hub.then(Answer((event(message="w") + building, more, event(phase="building"), end)))
        launch(request_for(hub), recorder)
    assert recorder.of(PhaseStarted) == [PhaseStarted("building"), PhaseStarted("readiness")]
    assert recorder.of(LogLines) == [LogLines("", ("w",)), LogLines("building", ("x",))]


def test_the_session_contains_the_hubs_data_and_the_reason_for_the_commit() -> None:
    requested, launched = REPOSITORY.with_ref("b" * 40), REPOSITORY.with_ref(COMMIT)
    choice = Choice(requested, launched, "It has the same environment.")
    data = {
        "image": "registry.example/image:1",
        "repo_url": "https://github.com/org/repo",
        "binder_ref_url": f"https://github.com/org/repo/tree/{COMMIT}",
        "binder_launch_host": "https://member.example/",
        "binder_persistent_request": f"v2/gh/org/repo/{COMMIT}",
    }
    with ScriptedHub() as hub:
        hub.then(Answer(ready(hub.serve("x", Jupyter(TOKEN)), TOKEN, **data)))
        session = launch(replace(request_for(hub), repository=launched, choice=choice))
    assert session.image == data["image"]
    assert session.repo_url == data["repo_url"]
    assert session.ref_url == data["binder_ref_url"]
    assert session.launch_host == data["binder_launch_host"]
    assert session.persistent_spec == session.spec == f"gh/org/repo/{COMMIT}"
    assert session.asked_spec == f"gh/org/repo/{'b' * 40}"
    assert session.reuse == "It has the same environment."


def test_phases_attempts_and_waits_are_timed() -> None:
    """A phase that occurs twice counts once, with the sum of its times."""
    clock = StoppedClock()
    recorder = Recorder(lambda event: clock.jump(1.23456 * isinstance(event, LogLines)))
    phases = ("building", "pushing", "building")
    body = b"".join(event(phase=phase, message="x") for phase in phases)
    with ScriptedHub(Answer(body, ending=Ending.BROKEN)) as hub:
        launchable(hub, before=body)
        session = launch(request_for(hub), recorder, clock=clock, random=lambda: 1 / 3)
    assert [each.seconds for each in session.attempts] == [3.704, 3.704]
    assert [each.waited for each in session.attempts] == [0, 1.833]
    assert session.phases == {"building": 2.469, "pushing": 1.235, "readiness": 0}
    ended = [each.seconds for each in recorder.events if isinstance(each, PhaseEnded)]
    assert ended == pytest.approx([1.23456] * 2 + [1.23456] * 3 + [0])


# Hubs, in order


def test_a_broken_hub_is_retried_before_the_next_one_and_each_attempt_reported() -> None:
    recorder = Recorder()
    with ScriptedHub(*[page(502)] * 3) as first, ScriptedHub() as second:
        url = launchable(second)
        request = request_for(first, second)
        session = launch(request, recorder, clock=Clock(), random=lambda: 0.5)
    assert (session.url, session.hub) == (url, second.url)
    reason = "The hub responded with status 502."
    assert [(each.hub, each.outcome, each.reason) for each in session.attempts] == [
        *[(first.url, "HubBroken", reason)] * 3,
        (second.url, "ready", ""),
    ]
    assert [each.waited for each in session.attempts] == [0, 2, 4, 0]
    assert recorder.of(Waiting) == [Waiting(2, first.url), Waiting(4, first.url)]
    assert recorder.of(AttemptFailed) == [AttemptFailed(each) for each in session.attempts[:3]]
    assert recorder.of(BuildRequested) == [
        *(BuildRequested(first.url, SPEC, number) for number in (1, 2, 3)),
        BuildRequested(second.url, SPEC, 4),
    ]


def test_a_final_error_ends_the_launch_at_the_first_hub() -> None:
    failed = Answer(LOG + event(phase="failed", message="Error during build"))
    with ScriptedHub(failed) as first, ScriptedHub() as second:
        with pytest.raises(errors.BuildFailed) as raised:
            launch(request_for(first, second))
        assert not second.requests
    assert raised.value.context.hub == first.url


FORK = Repository("gh", "them/fork", "b" * 40)
FALLBACK = Choice(FORK, REPOSITORY.with_ref(COMMIT), "org/repo has the same environment.")
NOT_ALLOWED = Answer(event(phase="failed", message="Sorry, them/fork is not allowed to launch."))


def request_for_fork(*hubs: ScriptedHub, **options: Any) -> Request:
    return replace(request_for(*hubs, **options), repository=FORK, fallback=FALLBACK)


def test_a_refused_forks_commit_is_replaced_with_a_warning() -> None:
    recorder = Recorder()
    with ScriptedHub(NOT_ALLOWED) as hub:
        launchable(hub)
        session = launch(request_for_fork(hub, build_token="b.u1ld-t0ken"), recorder)
        paths = [each.path for each in hub.builds]
    spec = f"gh/org/repo/{COMMIT}"
    assert paths == [f"/build/{FORK.spec}?build_token=b.u1ld-t0ken", f"/build/{spec}"]
    assert (session.spec, session.asked_spec) == (spec, FORK.spec)
    assert session.reuse == FALLBACK.reason
    assert [each.outcome for each in session.attempts] == ["Banned", "ready"]
    assert recorder.of(WarningIssued) == [WarningIssued(FALLBACK.reason)]


def test_a_fork_that_the_hub_launches_is_not_replaced() -> None:
    with ScriptedHub() as hub:
        url = hub.serve("x", Jupyter(TOKEN))
        persistent = f"v2/gh/them/fork/{FORK.ref}"
        hub.then(Answer(ready(url, TOKEN, binder_persistent_request=persistent)))
        session = launch(request_for_fork(hub))
    assert (session.spec, session.asked_spec, session.reuse) == (FORK.spec, "", "")


def test_a_commit_that_the_hub_cannot_clone_is_replaced_with_a_warning() -> None:
    recorder = Recorder()
    lines = (f"fatal: Could not parse object '{FORK.ref}'.\n", "")
    log = b"".join(event(phase="fetching", message=line) for line in lines)
    reset = f"Command '['git', 'reset', '--hard', '{FORK.ref}']' returned non-zero exit status 128."
    failed = event(phase="failed", message=f"Error during build: {reset}")
    with ScriptedHub(Answer(log + failed)) as hub:
        launchable(hub)
        session = launch(request_for_fork(hub), recorder)
    assert [each.outcome for each in session.attempts] == ["CommitNotCloned", "ready"]
    assert session.attempts[0].cause == "commit-missing"
    assert session.spec == f"gh/org/repo/{COMMIT}"
    assert recorder.of(WarningIssued) == [WarningIssued(FALLBACK.reason)]


def test_the_warning_is_issued_once_per_hub_and_not_by_a_retry() -> None:
    recorder = Recorder()
    with ScriptedHub(NOT_ALLOWED, FULL) as first, ScriptedHub(NOT_ALLOWED, FULL) as second:
        launchable(first)
        launch(request_for_fork(first, second, timeout=200), recorder, clock=Clock())
    assert recorder.of(WarningIssued) == [WarningIssued(FALLBACK.reason)] * 2


def test_the_launched_commit_must_be_the_replacement() -> None:
    with ScriptedHub(NOT_ALLOWED) as hub:
        persistent = f"v2/gh/org/repo/{FORK.ref}"
        url = hub.serve("x", Jupyter(TOKEN))
        hub.then(Answer(ready(url, TOKEN, binder_persistent_request=persistent)))
        with pytest.raises(errors.CommitMismatch, match=f"launched {FORK.ref}, not {COMMIT}"):
            launch(request_for_fork(hub))


def test_a_refusal_of_both_names_the_repository_that_was_refused_last() -> None:
    refused = Answer(event(phase="failed", message="Sorry, org/repo is not allowed to launch."))
    with ScriptedHub(NOT_ALLOWED, refused) as hub, pytest.raises(errors.Banned) as raised:
        launch(request_for_fork(hub))
    assert raised.value.context.repository == f"gh/org/repo/{COMMIT}"
    assert raised.value.hint == errors.Banned.hint


def test_without_a_request_left_the_hint_names_the_replacement() -> None:
    with ScriptedHub(NOT_ALLOWED) as hub, pytest.raises(errors.Banned) as raised:
        launch(request_for_fork(hub, attempts=1))
    assert raised.value.hint == (
        f"{errors.Banned.hint} gh/org/repo/{COMMIT} has the same environment, but clinder has no"
        " build request to this hub left."
    )


def test_the_last_hubs_error_is_raised_with_its_context() -> None:
    log = b"".join(event(message=f"line {number}\n") for number in range(30))
    with (
        ScriptedHub(page(200)) as first,
        ScriptedHub(Answer(LAUNCHING + log + SPAWN_FAILED)) as second,
        pytest.raises(errors.LaunchFailed) as raised,
    ):
        launch(request_for(first, second))
    context = raised.value.context
    assert context.hub == second.url
    assert context.repository == SPEC
    assert context.link == f"{second.url}v2/{SPEC}"
    assert context.log == tuple(f"line {number}" for number in range(10, 30))


@pytest.mark.parametrize(
    ("answers", "timeout", "message"),
    [
        (
            [FULL, FULL],
            200,
            (
                " 2 build requests failed within 60 s. The next retry, in 240 s, would exceed the"
                " time limit of 200 s."
            ),
        ),
        ([FULL], 60, " The next retry, in 60 s, would exceed the time limit of 60 s."),
        ([page(502)] * 3, 60, "The hub responded with status 502."),
    ],
    ids=["full twice", "full once", "broken"],
)
def test_only_a_busy_hubs_error_shows_the_number_of_requests_and_the_time_limit(
    answers: list[Answer], timeout: float, message: str
) -> None:
    with ScriptedHub(*answers) as hub, pytest.raises(errors.ClinderError) as raised:
        launch(request_for(hub, timeout=timeout), clock=StoppedClock())
    full = "The hub is full: Too many users on this BinderHub! Try again soon."
    assert raised.value.message == (full + message if FULL in answers else message)
    assert len(hub.requests) == len(answers), "a single hub has no other members to list"


@pytest.mark.parametrize(
    ("answer", "cookies"),
    [(Answer(LOG), [None, "host=member"]), (FULL, [None, None])],
    ids=["broken", "full"],
)
def test_only_a_broken_build_is_rejoined_with_the_federations_cookie(
    answer: Answer, cookies: list[str | None]
) -> None:
    with ScriptedHub(answer) as member, ScriptedHub() as federation:
        launchable(member)
        location = f"{member.url}build/{SPEC}"
        cookie = f"host=member; Path=/build/{SPEC}"
        redirect = page(307, b"", Location=location, Set_Cookie=cookie)
        federation.then(redirect, moved(location, 307))
        session = launch(request_for(federation, timeout=100), clock=Clock())
        assert [each.headers.get("cookie") for each in federation.builds] == cookies
        assert len(member.builds) == 2
    assert session.hub == federation.url


def test_a_hub_that_is_also_a_member_of_another_hub_gets_three_requests() -> None:
    with ScriptedHub(*[FULL] * 4) as member, ScriptedHub() as federation:
        federation.then(*[moved(f"{member.url}build/{SPEC}", 307)] * 3)
        with pytest.raises(errors.HubFull):
            launch(request_for(federation, member, timeout=1000), clock=Clock())
        assert len(member.builds) == 3


def test_the_build_token_is_sent_only_to_the_first_hub() -> None:
    with ScriptedHub(FULL) as first, ScriptedHub() as second:
        launchable(second)
        launch(request_for(first, second, build_token="tok"))
        assert [each.path for each in first.builds] == [f"/build/{SPEC}?build_token=tok"]
        assert [each.path for each in second.builds] == [f"/build/{SPEC}"]


def test_the_build_token_is_not_sent_to_another_member() -> None:
    with ScriptedHub(FULL) as member, ScriptedHub() as other, ScriptedHub() as federation:
        launchable(other)
        hosts = {"one": {"url": member.url}, "two": {"url": other.url}, "odd": {"url": 7}}
        federation.pages["/active_hosts"] = json_page(200, {"active_hosts": hosts})
        federation.then(moved(f"{member.url}build/{SPEC}", 307))
        launch(request_for(federation, build_token="tok"))
        assert federation.builds[0].path.endswith("?build_token=tok")
        assert other.builds[0].path == f"/build/{SPEC}"


def test_a_requested_commit_must_be_confirmed_by_the_hub() -> None:
    with ScriptedHub() as hub:
        hub.then(Answer(ready(hub.serve("x", Jupyter(TOKEN)), TOKEN)))
        request = replace(request_for(hub), repository=REPOSITORY.with_ref(COMMIT))
        with pytest.raises(errors.CommitMismatch) as raised:
            launch(request)
    assert raised.value.message == f"The hub launched an unknown commit, not {COMMIT}."


# The image


WAITING = event(phase="waiting", message="Waiting for build to start...\n")
OTHER_REF = event(
    phase="waiting",
    message="Tip: HEAD will always resolve.\nTrying again with HEAD instead of main. Please…\n",
)


@pytest.mark.parametrize(
    ("before", "found"),
    [
        (LAUNCHING, True),
        (OTHER_REF + LAUNCHING, True),
        (WAITING + LAUNCHING, False),
        (OTHER_REF + WAITING + LAUNCHING, False),
        (event(message="a line without a phase\n") + LAUNCHING, False),
        (event(phase="unknown") + LAUNCHING, False),
        (LAUNCHING + event(message="[Normal] Started container\n"), True),
        (WAITING, False),
        (b"", None),
    ],
    ids=["found", "other ref", "built", "both", "no phase", "unknown", "late", "dropped", "none"],
)
def test_the_image_was_found_if_no_event_of_a_build_came_first(
    before: bytes, found: bool | None
) -> None:
    recorder = Recorder()
    with ScriptedHub() as hub:
        launchable(hub, before=before)
        session = launch(request_for(hub), recorder)
    assert session.image_found is found
    (launched,) = recorder.of(SessionLaunched)
    assert launched.session.image_found is found


@pytest.mark.parametrize(("first", "found"), [(WAITING, False), (b"", True)])
def test_an_image_that_an_earlier_attempt_began_to_build_was_not_found(
    first: bytes, found: bool
) -> None:
    with ScriptedHub(Answer(first, ending=Ending.BROKEN)) as hub:
        launchable(hub, before=LAUNCHING)
        assert launch(request_for(hub), clock=Clock()).image_found is found


def test_an_image_that_another_hub_began_to_build_can_still_be_found() -> None:
    with ScriptedHub(*[Answer(WAITING, ending=Ending.BROKEN)] * 3) as first, ScriptedHub() as hub:
        launchable(hub, before=LAUNCHING)
        assert launch(request_for(first, hub), clock=Clock()).image_found is True


# Interrupted builds


def died(*lines: str) -> Answer:
    log = b"".join(event(phase="building", message=f"{line}\n") for line in lines)
    return Answer(WAITING + log + event(phase="failed"))


def test_an_interrupted_build_is_explained_in_its_attempt_and_in_the_error() -> None:
    recorder, clock = Recorder(), StoppedClock()
    with ScriptedHub(died("#1 0.1 one"), died("#1 0.1 one", "#1 0.2 two")) as hub:
        with pytest.raises(errors.BuilderDied) as raised:
            launch(request_for(hub, timeout=600), recorder, clock=clock, random=lambda: 0.5)
        assert len(hub.builds) == 2
    (failed,) = recorder.of(AttemptFailed)
    assert failed.attempt == Attempt(
        hub.url,
        "BuilderDied",
        "The hub's builder died while it was building the image.",
        cause="builder-died",
        log_line="one",
    )
    assert "building the image. The log shows: one" in describe(failed)
    assert recorder.of(Waiting) == [Waiting(45, hub.url)]
    assert raised.value.message == (
        "The hub's builder died while it was building the image. This happened twice within 45 s."
    )
    context = raised.value.context
    assert (context.cause, context.log_line) == ("builder-died", "two")
    assert context.log[-2:] == ("one", "two")


def test_only_the_same_failures_on_the_same_hub_are_counted() -> None:
    mirror = "#1 0.1 W: Failed to fetch http://deb.test/x  Connection failed"
    with ScriptedHub(died("x"), died(mirror)) as first, ScriptedHub(died("y"), died("z")) as second:
        with pytest.raises(errors.BuilderDied) as raised:
            launch(request_for(first, second, timeout=600), clock=StoppedClock())
        assert "This happened twice" in raised.value.message
    with (
        ScriptedHub(died("x"), died(mirror)) as hub,
        pytest.raises(errors.MirrorUnreachable, match=r"needs was unreachable\.$"),
    ):
        launch(request_for(hub, timeout=600), clock=StoppedClock())


class Builds:
    """Answers that take time: each log line moves the clock, before the hub's next answer."""

    def __init__(self, seconds: float):
        self.clock = StoppedClock()
        self._seconds = seconds

    def observe(self, event: Event) -> None:
        if isinstance(event, LogLines) and event.phase == "building":
            self.clock.jump(self._seconds)


@pytest.mark.parametrize(
    ("timeout", "requests"), [(245, 2), (244, 1)], ids=["enough time", "too little time"]
)
def test_a_build_is_requested_again_only_if_as_much_time_remains_as_the_first_one_took(
    timeout: float, requests: int
) -> None:
    builds = Builds(100)
    with ScriptedHub(died("x"), died("x")) as hub:
        with pytest.raises(errors.BuilderDied) as raised:
            launch(
                request_for(hub, timeout=timeout),
                builds.observe,
                clock=builds.clock,
                random=lambda: 0.5,
            )
        assert len(hub.builds) == requests
    expected = "because it took 100 s and only 144 s remain."
    assert raised.value.message.endswith(expected) is (requests == 1)


def test_a_build_that_was_rejoined_counts_from_its_first_request() -> None:
    """It took 200 s, and the attempt that reports its end took 100 s of these."""
    builds = Builds(100)
    dropped = Answer(WAITING + event(phase="building", message="x"), ending=Ending.BROKEN)
    with ScriptedHub(dropped, died("x")) as hub:
        with pytest.raises(errors.BuilderDied, match="because it took 202 s and only 198 s remain"):
            launch(
                request_for(hub, timeout=400),
                builds.observe,
                clock=builds.clock,
                random=lambda: 0.5,
            )
        assert len(hub.builds) == 2


def test_the_first_interrupted_build_decides_how_long_a_build_takes() -> None:
    """The second hub's build takes 100 s as well, but the first one's failed at once."""
    builds = Builds(100)
    at_once = Answer(WAITING + event(phase="failed"))
    with ScriptedHub(at_once, at_once) as first, ScriptedHub(died("x"), died("x")) as second:
        with pytest.raises(errors.BuilderDied):
            launch(
                request_for(first, second, timeout=250),
                builds.observe,
                clock=builds.clock,
                random=lambda: 0.5,
            )
        assert len(second.builds) == 2


def test_the_reason_for_trying_the_next_hub_is_shown_with_the_attempt() -> None:
    builds, recorder = Builds(100), Recorder()

    def observe(event: Event) -> None:
        recorder(event)
        builds.observe(event)

    with ScriptedHub(died("x")) as first, ScriptedHub() as second:
        launchable(second)
        session = launch(request_for(first, second, timeout=150), observe, clock=builds.clock)
        assert len(first.builds) == 1
    assert "because it took 100 s and only 50 s remain" in session.attempts[0].reason


@pytest.mark.parametrize(("seconds", "stalls"), [(9.9, False), (10.1, True)])
def test_a_build_stalls_if_it_logs_nothing_for_the_build_idle_timeout(
    seconds: float, stalls: bool
) -> None:
    """Each log line restarts the limit. Events without lines, and keepalives, do not."""
    clock, gates = StoppedClock(), [threading.Event() for _ in range(3)]
    steps = iter(zip((9.0, 9.0, seconds), gates, strict=True))

    def observe(event: Event) -> None:
        if isinstance(event, LogLines) and event.phase == "building":
            jump, gate = next(steps)
            clock.jump(jump)
            gate.set()

    line = event(phase="building", message="x\n")
    quiet = event(phase="building") + b":keepalive\n\n"
    with ScriptedHub() as hub:
        end = LAUNCHING + ready(hub.serve("x", Jupyter(TOKEN)), TOKEN)
        hub.then(Answer((line, gates[0], quiet + line, gates[1], line + quiet, gates[2], end)))
        request = request_for(hub, attempts=1, timeouts=Timeouts(build_idle=10))
        if not stalls:
            assert launch(request, observe, now=clock.now).url
        else:
            with pytest.raises(errors.BuildStalled, match="logged nothing for 10 s") as raised:
                launch(request, observe, now=clock.now)
            assert raised.value.context.cause == "build-stalled"
            assert raised.value.context.log_line == "x"


def test_a_hub_that_launches_a_server_can_be_silent_longer_than_a_build() -> None:
    clock = StoppedClock()
    recorder = Recorder(lambda event: clock.jump(20.0 * (event == PhaseStarted("launching"))))
    with ScriptedHub() as hub:
        launchable(hub, before=LAUNCHING)
        request = request_for(hub, timeouts=Timeouts(build_idle=10))
        assert launch(request, recorder, now=clock.now).url


# Readiness


def test_a_server_is_polled_often_at_first_then_every_3_s_for_120_s() -> None:
    clock = StoppedClock()
    times: list[float] = []
    with ScriptedHub() as hub:
        launchable(hub, Jupyter(TOKEN, before=(503,) * 500))
        recorder = Recorder(lambda _: times.append(clock.passed))
        with pytest.raises(ServerNotReady, match="503"):
            launch(request_for(hub, timeout=1000), recorder, clock=clock)
    assert clock.pauses[:3] == pytest.approx([0.1, 0.16, 0.256])
    assert max(clock.pauses) == 3
    assert recorder.of(SessionNotStopped)
    assert times[-1] == pytest.approx(120 + LAUNCH_STOP)


@pytest.mark.parametrize(
    ("seconds", "reason"), [(25, "it sent nothing for 10 s"), (5, "it did not respond in time")]
)
def test_a_silent_server_is_polled_every_10_s_and_the_error_gives_the_reason(
    seconds: float, reason: str
) -> None:
    clock = Clock()
    with ScriptedHub() as hub:
        launchable(hub)
        hub.pages["/user/x/api/status"] = Raw((Silence(clock, 0.5),))
        request = request_for(hub, timeouts=Timeouts(readiness=seconds))
        with pytest.raises(ServerNotReady, match=f"never became usable: {reason}"):
            launch(request, clock=clock)


def test_a_server_that_rejects_its_own_token_is_reported_without_the_token() -> None:
    recorder = Recorder()
    with ScriptedHub() as hub:
        launchable(hub, Jupyter("another-token"))
        with pytest.raises(ServerNotReady, match="usable: it rejects its own token"):
            launch(request_for(hub, timeout=1000), recorder, now=jump_after_polls(hub, 2, 121))
    (not_stopped,) = recorder.of(SessionNotStopped)
    assert "token" in str(not_stopped)
    assert TOKEN not in str(not_stopped)


def test_a_warm_up_without_a_connection_to_its_kernel_is_retried_twice() -> None:
    clock = Clock()
    with ScriptedHub() as hub:
        launchable(hub, Jupyter(TOKEN, kernel=Kernel(Mood.UNREACHABLE)))
        with pytest.raises(ServerNotReady, match="the warm-up failed"):
            launch(request_for(hub, warm_up=""), clock=clock)
        assert [each for each in clock.pauses if each >= 1] == [1, 3]
        assert len(hub.calls("POST", "api/sessions")) == 3
        assert len(hub.calls("DELETE", "api/kernels/k1")) == 3


def test_the_first_kernel_can_take_the_whole_readiness_timeout() -> None:
    """The clock runs once clinder is connected to the kernel, and stops when it gives up."""
    seconds = itertools.count(step=5)
    with ScriptedHub() as hub:
        launchable(hub, Jupyter(TOKEN, kernel=Kernel(Mood.SILENT)))
        timeouts = Timeouts(readiness=300)

        def now() -> float:
            return min(float(next(seconds)), 301.0) if hub.calls("GET", "channels") else 0.0

        with pytest.raises(
            ServerNotReady, match="usable: its first kernel did not respond in time"
        ):
            launch(request_for(hub, timeout=1000, timeouts=timeouts, warm_up=""), now=now)
        assert shutdowns(hub) == 1


def test_a_server_on_another_machine_with_plain_http_causes_a_warning() -> None:
    recorder = Recorder()
    with ScriptedHub() as hub:
        hub.then(Answer(ready("http://server.invalid/user/x/", TOKEN)))
        with pytest.raises(ServerNotReady):
            launch(request_for(hub, timeouts=Timeouts(readiness=0.3, stop=0.3)), recorder)
    (warning,) = recorder.of(WarningIssued)
    assert "http://server.invalid/user/x/ uses plain HTTP" in str(warning)


@pytest.mark.posix  # only there is 0.0.0.0 this machine, though not one of its loopback addresses
def test_plain_http_causes_no_warning_if_the_hub_uses_it_too() -> None:
    recorder = Recorder()
    with ScriptedHub() as hub:
        url = hub.serve("x", Jupyter(TOKEN)).replace("127.0.0.1", "0.0.0.0")
        hub.then(Answer(ready(url, TOKEN)))
        request = replace(request_for(hub), hubs=(hub.url.replace("127.0.0.1", "0.0.0.0"),))
        assert launch(request, recorder).url == url
    assert not recorder.of(WarningIssued)


# Nothing is left running


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize(
    "fails_at",
    [
        lambda event: isinstance(event, PhaseEnded) and event.phase == "launching",
        lambda event: event == PhaseStarted("readiness"),
        lambda event: isinstance(event, SessionLaunched),
        lambda event: isinstance(event, PhaseEnded) and event.phase == "readiness",
    ],
    ids=["launched", "readiness starts", "session launched", "usable"],
)
def test_if_an_observer_raises_the_session_is_stopped(
    fails_at: Callable[[Event], bool], error: type[BaseException]
) -> None:
    def observe(event: Event) -> None:
        if fails_at(event):
            raise error

    with ScriptedHub() as hub:
        launchable(hub, before=LAUNCHING)
        with pytest.raises(error):
            launch(request_for(hub), observe)
        assert shutdowns(hub) == 1


def test_a_session_that_keeps_running_is_reported_after_the_stop_timeout() -> None:
    def fail(event: Event) -> None:
        if isinstance(event, SessionLaunched):
            raise ZeroDivisionError

    clock, recorder = StoppedClock(), Recorder(fail)
    with ScriptedHub() as hub:
        url = launchable(hub, Jupyter(TOKEN, stays=True))
        with pytest.raises(ZeroDivisionError):
            launch(request_for(hub), recorder, clock=clock)
    assert clock.passed == pytest.approx(LAUNCH_STOP)
    (not_stopped,) = recorder.of(SessionNotStopped)
    assert url in str(not_stopped)
    assert TOKEN not in str(not_stopped)


# Cancellation


class Cancelling(Recorder):
    """An observer that cancels at the first log line of a phase, then calls ``react``."""

    def __init__(self, phase: str, react: Callable[[], None] = lambda: None):
        self.cancel = threading.Event()

        def observe(event: Event) -> None:
            if isinstance(event, LogLines) and event.phase == phase and not self.cancel.is_set():
                self.cancel.set()
                react()

        super().__init__(observe)


@pytest.mark.parametrize(("seconds", "stopped"), [(4.9, 1), (5.1, 0)])
def test_a_server_that_starts_within_5_s_of_the_cancellation_is_stopped(
    seconds: float, stopped: int
) -> None:
    clock = StoppedClock()
    more, last = threading.Event(), threading.Event()
    recorder = Cancelling("launching", more.set)

    def observe(event: Event) -> None:
        recorder(event)
        if isinstance(event, LogLines) and event.lines == ("still",):
            clock.jump(seconds)
            if stopped:
                last.set()

    with ScriptedHub() as hub:
        still = event(phase="launching", message="still")
        end = ready(hub.serve("x", Jupyter(TOKEN)), TOKEN)
        hub.then(Answer((LAUNCHING, more, still, last, end)))
        with pytest.raises(Cancelled):
            launch(request_for(hub), observe, cancel=recorder.cancel, now=clock.now)
        assert shutdowns(hub) == stopped
    assert len(recorder.of(WarningIssued)) == 1 - stopped


@pytest.mark.parametrize(
    ("delay", "timeouts", "end"),
    [
        (0.0, Timeouts(), 6.5),
        (4.5, Timeouts(), 6.5),
        (10.0, Timeouts(), 11.5),
        (0.0, Timeouts(stop=2), 2),
    ],
    ids=["at once", "later", "too late", "short stop timeout"],
)
def test_stopping_a_cancelled_session_ends_6_5_s_after_the_cancellation(
    delay: float, timeouts: Timeouts, end: float
) -> None:
    """It has at least 1.5 s, and at most the stop timeout."""
    more, clock = threading.Event(), StoppedClock()
    recorder = Cancelling("launching", more.set)

    def observe(event: Event) -> None:
        recorder(event)
        if isinstance(event, SessionLaunched):
            clock.jump(delay)

    with ScriptedHub() as hub:
        end_event = ready(hub.serve("x", Jupyter(TOKEN, stays=True)), TOKEN)
        hub.then(Answer((LAUNCHING, more, end_event), ending=Ending.HELD))
        request = request_for(hub, timeouts=timeouts)
        with pytest.raises(Cancelled):
            launch(request, observe, cancel=recorder.cancel, clock=clock)
        assert shutdowns(hub)
    assert recorder.of(SessionNotStopped)
    assert clock.passed == pytest.approx(end)


def test_a_launch_that_is_already_cancelled_sends_nothing() -> None:
    """Reading the clock takes so long that a request would have arrived."""
    cancel = threading.Event()
    cancel.set()
    recorder = Recorder()

    def slow() -> float:
        if recorder.of(BuildRequested):
            with hub.changed:
                hub.changed.wait_for(lambda: hub.requests, timeout=0.3)
        return 1000.0

    with ScriptedHub() as hub:
        launchable(hub)
        with pytest.raises(Cancelled):
            launch(request_for(hub), recorder, cancel=cancel, now=slow)
        assert not hub.requests


def test_a_cancellation_at_the_second_hub_does_not_wait_for_the_firsts_server() -> None:
    """The clock is stopped, so that the wait would never end."""
    recorder = Cancelling("waiting")
    with ScriptedHub(Answer(LAUNCHING + SPAWN_FAILED)) as first, ScriptedHub() as second:
        second.then(Answer(LOG, ending=Ending.HELD))
        request = request_for(first, second)
        with pytest.raises(Cancelled, match=r"^Cancelled\.$") as raised:
            launch(request, recorder, cancel=recorder.cancel, now=lambda: 1000.0)
    assert raised.value.context.hub == second.url


def test_cancelling_a_warm_up_stops_the_session_at_once() -> None:
    """The clock is stopped, so that waiting for the kernel would never end."""
    cancel = threading.Event()
    with ScriptedHub() as hub:
        launchable(hub)
        hub.pages["/user/x/api/sessions"] = Raw((threading.Event(),))

        def cancel_warm_up() -> None:
            hub.awaited("POST", "api/sessions")
            cancel.set()

        thread = threading.Thread(target=cancel_warm_up)
        thread.start()
        with pytest.raises(Cancelled):
            launch(request_for(hub, warm_up=""), cancel=cancel, now=lambda: 1000.0)
        thread.join()
        assert shutdowns(hub) == 1
        assert not hub.calls("GET", "api/sessions"), "the kernel ends with the session"


# Time limits


def test_if_the_time_limit_expires_before_the_server_is_usable_it_is_stopped() -> None:
    with ScriptedHub() as hub:
        launchable(hub, Jupyter(TOKEN, before=(503,) * 3))
        with pytest.raises(TimedOut, match="within 60 s"):
            launch(request_for(hub), now=jump_after_polls(hub, 3, 61))
        assert shutdowns(hub) == 1


def test_the_idle_timeout_limits_a_hubs_silence() -> None:
    with (
        ScriptedHub(Answer(LOG, ending=Ending.HELD)) as hub,
        pytest.raises(errors.HubUnreachable, match=r"sent nothing for 0\.2 s"),
    ):
        launch(request_for(hub, timeouts=Timeouts(idle=0.2), attempts=1, timeout=20))
