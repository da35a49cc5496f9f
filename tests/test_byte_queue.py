"""What one thread reads and another takes: in order, bounded, and bytes that wait as one piece."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from clinder.wire.byte_queue import LIMIT, ByteQueue

END = object()
NOW = 0.0


def taken(handover: ByteQueue) -> list[object]:
    """Take all that waits."""
    return list(iter(lambda: handover.get(NOW), None))


def test_items_come_in_their_order() -> None:
    handover = ByteQueue()
    head = object()
    for item in (head, b"body", END):
        assert handover.put(item)
    assert taken(handover) == [head, b"body", END]


def test_bytes_that_were_not_taken_yet_become_one() -> None:
    handover = ByteQueue()
    handover.put(b"one ")
    handover.put(b"two")
    assert handover.get(NOW) == b"one two"
    handover.put(b"three")
    assert taken(handover) == [b"three"]


@given(st.lists(st.binary(max_size=3) | st.just(None)))
def test_no_byte_is_lost_or_comes_twice(told: list[bytes | None]) -> None:
    """Pieces, empty ones among them, of which some are taken in between."""
    handover, came = ByteQueue(), bytearray()
    for piece in told:
        if piece is None:
            came += b"".join(bytes(item) for item in taken(handover) if isinstance(item, bytearray))
        else:
            assert handover.put(piece)
    for item in taken(handover):
        assert isinstance(item, bytearray)
        came += item
    assert came == b"".join(piece for piece in told if piece)


def test_who_takes_waits_for_what_comes() -> None:
    handover = ByteQueue()
    thread = threading.Thread(target=lambda: handover.put(END))
    thread.start()
    assert handover.get(60.0) is END
    thread.join()


def test_who_puts_more_than_the_limit_waits_until_it_is_taken() -> None:
    handover, passed = ByteQueue(), threading.Event()
    handover.put(b"x" * LIMIT)

    def more() -> None:
        handover.put(b"y")
        passed.set()

    thread = threading.Thread(target=more)
    thread.start()
    assert not passed.is_set()
    assert handover.get(NOW) == b"x" * LIMIT
    assert handover.get(60.0) == b"y"
    assert passed.wait(60)
    thread.join()


def test_nobody_waits_once_it_is_closed() -> None:
    handover, accepted = ByteQueue(), [True]
    handover.put(b"x" * LIMIT)
    threads = [
        threading.Thread(target=lambda: accepted.append(handover.put(b"y")), daemon=True)
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    handover.close()
    for thread in threads:
        thread.join(60)
    assert accepted == [True, False, False]
    assert not handover.put(END)
