"""Event-stream framing, by the specification's own examples: bytes in, events out.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import itertools
import tracemalloc
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answers import Answer, Ending, Raw, event
from clinder._deadline import Deadline
from clinder.errors import ClinderError
from clinder.wire import sse
from clinder.wire.binderhub import request_build
from clinder.wire.http import Transport
from clinder.wire.sse import EVENT_LIMIT, EventTooLarge, iter_events
from hubs import ScriptedHub

BOM = b"\xef\xbb\xbf"


def framed(*pieces: bytes) -> list[str]:
    return list(chain.from_iterable(iter_events(pieces)))


def bytewise(stream: bytes) -> list[str]:
    return framed(*(stream[at : at + 1] for at in range(len(stream))))


def test_the_stream_that_follows_sends_three_events() -> None:
    stream = b"data: first\n\ndata: second\n\ndata: third\ndata: part\n\n"
    assert framed(stream) == ["first", "second", "third\npart"]


def test_stock_ticker() -> None:
    """Several data lines are joined by newlines."""
    assert framed(b"data: YHOO\ndata: +2\ndata: 10\n\n") == ["YHOO\n+2\n10"]


def test_four_blocks() -> None:
    """A comment, two events with ids, and one whose data begins with a space."""
    stream = (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third\n\n"
    )
    assert framed(stream) == ["first event", "second event", " third"]


def test_two_blocks_and_an_unfinished_one() -> None:
    """The last block has no blank line after it, so it is dropped."""
    assert framed(b"data\n\ndata\ndata\n\ndata:") == ["", "\n"]


def test_a_space_after_the_colon_is_ignored() -> None:
    assert framed(b"data:test\n\ndata: test\n\n") == ["test", "test"]


def test_fields_of_other_names_are_ignored() -> None:
    assert framed(b"event: add\nretry: 10\nother: x\ndata: 1\n\nevent: none\n\n") == ["1"]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
def test_every_kind_of_line_end(end: bytes) -> None:
    stream = end.join([b"data: one", b"data: two", b"", b": comment", b"data: three", b"", b""])
    assert framed(stream) == bytewise(stream) == ["one\ntwo", "three"]


def test_a_crlf_cut_in_two_is_one_line_end() -> None:
    assert framed(b"data: one\r", b"\ndata: two\r\n\r", b"", b"\ndata: three\r\n\r\n") == [
        "one\ntwo",
        "three",
    ]


def test_nothing_comes_between_the_two_halves_of_a_crlf() -> None:
    """An empty piece is nothing."""
    assert framed(b"data: one\r", b"", b"\ndata: two\r\n\r\n") == ["one\ntwo"]


def test_only_the_newline_right_after_a_carriage_return_belongs_to_it() -> None:
    assert framed(b"data: one\r", b"\n", b"\n") == ["one"]


def test_a_line_end_of_one_kind_after_another_is_a_blank_line() -> None:
    assert framed(b"data: one\n\rdata: two\r\r\n") == ["one", "two"]


def test_an_event_may_end_in_three_newlines() -> None:
    """As BinderHub's often do."""
    assert framed(b"data: one\n\n\ndata: two\n\n\n") == ["one", "two"]


def test_one_byte_order_mark_is_dropped_at_the_start_only() -> None:
    stream = BOM + b"data: one\n\n" + BOM + b"data: not a field that is known\n\ndata: three\n\n"
    assert framed(stream) == bytewise(stream) == ["one", "three"]


def test_a_byte_order_mark_after_a_newline_is_not_at_the_start() -> None:
    assert framed(b"\n" + BOM + b"data: not a field that is known\n\ndata: two\n\n") == ["two"]


def test_keepalives_are_no_events() -> None:
    assert framed(b":keepalive\n\n" * 3, b"data: one\n\n", b":keepalive\n\n") == ["one"]


def test_an_unfinished_tail_is_dropped() -> None:
    assert framed(b"data: one\n\ndata: two\n") == ["one"]


def test_characters_cut_in_two_are_whole() -> None:
    assert bytewise("data: パッケージ ✓\n\n".encode()) == ["パッケージ ✓"]


def test_what_is_no_utf8_is_replaced() -> None:
    assert framed(b"data: na\xefve\n\ndata: two\n\n") == ["na\N{REPLACEMENT CHARACTER}ve", "two"]


def test_only_newlines_end_a_line() -> None:
    """Which is not what ``str.splitlines`` thinks."""
    data = "one\x0b\x0c\x1c\x85\u2028\u2029two"
    assert framed(f"data: {data}\n\n".encode()) == [data]


def test_an_event_of_the_largest_size_is_whole() -> None:
    data = "x" * (EVENT_LIMIT - len("data: "))
    stream = f"data: {data}\n\n".encode()
    assert framed(stream) == framed(stream[:-1], stream[-1:]) == [data]
    assert framed(b"\n\n", stream[:-1], stream[-1:]) == [data], "blank lines before are none of it"


@pytest.mark.parametrize(
    "event", [b"data: " + b"x" * (EVENT_LIMIT - 6) + b"\n\n", b"data: x\n" * 1000 + b"\n"]
)
def test_what_is_just_small_enough_is_so_after_three_newlines_however_they_are_cut(
    event: bytes,
) -> None:
    """As BinderHub ends an event with three: the last may come with the next one."""
    (largest,) = framed(event)
    stream = b"data: one\n\n\n" + event
    for at in (0, 10, 11, 12, 13, 14):
        assert outcome(stream[:at], stream[at:]) == ["one", largest]
    assert outcome(stream[:11], stream[11:12], stream[12:-1], stream[-1:]) == ["one", largest]


def test_an_event_has_a_thousand_lines_at_most() -> None:
    """Among small ones, which do not count."""
    small, line = b"data: small\n\n", b"data: x\n"
    smalls = ["small"] * 600
    assert outcome(small * 600 + line * 1000 + b"\n") == [*smalls, "\n".join("x" * 1000)]
    assert outcome(small * 600 + line * 1001 + b"\n" + small) == [*smalls, "too large"]


def test_a_larger_event_is_refused_as_it_grows() -> None:
    """Whatever comes after it: what never ends is not waited for."""
    came = itertools.count()
    endless = (b"data: %d" % next(came) + b"x" * 65536 + b"\n" for _ in itertools.repeat(None))
    with pytest.raises(EventTooLarge):
        list(iter_events(endless))
    assert next(came) * 65536 < 2 * EVENT_LIMIT


def test_events_before_one_that_is_too_large_are_not_lost() -> None:
    found = iter_events([b"data: one\n\n" * 9 + b"data: " + b"x" * EVENT_LIMIT + b"\n\n"])
    assert next(found) == ["one"] * 9
    with pytest.raises(EventTooLarge):
        next(found)


PIECES = [b"data: x", b"data", b":", b" ", b"\n", b"\r", b"\r\n", BOM, b"\xff", "é".encode()]
streams = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)


def outcome(*pieces: bytes) -> list[str]:
    """The events, and whether one was too large in the end."""
    found: list[str] = []
    try:
        found += chain.from_iterable(iter_events(pieces))
    except EventTooLarge:
        found.append("too large")
    return found


@given(streams, st.data())
def test_every_way_of_cutting_gives_the_same_events(stream: bytes, data: st.DataObject) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    cut = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    assert framed(*cut) == framed(stream)


@given(streams)
def test_the_bound_is_the_same_for_every_way_of_cutting(stream: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "EVENT_LIMIT", 12)
        whole = outcome(stream)
        assert outcome(*(stream[at : at + 1] for at in range(len(stream)))) == whole


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_no_bytes_whatever_crash_it(pieces: list[bytes]) -> None:
    for data in framed(*pieces):
        assert "\r" not in data


@given(st.lists(st.text(st.characters(exclude_characters="\r\n")), min_size=1))
def test_what_was_sent_is_what_comes(sent: list[str]) -> None:
    stream = b"".join(f"data: {data}\n\n".encode(errors="replace") for data in sent)
    came = framed(stream)
    assert came == [data.encode(errors="replace").decode() for data in sent]


def peak(megabytes: int) -> int:
    """The bytes that reading a build's log of that size needs at most at one time."""
    line = event(message="x" * 1000 + "\n")
    sent = b"%x\r\n%s\r\n" % (len(line) * 50, line * 50)
    head = Answer(b"", ending=Ending.BROKEN).raw().parts
    log = itertools.repeat(sent, megabytes * 20)
    end = event(phase="failed", message="the end")
    last = b"%x\r\n%s\r\n" % (len(end), end)
    with ScriptedHub(Raw(itertools.chain(head, log, [last]), Ending.HELD)) as hub:
        tracemalloc.start()
        with pytest.raises(ClinderError, match="the end"):
            for _ in request_build(Transport(), hub.url, "gh/a/b/HEAD", deadline=Deadline(60)):
                pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most


def test_memory_stays_flat_over_a_long_log() -> None:
    peak(1)  # what is imported and kept for good
    assert peak(12) - peak(2) < 5 * 2**20  # of the ten more that were read
