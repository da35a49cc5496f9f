"""Responses of the tests' scripted hub to the commands that are measured.

The hub runs in threads of this process, which otherwise only waits. Its responses are prepared
beforehand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from answers import Answer, Part, Raw, event, ready
from hubs import Jupyter, ScriptedHub

TOKEN = "t0ken-of-the-benchmarks"  # noqa: S105 - grants access to nothing
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
    """The bytes of a response, and a function to call after the last of them was sent."""

    parts: Callable[[], Iterable[Part]]
    sent: Callable[[], None]

    def __iter__(self) -> Iterator[Part]:
        yield from self.parts()
        self.sent()


@dataclass
class Launch:
    """A session on the hub, and when it reached each stage, on the monotonic clock."""

    url: str
    requested: float = 0.0
    ready: float = 0.0
    responded: float = 0.0

    def note_request(self) -> None:
        """Note that the build request arrived."""
        self.requested = time.monotonic()

    def note_ready(self) -> None:
        """Note that ``ready`` was sent."""
        self.ready = time.monotonic()

    def note_response(self) -> None:
        """Note that the response to ``api/status`` was sent."""
        self.responded = time.monotonic()


def serve_launch(
    hub: ScriptedHub, name: str, *, blocks: Iterable[bytes] = (), every: float = 0.0
) -> Launch:
    """Make the hub respond to the next build request with a session of that name.

    Before ``ready`` the hub sends the blocks, each of some chunks, and waits ``every`` seconds
    after each block.
    """
    launch = Launch(hub.serve(name, Jupyter(TOKEN)))
    status = Answer(b'{"kernels": 0}', content_type="application/json")
    hub.pages[f"/user/{name}/api/status"] = Raw(
        Marked(lambda: status.raw().parts, launch.note_response)
    )
    last = chunk(ready(launch.url, TOKEN, binder_persistent_request=f"v2/{SPEC}")) + b"0\r\n\r\n"

    def parts() -> Iterator[Part]:
        yield _HEAD
        for block in blocks:
            yield block
            if every:
                time.sleep(every)
        yield last

    def build() -> Raw:
        launch.note_request()
        return Raw(Marked(parts, launch.note_ready))

    hub.then(build)
    return launch


def chunk(data: bytes) -> bytes:
    """Return bytes as a chunk; BinderHub sends each event in one."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def build_log(events: int) -> tuple[bytes, int]:
    """Return that many log events in chunks, and the total size of the events in bytes.

    Like recorded events, they end in three newlines. One in eight contains colours, and one in
    eight characters other than ASCII.
    """
    batch = [
        event(message=_LINES[n % len(_LINES)].format(n=n) + "\n", phase="building") + b"\n"
        for n in range(events)
    ]
    return b"".join(map(chunk, batch)), sum(map(len, batch))
