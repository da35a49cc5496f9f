"""What a CI job says is being worked on: GitHub, GitLab, Read the Docs, Netlify."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clinder.checkout.checkout import Checkout, repository_at
from clinder.checkout.git import EXAMPLES
from clinder.errors import UsageError
from clinder.repository import Repository

_PULL_REQUEST_EVENTS = ("pull_request", "pull_request_review", "pull_request_review_comment")
_PLATFORMS = (
    ("READTHEDOCS", "Read the Docs", "READTHEDOCS_GIT_CLONE_URL", "READTHEDOCS_GIT_COMMIT_HASH"),
    ("NETLIFY", "Netlify", "REPOSITORY_URL", "COMMIT_REF"),
)


def detect_ci(environ: Mapping[str, str]) -> Checkout | None:
    """Return the commit that a CI job builds, or ``None`` outside of the known platforms."""
    if _is_true(environ, "GITHUB_ACTIONS"):
        return _detect_github(environ)
    if _is_true(environ, "GITLAB_CI"):
        return _detect_gitlab(environ)
    for variable, name, url, commit in _PLATFORMS:
        if _is_true(environ, variable):
            values = _require(environ, name, url, commit)
            return Checkout(repository_at(*values), f"the build on {name}")
    return None


def _is_true(environ: Mapping[str, str], variable: str) -> bool:
    return environ.get(variable, "").lower() == "true"


def _require(environ: Mapping[str, str], platform: str, *names: str) -> list[str]:
    missing = [name for name in names if not environ.get(name)]
    if missing:
        raise UsageError(f"{platform} did not set {' and '.join(missing)}.", hint=EXAMPLES)
    return [environ[name] for name in names]


def _detect_github(environ: Mapping[str, str]) -> Checkout:
    """Return the head of a pull request or of the run that ended, else ``GITHUB_SHA``.

    On ``pull_request_target`` that is the base: such a job holds secrets, and the head is foreign.
    """
    event = environ.get("GITHUB_EVENT_NAME", "")
    source = f"GitHub Actions' event {event}".rstrip()
    server = (environ.get("GITHUB_SERVER_URL") or "https://github.com").rstrip("/")
    warnings: tuple[str, ...] = ()
    if event in _PULL_REQUEST_EVENTS or event == "workflow_run":
        try:
            payload = json.loads(Path(environ["GITHUB_EVENT_PATH"]).read_bytes())
            name, commit = _head(event, payload)
        except (OSError, ValueError, KeyError, TypeError):
            warnings = (
                f"The file of the {event} event names no head: GITHUB_SHA is used instead.",
            )
        else:
            head = repository_at(f"{server}/{name}", commit)
            return Checkout(head, source, base=_base(server, head, payload))
    name, commit = _require(environ, "GitHub Actions", "GITHUB_REPOSITORY", "GITHUB_SHA")
    return Checkout(repository_at(f"{server}/{name}", commit), source, warnings)


def _head(event: str, payload: Any) -> tuple[str, str]:
    """Return the head's repository and commit; raises what reading an odd payload raises."""
    if event == "workflow_run":
        run = payload["workflow_run"]
        repository, commit = run["head_repository"], run["head_sha"]
    else:
        head = payload["pull_request"]["head"]
        repository, commit = head["repo"], head["sha"]
    if repository is None:
        raise UsageError(
            f"The head repository of this {event} event is gone: the fork was deleted.",
            hint=f"GitHub keeps a pull request's commits in the repository that it was sent to: "
            f"name that one, as ORG/REPO@{commit}.",
        )
    name = repository["full_name"]
    if not (isinstance(name, str) and name and isinstance(commit, str) and commit):
        raise TypeError
    return name, commit


def _base(server: str, head: Repository, payload: Any) -> Repository | None:
    """Return what a fork's pull request was sent to, or ``None`` where there is no such thing."""
    try:
        base = payload["pull_request"]["base"]
        sent_to = repository_at(f"{server}/{base['repo']['full_name']}", base["sha"])
    except (KeyError, TypeError, AttributeError, UsageError):
        return None
    return sent_to if sent_to.is_commit and sent_to.name != head.name else None


def _detect_gitlab(environ: Mapping[str, str]) -> Checkout:
    """Return the merge request's source, a fork's too, else the commit of the pipeline.

    In a merged results pipeline ``CI_COMMIT_SHA`` is a merge that only GitLab knows, and only
    there is the source branch's own commit named.
    """
    url, commit = _require(environ, "GitLab CI", "CI_PROJECT_URL", "CI_COMMIT_SHA")
    url = environ.get("CI_MERGE_REQUEST_SOURCE_PROJECT_URL") or url
    commit = environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or commit
    what = "merge request" if environ.get("CI_MERGE_REQUEST_IID") else "commit"
    source = repository_at(url, commit)
    target_url = environ.get("CI_MERGE_REQUEST_PROJECT_URL")
    known = environ.get("CI_MERGE_REQUEST_DIFF_BASE_SHA")
    base = repository_at(target_url, known) if target_url and known else None
    if base and base.name == source.name:
        base = None
    return Checkout(source, f"GitLab CI's {what}", base=base)
