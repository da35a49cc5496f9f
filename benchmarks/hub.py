"""What the scripted hub of the tests says to those that are measured.

It runs in threads of this process, which only waits meanwhile. What it says is made beforehand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from answers import Answer, Part, Raw, event, ready
from hubs import Jupyter, ScriptedHub

TOKEN = "t0ken-of-the-benchmarks"  # noqa: S105 - it opens nothing
SPEC = "gh/org/repo/HEAD"
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
)
_LINES = (
    "#9 {n}.1 Collecting scientific-package-{n}==1.{n}.0 (from -r requirements.txt (line {n}))",
    "#9 {n}.3   Downloading scientific_package_{n}-1.{n}.0-py3-none-any.whl (12.{n} MB)",
    "#9 {n}.4 Requirement already satisfied: numpy>=1.{n} in /srv/conda/envs/notebook/lib",
    "#9 {n}.5      \u2501\u2501\u2501\u2501\u2501\u2501 12.{n}/12.{n} MB 100.{n} MB/s eta 0:00:00",
    "#9 {n}.6 Get:{n} http://archive.ubuntu.com/ubuntu jammy/main amd64 libexample{n} [98.{n} kB]",
    "#9 {n}.7 \x1b[32mInstalling\x1b[0m collected packages: scientific-package-{n}",
    "#9 {n}.8 Building wheel for scientific-package-{n} (pyproject.toml): finished",
    "#9 {n}.9 npm warn deprecated",
)


@dataclass(frozen=True)
class Marked(Iterable[Part]):
    """The bytes of an answer, and what is called once the last of them went out."""

    parts: Callable[[], Iterable[Part]]
    sent: Callable[[], None]

    def __iter__(self) -> Iterator[Part]:
        yield from self.parts()
        self.sent()


@dataclass
class Launch:
    """A session of the hub, and when it came to what, on the monotonic clock."""

    url: str
    asked: float = 0.0
    ready: float = 0.0
    answered: float = 0.0

    def is_asked(self) -> None:
        """Note that the build request has come."""
        self.asked = time.monotonic()

    def is_ready(self) -> None:
        """Note that ``ready`` has gone out."""
        self.ready = time.monotonic()

    def is_answered(self) -> None:
        """Note that ``api/status`` was answered."""
        self.answered = time.monotonic()


def launching(
    hub: ScriptedHub, name: str, *, blocks: Iterable[bytes] = (), every: float = 0.0
) -> Launch:
    """Have the hub answer the next build request with a session of that name.

    Before ``ready`` come the blocks, each a number of chunks, and ``every`` seconds after each.
    """
    told = Launch(hub.serve(name, Jupyter(TOKEN)))
    status = Answer(b'{"kernels": 0}', content_type="application/json")
    hub.pages[f"/user/{name}/api/status"] = Raw(
        Marked(lambda: status.raw().parts, told.is_answered)
    )
    last = chunk(ready(told.url, TOKEN, binder_persistent_request=f"v2/{SPEC}")) + b"0\r\n\r\n"

    def parts() -> Iterator[Part]:
        yield _HEAD
        for block in blocks:
            yield block
            if every:
                time.sleep(every)
        yield last

    def build() -> Raw:
        told.is_asked()
        return Raw(Marked(parts, told.is_ready))

    hub.then(build)
    return told


def chunk(data: bytes) -> bytes:
    """Return bytes as a chunk: BinderHub sends one for each event."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def log(events: int) -> tuple[bytes, int]:
    """Return that many events of a build's log in chunks, and how many bytes the events have.

    They are like a recorded one's, which end in three newlines; one in eight has colours, and one
    other than ASCII.
    """
    made = [
        event(message=_LINES[n % len(_LINES)].format(n=n) + "\n", phase="building") + b"\n"
        for n in range(events)
    ]
    return b"".join(map(chunk, made)), sum(map(len, made))
