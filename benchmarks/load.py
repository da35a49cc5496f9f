"""The load of one session on a hub: the number of requests, and their bytes. Nothing is timed.

Failures are played as in the tests of the fault table, on a clock that skips pauses.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from answers import Answer, Ending, event, page, ready
from benchmarks.hub import SPEC, TOKEN
from benchmarks.measure import Bench, Command, Series
from benchmarks.report import Comparison, Goal
from clinder._deadline import Deadline
from clinder.errors import ClinderError
from clinder.launch.launch import launch
from clinder.launch.request import Request
from clinder.repository import Repository
from clinder.running.keep_alive import keep_alive_until_gone
from clinder.running.stop import stop
from clinder.session import Session
from clinder.timeouts import Timeouts
from clock import Clock
from hubs import Jupyter, ScriptedHub

_HOUR = 3600.0
_BUILDING = event(phase="building", message="Step 1/9\n")
_FULL = event(phase="failed", message="Too many users on this BinderHub! Try again soon.\n")
_NORMAL = "`clinder run -- true`: start, warm-up, stop"


def compare(bench: Bench, _: int) -> Iterator[Comparison]:
    """Count the requests of a normal session, and of failures."""
    series = tuple(count(name, play) for name, play in _rows(bench).items())
    builds = series[0].median("builds")
    yield Comparison(
        "The load on a hub",
        "Requests to the hub, its proxy and the session's server, and the bytes of HTTP in both"
        " directions. The failures are those of the fault table that cause the most requests.",
        series,
        (Goal("build requests of a normal session", builds, 1.0),),
    )


class _Socket(socket.socket):
    """A connection that counts its bytes."""

    def __init__(self, connection: socket.socket):
        super().__init__(fileno=connection.detach())
        self.received = self.sent = 0

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        count = super().recv_into(*arguments, **options)
        self.received += count
        return count

    def sendall(self, data: Any, *arguments: Any) -> None:
        super().sendall(data, *arguments)
        self.sent += len(data)


class CountingHub(ScriptedHub):
    """A hub that counts the bytes of all its connections."""

    def __init__(self) -> None:
        super().__init__()
        self.received = self.sent = 0
        self._counting = threading.Lock()

    def handle(self, connection: socket.socket) -> None:
        """Serve a connection until it closes, then count its bytes."""
        counted = _Socket(connection)
        super().handle(counted)
        with self._counting:
            self.received += counted.received
            self.sent += counted.sent


def count(name: str, play: Callable[[CountingHub], None]) -> Series:
    """Run something against a hub, and return the counts of requests and bytes."""
    hub = CountingHub()
    with hub, suppress(ClinderError):
        play(hub)
    figures = {
        "builds": len(hub.builds),
        "requests": len(hub.requests),
        "received": hub.received,
        "sent": hub.sent,
    }
    return Series(name, (figures,))


def _rows(bench: Bench) -> Mapping[str, Callable[[CountingHub], None]]:
    def run(hub: CountingHub, *options: str) -> None:
        hub.then(Answer(_BUILDING + _ready(hub, Jupyter(TOKEN))))
        command = ("clinder", "run", SPEC, "--hub", hub.url, *options, "--", "true")
        bench.run(Command(command))

    return {
        _NORMAL: run,
        "the same with `--no-warm-up`": lambda hub: run(hub, "--no-warm-up"),
        "each further hour of `clinder run`": _use,
        "the hub's stream drops each time": lambda hub: _launch(
            hub, *[Answer(_BUILDING, ending=Ending.BROKEN)] * 3
        ),
        "the hub stays full, 5 min": lambda hub: _launch(hub, *[Answer(_FULL)] * 3),
        "the hub's proxy answers 503": lambda hub: _launch(hub, *[page(503)] * 10),
        "the server never answers, 120 s": lambda hub: _launch(
            hub, Answer(_BUILDING + _ready(hub, Jupyter(TOKEN, before=(503,) * 1000)))
        ),
        "the server does not stop, 60 s": _stop,
    }


def _ready(hub: CountingHub, server: Jupyter) -> bytes:
    url = hub.serve("x", server)
    return ready(url, TOKEN, binder_persistent_request=f"v2/{SPEC}")


def _launch(hub: CountingHub, *answers: Answer) -> None:
    clock = Clock()
    hub.then(*answers)
    request = Request(Repository("gh", "org/repo", "HEAD"), (hub.url,))
    deadline = Deadline(request.options.timeout, now=clock.now, pause=clock.pause)
    launch(request, deadline, random=lambda: 0.5)


def _stop(hub: CountingHub) -> None:
    clock = Clock()
    session = Session(hub.serve("x", Jupyter(TOKEN, stays=True)), TOKEN)
    stop(session, Deadline(60, now=clock.now, pause=clock.pause))


def _use(hub: CountingHub) -> None:
    clock = Clock()
    session = Session(hub.serve("x", Jupyter(TOKEN)), TOKEN)
    deadline = Deadline(_HOUR, now=clock.now, pause=clock.pause)
    keep_alive_until_gone(session, deadline, keep_alive=_HOUR, timeouts=Timeouts())
