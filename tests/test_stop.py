"""Stopping a session until it is gone, and telling whether one runs."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import pytest
import responses
from responses.registries import OrderedRegistry

from answers import Answer, Ending, Raw, moved, page
from clinder._deadline import Deadline
from clinder.errors import Cancelled, ServerUnreachable, StopFailed, TokenRefused
from clinder.running.status import wait_for_status
from clinder.running.stop import stop
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.jupyter_server import State
from clock import Clock, Standing
from faults import Silence
from hubs import Jupyter, ScriptedHub

TOKEN = "s3cret-token"

pytestmark = pytest.mark.usefixtures("_no_threads_left")


def session(hub: ScriptedHub, token: str = TOKEN) -> Session:
    return Session(f"{hub.origin}/user/x/", token)


def serving(told: Jupyter) -> ScriptedHub:
    return ScriptedHub(servers={"x": told})


def posts(hub: ScriptedHub) -> int:
    return len(hub.calls("POST", "api/shutdown"))


def jumping(happened: Callable[[], object], seconds: float) -> Callable[[], float]:
    """A clock that jumps once something has happened."""
    return lambda: time.monotonic() + (seconds if happened() else 0)


# Stopping.


@pytest.mark.parametrize(
    "after",
    [(503, 503, 302), (302,), (503,), (424,), (502, 424), (404,), (503, 404), ()],
    ids=lambda after: "-".join(map(str, after)) or "refused",
)
def test_a_session_is_shut_down_once_and_seen_to_be_gone(after: tuple[int, ...]) -> None:
    with serving(Jupyter(TOKEN, after=after)) as hub:
        assert stop(session(hub), Deadline(60)) is True
        assert posts(hub) == 1
        assert {each.headers["authorization"] for each in hub.requests} == {f"token {TOKEN}"}


def test_an_absent_server_is_gone_only_when_it_stays_so() -> None:
    """One 503 after the shutdown may be the proxy's hiccup."""
    with serving(Jupyter(TOKEN, after=(503,))) as hub:
        stop(session(hub), Deadline(60))
        assert len(hub.calls("GET", "api/status")) == 3


@pytest.mark.parametrize(
    "answer", [moved("/hub/user/x/api/status"), page(424)], ids=["302 to the hub", "424"]
)
def test_a_session_that_is_gone_already_is_as_good(answer: Answer) -> None:
    with ScriptedHub(pages={"/user/x/api/status": answer}) as hub:
        assert stop(session(hub), Deadline(60)) is False
        assert posts(hub) == 0
        assert len(hub.requests) == 1


def test_a_server_of_this_machine_that_is_gone_already() -> None:
    with ScriptedHub() as hub:
        pass
    assert stop(session(hub), Deadline(60)) is False


def test_stopping_twice_is_as_good_as_once() -> None:
    with serving(Jupyter(TOKEN, after=(302,))) as hub:
        assert [stop(session(hub), Deadline(60)) for _ in range(2)] == [True, False]
        assert posts(hub) == 1


def test_a_hiccup_of_the_proxy_before_is_waited_out() -> None:
    with serving(Jupyter(TOKEN, before=(503, 502, 404))) as hub:
        assert stop(session(hub), Deadline(60)) is True
        assert posts(hub) == 1


def test_a_wrong_token_is_refused_at_once() -> None:
    with serving(Jupyter(TOKEN)) as hub:
        with pytest.raises(TokenRefused) as refused:
            stop(session(hub, "wrong-token"), Deadline(60))
        assert len(hub.requests) == 1
    assert refused.value.exit_code == 9
    assert "wrong-token" not in str(refused.value)


@pytest.mark.parametrize("status", [500, 403])
def test_a_shutdown_that_was_not_accepted_is_asked_for_at_the_next_look(status: int) -> None:
    """One that was, only after 5 s."""
    clock = Standing()
    with serving(Jupyter(TOKEN, shutdown=(status, 200))) as hub:
        assert stop(session(hub), Deadline(4, now=clock.now, pause=clock.pause)) is True
        assert posts(hub) == 2


def test_a_server_that_only_says_that_it_shuts_down_still_runs() -> None:
    with serving(Jupyter(TOKEN, stays=True)) as hub:
        with pytest.raises(StopFailed, match="still runs") as failed:
            stop(session(hub), Deadline(0.5))
        assert posts(hub) == 1, "it may need its time"
    assert failed.value.exit_code == 9


def test_a_server_that_takes_too_long_is_asked_again() -> None:
    with serving(Jupyter(TOKEN, stays=True)) as hub:
        seen = itertools.count(step=0.5)  # half a second passes at each look once it was asked
        deadline = Deadline(60, now=lambda: float(next(seen) if posts(hub) else 0))
        with pytest.raises(StopFailed, match="still runs"):
            stop(session(hub), deadline)
        assert posts(hub) > 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (page(503), "503"),
        (page(404), "404"),
        (page(200), "no Jupyter Server"),
        (Raw([], Ending.RESET), "connection broke"),
        (Raw([], Ending.HELD), "it did not answer in time"),
    ],
    ids=["503", "404", "page", "reset", "silent"],
)
def test_an_address_that_says_nothing_clear_is_not_gone(answer: Answer | Raw, words: str) -> None:
    """It may be mistyped, and the session run elsewhere."""
    with ScriptedHub(pages={"/user/x/api/status": answer}) as hub:
        with pytest.raises(StopFailed, match=words) as failed:
            stop(session(hub), Deadline(0.5))
        assert posts(hub) == 0
    assert "is unknown" in failed.value.message


def test_a_silent_server_is_asked_again() -> None:
    timeouts = Timeouts(idle=0.1)
    with ScriptedHub(pages={"/user/x/api/status": Raw([], Ending.HELD)}) as hub:
        deadline = Deadline(60, now=jumping(lambda: len(hub.requests) >= 3, 60))
        with pytest.raises(StopFailed):
            stop(session(hub), deadline, timeouts=timeouts)
        assert len(hub.requests) >= 3


def test_a_server_that_falls_silent_is_asked_again_after_10_s() -> None:
    """Of a clock that runs fast while it is silent."""
    clock = Clock()
    with ScriptedHub(pages={"/user/x/api/status": Raw((Silence(clock, 0.5),))}) as hub:
        with pytest.raises(StopFailed):
            stop(session(hub), Deadline(25, now=clock.now, pause=clock.pause))
        stops = len(hub.requests)
        with pytest.raises(ServerUnreachable):
            wait_for_status(session(hub), Deadline(25, now=clock.now, pause=clock.pause))
        assert min(stops, len(hub.requests) - stops) > 1


@pytest.mark.parametrize(("seconds", "times"), [(4.9, 1), (5.1, 2)])
def test_a_server_that_stays_is_told_again_after_5_s(seconds: float, times: int) -> None:
    clock = Standing()
    with serving(Jupyter(TOKEN, stays=True)) as hub:
        deadline = Deadline(5.2, now=clock.now, pause=lambda *_: clock.jump(seconds))
        with pytest.raises(StopFailed):
            stop(session(hub), deadline)
        assert posts(hub) == times


def test_a_server_that_stops_is_looked_at_often_at_first_and_then_every_2_s() -> None:
    clock = Standing()
    with serving(Jupyter(TOKEN, stays=True)) as hub, pytest.raises(StopFailed):
        stop(session(hub), Deadline(20, now=clock.now, pause=clock.pause))
    assert clock.pauses[:13] == [0.05, *[0.1] * 12]
    assert clock.pauses[13:16] == pytest.approx([0.16, 0.256, 0.4096])
    assert clock.pauses[20:-1] == [2.0] * len(clock.pauses[20:-1])
    assert clock.passed == pytest.approx(20)


@pytest.mark.parametrize(("after", "made_sure"), [(0.5, 0.05), (10.0, 2.0)])
def test_a_server_that_goes_at_once_is_soon_made_sure_of(after: float, made_sure: float) -> None:
    """One that goes later is given the time of a proxy's hiccup."""
    clock = Standing()
    with serving(Jupyter(TOKEN, stays=True)) as hub:

        def pause(event: threading.Event, seconds: float) -> None:
            clock.pause(event, seconds)
            if clock.passed > after:
                hub.serve("x", Jupyter(TOKEN, before=(503,) * 9))

        assert stop(session(hub), Deadline(60, now=clock.now, pause=pause)) is True
    assert clock.pauses[-1] == made_sure


def test_a_deadline_that_has_come_asks_nothing() -> None:
    with serving(Jupyter(TOKEN)) as hub:
        with pytest.raises(StopFailed, match="runs: it did not answer in time"):
            stop(session(hub), Deadline(0))
        with pytest.raises(ServerUnreachable, match="runs: it did not answer in time"):
            wait_for_status(session(hub), Deadline(0))
        assert not hub.requests


@pytest.mark.parametrize(
    ("before", "told"), [((), []), ((503, 404), ["503"]), ((302,), [])], ids=str
)
def test_who_stops_is_told_the_first_answer_where_that_is_unclear(
    before: tuple[int, ...], told: list[str]
) -> None:
    words: list[str] = []
    with serving(Jupyter(TOKEN, before=before)) as hub:
        stop(session(hub), Deadline(60), on_unclear=words.append)
    assert [each for each in words if "503" in each] == words
    assert len(words) == len(told)


def test_stopping_can_be_cancelled() -> None:
    deadline = Deadline(60)
    deadline.cancel.set()
    with serving(Jupyter(TOKEN)) as hub, pytest.raises(Cancelled):
        stop(session(hub), deadline)


# Whether it runs.


def test_a_running_session_tells_of_itself() -> None:
    told = Jupyter(TOKEN, kernels=2, status={"started": "2026-01-01T00:00:00Z"})
    with serving(told) as hub:
        found = wait_for_status(session(hub), Deadline(60))
    assert (found.state, found.kernels) == (State.RUNNING, 2)
    assert found.started == "2026-01-01T00:00:00Z"


def test_a_session_that_is_gone_is_known_at_once() -> None:
    with ScriptedHub() as hub:
        assert wait_for_status(session(hub), Deadline(60)).state is State.GONE
        assert len(hub.requests) == 1


def test_an_unclear_answer_is_asked_again() -> None:
    with serving(Jupyter(TOKEN, before=(503, 404))) as hub:
        assert wait_for_status(session(hub), Deadline(60)).state is State.RUNNING
        assert len(hub.requests) == 3


def test_who_asks_is_told_the_first_unclear_answer() -> None:
    words: list[str] = []
    with serving(Jupyter(TOKEN, before=(503, 404))) as hub:
        wait_for_status(session(hub), Deadline(60), on_unclear=words.append)
    (told,) = words
    assert "503" in told


def test_an_unclear_answer_is_asked_again_soon_at_first_and_then_every_5_s() -> None:
    clock = Standing()
    with (
        ScriptedHub(pages={"/user/x/api/status": page(503)}) as hub,
        pytest.raises(ServerUnreachable),
    ):
        wait_for_status(session(hub), Deadline(40, now=clock.now, pause=clock.pause))
    assert clock.pauses[:3] == pytest.approx([0.2, 0.32, 0.512])
    assert clock.pauses[7:-1] == [5.0] * len(clock.pauses[7:-1])
    assert clock.passed == pytest.approx(40)


def test_a_status_that_stays_unclear_is_an_error_and_not_gone() -> None:
    with (
        ScriptedHub(pages={"/user/x/api/status": page(503)}) as hub,
        pytest.raises(ServerUnreachable, match="503") as unclear,
    ):
        wait_for_status(session(hub), Deadline(0.5))
    assert unclear.value.exit_code == 6


def test_a_status_with_a_wrong_token_is_refused_at_once() -> None:
    with serving(Jupyter(TOKEN)) as hub:
        with pytest.raises(TokenRefused):
            wait_for_status(session(hub, "wrong"), Deadline(60))
        assert len(hub.requests) == 1


def test_a_server_that_answers_in_between_was_not_absent_twice() -> None:
    """After the shutdown 503, 200 and 503 again are a proxy with hiccups."""
    url = "http://server.example.org/user/x/"
    with responses.RequestsMock(registry=OrderedRegistry) as web:
        web.get(f"{url}api/status", json={})
        web.post(f"{url}api/shutdown")
        for status in (503, 200, 503, 503):
            web.get(f"{url}api/status", json={}, status=status)
        assert stop(Session(url, TOKEN), Deadline(60)) is True


def test_a_shutdown_that_was_accepted_once_counts_though_another_is_not() -> None:
    url = "http://server.example.org/user/x/"
    times = itertools.count(step=4)
    with responses.RequestsMock(registry=OrderedRegistry) as web:
        web.get(f"{url}api/status", json={})
        web.post(f"{url}api/shutdown")
        web.get(f"{url}api/status", json={})
        web.post(f"{url}api/shutdown", status=500)
        web.get(f"{url}api/status", status=503)
        web.get(f"{url}api/status", status=503)
        assert stop(Session(url, TOKEN), Deadline(1e6, now=lambda: float(next(times)))) is True
