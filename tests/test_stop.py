"""Stopping a session until it is gone, and finding out whether one runs."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import pytest
import responses
from responses.registries import OrderedRegistry

from answers import Answer, Ending, Raw, page
from clinder._deadline import Deadline
from clinder.errors import Cancelled, ServerUnreachable, StopFailed, TokenRefused
from clinder.running.status import wait_for_status
from clinder.running.stop import Stopped, stop
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.jupyter_server import State
from clock import Clock, StoppedClock
from faults import Silence
from hubs import Jupyter, ScriptedHub

TOKEN = "s3cret-token"
URL = "http://server.example.org/user/x/"

pytestmark = pytest.mark.usefixtures("_no_threads_left")


def session(hub: ScriptedHub, token: str = TOKEN) -> Session:
    return Session(f"{hub.origin}/user/x/", token)


def serving(server: Jupyter) -> ScriptedHub:
    return ScriptedHub(servers={"x": server})


def answering(answer: Answer | Raw) -> ScriptedHub:
    """A hub whose server gives every status request this answer."""
    return ScriptedHub(pages={"/user/x/api/status": answer})


def shutdowns(hub: ScriptedHub) -> int:
    return len(hub.calls("POST", "api/shutdown"))


# Stopping.


@pytest.mark.parametrize(
    "after",
    [(503, 503, 302), (302,), (503,), (424,), (502, 424), (404,), (503, 404), ()],
    ids=lambda after: "-".join(map(str, after)) or "refused",
)
def test_a_session_is_shut_down_once_and_then_gone(after: tuple[int, ...]) -> None:
    with serving(Jupyter(TOKEN, after=after)) as hub:
        assert stop(session(hub), Deadline(60)).ran
        assert shutdowns(hub) == 1
        assert {each.headers["authorization"] for each in hub.requests} == {f"token {TOKEN}"}


@pytest.mark.parametrize("gone", [302, 424])
def test_a_session_that_is_already_gone_is_not_shut_down_again(gone: int) -> None:
    with serving(Jupyter(TOKEN, after=(gone,))) as hub:
        assert [stop(session(hub), Deadline(60)) for _ in range(2)] == [
            Stopped(ran=True),
            Stopped(ran=False, certain=False),
        ]
        assert shutdowns(hub) == 1
        assert len(hub.calls("GET", "api/status")) == 3


def test_a_session_of_the_embedded_hub_is_gone_once_a_connection_is_refused() -> None:
    session = Session("http://127.0.0.1:1/clinder-hub/user/x/", TOKEN)
    assert stop(session, Deadline(60)) == Stopped(ran=False)
    assert wait_for_status(session, Deadline(60)).certain


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_refused_connection_does_not_prove_that_another_hubs_session_is_gone(host: str) -> None:
    """On this machine, `kubectl port-forward` might be restarting."""
    session = Session(f"http://{host}:1/user/x/", TOKEN)
    with pytest.raises(StopFailed, match=r"It is unknown .*: nothing listens at its address"):
        stop(session, Deadline(0.5))


def test_a_session_that_its_hub_does_not_know_might_run_unless_it_accepted_a_shutdown() -> None:
    """A proxy that has just restarted sends each request to the hub."""
    with serving(Jupyter(TOKEN, shutdown=(500,), after=(302,))) as hub:

        def pause(*_: object) -> None:
            hub.serve("x", Jupyter(TOKEN, before=(302,)))

        stopped = stop(session(hub), Deadline(60, pause=pause))
    assert stopped == Stopped(ran=True, certain=False)
    assert str(stopped).startswith("is gone: the hub does not know it. If the hub's proxy has just")


@pytest.mark.parametrize("call", [stop, wait_for_status])
def test_a_wrong_token_is_an_error_at_once(call: Callable[[Session, Deadline], object]) -> None:
    with serving(Jupyter(TOKEN)) as hub:
        with pytest.raises(TokenRefused) as refused:
            call(session(hub, "wrong-token"), Deadline(60))
        assert len(hub.requests) == 1
    assert refused.value.exit_code == 9
    assert "wrong-token" not in str(refused.value)


@pytest.mark.parametrize("status", [500, 403])
def test_a_shutdown_that_was_not_accepted_is_repeated_at_once(status: int) -> None:
    """An accepted one is repeated only after 5 s."""
    clock = StoppedClock()
    with serving(Jupyter(TOKEN, shutdown=(status, 200))) as hub:
        assert stop(session(hub), Deadline(4, now=clock.now, pause=clock.pause)).ran
        assert shutdowns(hub) == 2


@pytest.mark.parametrize(("seconds", "times"), [(4.9, 1), (5.1, 2)])
def test_an_accepted_shutdown_is_repeated_after_5_s(seconds: float, times: int) -> None:
    clock = StoppedClock()
    with serving(Jupyter(TOKEN, stays=True)) as hub:
        deadline = Deadline(5.2, now=clock.now, pause=lambda *_: clock.jump(seconds))
        with pytest.raises(StopFailed, match="The session still runs") as failed:
            stop(session(hub), deadline)
        assert shutdowns(hub) == times
    assert failed.value.exit_code == 9


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (page(503), "503"),
        (page(404), "404"),
        (page(200), "no Jupyter Server"),
        (Raw([], Ending.RESET), "connection broke"),
        (Raw([], Ending.HELD), "it did not respond in time"),
    ],
    ids=["503", "404", "page", "reset", "silent"],
)
def test_an_unclear_answer_does_not_prove_that_a_session_is_gone(
    answer: Answer | Raw, message: str
) -> None:
    """The address can be mistyped while the session runs elsewhere."""
    with answering(answer) as hub:
        with pytest.raises(StopFailed, match=f"It is unknown .*{message}"):
            stop(session(hub), Deadline(0.5))
        assert shutdowns(hub) == 0
        with pytest.raises(ServerUnreachable, match=f"It is unknown .*{message}") as unclear:
            wait_for_status(session(hub), Deadline(0.5))
    assert unclear.value.exit_code == 6


@pytest.mark.parametrize(
    ("timeouts", "counts"), [(None, (2, 3)), (Timeouts(idle=2.6), (4, 5, 6, 7, 8))]
)
@pytest.mark.parametrize("call", [stop, wait_for_status])
def test_a_silent_server_gets_another_request_after_the_idle_limit(
    call: Callable[..., object], timeouts: Timeouts | None, counts: tuple[int, ...]
) -> None:
    clock = Clock()
    deadline = Deadline(25, now=clock.now, pause=clock.pause)
    with answering(Raw((Silence(clock, 0.5),))) as hub:
        with pytest.raises((StopFailed, ServerUnreachable)):
            call(session(hub), deadline, timeouts=timeouts)
        assert len(hub.requests) in counts


def test_a_server_that_stops_is_checked_often_at_first_and_then_every_2_s() -> None:
    clock = StoppedClock()
    with serving(Jupyter(TOKEN, stays=True)) as hub, pytest.raises(StopFailed):
        stop(session(hub), Deadline(20, now=clock.now, pause=clock.pause))
    assert clock.pauses[:13] == [0.05, *[0.1] * 12]
    assert clock.pauses[13:16] == pytest.approx([0.16, 0.256, 0.4096])
    assert clock.pauses[20:-1] == [2.0] * len(clock.pauses[20:-1])
    assert clock.passed == pytest.approx(20)


@pytest.mark.parametrize(("after", "confirmed_after"), [(0.5, 0.05), (10.0, 2.0)])
def test_a_server_that_is_absent_soon_is_checked_again_at_once(
    after: float, confirmed_after: float
) -> None:
    """A server that is absent later might only be behind a failing proxy."""
    clock = StoppedClock()
    with serving(Jupyter(TOKEN, stays=True)) as hub:

        def pause(event: threading.Event, seconds: float) -> None:
            clock.pause(event, seconds)
            if clock.passed > after:
                hub.serve("x", Jupyter(TOKEN, before=(503,) * 9))

        assert stop(session(hub), Deadline(60, now=clock.now, pause=pause)).ran
    assert clock.pauses[-1] == confirmed_after


def test_nothing_is_requested_after_the_deadline() -> None:
    with serving(Jupyter(TOKEN)) as hub:
        with pytest.raises(StopFailed, match="session still runs: it did not respond in time"):
            stop(session(hub), Deadline(0))
        with pytest.raises(ServerUnreachable, match="session runs: it did not respond in time"):
            wait_for_status(session(hub), Deadline(0))
        assert not hub.requests


@pytest.mark.parametrize("call", [stop, wait_for_status])
@pytest.mark.parametrize(
    ("before", "reports"), [((), 0), ((503, 404), 1), ((503, 502, 404), 1), ((302,), 0)], ids=str
)
def test_only_the_first_unclear_answer_is_reported(
    call: Callable[..., object], before: tuple[int, ...], reports: int
) -> None:
    messages: list[str] = []
    with serving(Jupyter(TOKEN, before=before)) as hub:
        call(session(hub), Deadline(60), on_unclear=messages.append)
    assert ["503" in each for each in messages] == [True] * reports


def test_stopping_can_be_cancelled() -> None:
    deadline = Deadline(60)
    deadline.cancel.set()
    with serving(Jupyter(TOKEN)) as hub, pytest.raises(Cancelled):
        stop(session(hub), deadline)


def scripted(*answers: tuple[str, int]) -> responses.RequestsMock:
    """A server that expects exactly these requests, by the last part of their paths."""
    web = responses.RequestsMock(registry=OrderedRegistry)
    for path, status in answers:
        method = responses.POST if path == "shutdown" else responses.GET
        web.add(method, f"{URL}api/{path}", json={}, status=status)
    return web


def test_an_answer_in_between_means_that_the_server_was_not_absent_twice() -> None:
    """One 503 after the shutdown can come from a failing proxy."""
    with scripted(
        ("status", 200), ("shutdown", 200), *(("status", code) for code in (503, 200, 503, 503))
    ):
        assert stop(Session(URL, TOKEN), Deadline(60)).ran


def test_a_shutdown_that_was_accepted_once_counts_even_if_a_later_one_is_not() -> None:
    times = itertools.count(step=4)
    deadline = Deadline(1e6, now=lambda: float(next(times)))
    with scripted(
        ("status", 200),
        ("shutdown", 200),
        ("status", 200),
        ("shutdown", 500),
        ("status", 503),
        ("status", 503),
    ):
        assert stop(Session(URL, TOKEN), deadline).ran


# Status.


def test_the_status_of_a_running_session_has_its_kernels_and_start() -> None:
    server = Jupyter(TOKEN, kernels=2, status={"started": "2026-01-01T00:00:00Z"})
    with serving(server) as hub:
        status = wait_for_status(session(hub), Deadline(60))
    assert (status.state, status.kernels) == (State.RUNNING, 2)
    assert status.started == "2026-01-01T00:00:00Z"


def test_the_status_of_a_session_that_is_gone_needs_one_request() -> None:
    with ScriptedHub() as hub:
        assert wait_for_status(session(hub), Deadline(60)).state is State.GONE
        assert len(hub.requests) == 1


def test_an_unclear_status_is_requested_again_soon_at_first_and_then_every_5_s() -> None:
    clock = StoppedClock()
    with answering(page(503)) as hub, pytest.raises(ServerUnreachable):
        wait_for_status(session(hub), Deadline(40, now=clock.now, pause=clock.pause))
    assert clock.pauses[:3] == pytest.approx([0.2, 0.32, 0.512])
    assert clock.pauses[7:-1] == [5.0] * len(clock.pauses[7:-1])
    assert clock.passed == pytest.approx(40)
