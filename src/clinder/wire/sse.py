"""Event-stream framing: from bytes in any pieces to the data of whole events.

sseclient-py parses events well but bounds nothing, so it is given whole, bounded events only.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

import sseclient

EVENT_LIMIT = 256 * 1024
"""Bytes that one event may hold: BinderHub's largest seen were 200 kB."""

_LINES = 1000  # BinderHub's have one; sseclient's time grows with the square of them


class EventTooLarge(Exception):
    """An event grew over :data:`EVENT_LIMIT`."""


def iter_events(pieces: Iterable[bytes | bytearray]) -> Iterator[list[str]]:
    """Yield the data of the events, as many together as came whole: each step costs more than one.

    Comments, such as keepalives, and an unfinished tail yield nothing. Raises
    :class:`EventTooLarge`.
    """
    for blocks in _blocks(pieces):
        text = blocks.decode("utf-8", errors="replace").encode()  # sseclient refuses other bytes
        if data := [event.data for event in sseclient.SSEClient(iter([text])).events()]:
            yield data


def _blocks(pieces: Iterable[bytes | bytearray]) -> Iterator[bytearray]:
    """Yield as many whole blocks as are there, each with the blank line that ends it."""
    buffer = bytearray()
    at_start = True
    after_cr = False
    for piece in pieces:
        searched = max(0, len(buffer) - 1)
        text = piece[1:] if after_cr and piece.startswith(b"\n") else piece
        after_cr = text.endswith(b"\r") if text else after_cr and not piece
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        buffer += text
        if (end := buffer.rfind(b"\n\n", searched) + 2) >= 2:
            blocks, buffer = buffer[:end], buffer[end:]
            bounded = _length_within_limits(blocks)
            yield blocks[3 if at_start and blocks.startswith(codecs.BOM_UTF8) else 0 : bounded]
            at_start = False
            if bounded < end:
                raise EventTooLarge
        if len(buffer) - buffer.startswith(b"\n") - buffer.endswith(b"\n") > EVENT_LIMIT:
            raise EventTooLarge


def _length_within_limits(blocks: bytearray) -> int:
    """Return how many bytes come before a block that is too large."""
    at = 0
    for block in blocks.split(b"\n\n"):
        event = block.removeprefix(b"\n")  # a blank line before it, which came with it or sooner
        if len(event) > EVENT_LIMIT or event.count(b"\n") >= _LINES:
            break
        at += len(block) + 2
    return min(at, len(blocks))
