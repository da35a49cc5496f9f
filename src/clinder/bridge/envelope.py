"""Kernel messages on a server's websocket, in both of Jupyter Server's protocols.

``jupyter_server/services/kernels/connection/base.py`` defines them. A server without
:data:`SUBPROTOCOL`, such as notebook 6, sends JSON: as text, or, if the message has buffers, in a
binary message that begins with their offsets.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

SUBPROTOCOL = "v1.kernel.websocket.jupyter.org"
_PARTS = ("header", "parent_header", "metadata", "content")
_OFFSET = 8


class MalformedMessage(ValueError):
    """Data that is not a kernel message."""


@dataclass(frozen=True)
class Message:
    """A kernel message. ``parts`` are its header, parent header, metadata and content, as JSON."""

    channel: str
    parts: tuple[bytes, bytes, bytes, bytes | memoryview]
    buffers: tuple[bytes | memoryview, ...] = ()

    @cached_property
    def header(self) -> dict[str, Any]:
        """The header, empty if it is not a JSON object."""
        return _parse(self.parts[0])

    @property
    def parent(self) -> dict[str, Any]:
        """The header of the request that this message answers."""
        return _parse(self.parts[1])

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata."""
        return _parse(self.parts[2])

    @property
    def content(self) -> dict[str, Any]:
        """The content."""
        return _parse(bytes(self.parts[3]))


def pack(message: Message, subprotocol: str) -> str | bytes:
    """Return a message as the data of a websocket message."""
    if subprotocol != SUBPROTOCOL:
        return _pack_json(message)
    pieces = [message.channel.encode(), *message.parts, *message.buffers]
    first = _OFFSET * (len(pieces) + 2)
    offsets = accumulate(map(len, pieces), initial=first)
    head = b"".join(each.to_bytes(_OFFSET, "little") for each in (len(pieces) + 1, *offsets))
    return b"".join([head, *pieces])


def unpack(data: str | bytes | bytearray, subprotocol: str) -> Message:
    """Return the message in the data of a websocket message. Raises :class:`MalformedMessage`.

    The message refers to the data, instead of copying what can be large.
    """
    try:
        if subprotocol != SUBPROTOCOL or isinstance(data, str):
            return _unpack_json(data)
        count = int.from_bytes(data[:_OFFSET], "little")
        if not 6 <= count <= len(data) // _OFFSET:
            raise MalformedMessage
        offsets = struct.unpack_from(f"<{count}Q", data, _OFFSET)
        channel, *parts = _slices(data, offsets)
        return Message(str(channel, "utf-8"), _four(parts[:4]), tuple(parts[4:]))
    except (LookupError, RecursionError, TypeError, ValueError, struct.error):
        raise MalformedMessage from None


def _slices(data: bytes | bytearray, offsets: Sequence[int]) -> list[memoryview]:
    if not (sorted(offsets) == list(offsets) and offsets[-1] <= len(data)):
        raise MalformedMessage
    view = memoryview(data)
    return [view[start:end] for start, end in pairwise(offsets)]


def _four(parts: Sequence[bytes | memoryview]) -> tuple[bytes, bytes, bytes, bytes | memoryview]:
    header, parent, metadata, content = parts
    return bytes(header), bytes(parent), bytes(metadata), content


def _pack_json(message: Message) -> str | bytes:
    parts = zip(_PARTS, map(bytes, message.parts), strict=True)
    fields = {name: json.loads(part) for name, part in parts}
    text = json.dumps({**fields, "channel": message.channel, "buffers": []})
    if not message.buffers:
        return text
    pieces = [text.encode(), *message.buffers]
    first = 4 * (len(pieces) + 1)
    offsets = list(accumulate(map(len, pieces), initial=first))[:-1]
    return b"".join([struct.pack(f"!{len(pieces) + 1}I", len(pieces), *offsets), *pieces])


def _unpack_json(data: str | bytes | bytearray) -> Message:
    buffers: list[memoryview] = []
    if not isinstance(data, str):
        (count,) = struct.unpack_from("!I", data)
        if not 1 <= count <= len(data) // 4:
            raise MalformedMessage
        offsets = struct.unpack_from(f"!{count}I", data, 4)
        text, *buffers = _slices(data, (*offsets, len(data)))
        data = str(text, "utf-8")
    fields = json.loads(data)
    parts = [json.dumps(fields[name]).encode() for name in _PARTS]
    return Message(str(fields["channel"]), _four(parts), tuple(buffers))


def _parse(part: bytes) -> dict[str, Any]:
    try:
        value = json.loads(part)
    except (RecursionError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
