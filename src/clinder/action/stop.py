"""The post step: it ends the gateway, stops the sessions of the start step, and shows the report.

A session that cannot be stopped is a warning, and does not fail the job.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path

from clinder import session_file
from clinder._deadline import Deadline, Pause
from clinder.action import summary
from clinder.action.annotation import name_inputs
from clinder.action.folder import Folder
from clinder.action.workflow import Workflow
from clinder.errors import ClinderError, UsageError
from clinder.gateway.closing import MAX_PAGES, closing_lines, describe_failure, describe_nothing
from clinder.gateway.process import END_TIMEOUT, LAUNCH_END_TIMEOUT, end_detached
from clinder.gateway.report import Report
from clinder.running.stop import stop as stop_session
from clinder.session import Session

JOB_FAILED = 3
"""The exit code that tells ``post/post.js`` to fail the job. With any other one it tries another
Python."""

_SECONDS = 20.0
"""Time limit per session. After a cancellation, all post steps together have about 45 s."""


def stop(
    environ: Mapping[str, str],
    *,
    now: Callable[[], float] = time.monotonic,
    pause: Pause = threading.Event.wait,
) -> int:
    """Stop the sessions in this use's folder, and return the step's exit code.

    It is :data:`JOB_FAILED` if a launch on demand failed, or a cell whose failure fails the job,
    otherwise 0.
    """
    workflow = Workflow()
    code = 0
    try:
        folder = Folder.from_environ(environ)
        limit = Deadline(_SECONDS, now=now, pause=pause)
        seconds = LAUNCH_END_TIMEOUT if folder.launching() else END_TIMEOUT
        report = end_detached(folder.path, limit, seconds=seconds)
        sessions = [read for path in folder.session_files if (read := _read(path, workflow))]
        hub_token = environ.get("CLINDER_HUB_TOKEN", "")
        for secret in (hub_token, *(each for session in sessions for each in session.secrets)):
            workflow.mask(secret)
        try:
            code = _show_launch(folder, workflow)
        finally:  # the launch is shown first, but nothing there may keep a session running
            for session in sessions:
                deadline = Deadline(_SECONDS, now=now, pause=pause)
                _stop(session.for_user(hub_token), folder, workflow, deadline)
        if report is not None:
            code = max(code, _show(report, folder, workflow))
        if launching := folder.launching():
            workflow.warning(
                f"The launch was killed before it ended. If {launching.hub} still launches "
                f"{launching.spec}, nobody has the token of that session. The hub culls it."
            )
    except UsageError as error:
        workflow.warning(f"A session might keep running until its hub culls it: {error}")
    finally:
        workflow.resume()
    return code


def _show_launch(folder: Folder, workflow: Workflow) -> int:
    """Show a launch on demand, and return the step's exit code."""
    if folder.launch_log.exists():
        workflow.group("The launch of the session")
        workflow.quote(folder.launch_log.read_text(encoding="utf-8", errors="replace"))
        workflow.end_group()
    outcome = folder.outcome()
    if outcome is None:
        return 0
    workflow.add_summary(outcome.summary)
    if outcome.message:
        annotate = workflow.error if outcome.fails_job else workflow.warning
        annotate(outcome.message)
    return JOB_FAILED if outcome.fails_job else 0


def _show(report: Report, folder: Folder, workflow: Workflow) -> int:
    """Show what ran on the session, and return the step's exit code."""
    if report.problem is not None and not report.kernels:  # nothing could run
        return 0
    for line in closing_lines(report) or [describe_nothing(report)]:
        workflow.log(line)
    workflow.add_summary(summary.format_report(report))
    fails = folder.cells_fail_the_job
    annotate = workflow.error if fails else workflow.warning
    for kernel in report.failed[:MAX_PAGES]:
        annotate(describe_failure(kernel))
    return JOB_FAILED if fails and report.failed else 0


def _read(path: Path, workflow: Workflow) -> Session | None:
    try:
        return session_file.read(path)
    except UsageError as error:
        workflow.warning(f"A session might keep running until its hub culls it: {error}")
        return None


def _stop(session: Session, folder: Folder, workflow: Workflow, deadline: Deadline) -> None:
    try:
        stopped = stop_session(session, deadline)
    except ClinderError as error:
        workflow.warning(
            f"The session at {session.url} might still be running: {error}\n"
            f"{name_inputs(error.hint)}"
        )
        workflow.add_summary(summary.format_not_stopped(str(error)))
        return
    folder.forget(session)
    workflow.log(f"The session at {session.url} {stopped}")
    now = datetime.now(timezone.utc)
    workflow.add_summary(summary.format_stopped(session, now, ran=stopped.ran))
