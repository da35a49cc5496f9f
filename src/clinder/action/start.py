"""The start step: it reads the inputs and starts a session for the later steps."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from clinder import events
from clinder._deadline import Deadline
from clinder.action import annotation, summary
from clinder.action.cancelling import cancel_in_time
from clinder.action.folder import Folder, Launching
from clinder.action.inputs import PREFIX, Inputs, fails_on_error, read
from clinder.action.log import Log
from clinder.action.workflow import Workflow
from clinder.errors import Cancelled, ClinderError, ServerNotReady, UsageError
from clinder.gateway.folder import Handed, report_path
from clinder.gateway.process import START_TIMEOUT, start_detached
from clinder.launch.launch import launch
from clinder.launch.request import resolve
from clinder.launch.trust import require_trusted
from clinder.running.bridges import write_bridges
from clinder.running.variables import take_variables
from clinder.session import Attempt, Session
from clinder.timeouts import Timeouts


def start(environ: Mapping[str, str]) -> int:
    """Start the session that the inputs describe, and return the step's exit code."""
    workflow = Workflow()
    attempts: list[Attempt] = []
    try:
        workflow.mask(environ.get(f"{PREFIX}HUB_TOKEN", ""))
        workflow.mask(environ.get(f"{PREFIX}BUILD_TOKEN", ""))
        inputs = read(environ)
        named = take_variables(inputs.env, environ)
        for value in named.values.values():
            workflow.mask(value)
        for warning in named.warnings:
            workflow.warning(warning)
        observer = _Observer(Folder.from_environ(environ), workflow, attempts)
        with cancel_in_time(workflow) as cancel:
            session = _launch(inputs, environ, observer, cancel)
            variables = _start_gateway(session, inputs, environ, observer, cancel)
        _set_outputs(session, variables, observer.folder, inputs, workflow)
    except Cancelled as error:
        workflow.log(error.message)
        return error.exit_code
    except ClinderError as error:
        return _report_failure(error, environ, workflow, attempts)
    finally:
        workflow.resume()
    return 0


class _Observer:
    """Keeps the files for the post step up to date and masks tokens, before it writes the log."""

    def __init__(self, folder: Folder, workflow: Workflow, attempts: list[Attempt]):
        self.folder = folder
        self.workflow = workflow
        self.log = Log(workflow)
        self._attempts = attempts
        folder.record_python()

    def observe(self, event: events.Event) -> None:
        match event:
            case events.BuildRequested():
                self.folder.begin(Launching(event.hub, event.spec))
            case events.SessionLaunched():
                self.folder.keep(event.session)
                for secret in event.session.secrets:
                    self.workflow.mask(secret)
            case events.SessionReady():
                self.folder.keep(event.session)  # now with its phases
            case events.SessionStopped():
                self.folder.forget(event.session)
            case events.AttemptFailed():
                self._attempts.append(event.attempt)
        self.log.observe(event)


def _launch(
    inputs: Inputs, environ: Mapping[str, str], observer: _Observer, cancel: threading.Event
) -> Session:
    deadline = Deadline(inputs.launch.timeout, cancel=cancel)
    resolution = resolve(inputs.launch, deadline, environ)
    if inputs.env:
        require_trusted(resolution.request, environ, inputs.env_for)
    for note in resolution.notes:
        observer.workflow.log(note)
    for warning in resolution.warnings:
        observer.observe(events.WarningIssued(warning))
    try:
        session = launch(resolution.request, deadline, observer.observe)
    finally:
        observer.log.close()
        observer.folder.end()
    return session


def _start_gateway(
    session: Session,
    inputs: Inputs,
    environ: Mapping[str, str],
    observer: _Observer,
    cancel: threading.Event,
) -> Mapping[str, str]:
    """Return the variables by which later steps find the gateway, or the session itself."""
    deadline = Deadline(START_TIMEOUT + 1, cancel=cancel)
    deadline.raise_if_expired()
    if inputs.gateway is None:
        return session.variables
    folder = observer.folder
    if inputs.fail_on_cell_error:
        folder.let_cells_fail_the_job()
    handed = start_detached(
        session,
        inputs.gateway,
        folder.path,
        deadline,
        command=(sys.executable, "-I", "-S", str(Path(sys.argv[0]).resolve()), "gateway"),
        environ={name: each for name, each in environ.items() if not name.startswith(PREFIX)},
        variables=inputs.env,
    )
    if handed is None and not session.token:
        raise ServerNotReady("The gateway did not start, and the session itself cannot be used.")
    if handed is None:
        observer.workflow.warning(
            "The gateway did not start, so the later steps connect to the session itself."
        )
        return session.variables
    observer.workflow.mask(handed.token)
    if inputs.env:
        observer.workflow.log(f"Each kernel receives these variables: {', '.join(inputs.env)}.")
    kernels = _write_kernelspecs(session, handed, environ, observer) if inputs.kernels else {}
    return {**handed.variables, **kernels}


def _write_kernelspecs(
    session: Session, handed: Handed, environ: Mapping[str, str], observer: _Observer
) -> Mapping[str, str]:
    """Return the variable by which tools that start local kernels run on the session."""
    folder = observer.folder.path / "kernelspecs"
    folder.mkdir(mode=0o700)
    return write_bridges(
        session,
        folder,
        url=handed.url,
        token=handed.token,
        top=Path(environ.get("GITHUB_WORKSPACE") or "."),
        environ=environ,
        executables=filter(None, map(shutil.which, ("jupyter", "python3", "python"))),
        timeouts=Timeouts(),
        report=observer.workflow.log,
    )


def _set_outputs(
    session: Session,
    variables: Mapping[str, str],
    folder: Folder,
    inputs: Inputs,
    workflow: Workflow,
) -> None:
    if inputs.export_environment:
        workflow.export(variables)
    opened = session  # or the gateway, which alone opens a session without a token of its own
    if not session.token:
        opened = Session(variables["JUPYTER_BASE_URL"], variables["JUPYTER_TOKEN"])
    for name in ("url", "token", "uri"):
        workflow.output(name, getattr(opened, name))
    for name in ("hub", "spec", "image"):
        workflow.output(name, getattr(session, name))
    report = "" if variables == session.variables else str(report_path(folder.path))
    workflow.output("report", report)
    workflow.output("started", "true")
    workflow.add_summary(summary.format_started(session))


def _report_failure(
    error: ClinderError, environ: Mapping[str, str], workflow: Workflow, attempts: list[Attempt]
) -> int:
    message = annotation.format_annotation(error, environ)
    workflow.add_summary(summary.format_failed(error, message, attempts))
    if not isinstance(error, UsageError) and _continues_on_error(environ):
        workflow.warning(f"{message}\nThe job continues without a session.")
        return 0
    workflow.error(message)
    return error.exit_code


def _continues_on_error(environ: Mapping[str, str]) -> bool:
    try:
        return not fails_on_error(environ)
    except ClinderError:
        return False
