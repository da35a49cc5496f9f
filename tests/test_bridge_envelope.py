"""The bridge's messages, against Jupyter Server's own functions for both protocols."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_server.services.kernels.connection.base import (
    deserialize_binary_message,
    deserialize_msg_from_ws_v1,
    serialize_binary_message,
    serialize_msg_to_ws_v1,
)

from clinder.bridge.envelope import SUBPROTOCOL, MalformedMessage, Message, pack, unpack

_PARTS = (b'{"msg_id": "1"}', b'{"msg_id": "0"}', b"{}", '{"code": "é"}'.encode())


def as_fields(message: Message) -> dict[str, Any]:
    names = ("header", "parent_header", "metadata", "content")
    return {name: json.loads(bytes(part)) for name, part in zip(names, message.parts, strict=True)}


@pytest.mark.parametrize("buffers", [(), (b"one",), (b"", b"two", b"\0" * 9)])
def test_the_server_reads_what_the_bridge_writes_in_the_named_protocol(
    buffers: tuple[bytes, ...],
) -> None:
    data = pack(Message("shell", _PARTS, buffers), SUBPROTOCOL)
    channel, parts = deserialize_msg_from_ws_v1(data)
    assert (channel, parts) == ("shell", [*_PARTS, *buffers])


@pytest.mark.parametrize("buffers", [(), (b"one",), (b"", b"two")])
def test_the_bridge_reads_what_the_server_writes_in_the_named_protocol(
    buffers: tuple[bytes, ...],
) -> None:
    data = serialize_msg_to_ws_v1([*_PARTS, *buffers], "iopub")
    assert unpack(data, SUBPROTOCOL) == Message("iopub", _PARTS, buffers)


@pytest.mark.parametrize("buffers", [(b"one",), (b"", b"two")])
def test_a_server_without_the_protocol_reads_a_message_with_buffers(
    buffers: tuple[bytes, ...],
) -> None:
    message = Message("shell", _PARTS, buffers)
    read = deserialize_binary_message(pack(message, ""))
    assert [bytes(each) for each in read.pop("buffers")] == list(buffers)
    assert read == {**as_fields(message), "channel": "shell"}


def test_a_server_without_the_protocol_reads_a_message_without_buffers_as_json() -> None:
    message = Message("shell", _PARTS)
    expected = {**as_fields(message), "channel": "shell", "buffers": []}
    assert json.loads(pack(message, "")) == expected


@pytest.mark.parametrize("buffers", [(), (b"one", b"")])
def test_the_bridge_reads_what_a_server_without_the_protocol_writes(
    buffers: tuple[bytes, ...],
) -> None:
    message = Message("iopub", _PARTS, buffers)
    fields: dict[str, Any] = {**as_fields(message), "channel": "iopub"}
    written = (
        serialize_binary_message({**fields, "buffers": list(buffers)})
        if buffers
        else json.dumps(fields)
    )
    read = unpack(written, "")
    assert (read.channel, as_fields(read), read.buffers) == ("iopub", as_fields(message), buffers)


@given(st.binary(max_size=200) | st.text(max_size=50))
def test_any_other_data_is_malformed(data: bytes | str) -> None:
    for protocol in (SUBPROTOCOL, ""):
        with pytest.raises(MalformedMessage):
            unpack(data, protocol)


@pytest.mark.parametrize(
    "offsets", [[64, 32, 64, 64, 64, 64], [64, 65, 66, 67, 68, 2**40], [0] * 3]
)
def test_offsets_outside_the_message_are_malformed(offsets: list[int]) -> None:
    words = [len(offsets), *offsets]
    data = b"".join(word.to_bytes(8, "little") for word in words) + b"x" * 20
    with pytest.raises(MalformedMessage):
        unpack(data, SUBPROTOCOL)
