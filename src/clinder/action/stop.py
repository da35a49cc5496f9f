"""The post step: what the start step left to stop is stopped. It warns, and never fails a job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path

from clinder import session_file
from clinder._deadline import Deadline, Pause
from clinder.action import summary
from clinder.action.folder import Folder, Launching
from clinder.action.workflow import Workflow
from clinder.errors import ClinderError, UsageError
from clinder.running.stop import stop as stop_session
from clinder.session import Session

_SECONDS = 20.0
"""For one session: after a cancellation all post steps together have some 45."""


def stop(
    environ: Mapping[str, str],
    *,
    now: Callable[[], float] = time.monotonic,
    pause: Pause = threading.Event.wait,
) -> int:
    """Stop the sessions that the folder of this use names; return the exit code of the step."""
    workflow = Workflow()
    try:
        folder = Folder.from_environ(environ)
        sessions = [read for path in folder.session_files if (read := _read(path, workflow))]
        for session in sessions:
            workflow.mask(session.token)
        for session in sessions:
            _stop(session, folder, workflow, Deadline(_SECONDS, now=now, pause=pause))
        if launching := folder.launching():
            workflow.warning(_killed_warning(launching))
    except UsageError as error:
        workflow.warning(f"A session may still run until its hub culls it: {error}")
    finally:
        workflow.resume()
    return 0


def _read(path: Path, workflow: Workflow) -> Session | None:
    try:
        return session_file.read(path)
    except UsageError as error:
        workflow.warning(f"A session may still run until its hub culls it: {error}")
        return None


def _stop(session: Session, folder: Folder, workflow: Workflow, deadline: Deadline) -> None:
    try:
        ran = stop_session(session, deadline)
    except ClinderError as error:
        workflow.warning(f"The session at {session.url} may still run: {error}\n{error.hint}")
        workflow.summarise(summary.format_not_stopped(str(error)))
        return
    folder.forget(session)
    workflow.say(f"The session at {session.url} {'is stopped' if ran else 'was already gone'}.")
    workflow.summarise(summary.format_stopped(session, datetime.now(timezone.utc), ran=ran))


def _killed_warning(launching: Launching) -> str:
    return (
        f"The launch was killed half-way. If {launching.hub} still launches {launching.spec}, "
        "nobody holds the token of that session, and the hub culls it."
    )
