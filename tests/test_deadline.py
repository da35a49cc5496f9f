"""Time limits and cancellation, with a clock that the test moves."""

from __future__ import annotations

import threading

import pytest

from clinder._deadline import Deadline, run_bounded
from clinder.errors import Cancelled, TimedOut
from clock import StoppedClock


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


def cancelled() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_a_deadline_expires_after_its_seconds(clock: StoppedClock) -> None:
    deadline = Deadline(10, now=clock.now)
    clock.jump(9)
    deadline.raise_if_expired()
    assert deadline.remaining() == 1
    clock.jump(1)
    assert deadline.remaining() == 0
    with pytest.raises(TimedOut, match="10 s"):
        deadline.raise_if_expired()
    clock.jump(100)
    assert deadline.remaining() == 0


@pytest.mark.parametrize("seconds", [10, 0])
def test_a_cancellation_takes_effect_at_once_and_precedes_a_timeout(
    seconds: float, clock: StoppedClock
) -> None:
    deadline = Deadline(seconds, cancel=cancelled(), now=clock.now)
    with pytest.raises(Cancelled, match=r"^Cancelled\.$"):
        deadline.raise_if_expired()
    with pytest.raises(Cancelled):
        deadline.wait(1000)


def test_the_grace_starts_when_the_cancellation_is_noticed_and_can_be_removed(
    clock: StoppedClock,
) -> None:
    deadline = Deadline(100, cancel=cancelled(), now=clock.now)
    deadline.grace = 5
    deadline.raise_if_expired()
    clock.jump(4.5)
    deadline.raise_if_expired()
    deadline.grace = 0
    with pytest.raises(Cancelled):
        deadline.raise_if_expired()
    deadline.grace = 5
    clock.jump(0.5)
    with pytest.raises(Cancelled):
        deadline.raise_if_expired()


def test_the_grace_ends_with_the_deadline(clock: StoppedClock) -> None:
    deadline = Deadline(3, cancel=cancelled(), now=clock.now)
    deadline.grace = 5
    clock.jump(3)
    with pytest.raises(TimedOut):
        deadline.raise_if_expired()


def test_a_capped_deadline_is_never_later_and_has_the_same_cancellation(
    clock: StoppedClock,
) -> None:
    deadline = Deadline(10, now=clock.now)
    capped = deadline.capped(4)
    assert capped.remaining() == 4
    assert deadline.capped(40).remaining() == 10
    capped.raise_if_expired()
    deadline.cancel.set()
    with pytest.raises(Cancelled):
        capped.raise_if_expired()


def test_a_restarted_deadline_ends_later_but_never_after_another(clock: StoppedClock) -> None:
    deadline = Deadline(10, now=clock.now)
    capped = deadline.capped(4)
    clock.jump(3)
    capped.restart(4, within=deadline)
    assert capped.remaining() == 4
    capped.restart(40, within=deadline)
    assert capped.remaining() == deadline.remaining() == 7


def test_a_cancellation_ends_a_wait() -> None:
    deadline = Deadline(1000)
    outcome: list[BaseException] = []

    def wait() -> None:
        try:
            deadline.wait(1000)
        except Cancelled as error:
            outcome.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    deadline.cancel.set()
    thread.join(timeout=60)
    assert [type(error) for error in outcome] == [Cancelled]


def test_an_uncancelled_deadline_uses_the_same_clock(clock: StoppedClock) -> None:
    deadline = Deadline(10, cancel=cancelled(), now=clock.now)
    uncancelled = deadline.uncancelled(20)
    uncancelled.raise_if_expired()
    assert uncancelled.remaining() == 20
    clock.jump(20)
    with pytest.raises(TimedOut, match="20 s"):
        uncancelled.raise_if_expired()


def test_an_extended_deadline_is_later_and_has_the_same_cancellation(clock: StoppedClock) -> None:
    deadline = Deadline(10, now=clock.now)
    clock.jump(4)
    assert deadline.extended(5).remaining() == 11
    clock.jump(100)
    extended = deadline.extended(5)
    assert extended.remaining() == 5, "an expired deadline is extended from now"
    deadline.cancel.set()
    with pytest.raises(Cancelled):
        extended.raise_if_expired()


def test_derived_deadlines_share_the_time_of_the_cancellation(clock: StoppedClock) -> None:
    deadline = Deadline(100, now=clock.now)
    assert deadline.cancelled_for == 0
    deadline.cancel.set()
    clock.jump(3)
    assert deadline.cancelled_for == 0, "nobody has noticed it"
    capped = deadline.capped(50)
    with pytest.raises(Cancelled):
        capped.raise_if_expired()
    clock.jump(2)
    with pytest.raises(Cancelled):
        deadline.raise_if_expired()
    assert [each.cancelled_for for each in (deadline, capped, deadline.uncancelled(9))] == [2, 2, 2]


def test_a_wait_pauses_until_the_deadline_at_most(clock: StoppedClock) -> None:
    pauses: list[float] = []

    def pause(event: threading.Event, seconds: float) -> None:
        assert event is deadline.cancel
        pauses.append(seconds)
        clock.jump(seconds)

    deadline = Deadline(10, now=clock.now, pause=pause)
    deadline.wait(4)
    with pytest.raises(TimedOut):
        deadline.capped(20).wait(7)
    with pytest.raises(TimedOut):
        deadline.wait(1)
    assert pauses == [4, 6]


def test_a_wait_within_the_grace_pauses(clock: StoppedClock) -> None:
    """Waiting for the cancelling event would not, because that is set already."""

    def pause(event: threading.Event, seconds: float) -> None:
        assert not event.is_set()
        clock.jump(seconds)

    deadline = Deadline(100, cancel=cancelled(), now=clock.now, pause=pause)
    deadline.grace = 5
    deadline.wait(4)
    with pytest.raises(Cancelled):
        deadline.wait(2)


def test_work_that_exceeds_its_deadline_is_abandoned() -> None:
    enough = threading.Event()
    with pytest.raises(TimedOut):
        run_bounded(enough.wait, Deadline(0.2))
    enough.set()


def test_bounded_work_returns_its_result_or_raises_its_error() -> None:
    assert run_bounded(lambda: 6 * 7, Deadline(60)) == 42
    with pytest.raises(ZeroDivisionError):
        run_bounded(lambda: 1 // 0, Deadline(60))


def test_abandoned_work_does_not_keep_the_program_running() -> None:
    thread = run_bounded(threading.current_thread, Deadline(60))
    assert (thread.daemon, thread.name) == (True, "clinder-work")
