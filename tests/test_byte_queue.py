"""The queue between two threads: ordered, bounded, and waiting bytes become one chunk."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from clinder.wire.byte_queue import LIMIT, ByteQueue

END = object()
NOW = 0.0


def get_all(queue: ByteQueue) -> list[object]:
    return list(iter(lambda: queue.get(NOW), None))


def test_items_come_in_their_order() -> None:
    queue = ByteQueue()
    head = object()
    for item in (head, b"body", END):
        assert queue.put(item)
    assert get_all(queue) == [head, b"body", END]


def test_waiting_bytes_become_one_chunk() -> None:
    queue = ByteQueue()
    queue.put(b"one ")
    queue.put(b"two")
    assert queue.get(NOW) == b"one two"
    queue.put(b"three")
    assert get_all(queue) == [b"three"]


@given(st.lists(st.binary(max_size=3) | st.just(None)))
def test_no_byte_is_lost_or_repeated(puts: list[bytes | None]) -> None:
    """``None`` stands for a moment when the other thread gets what waits."""
    queue, received = ByteQueue(), bytearray()
    for chunk in [*puts, None]:
        if chunk is None:
            received += b"".join(item for item in get_all(queue) if isinstance(item, bytearray))
        else:
            assert queue.put(chunk)
    assert received == b"".join(chunk for chunk in puts if chunk)


def test_get_waits_for_an_item() -> None:
    queue = ByteQueue()
    thread = threading.Thread(target=lambda: queue.put(END))
    thread.start()
    assert queue.get(60.0) is END
    thread.join()


def test_put_waits_while_the_queue_is_full() -> None:
    queue, passed = ByteQueue(), threading.Event()
    queue.put(b"x" * LIMIT)

    def put_more() -> None:
        queue.put(b"y")
        passed.set()

    thread = threading.Thread(target=put_more)
    thread.start()
    assert not passed.is_set()
    assert queue.get(NOW) == b"x" * LIMIT
    assert queue.get(60.0) == b"y"
    assert passed.wait(60)
    thread.join()


def test_closing_wakes_up_every_thread_that_waits() -> None:
    queue, accepted = ByteQueue(), [True]
    queue.put(b"x" * LIMIT)
    threads = [
        threading.Thread(target=lambda: accepted.append(queue.put(b"y")), daemon=True)
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    queue.close()
    for thread in threads:
        thread.join(60)
    assert accepted == [True, False, False]
    assert not queue.put(END)
