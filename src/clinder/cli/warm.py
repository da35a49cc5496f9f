"""``clinder warm``: have hubs build an image, several at once, and write one line per hub."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from clinder import events
from clinder._deadline import Deadline
from clinder.cli.interrupts import cancellation
from clinder.cli.launching import launch_consequence
from clinder.cli.options import Options
from clinder.cli.screen import LogScreen, Screen, choose_screen
from clinder.cli.session_files import how_to_stop
from clinder.cli.streams import print_error, print_status, write
from clinder.errors import Cancelled, ClinderError
from clinder.launch.request import Request, resolve

if TYPE_CHECKING:
    from clinder.launch.warm import Warmed

_AT_ONCE = 4
"""Hubs that build at the same time. The mybinder.org federation has three members."""
_TICK = 1.0


@dataclass(frozen=True)
class _Outcome:
    """What became of one hub after ``seconds``."""

    hub: str
    spec: str
    seconds: float
    result: Warmed | ClinderError

    @property
    def exit_code(self) -> int:
        return self.result.exit_code if isinstance(self.result, ClinderError) else 0


_Result = events.Event | _Outcome | Exception


def warm(options: Options, *, all_members: bool, output: str) -> int:
    """Warm each hub or, with ``all_members``, each member of a federation.

    Returns the highest exit code of all hubs.
    """
    with cancellation(launch_consequence(options)) as cancel:
        requests = _find_requests(options, cancel, all_members=all_members)
        code = _Warming(requests, options, cancel, output).run()
        Deadline(1, cancel=cancel).raise_if_expired()
    return code


def _find_requests(
    options: Options, cancel: threading.Event, *, all_members: bool
) -> list[Request]:
    """Return one request per hub. Only the hub that was named first gets tokens."""
    deadline = Deadline(options.launch.timeout, cancel=cancel)
    screen = Screen() if options.quiet else LogScreen()
    resolution = resolve(options.launch, deadline, os.environ)
    for note in resolution.notes:
        screen.show(note)
    for warning in resolution.warnings:
        screen.warn(warning)
    request = resolution.request
    hubs = request.hubs
    if all_members:
        from clinder.launch.warm import find_members

        hubs = find_members(hubs, options.launch.timeouts, deadline, screen.observe)
    without_tokens = replace(request.options, build_token="", hub_token="")
    return [
        replace(request, hubs=(hub,))
        if hub == request.hubs[0]
        else replace(request, hubs=(hub,), options=without_tokens)
        for hub in hubs
    ]


class _Warming:
    """Warms hubs in threads. Only the main thread writes, so nothing is interleaved."""

    def __init__(
        self, requests: Sequence[Request], options: Options, cancel: threading.Event, output: str
    ):
        self._requests = requests
        self._options = options
        self._cancel = cancel
        self._output = output
        self._screens = self._choose_screens()
        self._codes: list[int] = []
        self._results: queue.SimpleQueue[tuple[str, _Result]] = queue.SimpleQueue()

    def run(self) -> int:
        """Warm all hubs, write a line for each, and return the highest exit code."""
        remaining = len(self._requests)
        failure: Exception | None = None
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for request in self._requests:
                pool.submit(self._warm, request)
            while remaining:
                hub, result = self._next()
                remaining -= not isinstance(result, events.Event)
                try:
                    self._handle(hub, result)
                except Exception as error:  # noqa: BLE001 - raised below, once no session runs
                    failure = failure or error
                    self._cancel.set()
        if failure:
            raise failure
        return max(self._codes)

    def _handle(self, hub: str, result: _Result) -> None:
        screen = self._screens[hub]
        if isinstance(result, events.Event):
            screen.observe(result)
            if isinstance(result, events.SessionNotStopped):
                print_status(f"clinder: {how_to_stop(result.session, None)}")
            return
        screen.close()
        if isinstance(result, Exception):
            raise result
        self._codes.append(result.exit_code)
        error = result.result
        if isinstance(error, ClinderError) and not isinstance(error, Cancelled):
            print_error(error)
        write((_to_json(result) if self._output == "json" else _to_text(result)) + "\n")

    def _choose_screens(self) -> dict[str, Screen]:
        hubs = [request.hubs[0] for request in self._requests]
        if len(hubs) == 1:
            return {hubs[0]: choose_screen(self._cancel, self._options)}
        if self._options.quiet:
            return {hub: Screen() for hub in hubs}
        return {hub: HubScreen(hub, verbose=self._options.verbose) for hub in hubs}

    def _next(self) -> tuple[str, _Result]:
        while True:
            with suppress(queue.Empty):  # on Windows, an endless wait would block signals
                return self._results.get(timeout=_TICK)

    def _warm(self, request: Request) -> None:
        """Warm one hub, in a thread."""
        from clinder.launch.warm import warm

        (hub,), spec = request.hubs, request.repository.spec
        start = time.monotonic()
        deadline = Deadline(request.options.timeout, cancel=self._cancel)
        result: Warmed | ClinderError
        try:
            result = warm(request, deadline, lambda event: self._results.put((hub, event)))
        except ClinderError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - not hidden: the main thread raises it
            self._results.put((hub, error))
            return
        self._results.put((hub, _Outcome(hub, spec, time.monotonic() - start, result)))


class HubScreen(LogScreen):
    """Writes what happens on one of several hubs. Each line begins with the hub's host."""

    def __init__(self, hub: str, *, verbose: bool):
        parts = urlsplit(hub)
        self._name = f"{parts.netloc}{parts.path}".rstrip("/")
        self._verbose = verbose

    def observe(self, event: events.Event) -> None:
        """Write the event; log lines only if they are wanted."""
        if not isinstance(event, events.LogLines):
            super().observe(event)
        elif self._verbose:
            print_status("\n".join(f"{self._name} | {line}" for line in event.lines))

    def announce(self, message: str) -> None:
        """Write a message with the hub's name."""
        print_status(f"clinder: {self._name}: {message}")

    show = announce


def _to_text(outcome: _Outcome) -> str:
    result, after = outcome.result, f"after {outcome.seconds:.0f} s"
    if isinstance(result, ClinderError):
        return f"{outcome.hub}: exit code {result.exit_code} {after}: {result.message}"
    done = "launched and stopped" if result.launched else "not launched"
    if result.image.found is not None:
        after += ", the image existed" if result.image.found else ", the image was built"
    return f"{outcome.hub}: {done} {after}"


def _to_json(outcome: _Outcome) -> str:
    result = outcome.result
    more: dict[str, Any]
    if isinstance(result, ClinderError):
        context = result.context
        more = {"error": type(result).__name__, "message": result.message, "hint": result.hint}
        more |= {"cause": context.cause, "log_line": context.log_line}
    else:
        image = result.image
        more = {"launched": result.launched, "image": image.name, "image_found": image.found}
        more |= {"phases": image.phases, "attempts": [asdict(each) for each in image.attempts]}
    return json.dumps(
        {
            "hub": outcome.hub,
            "spec": outcome.spec,
            "seconds": round(outcome.seconds, 3),
            "exit_code": outcome.exit_code,
            **more,
        }
    )
