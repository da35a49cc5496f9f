"""The post step: it stops the sessions of the start step. It warns, but never fails a job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path

from clinder import session_file
from clinder._deadline import Deadline, Pause
from clinder.action import summary
from clinder.action.folder import Folder
from clinder.action.workflow import Workflow
from clinder.errors import ClinderError, UsageError
from clinder.running.stop import stop as stop_session
from clinder.session import Session

_SECONDS = 20.0
"""Time limit per session. After a cancellation, all post steps together have about 45 s."""


def stop(
    environ: Mapping[str, str],
    *,
    now: Callable[[], float] = time.monotonic,
    pause: Pause = threading.Event.wait,
) -> int:
    """Stop the sessions in this use's folder, and return the step's exit code."""
    workflow = Workflow()
    try:
        folder = Folder.from_environ(environ)
        sessions = [read for path in folder.session_files if (read := _read(path, workflow))]
        for session in sessions:
            workflow.mask(session.token)
        for session in sessions:
            _stop(session, folder, workflow, Deadline(_SECONDS, now=now, pause=pause))
        if launching := folder.launching():
            workflow.warning(
                f"The launch was killed before it ended. If {launching.hub} still launches "
                f"{launching.spec}, nobody has the token of that session. The hub culls it."
            )
    except UsageError as error:
        workflow.warning(f"A session might keep running until its hub culls it: {error}")
    finally:
        workflow.resume()
    return 0


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
            f"The session at {session.url} might still be running: {error}\n{error.hint}"
        )
        workflow.add_summary(summary.format_not_stopped(str(error)))
        return
    folder.forget(session)
    workflow.log(f"The session at {session.url} {stopped}")
    now = datetime.now(timezone.utc)
    workflow.add_summary(summary.format_stopped(session, now, ran=stopped.ran))
