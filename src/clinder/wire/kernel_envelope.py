"""The envelope of a kernel's messages, in both protocols that Jupyter Server speaks on a websocket.

``v1.kernel.websocket.jupyter.org`` puts a table of offsets in front of the parts of a message. The
other protocol has no name: a message is one JSON object or, if it has buffers, a table of offsets,
that object and the buffers. Jupyter Server documents both under "WebSocket protocols"; its
``services/kernels/connection/base.py`` writes and reads them.

A message can be larger than the memory. Its envelope is near its beginning, so :data:`HEAD_LIMIT`
of it is enough. Reading takes time proportional to that, whatever the message contains.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from itertools import pairwise
from typing import Any

from clinder.wire.json_fields import get_text, parse_object

HEAD_LIMIT = 64 * 1024
"""How much of a message :func:`read_head` uses: bytes, or characters of a text message."""
HEADER_LIMIT = 4096
"""The largest size of a header. Those of real messages have 200 to 400 bytes."""

_CHANNEL_LIMIT = 32
_VERSION = "5.3"
_V1_TABLE = struct.Struct("<7Q")  # how many offsets there are, and the first six of them
_V1_WORD = 8
_JSON_TABLE = struct.Struct("!3I")  # how many parts there are, and the first two offsets
_JSON_WORD = 4
_DECODER = json.JSONDecoder()
_PLAIN = (str, int, type(None))
_BLANKS = re.compile(r"[ \t\r\n]*")


class Protocol(Enum):
    """How messages are written on a websocket. The value is the websocket's subprotocol."""

    V1 = "v1.kernel.websocket.jupyter.org"
    JSON = ""


@dataclass(frozen=True)
class Message:
    """The data of a websocket message: text, or bytes if the message is binary.

    If it is not ``complete``, ``data`` is the beginning of a longer message.
    """

    data: str | bytes = field(repr=False)
    complete: bool = True

    @cached_property
    def fields(self) -> Mapping[str, Any] | None:
        """The JSON object of a message in the other protocol, as far as ``data`` holds it."""
        if (text := _json_part(self.data)) is None:
            return None
        return parse_object(text) if self.complete else _first_fields(text)


@dataclass(frozen=True)
class Head:
    """A message's channel, its header, and the header of the request that it belongs to.

    ``parent`` is empty if the message belongs to no request.
    """

    channel: str
    header: Mapping[str, Any] = field(repr=False)
    parent: Mapping[str, Any] = field(repr=False)

    @property
    def message_type(self) -> str:
        """The message's type, for example ``execute_request``."""
        return get_text(self.header, "msg_type")

    @property
    def message_id(self) -> str:
        """The message's id."""
        return get_text(self.header, "msg_id")

    @property
    def sender(self) -> str:
        """The id of the program that sent the message. A kernel that restarts gets a new one."""
        return get_text(self.header, "session")

    @property
    def parent_id(self) -> str:
        """The id of the request that the message belongs to, ``""`` if there is none."""
        return get_text(self.parent, "msg_id")


def read_head(message: Message, protocol: Protocol) -> Head | None:
    """Return the head of a message, of which :data:`HEAD_LIMIT` is enough.

    Returns ``None`` for data that is not a message, and for a message whose headers are too long or
    too far from its beginning. Neither kernels nor Jupyter's clients send such messages.
    """
    return _read_v1_head(message) if protocol is Protocol.V1 else _read_json_head(message)


def read_content(message: Message, protocol: Protocol) -> Mapping[str, Any] | None:
    """Return the content of a message, ``None`` if ``data`` does not hold all of it."""
    if protocol is Protocol.V1:
        parts = _v1_parts(message)
        return None if parts is None or parts[4] is None else parse_object(parts[4])
    content = (message.fields or {}).get("content")
    return content if isinstance(content, dict) else None


def make_message(
    protocol: Protocol,
    channel: str,
    message_type: str,
    content: Mapping[str, object],
    *,
    message_id: str,
    sender: str,
    parent: Mapping[str, Any] | None = None,
    metadata: Mapping[str, object] | None = None,
) -> Message:
    """Return a message without buffers. ``parent`` is the header of the request it belongs to."""
    header = {
        "msg_id": message_id,
        "msg_type": message_type,
        "session": sender,
        "username": "clinder",
        "version": _VERSION,
        "date": "",
    }
    parts = {
        "header": header,
        "parent_header": parent or {},
        "metadata": metadata or {},
        "content": content,
    }
    if protocol is Protocol.V1:
        texts = (channel, *(json.dumps(part) for part in parts.values()))
        return Message(_write_v1([text.encode() for text in texts]))
    ids = {"channel": channel, "msg_id": message_id, "msg_type": message_type}
    return Message(json.dumps({**ids, **parts, "buffers": []}))


def _write_v1(parts: list[bytes]) -> bytes:
    offsets = [_V1_WORD * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return b"".join([struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets), *parts])


def _v1_parts(message: Message) -> list[bytes | None] | None:
    """Return the channel and the four JSON parts, ``None`` for one that ``data`` does not hold."""
    data = message.data
    if isinstance(data, str) or len(data) < _V1_TABLE.size:
        return None
    number, *offsets = _V1_TABLE.unpack_from(data)
    if number < len(offsets) or not _V1_WORD * (number + 1) <= offsets[0]:
        return None
    ranges = list(pairwise(offsets))
    if any(begin > end for begin, end in ranges):
        return None
    return [data[begin:end] if end <= len(data) else None for begin, end in ranges]


def _read_v1_head(message: Message) -> Head | None:
    channel, header, parent = (_v1_parts(message) or [None] * 3)[:3]
    if channel is None or header is None or parent is None:
        return None
    if max(len(header), len(parent)) > HEADER_LIMIT:
        return None
    return _make_head(
        channel.decode("ascii", "replace"),
        parse_object(header),
        parse_object(parent),
        header + parent,
    )


def _make_head(channel: str, header: object, parent: object, source: str | bytes) -> Head | None:
    """Return a head if it is one. Its headers keep the values that are neither deep nor huge.

    ``source`` is the JSON of both. If it is ASCII, that of each is at most twice as long.
    """
    if not isinstance(header, dict) or not isinstance(parent, dict):
        return None
    head = Head(channel, _keep_plain(header), _keep_plain(parent))
    if len(channel) > _CHANNEL_LIMIT:
        return None
    is_small = len(source) <= HEADER_LIMIT // 2 and source.isascii()
    sizes = () if is_small else (len(json.dumps(head.header)), len(json.dumps(head.parent)))
    return head if max(sizes, default=0) <= HEADER_LIMIT else None


def _keep_plain(header: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields that a header has: text, perhaps numbers, which any JSON parser accepts."""
    for value in header.values():
        if type(value) is not str and not isinstance(value, _PLAIN):
            return {name: each for name, each in header.items() if isinstance(each, _PLAIN)}
    return header


def _json_part(data: str | bytes) -> str | None:
    """Return the JSON of a message, or its beginning. A message with buffers is binary."""
    if isinstance(data, str):
        return data
    if len(data) < _JSON_TABLE.size:
        return None
    parts, begin, second = _JSON_TABLE.unpack_from(data)
    end = second if parts > 1 else len(data)
    if parts < 1 or not _JSON_WORD * (parts + 1) <= begin <= end:
        return None
    return data[begin:end].decode("utf-8", "replace")


def _read_json_head(message: Message) -> Head | None:
    if (fields := message.fields) is None:
        return None
    header = fields.get("header")
    channel = get_text(fields, "channel") or _channel_of(header)
    return _make_head(channel, header, fields.get("parent_header", {}), message.data)


def _first_fields(text: str) -> Mapping[str, Any]:
    """Return the fields of a JSON object of which ``text`` is the beginning."""
    fields: dict[str, Any] = {}
    position = _skip_blanks(text, 0)
    with suppress(ValueError, TypeError, RecursionError):
        while text[position : position + 1] in ("{", ","):
            name, position = _DECODER.raw_decode(text, _skip_blanks(text, position + 1))
            value_at = _skip_blanks(text, _skip_blanks(text, position) + 1)
            fields[name], position = _DECODER.raw_decode(text, value_at)
            position = _skip_blanks(text, position)
    return fields


def _channel_of(header: object) -> str:
    """Return the channel of a long message: Jupyter Server writes its name after the content."""
    message_type = get_text(header, "msg_type") if isinstance(header, dict) else ""
    if message_type.endswith("_reply"):
        return "shell"
    return "stdin" if message_type == "input_request" else "iopub"


def _skip_blanks(text: str, position: int) -> int:
    match = _BLANKS.match(text, position)
    return match.end() if match else position  # pragma: no branch - it matches ""
