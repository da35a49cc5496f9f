"""How long to go on, by a clock that the test turns."""

from __future__ import annotations

import threading

import pytest

from clinder._deadline import Deadline
from clinder.errors import Cancelled, TimedOut


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def cancelled() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_it_comes_when_its_seconds_are_over(clock: Clock) -> None:
    deadline = Deadline(10, now=clock)
    clock.time += 9
    deadline.raise_if_expired()
    assert deadline.remaining() == 1
    clock.time += 1
    assert deadline.remaining() == 0
    with pytest.raises(TimedOut, match="10 s"):
        deadline.raise_if_expired()
    clock.time += 100
    assert deadline.remaining() == 0


def test_cancelling_ends_it_at_once(clock: Clock) -> None:
    deadline = Deadline(10, cancel=cancelled(), now=clock)
    with pytest.raises(Cancelled, match=r"^Cancelled\.$"):
        deadline.raise_if_expired()
    with pytest.raises(Cancelled):
        deadline.wait(1000)


def test_cancelled_goes_before_timed_out(clock: Clock) -> None:
    with pytest.raises(Cancelled):
        Deadline(0, cancel=cancelled(), now=clock).raise_if_expired()


def test_grace_counts_from_when_the_cancelling_was_seen(clock: Clock) -> None:
    deadline = Deadline(100, cancel=cancelled(), now=clock)
    deadline.grace = 5
    deadline.raise_if_expired()
    clock.time += 4.5
    deadline.raise_if_expired()
    clock.time += 0.5
    with pytest.raises(Cancelled):
        deadline.raise_if_expired()


def test_grace_taken_back_ends_it_at_once(clock: Clock) -> None:
    deadline = Deadline(100, cancel=cancelled(), now=clock)
    deadline.grace = 5
    deadline.raise_if_expired()
    deadline.grace = 0
    with pytest.raises(Cancelled):
        deadline.raise_if_expired()


def test_grace_does_not_outlast_the_deadline(clock: Clock) -> None:
    deadline = Deadline(3, cancel=cancelled(), now=clock)
    deadline.grace = 5
    clock.time += 3
    with pytest.raises(TimedOut):
        deadline.raise_if_expired()


def test_a_sooner_one_is_never_later(clock: Clock) -> None:
    deadline = Deadline(10, now=clock)
    assert deadline.capped(4).remaining() == 4
    assert deadline.capped(40).remaining() == 10


def test_a_sooner_one_is_cancelled_with_it(clock: Clock) -> None:
    cancel = threading.Event()
    sooner = Deadline(10, cancel=cancel, now=clock).capped(5)
    sooner.raise_if_expired()
    cancel.set()
    with pytest.raises(Cancelled):
        sooner.raise_if_expired()


def test_waiting_ends_when_somebody_cancels() -> None:
    deadline = Deadline(1000)
    outcome: list[BaseException] = []

    def waiting() -> None:
        try:
            deadline.wait(1000)
        except Cancelled as error:
            outcome.append(error)

    thread = threading.Thread(target=waiting)
    thread.start()
    deadline.cancel.set()
    thread.join(timeout=20)
    assert [type(error) for error in outcome] == [Cancelled]


def test_waiting_longer_than_the_deadline_times_out() -> None:
    with pytest.raises(TimedOut):
        Deadline(0.01).wait(1000)


def test_one_apart_is_by_the_same_clock_and_is_not_cancelled(clock: Clock) -> None:
    deadline = Deadline(10, cancel=cancelled(), now=clock)
    apart = deadline.uncancelled(20)
    apart.raise_if_expired()
    assert apart.remaining() == 20
    clock.time += 20
    with pytest.raises(TimedOut, match="20 s"):
        apart.raise_if_expired()


def test_an_extended_one_comes_later_and_is_cancelled_with_it(clock: Clock) -> None:
    deadline = Deadline(10, now=clock)
    clock.time += 4
    extended = deadline.extended(5)
    assert extended.remaining() == 11
    deadline.cancel.set()
    with pytest.raises(Cancelled):
        extended.raise_if_expired()


def test_an_extended_one_counts_from_now_where_the_deadline_has_come(clock: Clock) -> None:
    deadline = Deadline(10, now=clock)
    clock.time += 100
    assert deadline.extended(5).remaining() == 5


def test_all_made_of_one_know_since_when_it_is_cancelled(clock: Clock) -> None:
    deadline = Deadline(100, now=clock)
    assert deadline.cancelled_for == 0
    deadline.cancel.set()
    clock.time += 3
    assert deadline.cancelled_for == 0, "nobody has seen it"
    sooner = deadline.capped(50)
    with pytest.raises(Cancelled):
        sooner.raise_if_expired()
    clock.time += 2
    with pytest.raises(Cancelled):
        deadline.raise_if_expired()
    assert [each.cancelled_for for each in (deadline, sooner, deadline.uncancelled(9))] == [2, 2, 2]


def test_a_wait_is_a_pause_and_none_beyond_the_deadline(clock: Clock) -> None:
    pauses: list[float] = []

    def pause(event: threading.Event, seconds: float) -> None:
        assert event is deadline.cancel
        pauses.append(seconds)
        clock.time += seconds

    deadline = Deadline(10, now=clock, pause=pause)
    deadline.wait(4)
    with pytest.raises(TimedOut):
        deadline.capped(20).wait(7)
    with pytest.raises(TimedOut):
        deadline.wait(1)
    assert pauses == [4, 6]


def test_a_wait_within_the_grace_takes_its_time(clock: Clock) -> None:
    """The event that cancels is set by then: waiting for it would take none."""

    def pause(event: threading.Event, seconds: float) -> None:
        assert not event.is_set()
        clock.time += seconds

    deadline = Deadline(100, cancel=cancelled(), now=clock, pause=pause)
    deadline.grace = 5
    deadline.wait(4)
    with pytest.raises(Cancelled):
        deadline.wait(2)
