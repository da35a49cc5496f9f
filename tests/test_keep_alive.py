"""A session that something else uses: kept alive, and found gone only when that is sure."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from clinder._deadline import Deadline
from clinder.running.keep_alive import Intervals, keep_alive_until_gone
from clinder.session import Session
from clock import Standing
from hubs import Jupyter, ScriptedHub

TOKEN = "s3cret-token"
GONE, RUNNING, REFUSED = 302, 200, 403
QUICK = Intervals(every=0.01, confirm=0.01)

pytestmark = pytest.mark.usefixtures("_no_threads_left")


def watched(
    hub: ScriptedHub,
    *answers: int,
    deadline: Deadline | None = None,
    keep_alive: float = 60,
    pace: Intervals | None = QUICK,
) -> str:
    """Watch a session whose server answers so, and after that runs."""
    session = Session(hub.serve("x", Jupyter(TOKEN, before=answers)), TOKEN)
    return keep_alive_until_gone(
        session,
        deadline or Deadline(60),
        keep_alive=keep_alive,
        intervals=pace,
    )


def looks(hub: ScriptedHub) -> list[str]:
    """What the server was asked for, in order."""
    return [each.path.removeprefix("/user/x/") for each in hub.requests]


def test_a_session_is_gone_once_it_is_found_gone_twice() -> None:
    with ScriptedHub() as hub:
        words = watched(hub, GONE, GONE)
        assert len(looks(hub)) == 2
    assert words == "the hub has no such running server"


@pytest.mark.parametrize(
    "between",
    [(RUNNING,), (REFUSED,), (503,), (500,), (REFUSED, REFUSED), (RUNNING, REFUSED)],
)
def test_found_gone_twice_means_in_a_row(between: tuple[int, ...]) -> None:
    with ScriptedHub() as hub:
        assert watched(hub, GONE, *between, GONE, GONE)
        assert len(looks(hub)) == len(between) + 3


@pytest.mark.parametrize("answer", [RUNNING, REFUSED, 503, 500])
def test_a_session_that_is_not_gone_is_looked_at_again_and_again(answer: int) -> None:
    with ScriptedHub() as hub:
        assert watched(hub, *(answer,) * 5, GONE, GONE)
        assert len(looks(hub)) == 7


def test_every_look_shows_the_token() -> None:
    with ScriptedHub() as hub:
        watched(hub, GONE, GONE)
        told = [each.headers["authorization"] for each in hub.requests]
    assert told == [f"token {TOKEN}"] * 2


def test_a_look_counts_as_activity_until_the_session_is_to_be_kept_alive_no_more() -> None:
    """The clock jumps once the server was asked twice: the seconds to keep it alive are over."""
    with ScriptedHub() as hub:
        deadline = Deadline(1000, now=lambda: 100.0 if len(hub.requests) >= 2 else 0.0)

        assert watched(hub, RUNNING, RUNNING, GONE, GONE, deadline=deadline, keep_alive=60)

        assert looks(hub) == ["api/kernels", "api/kernels", "api/status", "api/status"]


def test_a_sign_of_activity_is_given_each_minute_and_a_session_looked_at_again_after_10_s() -> None:
    clock = Standing()
    deadline = Deadline(3600, now=clock.now, pause=clock.pause)
    with ScriptedHub() as hub:
        assert watched(hub, RUNNING, GONE, RUNNING, GONE, GONE, deadline=deadline, pace=None)
    assert clock.pauses == [60, 60, 10, 60, 10]


def test_a_watch_ends_when_it_is_cancelled() -> None:
    deadline = Deadline(3600)
    with ScriptedHub() as hub, ThreadPoolExecutor() as threads:
        watching = threads.submit(watched, hub, deadline=deadline)
        hub.awaited("GET", "api/kernels")

        deadline.cancel.set()

        assert watching.result(20) == ""


def test_a_watch_that_is_cancelled_between_two_looks_does_not_wait_for_the_next() -> None:
    deadline = Deadline(36_000)
    pace = Intervals(every=3600, confirm=3600)
    with ScriptedHub() as hub, ThreadPoolExecutor() as threads:
        watching = threads.submit(watched, hub, deadline=deadline, pace=pace)

        deadline.cancel.set()

        assert watching.result(20) == ""
        assert not hub.requests


def test_a_watch_that_was_cancelled_before_asks_nothing() -> None:
    deadline = Deadline(60)
    deadline.cancel.set()
    with ScriptedHub() as hub:
        assert watched(hub, GONE, GONE, deadline=deadline) == ""
        assert not hub.requests


def test_a_watch_ends_with_its_deadline() -> None:
    with ScriptedHub() as hub:
        deadline = Deadline(60, now=lambda: 61.0 if len(hub.requests) >= 3 else 0.0)
        assert watched(hub, *(RUNNING,) * 3, GONE, GONE, deadline=deadline) == ""
        assert len(looks(hub)) == 3


def test_the_look_that_makes_sure_has_its_own_pace() -> None:
    """It would come after an hour, and the deadline is before that."""
    with ScriptedHub() as hub:
        pace = Intervals(every=0.01, confirm=3600)
        assert watched(hub, GONE, GONE, deadline=Deadline(0.5), pace=pace) == ""
        assert len(looks(hub)) <= 1
