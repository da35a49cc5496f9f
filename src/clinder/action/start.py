"""The start step: inputs in, a session for the later steps out."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from clinder._deadline import Deadline
from clinder.action import annotation, summary
from clinder.action.cancelling import cancellable
from clinder.action.folder import Folder, Launching
from clinder.action.inputs import PREFIX, Inputs, fails_on_error, read
from clinder.action.log import Log
from clinder.action.workflow import Workflow
from clinder.errors import Cancelled, ClinderError
from clinder.events import (
    AttemptFailed,
    BuildRequested,
    Event,
    SessionKnown,
    SessionStopped,
    Warned,
)
from clinder.launch.launch import launch
from clinder.launch.request import resolved
from clinder.session import Attempt, Session


def start(environment: Mapping[str, str]) -> int:
    """Start a session as the inputs say and hand it on; return the exit code of the step."""
    workflow = Workflow()
    attempts: list[Attempt] = []
    try:
        workflow.mask(environment.get(f"{PREFIX}BUILD_TOKEN", ""))
        inputs = read(environment)
        observer = _Observer(Folder.of(environment), workflow, attempts)
        with cancellable(workflow) as cancel:
            session = _launched(inputs, environment, observer, cancel)
            Deadline(1, cancel=cancel).check()
        _hand_on(session, inputs, workflow)
    except Cancelled as error:
        workflow.say(error.what)
        return error.exit_code
    except ClinderError as error:
        return _failed(error, environment, workflow, attempts)
    finally:
        workflow.resume()
    return 0


class _Observer:
    """Has the post step know what it must stop, and the runner what it must hide; then the log."""

    def __init__(self, folder: Folder, workflow: Workflow, attempts: list[Attempt]):
        self.folder = folder
        self.workflow = workflow
        self.log = Log(workflow)
        self._attempts = attempts
        folder.record_python()

    def observe(self, event: Event) -> None:
        match event:
            case BuildRequested():
                self.folder.begin(Launching(event.hub, event.spec))
            case SessionKnown():
                self.folder.keep(event.session)
                self.workflow.mask(event.session.token)
            case SessionStopped():
                self.folder.forget(event.session)
            case AttemptFailed():
                self._attempts.append(event.attempt)
        self.log.observe(event)


def _launched(
    inputs: Inputs,
    environment: Mapping[str, str],
    observer: _Observer,
    cancel: threading.Event,
) -> Session:
    made = resolved(
        inputs.repository,
        hubs=inputs.hubs,
        ref=inputs.ref,
        timeout=inputs.timeout,
        build_token=inputs.build_token,
        warm_up=inputs.warm_up,
        reuse_environment=inputs.reuse_environment,
        directory=Path(),
        environment=environment,
    )
    for note in made.notes:
        observer.workflow.say(note)
    for warning in made.warnings:
        observer.observe(Warned(warning))
    try:
        session = launch(made.request, observer.observe, cancel=cancel)
    finally:
        observer.log.close()
        observer.folder.end()
    observer.folder.keep(session)  # what is known of it by now: its phases
    return session


def _hand_on(session: Session, inputs: Inputs, workflow: Workflow) -> None:
    if inputs.export_environment:
        workflow.export(session.environment)
    for name in ("url", "token", "uri", "hub", "spec", "image"):
        workflow.output(name, getattr(session, name))
    workflow.output("started", "true")
    workflow.summarise(summary.started(session))
    seconds = sum(session.phases.values())
    workflow.say(f"The session at {session.url} runs, {seconds:.0f} s after it was asked for.")


def _failed(
    error: ClinderError, environment: Mapping[str, str], workflow: Workflow, attempts: list[Attempt]
) -> int:
    words = annotation.told(error, environment)
    workflow.summarise(summary.failed(error, words, attempts))
    if _goes_on(environment):
        workflow.warning(f"{words}\nThe job goes on without a session.")
        return 0
    workflow.error(words)
    return error.exit_code


def _goes_on(environment: Mapping[str, str]) -> bool:
    try:
        return not fails_on_error(environment)
    except ClinderError:
        return False
