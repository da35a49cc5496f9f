"""An error as one annotation of a workflow, with everything that helps to fix it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from clinder.errors import ClinderError, RefNotFound
from clinder.launch.build_failure import find_error_line

_OPTIONS = (
    # Hints name options of the command line, but a workflow has inputs.
    (r"`clinder start --help` shows", "clinder's README shows"),
    (r": allow for the whole launch with --idle-timeout SECONDS", ""),  # it has no such input
    (r"--(timeout|build-idle-timeout) SECONDS", r"`\1`"),
    (r"--hub(?: URL)?\b", "`hub-url`"),
    (
        r"--(ref|build-token|warm-up|env-for|reuse-environment-since|reuse-environment|timeout)\b",
        r"`\1`",
    ),
)


def format_annotation(error: ClinderError, environ: Mapping[str, str]) -> str:
    """Return the message, the hub, the log line that failed, the hint, and the Binder link."""
    context = error.context
    message, hint = error.message, error.hint
    if isinstance(error, RefNotFound):
        message, hint = _explain_not_found(error, environ)
    log_line = context.log_line or find_error_line(context.log)
    lines = [
        message,
        f"Hub: {context.hub}" if context.hub else "",
        f"The hub's log: {log_line}" if log_line else "",
        f"What to do: {name_inputs(hint)}" if hint else "",
        f"To launch it by hand: {context.link}" if context.link else "",
    ]
    return "\n".join(filter(None, lines))


def name_inputs(hint: str) -> str:
    """Return a hint with the command line's options replaced by the action's inputs."""
    for option, name in _OPTIONS:
        hint = re.sub(option, name, hint)
    return hint


def _explain_not_found(error: ClinderError, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return a message and a hint that fit the event if the hub cannot find its commit."""
    event = _event(environ)
    base = _repository(event, "repository")
    head = _repository(event, "pull_request", "head", "repo")
    head = head or _repository(event, "workflow_run", "head_repository")
    here, there = base.get("full_name"), head.get("full_name")
    name = _repository_of(error)
    if (name == here and base.get("private")) or (name == there and head.get("private")):
        message = f"The hub cannot see {name} because the repository is private. {error.message}"
        return message, "Make it public, or set `hub-url` to a hub that has access to it."
    if name == there != here:
        message = f"The hub cannot see this commit of the fork {there}. {error.message}"
        return message, f"If the fork is gone or private, push the commit to a branch of {here}."
    return error.message, error.hint


def _repository_of(error: ClinderError) -> str:
    """Return ORG/REPO of the launched repository, or ``""`` if it is not on GitHub."""
    provider, _, rest = error.context.repository.partition("/")
    return "/".join(rest.split("/")[:2]) if provider == "gh" else ""


def _event(environ: Mapping[str, str]) -> Any:
    with suppress(OSError, ValueError):
        return json.loads(Path(environ.get("GITHUB_EVENT_PATH", "")).read_text("utf-8"))
    return {}


def _repository(event: Any, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        event = event.get(key) if isinstance(event, dict) else None
    return event if isinstance(event, dict) else {}
