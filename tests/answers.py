"""Responses of a scripted hub: their bytes, and how they are framed, cut and ended."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus

Part = bytes | threading.Event
"""Bytes to send, or an event to wait for before sending more."""
Cut = Callable[[bytes], Iterable[bytes]]


class Framing(Enum):
    """How the end of a body is marked."""

    CHUNKED = "chunked"
    LENGTH = "length"
    CLOSE = "close"


class Ending(Enum):
    """What happens after the last byte."""

    CLEAN = "the body ends according to its framing"
    BROKEN = "the connection is closed in the middle of the body"
    RESET = "the connection is reset"
    HELD = "nothing, until the client leaves"


def whole(body: bytes) -> Iterable[bytes]:
    """A body in one chunk."""
    return [body] if body else []


def bytewise(body: bytes) -> Iterable[bytes]:
    """A body one byte at a time."""
    return (body[at : at + 1] for at in range(len(body)))


def at_random(seed: int, largest: int = 97) -> Cut:
    """A body cut at random places, which depend on the seed only."""

    def cut(body: bytes) -> Iterator[bytes]:
        dice, rest = random.Random(seed), memoryview(body)
        while rest:
            size = dice.randint(1, largest)
            yield bytes(rest[:size])
            rest = rest[size:]

    return cut


@dataclass(frozen=True)
class Raw:
    """A response as bytes, headers included, with ``every`` seconds between two parts."""

    parts: Iterable[Part]
    ending: Ending = Ending.CLEAN
    every: float = 0.0


@dataclass(frozen=True)
class Answer:
    """An HTTP response, by default an event stream like BinderHub's."""

    body: bytes | tuple[Part, ...] = b""
    status: int = 200
    content_type: str = "text/event-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    framing: Framing = Framing.CHUNKED
    cut: Cut = whole
    ending: Ending = Ending.CLEAN

    def raw(self) -> Raw:
        """The response as bytes."""
        parts = self.body if isinstance(self.body, tuple) else (self.body,)
        framing = self.framing
        length = sum(len(part) for part in parts if isinstance(part, bytes))
        headers = {"Content-Type": self.content_type, "Connection": "close", **self.headers}
        if framing is Framing.CHUNKED:
            headers["Transfer-Encoding"] = "chunked"
        elif framing is Framing.LENGTH:
            headers["Content-Length"] = str(length + (self.ending is not Ending.CLEAN))
        phrase = HTTPStatus(self.status).phrase
        head = f"HTTP/1.1 {self.status} {phrase}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
        return Raw(self._framed(head.encode() + b"\r\n", parts), self.ending)

    def _framed(self, head: bytes, parts: tuple[Part, ...]) -> Iterator[Part]:
        yield head
        for part in parts:
            if isinstance(part, threading.Event):
                yield part
            elif self.framing is Framing.CHUNKED:  # a client sees the chunks, not the packets
                yield b"".join(b"%x\r\n%s\r\n" % (len(cut), cut) for cut in self.cut(part))
            else:
                yield from self.cut(part)
        if self.framing is Framing.CHUNKED and self.ending is Ending.CLEAN:
            yield b"0\r\n\r\n"


def event(**fields: object) -> bytes:
    """An event of a build, as BinderHub sends it."""
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def ready(url: str, token: str, **fields: object) -> bytes:
    """The event that ends a launch."""
    return event(
        phase="ready", message=f"server running at {url}\n", url=url, token=token, **fields
    )


def page(status: int, body: bytes = b"<html></html>", **headers: str) -> Answer:
    """A response that is not an event stream; ``Set_Cookie`` becomes ``Set-Cookie``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(body, status, "text/html", named, Framing.LENGTH)


def json_page(status: int, content: object) -> Answer:
    """A response in JSON, like a Jupyter Server's."""
    return Answer(json.dumps(content).encode(), status, "application/json", framing=Framing.LENGTH)


def moved(location: str, status: int = 302) -> Answer:
    """A redirect."""
    return page(status, b"", Location=location)
