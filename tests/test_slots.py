"""Kernels wait in order while the session runs as many as its memory allows."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinder._deadline import Deadline
from clinder.errors import Cancelled, UsageError
from clinder.gateway.slots import LONGEST_WAIT, KernelLimit, Line, Memory, Slots
from clock import StoppedClock

GIB = 1024**3
AUTO = KernelLimit.parse("auto")


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("1", KernelLimit(1)),
        ("12", KernelLimit(12)),
        ("auto", KernelLimit(by_memory=True)),
        ("none", KernelLimit()),
    ],
)
def test_a_limit_is_a_number_or_auto_or_none(text: str, limit: KernelLimit) -> None:
    assert KernelLimit.parse(text) == limit


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "x", "²", "AUTO", "9" * 5000])
def test_another_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        KernelLimit.parse(text)


def started(limit: KernelLimit, memory: Memory | None, waiting: int = 20) -> int:
    """Return how many of the waiting kernels start, one after another."""
    line = Line(limit)
    if memory is not None:
        line.measure(memory)
    for number in range(waiting):
        line.join(number, 0)
    count = 0
    while count < waiting and line.may_start(count, 0):
        line.start(count)
        count += 1
    return count


@pytest.mark.parametrize(
    ("limit", "memory", "kernels"),
    [
        ("3", None, 3),
        ("3", Memory(8 * GIB, 8 * GIB), 3),
        ("none", Memory(8 * GIB, 8 * GIB), 20),
        ("auto", None, 20),
        ("auto", Memory(GIB, 0), 20),
        ("auto", Memory(0, 8 * GIB), 4),
        ("auto", Memory(0, 7 * GIB), 3),
        ("auto", Memory(0, GIB), 1),
        # the memory of those that started is measured first
        ("auto", Memory(5 * GIB, 8 * GIB), 1),
        ("auto", Memory(7 * GIB, 8 * GIB), 1),
    ],
)
def test_so_many_kernels_start_at_once(limit: str, memory: Memory | None, kernels: int) -> None:
    assert started(KernelLimit.parse(limit), memory) == kernels


def test_no_further_kernel_starts_while_the_memory_is_nearly_full() -> None:
    line = Line(AUTO)
    for number in range(2):
        line.join(number, 0)
    line.start(0)

    line.measure(Memory(int(6.1 * GIB), 8 * GIB))
    assert not line.may_start(1, 0)
    assert line.reason == "76% of the session's memory is in use"
    line.measure(Memory(6 * GIB, 8 * GIB))
    assert line.may_start(1, 0)


def test_one_kernel_starts_however_full_the_memory_is() -> None:
    line = Line(AUTO)
    line.measure(Memory(8 * GIB, 8 * GIB))
    line.join(1, 0)

    assert line.may_start(1, 0)


def test_kernels_start_in_the_order_in_which_they_came() -> None:
    line = Line(KernelLimit(1))
    for number in range(3):
        line.join(number, 0)

    assert [line.may_start(number, 0) for number in range(3)] == [True, False, False]
    line.start(0)
    assert not line.may_start(1, 0)
    line.end()
    line.leave(1)
    assert line.may_start(2, 0)


def test_a_kernel_starts_after_an_hour_whatever_runs() -> None:
    line = Line(KernelLimit(1))
    for number in range(2):
        line.join(number, 0)
    line.start(0)

    assert not line.may_start(1, LONGEST_WAIT - 1)
    assert line.may_start(1, LONGEST_WAIT)


@pytest.mark.parametrize(
    ("limit", "cause"),
    [("1", ""), ("auto", ", because its memory is limited to 2.0 GiB")],
)
def test_the_reason_for_waiting_names_the_limit(limit: str, cause: str) -> None:
    line = Line(KernelLimit.parse(limit))
    line.measure(Memory(0, 2 * GIB))
    line.join(1, 0)
    line.start(1)

    assert line.reason == f"the session runs at most one kernel at a time{cause}"


@given(
    st.sampled_from(["1", "3", "auto", "none"]),
    st.lists(st.sampled_from(["join", "leave", "end", "measure", "wait"]), max_size=60),
    st.integers(0, 9 * GIB),
)
def test_a_line_always_moves_on(limit: str, events: list[str], used: int) -> None:
    """Whatever happened, all kernels start once those before them have ended."""
    line = Line(KernelLimit.parse(limit))
    waiting: list[int] = []
    running, now = 0, 0.0
    for number, event in enumerate(events):
        if event == "join":
            line.join(number, now)
            waiting.append(number)
        elif event == "leave" and waiting:
            line.leave(waiting.pop())
        elif event == "end" and running:
            line.end()
            running -= 1
        elif event == "measure":
            line.measure(Memory(used, 8 * GIB))
        now += 1
        while waiting and line.may_start(waiting[0], now):
            line.start(waiting.pop(0))
            running += 1

    for ticket in waiting:
        while not line.may_start(ticket, now):
            assert running
            line.end()
            running -= 1
        line.start(ticket)
        running += 1


# Threads


def test_a_slot_that_is_released_lets_the_next_kernel_start() -> None:
    warnings: list[str] = []
    slots = Slots(KernelLimit(1), warnings.append)
    first = slots.acquire("one", Deadline(10))
    acquired = threading.Event()

    def wait() -> None:
        slots.acquire("two", Deadline(10))
        acquired.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not acquired.wait(0.05)
    first.release()
    first.release()
    assert acquired.wait(60)
    thread.join()
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        slots.acquire("three", Deadline(10, cancel=cancel))
    assert warnings == ["Pages wait for a kernel: the session runs at most one kernel at a time."]


def test_a_kernel_that_gives_up_does_not_stop_those_behind_it() -> None:
    slots = Slots(KernelLimit(1), lambda _: None)
    first = slots.acquire("one", Deadline(10))
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        slots.acquire("two", Deadline(10, cancel=cancel))

    first.release()
    assert slots.acquire("three", Deadline(10)).waited < 10


def test_measured_memory_counts() -> None:
    warnings: list[str] = []
    slots = Slots(AUTO, warnings.append)
    slots.update_memory(0, 2 * GIB)
    slots.acquire("one", Deadline(10))
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        slots.acquire("two", Deadline(10, cancel=cancel))
    slots.update_memory(0, None)
    slots.acquire("two", Deadline(10))

    assert len(warnings) == 1


def test_a_page_that_waited_for_an_hour_starts_with_a_warning() -> None:
    clock = StoppedClock()
    warnings: list[str] = []

    def warn(text: str) -> None:
        warnings.append(text)
        clock.jump(LONGEST_WAIT)

    slots = Slots(KernelLimit(1), warn)
    slots.acquire("one", Deadline(9999, now=clock.now))
    slot = slots.acquire("a\npage.ipynb", Deadline(9999, now=clock.now))

    assert slot.waited == LONGEST_WAIT
    assert warnings[1] == (
        "a page.ipynb waited 60 min and starts now, although the session runs at most one kernel "
        "at a time."
    )
