"""Whether a CI job is allowed to give its variables to the code of a repository.

A job that holds secrets can run for a change that a stranger proposed
(``pull_request_target`` and ``workflow_run``). The session would run the stranger's notebooks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clinder.errors import UsageError
from clinder.repository import Repository

_PRIVILEGED_EVENTS = ("pull_request_target", "workflow_run")


def require_own_code(
    repository: Repository, environ: Mapping[str, str], confirmed: str = ""
) -> None:
    """Raise :class:`~clinder.errors.UsageError` if the job must not give its variables away.

    ``repository`` is what will be launched. ``confirmed`` is the repository, as ``ORG/REPO``, that
    the user trusts with the variables. Outside CI, everything is allowed: a person chose both.
    """
    own = environ.get("GITHUB_REPOSITORY") or environ.get("CI_PROJECT_PATH") or ""
    if not own:
        return
    owner = _owner(repository, own, environ)
    if owner.lower() in (own.lower(), confirmed.lower().strip("/")):
        return
    raise UsageError(
        f"This job belongs to {own}, but the session would run the code of {owner}, which could"
        " then read the variables.",
        hint=f"If you trust that code with the variables, confirm it with --env-for {owner}",
    )


def _owner(repository: Repository, own: str, environ: Mapping[str, str]) -> str:
    """Return whose code a commit contains, which a fork's commit in its base does not show."""
    if repository.name.lower() != own.lower():
        return repository.name
    head, commit = _proposed(environ)
    ref = repository.ref
    is_own = ref == environ.get("GITHUB_SHA") or not (
        repository.is_commit or ref == commit or ref.startswith(("pull/", "refs/pull/"))
    )
    return own if not head or head.lower() == own.lower() or is_own else head


def _proposed(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the repository and the commit that a privileged job was started for."""
    event = environ.get("GITHUB_EVENT_NAME", "")
    if event not in _PRIVILEGED_EVENTS:
        return "", ""
    try:
        payload: Any = json.loads(Path(environ["GITHUB_EVENT_PATH"]).read_bytes())
        if event == "workflow_run":
            run = payload["workflow_run"]
            return str(run["head_repository"]["full_name"]), str(run["head_sha"])
        head = payload["pull_request"]["head"]
        return str(head["repo"]["full_name"]), str(head["sha"])
    except (OSError, ValueError, KeyError, TypeError):
        return "an unknown repository", ""
