"""Server-sent events: bytes in, the data of events out, with the specification's own examples.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import itertools
import tracemalloc
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answers import Answer, Ending, Raw, bytewise, event
from clinder._deadline import Deadline
from clinder.errors import ClinderError
from clinder.wire import sse
from clinder.wire.binderhub import request_build
from clinder.wire.http import Transport
from clinder.wire.sse import EVENT_LIMIT, EventTooLarge, iter_events
from hubs import ScriptedHub

BOM = b"\xef\xbb\xbf"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def parse(*chunks: bytes) -> list[str]:
    return list(chain.from_iterable(iter_events(chunks)))


def parse_bytewise(stream: bytes) -> list[str]:
    """The events of a stream in chunks of one byte, with an empty chunk after each."""
    return parse(*chain.from_iterable((byte, b"") for byte in bytewise(stream)))


def parse_or_refuse(*chunks: bytes) -> list[str]:
    """The events, and ``too large`` if one of them was."""
    data: list[str] = []
    try:
        data += chain.from_iterable(iter_events(chunks))
    except EventTooLarge:
        data.append("too large")
    return data


EVENTS: dict[str, tuple[bytes, list[str]]] = {
    "several events": (
        b"data: first\n\ndata: second\n\ndata: third\ndata: part\n\n",
        ["first", "second", "third\npart"],
    ),
    "the stock ticker": (b"data: YHOO\ndata: +2\ndata: 10\n\n", ["YHOO\n+2\n10"]),
    "a comment, ids and a second space": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third\n\n",
        ["first event", "second event", " third"],
    ),
    "an incomplete event at the end": (b"data\n\ndata\ndata\n\ndata:", ["", "\n"]),
    "no blank line at the end": (b"data: one\n\ndata: two\n", ["one"]),
    "a space after the colon": (b"data:test\n\ndata: test\n\n", ["test", "test"]),
    "other fields": (b"event: add\nretry: 10\nother: x\ndata: 1\n\nevent: none\n\n", ["1"]),
    "LF after CR": (b"data: one\n\rdata: two\r\r\n", ["one", "two"]),
    "LF after CRLF": (b"data: one\r\n\n", ["one"]),
    "LF": (b"data: one\ndata: two\n\n: comment\ndata: three\n\n", ["one\ntwo", "three"]),
    "CR": (b"data: one\rdata: two\r\r: comment\rdata: three\r\r", ["one\ntwo", "three"]),
    "CRLF": (
        b"data: one\r\ndata: two\r\n\r\n: comment\r\ndata: three\r\n\r\n",
        ["one\ntwo", "three"],
    ),
    "three newlines, as BinderHub often sends": (
        b"data: one\n\n\ndata: two\n\n\n",
        ["one", "two"],
    ),
    "keepalives": (b":keepalive\n\n" * 3 + b"data: one\n\n:keepalive\n\n", ["one"]),
    "a byte order mark, which only counts at the start": (
        BOM + b"data: one\n\n" + BOM + b"data: another field\n\ndata: three\n\n",
        ["one", "three"],
    ),
    "a byte order mark after a newline": (
        b"\n" + BOM + b"data: another field\n\ndata: two\n\n",
        ["two"],
    ),
    "characters of several bytes": ("data: パッケージ ✓\n\n".encode(), ["パッケージ ✓"]),
    "bytes that are not UTF-8": (
        b"data: na\xefve\n\ndata: two\n\n",
        [f"na{REPLACEMENT}ve", "two"],
    ),
    "other line separators of Unicode": (
        "data: one\x0b\x0c\x1c\x85\u2028\u2029two\n\n".encode(),
        ["one\x0b\x0c\x1c\x85\u2028\u2029two"],
    ),
}


@pytest.mark.parametrize(("stream", "data"), EVENTS.values(), ids=EVENTS)
def test_a_stream_gives_the_data_of_its_events(stream: bytes, data: list[str]) -> None:
    assert parse(stream) == parse_bytewise(stream) == data


def test_a_crlf_that_is_cut_is_one_line_end() -> None:
    assert parse(b"data: one\r", b"\ndata: two\r\n\r\n") == ["one\ntwo"]


def test_an_event_of_the_largest_size_is_accepted() -> None:
    data = "x" * (EVENT_LIMIT - len("data: "))
    stream = f"data: {data}\n\n".encode()
    assert parse(stream) == parse(stream[:-1], stream[-1:]) == [data]
    assert parse(b"\n\n", stream[:-1], stream[-1:]) == [data], "blank lines before do not count"


@pytest.mark.parametrize(
    "event", [b"data: " + b"x" * (EVENT_LIMIT - 6) + b"\n\n", b"data: x\n" * 1000 + b"\n"]
)
def test_an_event_of_the_largest_size_is_accepted_after_three_newlines(event: bytes) -> None:
    """BinderHub ends some events with three newlines; the last can arrive with the next event."""
    (largest,) = parse(event)
    stream = b"data: one\n\n\n" + event
    for at in (0, 10, 11, 12, 13, 14):
        assert parse_or_refuse(stream[:at], stream[at:]) == ["one", largest]
    chunks = stream[:11], stream[11:12], stream[12:-1], stream[-1:]
    assert parse_or_refuse(*chunks) == ["one", largest]


def test_an_event_of_more_than_1000_lines_is_refused() -> None:
    """Lines are counted for each event, however many small ones arrive together."""
    small, line = b"data: small\n\n", b"data: x\n"
    smalls = ["small"] * 600
    assert parse_or_refuse(small * 600 + line * 1000 + b"\n") == [*smalls, "\n".join("x" * 1000)]
    assert parse_or_refuse(small * 600 + line * 1001 + b"\n" + small) == [*smalls, "too large"]


def test_an_event_that_grows_too_large_is_refused_before_it_ends() -> None:
    sent = itertools.count()
    endless = (b"data: %d" % next(sent) + b"x" * 65536 + b"\n" for _ in itertools.repeat(None))
    with pytest.raises(EventTooLarge):
        list(iter_events(endless))
    assert next(sent) * 65536 < 2 * EVENT_LIMIT


def test_events_before_one_that_is_too_large_are_not_lost() -> None:
    batches = iter_events([b"data: one\n\n" * 9 + b"data: " + b"x" * EVENT_LIMIT + b"\n\n"])
    assert next(batches) == ["one"] * 9
    with pytest.raises(EventTooLarge):
        next(batches)


PARTS = [b"data: x", b"data", b":", b" ", b"\n", b"\r", b"\r\n", BOM, b"\xff", "é".encode()]
streams = st.lists(st.sampled_from(PARTS), max_size=40).map(b"".join)


@given(streams, st.data())
def test_every_way_of_cutting_gives_the_same_events(stream: bytes, data: st.DataObject) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    cut = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    assert parse(*cut) == parse(stream)


@given(streams)
def test_the_size_limit_is_the_same_for_every_way_of_cutting(stream: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "EVENT_LIMIT", 12)
        assert parse_or_refuse(*bytewise(stream)) == parse_or_refuse(stream)


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_arbitrary_bytes_never_raise_an_error(chunks: list[bytes]) -> None:
    for data in parse(*chunks):
        assert "\r" not in data


@given(st.lists(st.text(st.characters(exclude_characters="\r\n")), min_size=1))
def test_sent_data_is_received_unchanged(sent: list[str]) -> None:
    stream = b"".join(f"data: {data}\n\n".encode(errors="replace") for data in sent)
    assert parse(stream) == [data.encode(errors="replace").decode() for data in sent]


def peak(megabytes: int) -> int:
    """The peak memory, in bytes, of reading a build log of this size."""
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


def test_memory_does_not_grow_with_the_length_of_a_log() -> None:
    peak(1)  # imports and caches
    assert peak(12) - peak(2) < 5 * 2**20
