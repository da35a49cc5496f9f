"""An error in a workflow's words: one annotation with all that helps."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from clinder.errors import ClinderError, RefNotFound

_OPTIONS = (
    # Hints name what a command line takes: a workflow has inputs.
    (r"`clinder start --help` shows", "clinder's README shows"),
    (r"--timeout SECONDS", "`timeout`"),
    (r"--hub(?: URL)?\b", "`hub-url`"),
    (r"--(ref|build-token|warm-up|reuse-environment|timeout)\b", r"`\1`"),
)
_ERROR = re.compile(r"\b\w*(?:error|exception|fatal|failed|failure)\b", re.IGNORECASE)
_WRAPPER = re.compile(r"did not complete successfully|non-zero (?:code|exit)", re.IGNORECASE)


def format_annotation(error: ClinderError, environ: Mapping[str, str]) -> str:
    """Return what happened, on which hub, its failing line, what to do, and the Binder link."""
    context = error.context
    what, hint = error.message, error.hint
    if isinstance(error, RefNotFound):
        what, hint = _not_visible(error, environ)
    line = find_failing_line(context.log)
    told = [
        what,
        f"Hub: {context.hub}" if context.hub else "",
        f"The hub's log: {line}" if line else "",
        f"What to do: {name_inputs(hint)}" if hint else "",
        f"By hand: {context.link}" if context.link else "",
    ]
    return "\n".join(part for part in told if part)


def name_inputs(hint: str) -> str:
    """Return a hint that names the action's inputs where it named options."""
    for option, name in _OPTIONS:
        hint = re.sub(option, name, hint)
    return hint


def find_failing_line(log: Sequence[str]) -> str:
    """Return the line of a log that says most likely why it is the last, ``""`` for no log.

    What a builder says of the step that failed says less than the step itself.
    """
    errors = [line for line in log if _ERROR.search(line)]
    causes = [line for line in errors if not _WRAPPER.search(line)]
    found = (causes or errors or [*log] or [""])[-1].strip()
    return found if len(found) <= 300 else found[:300] + " …"


def _not_visible(error: ClinderError, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return what happened and what to do where the hub did not find a commit of this event."""
    event = _event(environ)
    base = _repository(event, "repository")
    head = _repository(event, "pull_request", "head", "repo")
    head = head or _repository(event, "workflow_run", "head_repository")
    here, there = base.get("full_name"), head.get("full_name")
    name = _repository_of(error)
    if (name == here and base.get("private")) or (name == there and head.get("private")):
        what = f"The hub cannot see {name}: the repository is private. {error.message}"
        return what, "Make it public, or name a hub in `hub-url` that may read it."
    if name == there != here:
        what = f"The hub cannot see this commit of the fork {there}. {error.message}"
        return what, f"If the fork is gone or private, push the commit to a branch of {here}."
    return error.message, error.hint


def _repository_of(error: ClinderError) -> str:
    """Return ORG/REPO of what was to be launched, ``""`` where that is not on GitHub."""
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
