"""A launch on demand, in the gateway's process, while a later step waits for its kernel."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from clinder._bugs import describe_bug
from clinder._deadline import Deadline
from clinder.action import annotation, summary
from clinder.action.folder import Folder, Outcome
from clinder.action.inputs import PREFIX, continues_on_error, read
from clinder.checkout.reuse import Choice
from clinder.errors import Cancelled, ClinderError, UsageError
from clinder.events import Event, LogLines, describe
from clinder.gateway.process import serve
from clinder.gateway.report import LaunchRecord
from clinder.launch.launch import launch
from clinder.launch.on_demand import OnDemand
from clinder.launch.request import Request
from clinder.repository import Repository
from clinder.session import Session

_MAX_LOG = 10_000_000
_CUT = "The log is longer than 10 MB. The rest is not shown."


def describe_launch(request: Request, environ: Mapping[str, str]) -> str:
    """Return what the process needs to launch a session later: the inputs, and what they mean.

    It can contain tokens.
    """
    fields = {
        "inputs": {name: each for name, each in environ.items() if name.startswith(PREFIX)},
        "spec": request.repository.spec,
        "hubs": request.hubs,
        "choice": _choice_to_json(request.choice),
        "fallback": _choice_to_json(request.fallback),
    }
    return json.dumps(fields)


def serve_lazily(folder: Path) -> None:
    """Serve a gateway that launches the session that standard input describes, once it is needed.

    In the folder it leaves what the post step needs to stop the session, and to show the launch.
    """

    def prepare() -> tuple[OnDemand, LaunchRecord]:
        launching = Launching(Folder(folder), json.loads(sys.stdin.read()))
        return OnDemand(launching.run), launching.record

    serve(folder, prepare)


class Launching:
    """The launch, its log, and its outcome for the post step."""

    def __init__(self, folder: Folder, fields: Mapping[str, Any]):
        self._folder = folder
        self._inputs: Mapping[str, str] = fields["inputs"]
        self.request = Request(
            Repository.from_spec(fields["spec"]),
            tuple(fields["hubs"]),
            read(self._inputs).launch,
            _choice_from_json(fields["choice"]),
            _choice_from_json(fields["fallback"]),
        )
        self.record = LaunchRecord()
        self.record.spec = self.request.repository.spec
        self._logged = 0

    def run(self, cancel: threading.Event) -> Session:
        """Launch the session. Raises the errors of a launch."""
        try:
            deadline = Deadline(self.request.options.timeout, cancel=cancel)
            session = launch(self.request, deadline, self._observe)
        except Cancelled:
            self._folder.end()
            raise
        except Exception as error:
            self._folder.end()
            self._folder.keep_outcome(self._failure(error))
            raise
        self._folder.keep_outcome(Outcome(summary.format_started(session)))
        return session

    def _observe(self, event: Event) -> None:
        self.record.observe(event)
        self._folder.observe(event)
        self._log(event.lines if isinstance(event, LogLines) else (describe(event),))

    def _log(self, lines: tuple[str, ...]) -> None:
        """Append lines to the log, as long as it is not too large."""
        if self._logged > _MAX_LOG:
            return
        text = "".join(f"{line}\n" for line in lines)
        self._logged += len(text)
        # A full disk must not end the launch.
        with suppress(OSError), self._folder.launch_log.open("a", encoding="utf-8") as file:
            file.write(text if self._logged <= _MAX_LOG else f"{_CUT}\n")

    def _failure(self, error: Exception) -> Outcome:
        if not isinstance(error, ClinderError):
            error = ClinderError(describe_bug(error))
        message = annotation.format_annotation(error, os.environ)
        text = summary.format_failed(error, message, self.record.attempts)
        if not isinstance(error, UsageError) and continues_on_error(self._inputs):
            return Outcome(text, f"{message}\nThe job continues without a session.")
        return Outcome(text, message, fails_job=True)


def _choice_to_json(choice: Choice | None) -> Mapping[str, Any] | None:
    if choice is None:
        return None
    specs = {"requested": choice.requested.spec, "launched": choice.launched.spec}
    return {**vars(choice), **specs}


def _choice_from_json(fields: Mapping[str, Any] | None) -> Choice | None:
    if fields is None:
        return None
    repositories = {name: Repository.from_spec(fields[name]) for name in ("requested", "launched")}
    return Choice(**{**fields, **repositories})
