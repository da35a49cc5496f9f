"""How long to go on, by a clock that the test turns."""

from __future__ import annotations

import threading

import pytest

from clinder.deadline import Deadline
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
    deadline.check()
    assert deadline.remaining() == 1
    clock.time += 1
    assert deadline.remaining() == 0
    with pytest.raises(TimedOut, match="10 s"):
        deadline.check()
    clock.time += 100
    assert deadline.remaining() == 0


def test_cancelling_ends_it_at_once(clock: Clock) -> None:
    deadline = Deadline(10, cancel=cancelled(), now=clock)
    with pytest.raises(Cancelled):
        deadline.check()
    with pytest.raises(Cancelled):
        deadline.wait(1000)


def test_cancelled_goes_before_timed_out(clock: Clock) -> None:
    with pytest.raises(Cancelled):
        Deadline(0, cancel=cancelled(), now=clock).check()


def test_grace_counts_from_when_the_cancelling_was_seen(clock: Clock) -> None:
    deadline = Deadline(100, cancel=cancelled(), now=clock)
    deadline.grace = 5
    deadline.check()
    clock.time += 4.5
    deadline.check()
    clock.time += 0.5
    with pytest.raises(Cancelled):
        deadline.check()


def test_grace_taken_back_ends_it_at_once(clock: Clock) -> None:
    deadline = Deadline(100, cancel=cancelled(), now=clock)
    deadline.grace = 5
    deadline.check()
    deadline.grace = 0
    with pytest.raises(Cancelled):
        deadline.check()


def test_grace_does_not_outlast_the_deadline(clock: Clock) -> None:
    deadline = Deadline(3, cancel=cancelled(), now=clock)
    deadline.grace = 5
    clock.time += 3
    with pytest.raises(TimedOut):
        deadline.check()


def test_a_sooner_one_is_never_later(clock: Clock) -> None:
    deadline = Deadline(10, now=clock)
    assert deadline.sooner(4).remaining() == 4
    assert deadline.sooner(40).remaining() == 10


def test_a_sooner_one_is_cancelled_with_it(clock: Clock) -> None:
    cancel = threading.Event()
    sooner = Deadline(10, cancel=cancel, now=clock).sooner(5)
    sooner.check()
    cancel.set()
    with pytest.raises(Cancelled):
        sooner.check()


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
