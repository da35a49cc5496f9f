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


def events(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield each event's data. Comments, such as keepalives, and an unfinished tail yield nothing.

    Raises :class:`EventTooLarge`.
    """
    for block in _blocks(pieces):
        text = block.decode("utf-8", errors="replace").encode()  # sseclient refuses other bytes
        for event in sseclient.SSEClient(iter([text])).events():
            yield event.data


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what stands between blank lines, each with its own blank line after it."""
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
        if buffer.find(b"\n\n", searched) >= 0:
            *whole, buffer = buffer.split(b"\n\n")
            for block in whole:
                if len(block) > EVENT_LIMIT or block.count(b"\n") > _LINES:
                    raise EventTooLarge
                if at_start and block.startswith(codecs.BOM_UTF8):
                    del block[:3]
                at_start = False
                yield bytes(block) + b"\n\n"
        if len(buffer) - buffer.endswith(b"\n") > EVENT_LIMIT:
            raise EventTooLarge
