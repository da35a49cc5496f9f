"""Server-sent events: from the bytes of a stream to the data of its complete events.

sseclient-py parses events correctly but has no limits, so it only receives complete, small events.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

import sseclient

EVENT_LIMIT = 256 * 1024
"""Maximum size of an event in bytes. The largest event seen from a BinderHub had 200 kB."""

_MAX_LINES = 1000  # BinderHub's events have one; sseclient's time grows with the square of them


class EventTooLarge(Exception):
    """An event exceeded :data:`EVENT_LIMIT`."""


def iter_events(chunks: Iterable[bytes | bytearray]) -> Iterator[list[str]]:
    """Yield the data of events; those that arrived together are one batch.

    A batch costs less than handing over each event. Comments such as keepalives, and an incomplete
    event at the end, yield nothing. Raises :class:`EventTooLarge`.
    """
    for blocks in _blocks(chunks):
        text = blocks.decode("utf-8", errors="replace").encode()  # sseclient fails on other bytes
        if data := [event.data for event in sseclient.SSEClient(iter([text])).events()]:
            yield data


def _blocks(chunks: Iterable[bytes | bytearray]) -> Iterator[bytearray]:
    """Yield all complete blocks that have arrived, each including the blank line that ends it."""
    buffer = bytearray()
    at_start = True
    after_cr = False
    for chunk in chunks:
        searched = max(0, len(buffer) - 1)
        text = chunk[1:] if after_cr and chunk.startswith(b"\n") else chunk
        after_cr = text.endswith(b"\r") if text else after_cr and not chunk
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        buffer += text
        if (end := buffer.rfind(b"\n\n", searched) + 2) >= 2:
            blocks, buffer = buffer[:end], buffer[end:]
            accepted = _length_within_limits(blocks)
            yield blocks[3 if at_start and blocks.startswith(codecs.BOM_UTF8) else 0 : accepted]
            at_start = False
            if accepted < end:
                raise EventTooLarge
        if len(buffer) - buffer.startswith(b"\n") - buffer.endswith(b"\n") > EVENT_LIMIT:
            raise EventTooLarge


def _length_within_limits(blocks: bytearray) -> int:
    length = 0
    for block in blocks.split(b"\n\n"):
        event = block.removeprefix(b"\n")  # the end of a blank line that has more than two newlines
        if len(event) > EVENT_LIMIT or event.count(b"\n") >= _MAX_LINES:
            break
        length += len(block) + 2
    return min(length, len(blocks))
