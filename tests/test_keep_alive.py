"""Keeping a session alive, and noticing when it is gone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from clinder._deadline import Deadline
from clinder.running.keep_alive import Intervals, keep_alive_until_gone
from clinder.session import Session
from clock import StoppedClock
from hubs import Jupyter, ScriptedHub

TOKEN = "s3cret-token"
GONE, RUNNING, REFUSED = 302, 200, 403
QUICK = Intervals(every=0.01, confirm=0.01, unknown=0.0)

pytestmark = pytest.mark.usefixtures("_no_threads_left")


def watch(
    hub: ScriptedHub,
    *statuses: int,
    deadline: Deadline | None = None,
    keep_alive: float = 60,
    intervals: Intervals | None = QUICK,
) -> str:
    """Keep a session alive whose server gives these responses, and runs after them."""
    session = Session(hub.serve("x", Jupyter(TOKEN, before=statuses)), TOKEN)
    deadline = deadline or Deadline(60)
    gone = keep_alive_until_gone(session, deadline, keep_alive=keep_alive, intervals=intervals)
    return gone.message if gone else ""


def probes(hub: ScriptedHub) -> list[str]:
    """The paths that were requested, in order."""
    return [each.path.removeprefix("/user/x/") for each in hub.requests]


def test_two_probes_prove_that_a_session_is_gone() -> None:
    with ScriptedHub() as hub:
        message = watch(hub, GONE, GONE)
        tokens = [each.headers["authorization"] for each in hub.requests]
    assert message == "the hub does not know it"
    assert tokens == [f"token {TOKEN}"] * 2


@pytest.mark.parametrize("status", [RUNNING, REFUSED, 503, 500])
@pytest.mark.parametrize("times", [1, 5])
def test_the_two_probes_must_be_in_a_row(status: int, times: int) -> None:
    with ScriptedHub() as hub:
        assert watch(hub, GONE, *(status,) * times, GONE, GONE)
        assert len(probes(hub)) == times + 3


def test_probes_count_as_activity_only_during_the_keep_alive_time() -> None:
    """The clock jumps past that time after two requests."""
    with ScriptedHub() as hub:
        deadline = Deadline(1000, now=lambda: 100.0 if len(hub.requests) >= 2 else 0.0)
        assert watch(hub, RUNNING, RUNNING, GONE, GONE, deadline=deadline, keep_alive=60)
        assert probes(hub) == ["api/kernels", "api/kernels", "api/status", "api/status"]


@pytest.mark.parametrize("gone", [302, 424])
def test_a_session_that_its_hub_does_not_know_for_a_minute_is_gone(gone: int) -> None:
    """Before that, a hub whose proxy has restarted might know the session again."""
    clock = StoppedClock()
    deadline = Deadline(3600, now=clock.now, pause=clock.pause)
    with ScriptedHub() as hub:
        known_again = (*[gone] * 6, RUNNING)
        assert watch(hub, *known_again, *[gone] * 7, deadline=deadline, intervals=None)
    assert clock.pauses == [60, *[10] * 6, 60, *[10] * 6]


def test_whoever_cannot_reach_the_session_causes_a_probe_within_a_second() -> None:
    clock, hurry = StoppedClock(), threading.Event()
    deadline = Deadline(3600, now=clock.now, pause=clock.pause)
    session = Session("http://127.0.0.1:1/clinder-hub/user/x/", TOKEN)
    hurry.set()
    assert keep_alive_until_gone(session, deadline, keep_alive=60, hurry=hurry)
    assert clock.pauses == [1] * 11, "one to hurry, then ten to confirm"
    assert not hurry.is_set()


def test_a_session_of_the_embedded_hub_is_gone_once_two_connections_are_refused() -> None:
    clock = StoppedClock()
    deadline = Deadline(3600, now=clock.now, pause=clock.pause)
    session = Session("http://127.0.0.1:1/clinder-hub/user/x/", TOKEN)
    gone = keep_alive_until_gone(session, deadline, keep_alive=60)
    assert gone
    assert gone.message == "nothing listens at its address"
    assert clock.pauses == [60, 10]


def test_a_session_of_another_hub_is_not_gone_if_connections_are_refused() -> None:
    clock = StoppedClock()
    deadline = Deadline(3600, now=clock.now, pause=clock.pause)
    session = Session("http://127.0.0.1:1/user/x/", TOKEN)
    assert keep_alive_until_gone(session, deadline, keep_alive=60) is None
    assert set(clock.pauses) == {60}


def test_a_cancellation_does_not_wait_for_the_next_probe() -> None:
    deadline = Deadline(36_000)
    intervals = Intervals(every=3600, confirm=3600)
    with ScriptedHub() as hub, ThreadPoolExecutor() as threads:
        watching = threads.submit(watch, hub, deadline=deadline, intervals=intervals)
        deadline.cancel.set()
        assert watching.result(20) == ""
        assert not hub.requests


def test_the_deadline_ends_the_probing() -> None:
    with ScriptedHub() as hub:
        deadline = Deadline(60, now=lambda: 61.0 if len(hub.requests) >= 3 else 0.0)
        assert watch(hub, *(RUNNING,) * 3, GONE, GONE, deadline=deadline) == ""
        assert len(probes(hub)) == 3
