"""Detect the commit of a CI job: GitHub Actions, GitLab CI, Read the Docs, Netlify."""

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
    """Return the repository and commit of a CI job, or ``None`` on any other machine."""
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
    """Return the head of the pull request or of the completed run, otherwise ``GITHUB_SHA``.

    For ``pull_request_target`` that is the base: such a job has secrets, so clinder must not run
    the untrusted head.
    """
    event = environ.get("GITHUB_EVENT_NAME") or ""
    source = f"GitHub Actions ({event} event)" if event else "GitHub Actions"
    server = (environ.get("GITHUB_SERVER_URL") or "https://github.com").rstrip("/")
    warnings: tuple[str, ...] = ()
    if event in _PULL_REQUEST_EVENTS or event == "workflow_run":
        try:
            payload = json.loads(Path(environ["GITHUB_EVENT_PATH"]).read_bytes())
            name, commit = _head(event, payload)
        except (OSError, ValueError, KeyError, TypeError):
            warnings = (f"The {event} event has no head commit, so clinder uses GITHUB_SHA.",)
        else:
            head = repository_at(f"{server}/{name}", commit)
            return Checkout(head, source, base=_base(server, head, payload))
    name, commit = _require(environ, "GitHub Actions", "GITHUB_REPOSITORY", "GITHUB_SHA")
    return Checkout(repository_at(f"{server}/{name}", commit), source, warnings)


def _head(event: str, payload: Any) -> tuple[str, str]:
    """Return the head's repository and commit. Raises KeyError or TypeError without them."""
    if event == "workflow_run":
        run = payload["workflow_run"]
        repository, commit = run["head_repository"], run["head_sha"]
    else:
        head = payload["pull_request"]["head"]
        repository, commit = head["repo"], head["sha"]
    if repository is None:
        raise UsageError(
            f"The head repository of this {event} event is gone: the fork was deleted.",
            hint="GitHub also keeps the commits of a pull request in its target repository: "
            f"name that one, as in ORG/REPO@{commit}.",
        )
    name = repository["full_name"]
    if not (isinstance(name, str) and name and isinstance(commit, str) and commit):
        raise TypeError
    return name, commit


def _base(server: str, head: Repository, payload: Any) -> Repository | None:
    """Return the target of a fork's pull request, or ``None`` for any other event."""
    try:
        base = payload["pull_request"]["base"]
        target = repository_at(f"{server}/{base['repo']['full_name']}", base["sha"])
    except (KeyError, TypeError, AttributeError, UsageError):
        return None
    return target if target.is_commit and target.name != head.name else None


def _detect_gitlab(environ: Mapping[str, str]) -> Checkout:
    """Return the merge request's source, even if that is a fork, otherwise the pipeline's commit.

    In a merged results pipeline, ``CI_COMMIT_SHA`` is a merge commit that exists only on GitLab.
    Only there does GitLab set the variable with the source branch's own commit.
    """
    url, commit = _require(environ, "GitLab CI", "CI_PROJECT_URL", "CI_COMMIT_SHA")
    url = environ.get("CI_MERGE_REQUEST_SOURCE_PROJECT_URL") or url
    commit = environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or commit
    kind = "merge request" if environ.get("CI_MERGE_REQUEST_IID") else "commit"
    source = repository_at(url, commit)
    target_url = environ.get("CI_MERGE_REQUEST_PROJECT_URL")
    base_sha = environ.get("CI_MERGE_REQUEST_DIFF_BASE_SHA")
    base = repository_at(target_url, base_sha) if target_url and base_sha else None
    if base and base.name == source.name:
        base = None
    return Checkout(source, f"GitLab CI's {kind}", base=base)
