"""The frames of websockets, compared with those of wsproto."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import CloseReason, FrameProtocol, ParseFailed

from clinder.wire.frames import (
    NO_CODE,
    Broken,
    Fragment,
    FrameReader,
    Opcode,
    apply_mask,
    make_close_data,
    make_frame,
    read_close_code,
)

MASK = bytes.fromhex("01fe55aa")
LENGTHS = [0, 1, 125, 126, 65535, 65536]


def frame(
    opcode: int, data: bytes = b"", *, final: bool = True, mask: bytes = b"", size: int = 0
) -> bytes:
    """A frame. ``size`` is the number of bytes of its length, if it is not the smallest."""
    size = size or (1 if len(data) < 126 else 3 if len(data) < 65536 else 9)
    code = {1: len(data), 3: 126, 9: 127}[size]
    length = bytes([code | (0x80 if mask else 0)]) + len(data).to_bytes(8, "big")[9 - size :]
    return bytes([opcode | 0x80 * final]) + length + mask + apply_mask(data, mask or bytes(4))


def join(fragments: Iterator[Fragment]) -> list[tuple[int, bytes]]:
    """Whole messages and control frames."""
    whole: list[tuple[int, bytes]] = []
    parts = b""
    for opcode, data, final in fragments:
        if opcode >= Opcode.CLOSE:
            whole.append((opcode, data))
            continue
        parts += data
        if final:
            whole.append((opcode, parts))
            parts = b""
    return whole


def read(*portions: bytes, masked: bool = False) -> list[tuple[int, bytes]]:
    reader = FrameReader(masked=masked)
    return join(each for portion in portions for each in reader.feed(portion))


@pytest.mark.parametrize("mask", [b"", MASK], ids=["server", "client"])
@pytest.mark.parametrize("length", LENGTHS)
def test_a_frame_of_each_kind_of_length_is_read(length: int, mask: bytes) -> None:
    data = bytes(number % 251 for number in range(length))
    raw = frame(Opcode.BINARY, data, mask=mask)
    assert read(raw, masked=bool(mask)) == [(Opcode.BINARY, data)]
    assert read(raw[:3], raw[3:], masked=bool(mask)) == [(Opcode.BINARY, data)]


@pytest.mark.parametrize("masked", [False, True], ids=["server", "client"])
@pytest.mark.parametrize("length", LENGTHS)
def test_what_is_written_can_be_read(length: int, masked: bool) -> None:
    data = bytes(number % 251 for number in range(length))
    raw = make_frame(Opcode.TEXT, data, masked=masked)
    assert read(*raw, masked=masked) == [(Opcode.TEXT, data)]


def test_each_frame_of_a_client_has_a_mask_of_its_own() -> None:
    frames = {make_frame(Opcode.TEXT, b"secret", masked=True) for _ in range(20)}
    assert len(frames) == 20
    assert not any(b"secret" in part for parts in frames for part in parts)


def test_control_frames_come_between_the_frames_of_a_message() -> None:
    raw = b"".join(
        [
            frame(Opcode.TEXT, b"on", final=False),
            frame(Opcode.PING, b"?"),
            frame(Opcode.CONTINUATION, b"", final=False),
            frame(Opcode.PONG),
            frame(Opcode.CONTINUATION, b"e"),
            frame(Opcode.BINARY, b"two"),
            frame(Opcode.CLOSE, b"\x03\xe8"),
        ]
    )
    expected = [
        (Opcode.PING, b"?"),
        (Opcode.PONG, b""),
        (Opcode.TEXT, b"one"),
        (Opcode.BINARY, b"two"),
        (Opcode.CLOSE, b"\x03\xe8"),
    ]
    assert read(raw) == expected
    assert read(*(bytes([each]) for each in raw)) == expected


def test_the_data_of_a_long_frame_is_passed_on_as_it_arrives() -> None:
    raw = frame(Opcode.BINARY, b"x" * 100_000)
    reader = FrameReader(masked=False)
    (first,) = reader.feed(raw[:1000])
    assert first == (Opcode.BINARY, b"x" * 990, False)
    portion = raw[1000:99_000]
    (second,) = reader.feed(portion)
    assert second.data is portion, "it is not copied"
    (third,) = reader.feed(raw[99_000:])
    assert third.final


INVALID = {
    "not masked": (frame(Opcode.TEXT), True),
    "masked": (frame(Opcode.TEXT, mask=MASK), False),
    "compressed": (frame(Opcode.TEXT | 0x40), False),
    "reserved opcode": (frame(0x3), False),
    "reserved control opcode": (frame(0xB), False),
    "long control frame": (frame(Opcode.PING, bytes(126)), False),
    "control frame in parts": (frame(Opcode.PING, final=False), False),
    "continues nothing": (frame(Opcode.CONTINUATION), False),
    "continues a message that ended": (
        frame(Opcode.TEXT) + frame(Opcode.CONTINUATION),
        False,
    ),
    "a message within another": (frame(Opcode.TEXT, final=False) + frame(Opcode.TEXT), False),
    "length in 2 bytes in place of 1": (frame(Opcode.TEXT, bytes(125), size=3), False),
    "length in 8 bytes in place of 2": (frame(Opcode.TEXT, bytes(65535), size=9), False),
    "length of 2 ** 63": (b"\x82\x7f\x80" + bytes(7), False),
}


@pytest.mark.parametrize(("raw", "masked"), INVALID.values(), ids=INVALID)
def test_an_invalid_frame_is_not_read(raw: bytes, masked: bool) -> None:
    with pytest.raises(Broken):
        read(raw, masked=masked)


FRAMES = st.lists(
    st.builds(
        frame,
        st.sampled_from([*Opcode, Opcode.TEXT, Opcode.CONTINUATION, 0x3, 0xB, 0x41]),
        st.one_of(st.binary(max_size=8), st.sampled_from([bytes(125), bytes(126), bytes(70_000)])),
        final=st.booleans(),
        mask=st.sampled_from([MASK, MASK, MASK, b""]),
    ),
    max_size=6,
).map(b"".join)


@given(st.one_of(FRAMES, st.binary(max_size=30)), st.data())
@settings(max_examples=300, deadline=None)
def test_wsproto_reads_the_same(raw: bytes, data: st.DataObject) -> None:
    """wsproto also checks the text and the closes, which the websocket does here."""
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=5))), len(raw)]
    portions = [raw[begin:end] for begin, end in pairwise(cuts)]
    portions.append(bytes(14))  # both know the last frame's head by then
    reader = FrameReader(masked=True)
    protocol = FrameProtocol(client=False, extensions=[])
    ours: list[Fragment] = []
    theirs: list[Fragment] = []
    outcomes = [_feed(reader, portions, ours), _feed_wsproto(protocol, portions, theirs)]
    assert "checks" in outcomes or outcomes[0] == outcomes[1]
    whole, expected = join(iter(ours)), join(iter(theirs))
    common = min(len(whole), len(expected)) if "checks" in outcomes else None
    assert whole[:common] == expected[:common]


def _feed(reader: FrameReader, portions: list[bytes], fragments: list[Fragment]) -> str:
    try:
        for portion in portions:
            for each in reader.feed(portion):
                fragments.append(each)
                if each.opcode == Opcode.CLOSE:
                    return "checks"  # wsproto reads nothing after a close
    except Broken:
        return "broken"
    return "read"


def _feed_wsproto(protocol: FrameProtocol, portions: list[bytes], fragments: list[Fragment]) -> str:
    try:
        for portion in portions:
            protocol.receive_bytes(portion)
            for each in protocol.received_frames():
                if int(each.opcode) == Opcode.CLOSE:
                    return "checks"
                payload = each.payload
                assert not isinstance(payload, tuple)
                data = payload.encode() if isinstance(payload, str) else bytes(payload)
                fragments.append(Fragment(each.opcode, data, each.message_finished))
    except ParseFailed as error:
        return "checks" if error.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA else "broken"
    return "read"


@pytest.mark.parametrize("code", [1000, 1001, 1009, 1014, 3000, 4999])
def test_a_close_has_a_code_and_a_reason(code: int) -> None:
    data = make_close_data(code, "é" * 100)
    assert len(data) == 2 + 122, "a control frame has at most 125 bytes, and no half of a character"
    assert read_close_code(data) == code


def test_a_close_needs_no_code() -> None:
    assert make_close_data(NO_CODE) == b""
    assert read_close_code(b"") == NO_CODE


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 2999, 5000, 65535])
def test_a_code_that_nobody_can_send_is_invalid(code: int) -> None:
    with pytest.raises(ValueError, match=f"{code}"):
        make_close_data(code)
    with pytest.raises(Broken):
        read_close_code(code.to_bytes(2, "big"))


@pytest.mark.parametrize("data", [b"\x03", b"\x03\xe8\xff"], ids=["1 byte", "no text"])
def test_a_close_with_invalid_data_is_invalid(data: bytes) -> None:
    with pytest.raises(Broken):
        read_close_code(data)
