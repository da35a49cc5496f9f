"""An error as one annotation of a workflow, with everything that helps to fix it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from clinder._version import DOCUMENTATION
from clinder.errors import ClinderError, RefNotFound
from clinder.launch.build_failure import find_error_line

# Messages name what the command line has, but a workflow has inputs.
_PHRASES = (
    ("the forms that `clinder start --help` shows", f"the forms in {DOCUMENTATION}commands/"),
    (": allow for the whole launch with --idle-timeout SECONDS", ""),  # it has no such input
    ("REPOSITORY", "`repo`"),
    ("`--hub-token @FILE`, or in CLINDER_HUB_TOKEN", "`hub-token`"),
    ("`--hub-token @FILE`, or set CLINDER_HUB_TOKEN", "`hub-token`"),
    ("`--hub-token @FILE`", "`hub-token`"),
    ("Use `clinder run`, which hands out a gateway", "Omit `gateway: false`"),
)
_OPTION = re.compile(r"--([a-z-]*[a-z])(?: [A-Z]{2,}\b(?!/))?")
_INPUTS_OF_OPTIONS = {"hub": "hub-url"}


def format_annotation(error: ClinderError, environ: Mapping[str, str]) -> str:
    """Return the message, the hint, the hub, the log line that failed, and the Binder link."""
    context = error.context
    message, hint = name_inputs(error.message), name_inputs(error.hint)
    if isinstance(error, RefNotFound):
        message, hint = map(name_inputs, _explain_not_found(error, environ))
    log_line = context.log_line or find_error_line(context.log)
    lines = [
        message,
        f"What to do: {hint}" if hint else "",
        f"Hub: {context.hub}" if context.hub else "",
        f"The hub's log: {log_line}" if log_line else "",
        f"To launch it by hand: {context.link}" if context.link else "",
    ]
    return "\n".join(filter(None, lines))


def name_inputs(text: str) -> str:
    """Return a message with the command line's options replaced by the action's inputs."""
    for phrase, replacement in _PHRASES:
        text = text.replace(phrase, replacement)
    # The text between two backticks is a command or an option of another program, such as git.
    parts = text.split("`")
    parts[::2] = [_OPTION.sub(_name_input, part) for part in parts[::2]]
    return "`".join(parts)


def _name_input(option: re.Match[str]) -> str:
    return f"`{_INPUTS_OF_OPTIONS.get(option[1], option[1])}`"


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
