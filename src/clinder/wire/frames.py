"""The frames of a websocket, read and written (RFC 6455, section 5).

wsproto opens the websocket; its frames are read and written here, because reading and writing them
took wsproto a third of the gateway's processor time for small messages, and five copies of the data
of a large one. Extensions are not supported: a frame that uses one is invalid.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

_FINAL = 0x80
_RESERVED = 0x70
_OPCODE = 0x0F
_MASK = 0x80
_LENGTH = 0x7F
_TWO_BYTES = 126
_EIGHT_BYTES = 127
_MAX_LENGTH = (1 << 63) - 1
_CONTROL_LIMIT = 125
"""The maximum size of a control frame's data, and of data whose length needs no further bytes."""
_SMALL = 16 * 1024
"""A frame of at most this many bytes is copied, so that one call can send it."""

_INVALID = "the other side sent an invalid frame"

NO_CODE = 1005
"""Represents a close without a code; it is never sent."""
_PROTOCOL_CODES = {*range(1000, 1004), *range(1007, 1015)}
_OTHER_CODES = range(3000, 5000)


class Opcode(IntEnum):
    """The kind of a frame."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class Broken(Exception):
    """The connection broke, or the other side sent something that a websocket does not allow."""


class Fragment(NamedTuple):
    """A control frame, or a part of a message: the data of a frame, as far as it has arrived.

    ``opcode`` is that of the message's first frame. ``final`` marks the end of the message.
    """

    opcode: int
    data: bytes
    final: bool


class FrameReader:
    """Reads the frames that one side sends. ``masked`` means that the sender is the client."""

    def __init__(self, *, masked: bool):
        self._mask_bit = _MASK if masked else 0
        self._rest = b""
        """The beginning of a frame: less than its head, or than a whole control frame."""
        self._message = 0
        """The opcode of the message whose next frame is expected, 0 between messages."""
        self._final = False
        self._missing = 0
        """How many bytes are missing of the frame that is being read."""
        self._mask = b""

    def feed(self, data: bytes) -> Iterator[Fragment]:
        """Yield what the next bytes complete. Raises :class:`Broken`.

        The caller must take everything before it feeds more.
        """
        data = self._rest + data if self._rest else data
        position, size, self._rest = 0, len(data), b""
        while position < size:
            if not self._missing:
                head = self._read_head(data, position)
                if head is None:
                    self._rest = data[position:]
                    return
                opcode, position = head
                if opcode >= Opcode.CLOSE:
                    end = position + self._missing
                    yield Fragment(opcode, self._unmask(data[position:end]), True)
                    position, self._missing = end, 0
                    continue
            end = min(position + self._missing, size)
            self._missing -= end - position
            opcode, final = self._message, self._final and not self._missing
            if final:
                self._message = 0
            if final or end > position:
                yield Fragment(opcode, self._unmask(data[position:end]), final)
            position = end

    def _read_head(self, data: bytes, position: int) -> tuple[int, int] | None:
        """Return a frame's opcode and where its data begins, ``None`` if more has to arrive."""
        if len(data) - position < 2:
            return None
        first, second = data[position], data[position + 1]
        opcode, length = first & _OPCODE, second & _LENGTH
        final, is_control = bool(first & _FINAL), opcode >= Opcode.CLOSE
        if first & _RESERVED or second & _MASK != self._mask_bit:
            raise Broken(_INVALID)
        if is_control:
            is_valid = opcode <= Opcode.PONG and final and length <= _CONTROL_LIMIT
        else:
            is_valid = opcode <= Opcode.BINARY and (opcode == 0) == bool(self._message)
        if not is_valid:
            raise Broken(_INVALID)
        position += 2
        if length > _CONTROL_LIMIT:
            size = 2 if length == _TWO_BYTES else 8
            if len(data) - position < size:
                return None
            least = _TWO_BYTES if size == 2 else 1 << 16
            length = int.from_bytes(data[position : position + size], "big")
            if not least <= length <= _MAX_LENGTH:
                raise Broken(_INVALID)
            position += size
        mask = b""
        if self._mask_bit:
            mask = data[position : position + 4]
            position += 4
        if position + (length if is_control else 0) > len(data):
            return None
        if not is_control:
            self._message, self._final = opcode or self._message, final
        self._mask, self._missing = mask, length
        return opcode, position

    def _unmask(self, data: bytes) -> bytes:
        if not self._mask:
            return data
        unmasked = apply_mask(data, self._mask)
        turn = len(data) % 4
        self._mask = self._mask[turn:] + self._mask[:turn]
        return unmasked


def make_frame(
    opcode: int, data: bytes, *, final: bool = True, masked: bool = False
) -> tuple[bytes, ...]:
    """Return a frame, as bytes to be sent one after the other. ``masked``: a client sends it."""
    length, extended = len(data), b""
    if length >= 1 << 16:
        length, extended = _EIGHT_BYTES, length.to_bytes(8, "big")
    elif length > _CONTROL_LIMIT:
        length, extended = _TWO_BYTES, length.to_bytes(2, "big")
    first = opcode | _FINAL if final else opcode
    if masked:
        mask = os.urandom(4)
        return (bytes((first, length | _MASK)) + extended + mask + apply_mask(data, mask),)
    head = bytes((first, length)) + extended
    return (head + data,) if len(data) <= _SMALL else (head, data)


def apply_mask(data: bytes, mask: bytes) -> bytes:
    """Return the data masked, or masked data as it was before."""
    size = len(data)
    masks = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(data, "little") ^ int.from_bytes(masks, "little")
    return masked.to_bytes(size, "little")


def make_close_data(code: int, reason: str = "") -> bytes:
    """Return the data of a close; for :data:`NO_CODE` there is none.

    Raises :class:`ValueError` for a code that must not be sent.
    """
    if code == NO_CODE:
        return b""
    if not _is_code(code):
        raise ValueError(f"a websocket cannot be closed with {code}")
    text = reason.encode()[: _CONTROL_LIMIT - 2].decode(errors="ignore")
    return code.to_bytes(2, "big") + text.encode()


def read_close_code(data: bytes) -> int:
    """Return the code in the data of a close. Raises :class:`Broken`."""
    if not data:
        return NO_CODE
    code = int.from_bytes(data[:2], "big")
    if len(data) < 2 or not _is_code(code):
        raise Broken(_INVALID)
    try:
        data[2:].decode()
    except UnicodeDecodeError:
        raise Broken(_INVALID) from None
    return code


def _is_code(code: int) -> bool:
    """Whether a side can send a code (RFC 6455, section 7.4, and IANA's registry)."""
    return code in _PROTOCOL_CODES or code in _OTHER_CODES
