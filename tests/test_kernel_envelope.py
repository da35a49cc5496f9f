"""Messages of kernels are read and made as Jupyter Server does it, in both of its protocols."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_client.session import Session
from jupyter_server.services.kernels.connection.base import (
    deserialize_msg_from_ws_v1,
    serialize_binary_message,
    serialize_msg_to_ws_v1,
)

from clinder.wire.kernel_envelope import (
    HEAD_LIMIT,
    HEADER_LIMIT,
    Head,
    Message,
    Protocol,
    make_message,
    read_content,
    read_head,
)

REQUEST = {"msg_id": "1", "msg_type": "execute_request", "session": "s", "username": "u"}
REPLY = {"msg_id": "2", "msg_type": "execute_reply", "session": "k", "username": "kernel"}
CONTENT: dict[str, Any] = {"status": "ok", "user_expressions": {}}
BOTH = pytest.mark.parametrize("protocol", Protocol)


def written(
    protocol: Protocol,
    content: object = CONTENT,
    *,
    header: object = REPLY,
    parent: object = REQUEST,
    channel: str = "shell",
    buffers: tuple[bytes, ...] = (),
) -> str | bytes:
    """Return a message as Jupyter Server writes it on a websocket."""
    fields = {
        "header": header,
        "msg_id": "2",
        "msg_type": "execute_reply",
        "parent_header": parent,
        "metadata": {},
        "content": content,
        "buffers": list(buffers),
    }
    if protocol is Protocol.V1:
        parts = [json.dumps(each).encode() for each in (header, parent, {}, content)]
        data: bytes = serialize_msg_to_ws_v1([*parts, *buffers], channel)
        return data
    fields["channel"] = channel
    return bytes(serialize_binary_message(fields)) if buffers else json.dumps(fields)


def beginning(data: str | bytes) -> Message:
    """Return a message as the gateway reads it: its first part if it is long."""
    return Message(data[:HEAD_LIMIT], complete=len(data) <= HEAD_LIMIT)


@BOTH
@pytest.mark.parametrize("buffers", [(), (b"",), (b"\xff" * 9, b"two")], ids=["0", "1", "2"])
def test_a_message_of_jupyter_server_is_read(
    protocol: Protocol, buffers: tuple[bytes, ...]
) -> None:
    message = Message(written(protocol, buffers=buffers))
    head = read_head(message, protocol)

    assert head == Head("shell", REPLY, REQUEST)
    assert (head.message_type, head.message_id, head.sender) == ("execute_reply", "2", "k")
    assert head.parent_id == "1"
    assert read_content(message, protocol) == CONTENT


@BOTH
@pytest.mark.parametrize("buffers", [(), (b"x" * 1_000_000,)], ids=["content", "buffer"])
def test_the_head_of_a_long_message_is_in_its_beginning(
    protocol: Protocol, buffers: tuple[bytes, ...]
) -> None:
    content = {"data": {"text/plain": "naïve \U0001f600" * 200_000}}
    data = written(protocol, {} if buffers else content, channel="iopub", buffers=buffers)
    message = beginning(data)

    assert read_head(message, protocol) is not None
    assert (read_content(message, protocol) is None) == (not buffers)


@pytest.mark.parametrize(
    ("message_type", "channel"),
    [("execute_reply", "shell"), ("input_request", "stdin"), ("display_data", "iopub")],
)
def test_the_channel_of_a_long_json_message_follows_from_its_type(
    message_type: str, channel: str
) -> None:
    header = REPLY | {"msg_type": message_type}
    data = written(Protocol.JSON, {"text": "x" * HEAD_LIMIT}, header=header, channel=channel)

    assert read_head(beginning(data), Protocol.JSON) == Head(channel, header, REQUEST)


values = st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20)
objects = st.dictionaries(st.text(max_size=9), values | st.lists(values, max_size=2), max_size=3)
headers = st.builds(
    lambda text, session: REPLY | {"date": text, "session": session},
    st.text(max_size=40),
    st.text(max_size=40),
)
channels = st.sampled_from(["shell", "iopub", "stdin", "control"])


@given(st.sampled_from(Protocol), headers, objects, channels, st.lists(st.binary(), max_size=3))
def test_any_message_of_jupyter_server_is_read(
    protocol: Protocol,
    header: dict[str, str],
    content: dict[str, Any],
    channel: str,
    buffers: list[bytes],
) -> None:
    message = Message(
        written(protocol, content, header=header, channel=channel, buffers=tuple(buffers))
    )

    assert read_head(message, protocol) == Head(channel, header, REQUEST)
    assert read_content(message, protocol) == content


@given(st.sampled_from(Protocol), objects, st.booleans(), st.integers(min_value=0))
def test_a_head_is_never_read_wrongly_from_a_shorter_beginning(
    protocol: Protocol, content: dict[str, Any], with_buffer: bool, length: int
) -> None:
    data = written(protocol, content, channel="iopub", buffers=(b"x",) if with_buffer else ())
    message = Message(data[: length % len(data)], complete=False)

    head = read_head(message, protocol)

    assert head is None or (head.header, head.parent) in ((REPLY, REQUEST), (REPLY, {}))


@BOTH
@given(objects, objects, channels)
def test_jupyter_server_and_its_clients_read_a_message_that_is_made(
    protocol: Protocol, content: dict[str, Any], metadata: dict[str, Any], channel: str
) -> None:
    message = make_message(
        protocol,
        channel,
        "execute_reply",
        content,
        message_id="2",
        sender="k",
        parent=REQUEST,
        metadata=metadata,
    )

    if isinstance(message.data, bytes):
        name, parts = deserialize_msg_from_ws_v1(message.data)
        session = Session()
        unpacked = [session.unpack(part) for part in parts]
    else:
        fields = json.loads(message.data)
        name = fields["channel"]
        unpacked = [fields[each] for each in ("header", "parent_header", "metadata", "content")]
        assert (fields["msg_id"], fields["msg_type"]) == ("2", "execute_reply")
        assert fields["buffers"] == []

    header, parent, made_metadata, made_content = unpacked
    assert (name, parent, made_metadata, made_content) == (channel, REQUEST, metadata, content)
    assert header.items() >= {"msg_id": "2", "msg_type": "execute_reply", "session": "k"}.items()


@BOTH
def test_a_message_that_is_made_has_the_fields_that_jupyterlab_requires(protocol: Protocol) -> None:
    """@jupyterlab/services, which MyST uses, rejects other messages (``validate.ts``)."""
    message = make_message(protocol, "iopub", "status", {}, message_id="2", sender="k")
    head = read_head(message, protocol)

    assert head is not None
    for name in ("username", "version", "session", "msg_id", "msg_type"):
        assert isinstance(head.header[name], str)
    assert head.parent == {}


@BOTH
def test_a_made_message_is_read_again_with_its_parent_unchanged(protocol: Protocol) -> None:
    parent = {"msg_id": "\ud800 \U0001f600", "msg_type": "x", "date": None, "subshell_id": 3}
    message = make_message(
        protocol, "shell", "x_reply", {}, message_id="2", sender="", parent=parent
    )

    head = read_head(message, protocol)

    assert head is not None
    assert head.parent == parent


def v1(*offsets: int, rest: bytes = b"shell{}{}{}{}") -> bytes:
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + rest


V1_MALFORMED: dict[str, str | bytes] = {
    "empty": b"",
    "text": "shell",
    "no table": b"\x01" * 55,
    "too few offsets": v1(48, 53, 55, 57, 59, rest=b"shell{}{}{}{}"),
    "offsets inside the table": v1(0, 5, 7, 9, 11, 13),
    "offsets that descend": v1(56, 61, 60, 65, 67, 69),
    "offsets after the end": v1(56, 61, 2**63, 2**63, 2**63, 2**63),
    "more offsets than bytes": struct.pack("<7Q", 2**64 - 1, 56, 61, 63, 65, 67, 69) + b"shell{}",
    "header that is no object": v1(56, 61, 63, 65, 67, 69, rest=b"shell[]{}{}{}"),
    "header that is not JSON": v1(56, 61, 63, 65, 67, 69, rest=b"shell{]{}{}{}"),
    "parent that is no object": v1(56, 61, 63, 65, 67, 69, rest=b"shell{}[]{}{}"),
    "long channel": serialize_msg_to_ws_v1([b"{}"] * 4, "x" * 33),
    "long header": written(Protocol.V1, header=REPLY | {"date": "x" * HEADER_LIMIT}),
    "long parent": written(Protocol.V1, parent=REPLY | {"date": "x" * HEADER_LIMIT}),
}
JSON_MALFORMED: dict[str, str | bytes] = {
    "empty": "",
    "not JSON": "{",
    "no object": "[]",
    "no header": "{}",
    "header that is no object": '{"header": []}',
    "parent that is no object": '{"header": {}, "parent_header": []}',
    "deep": '{"header": ' + "[" * 50_000,
    "long channel": json.dumps({"header": {}, "channel": "x" * 33}),
    "long header": written(Protocol.JSON, header=REPLY | {"date": "é" * 1000}),
    "long parent": written(Protocol.JSON, parent=REPLY | {"date": "x" * HEADER_LIMIT}),
    "short binary": b"\x00\x00\x00\x01\x00\x00\x00",
    "binary with no parts": struct.pack("!3I", 0, 4, 0) + b'{"header": {}}',
    "binary with an offset in its table": struct.pack("!3I", 1, 4, 0) + b'{"header": {}}',
    "binary with offsets that descend": struct.pack("!3I", 2, 14, 12) + b'{"header": {}}',
    "binary that is not JSON": struct.pack("!3I", 1, 8, 0) + b"\xff",
}
MALFORMED = [
    pytest.param(protocol, data, id=f"{protocol.name} {name}")
    for protocol, rows in ((Protocol.V1, V1_MALFORMED), (Protocol.JSON, JSON_MALFORMED))
    for name, data in rows.items()
]


@pytest.mark.parametrize(("protocol", "data"), MALFORMED)
@pytest.mark.parametrize("complete", [True, False])
def test_malformed_data_has_no_head(protocol: Protocol, data: str | bytes, complete: bool) -> None:
    assert read_head(Message(data, complete=complete), protocol) is None


@BOTH
@pytest.mark.parametrize("content", [[], None, "text", 1])
def test_content_that_is_no_object_is_none(protocol: Protocol, content: object) -> None:
    assert read_content(Message(written(protocol, content)), protocol) is None


def test_content_with_malformed_json_is_none() -> None:
    assert read_content(Message(b"\x01" * 55), Protocol.V1) is None
    assert read_content(Message("{"), Protocol.JSON) is None
    assert read_content(Message(b"{"), Protocol.JSON) is None


@BOTH
def test_a_header_keeps_only_values_that_every_parser_accepts(protocol: Protocol) -> None:
    deep = json.loads("[" * 500 + "]" * 500)
    header = REPLY | {"date": None, "n": 1, "infinite": float("inf"), "deep": deep, "list": [1]}
    head = read_head(Message(written(protocol, header=header)), protocol)

    assert head == Head("shell", REPLY | {"date": None, "n": 1}, REQUEST)


@given(st.sampled_from(Protocol), st.binary() | st.text(), st.booleans())
def test_any_data_has_a_head_or_none(protocol: Protocol, data: str | bytes, complete: bool) -> None:
    message = Message(data, complete=complete)

    assert isinstance(read_head(message, protocol), Head | None)
    assert isinstance(read_content(message, protocol), dict | None)


@given(
    st.sampled_from(Protocol),
    st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=8)), max_size=3),
    st.booleans(),
)
def test_a_damaged_message_has_a_head_or_none(
    protocol: Protocol, damages: list[tuple[int, bytes]], with_buffer: bool
) -> None:
    data = written(protocol, buffers=(b"x",) if with_buffer else ())
    damaged = bytearray(data.encode() if isinstance(data, str) else data)
    for position, replacement in damages:
        damaged[position : position + len(replacement)] = replacement
    message = Message(
        damaged.decode("utf-8", "replace") if isinstance(data, str) else bytes(damaged)
    )

    assert isinstance(read_head(message, protocol), Head | None)
    assert isinstance(read_content(message, protocol), dict | None)


def test_a_complete_json_message_ends_with_its_object() -> None:
    data = '{"header": {}} {}'

    assert read_head(Message(data), Protocol.JSON) is None
    assert read_head(Message(data, complete=False), Protocol.JSON) == Head("iopub", {}, {})


def test_a_message_does_not_show_its_data() -> None:
    message = make_message(
        Protocol.JSON, "shell", "x", {"code": "secret"}, message_id="secret", sender="secret"
    )
    assert "secret" not in repr(message)
    assert "secret" not in repr(read_head(message, Protocol.JSON))
