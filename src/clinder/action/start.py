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
from clinder.action.folder import Folder
from clinder.action.inputs import PREFIX, Inputs, continues_on_error, read
from clinder.action.lazy import describe_launch
from clinder.action.log import Log
from clinder.action.workflow import Workflow
from clinder.errors import Cancelled, ClinderError, ServerNotReady, UsageError
from clinder.gateway.folder import Handed, report_path
from clinder.gateway.process import START_TIMEOUT, start_detached
from clinder.launch.launch import launch
from clinder.launch.request import Request, resolve
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
            deadline = Deadline(inputs.launch.timeout, cancel=cancel)
            request = _resolve(inputs, environ, observer, deadline)
            session = None if inputs.lazy else _launch(request, observer, deadline)
            hand_over = _HandOver(request, session, inputs, environ, observer)
            hand_over.set_outputs(hand_over.start_gateway(cancel))
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
        self.folder.observe(event)
        match event:
            case events.SessionLaunched():
                for secret in event.session.secrets:
                    self.workflow.mask(secret)
            case events.AttemptFailed():
                self._attempts.append(event.attempt)
        self.log.observe(event)


def _resolve(
    inputs: Inputs, environ: Mapping[str, str], observer: _Observer, deadline: Deadline
) -> Request:
    resolution = resolve(inputs.launch, deadline, environ)
    if inputs.env:
        require_trusted(resolution.request, environ, inputs.env_for)
    for note in resolution.notes:
        observer.workflow.log(note)
    for warning in resolution.warnings:
        observer.observe(events.WarningIssued(warning))
    return resolution.request


def _launch(request: Request, observer: _Observer, deadline: Deadline) -> Session:
    try:
        return launch(request, deadline, observer.observe)
    finally:
        observer.log.close()
        observer.folder.end()


class _HandOver:
    """Makes a session available to later steps, or one that a later step launches."""

    def __init__(
        self,
        request: Request,
        session: Session | None,
        inputs: Inputs,
        environ: Mapping[str, str],
        observer: _Observer,
    ):
        self._request = request
        self._session = session
        self._inputs = inputs
        self._environ = environ
        self._folder = observer.folder
        self._workflow = observer.workflow

    def start_gateway(self, cancel: threading.Event) -> Mapping[str, str]:
        """Return the variables by which later steps find the gateway, or the session itself."""
        deadline = Deadline(START_TIMEOUT + 1, cancel=cancel)
        deadline.raise_if_expired()
        session, inputs = self._session, self._inputs
        if inputs.gateway is None:
            return session.variables if session is not None else {}
        if inputs.fail_on_cell_error:
            self._folder.let_cells_fail_the_job()
        step = "gateway" if session is not None else "lazy"
        handed = start_detached(
            session,
            inputs.gateway,
            self._folder.path,
            deadline,
            command=(sys.executable, "-I", "-S", str(Path(sys.argv[0]).resolve()), step),
            environ={k: each for k, each in self._environ.items() if not k.startswith(PREFIX)},
            variables=inputs.env,
            secret="" if session is not None else describe_launch(self._request, self._environ),
        )
        if handed is None:
            return self._without_gateway()
        self._workflow.mask(handed.token)
        if session is None:
            self._workflow.log(
                f"clinder launches {self._request.repository.spec} once a step needs a kernel."
            )
        if inputs.env:
            names = ", ".join(inputs.env)
            self._workflow.log(f"Each kernel receives these variables: {names}.")
        kernels = self._write_kernelspecs(handed) if inputs.kernels else {}
        return {**handed.variables, **kernels}

    def _without_gateway(self) -> Mapping[str, str]:
        if self._session is None:
            raise ServerNotReady("The gateway did not start, so no session can be launched later.")
        if not self._session.token:
            raise ServerNotReady("The gateway did not start, and only it can open this session.")
        self._workflow.warning(
            "The gateway did not start, so the later steps connect to the session itself."
        )
        return self._session.variables

    def _write_kernelspecs(self, handed: Handed) -> Mapping[str, str]:
        """Return the variable by which tools that start local kernels run on the session."""
        folder = self._folder.path / "kernelspecs"
        folder.mkdir(mode=0o700)
        return write_bridges(
            self._session,
            folder,
            url=handed.url,
            token=handed.token,
            top=Path(self._environ.get("GITHUB_WORKSPACE") or "."),
            environ=self._environ,
            executables=filter(None, map(shutil.which, ("jupyter", "python3", "python"))),
            timeouts=Timeouts(),
            report=self._workflow.log,
        )

    def set_outputs(self, variables: Mapping[str, str]) -> None:
        """Set the outputs, and the variables for later steps."""
        workflow, session = self._workflow, self._session
        if self._inputs.export_environment:
            workflow.export(variables)
        opened = session  # or the gateway, which alone opens a session without a token of its own
        if opened is None or not opened.token:
            opened = Session(variables["JUPYTER_BASE_URL"], variables["JUPYTER_TOKEN"])
        for name in ("url", "token", "uri"):
            workflow.output(name, getattr(opened, name))
        for name in ("hub", "spec", "image"):
            known = self._request.repository.spec if name == "spec" else ""
            workflow.output(name, known if session is None else getattr(session, name))
        is_direct = session is not None and variables == session.variables
        workflow.output("report", "" if is_direct else str(report_path(self._folder.path)))
        workflow.output("started", "true")
        if session is not None:
            workflow.add_summary(summary.format_started(session))


def _report_failure(
    error: ClinderError, environ: Mapping[str, str], workflow: Workflow, attempts: list[Attempt]
) -> int:
    message = annotation.format_annotation(error, environ)
    workflow.add_summary(summary.format_failed(error, message, attempts))
    if not isinstance(error, UsageError) and continues_on_error(environ):
        workflow.warning(f"{message}\nThe job continues without a session.")
        return 0
    workflow.error(message)
    return error.exit_code
