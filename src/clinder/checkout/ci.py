"""Detect the commit of a CI job: GitHub Actions, GitLab CI, Read the Docs, Netlify."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinder.checkout.checkout import Checkout, repository_at
from clinder.checkout.clone import default_branch, refs_with
from clinder.checkout.git import EXAMPLES, Git
from clinder.errors import UsageError
from clinder.repository import Repository

_PULL_REQUEST_EVENTS = ("pull_request", "pull_request_review", "pull_request_review_comment")


@dataclass(frozen=True)
class _Platform:
    """A platform that builds one commit, and the variables that describe it.

    ``pull_request`` is the variable, and its value, that a build of a pull request has. Such a
    build is started in the target repository even if a fork contains the commit.
    """

    name: str
    url: str
    commit: str
    pull_request: tuple[str, str]


_PLATFORMS = {
    "READTHEDOCS": _Platform(
        "Read the Docs",
        "READTHEDOCS_GIT_CLONE_URL",
        "READTHEDOCS_GIT_COMMIT_HASH",
        ("READTHEDOCS_VERSION_TYPE", "external"),
    ),
    "NETLIFY": _Platform("Netlify", "REPOSITORY_URL", "COMMIT_REF", ("PULL_REQUEST", "true")),
}
"""By the variable that is true on the platform."""


def detect_ci(environ: Mapping[str, str], git: Git) -> Checkout | None:
    """Return the repository and commit of a CI job, or ``None`` on any other machine.

    ``git`` is the job's clone, if there is one.
    """
    if _is_true(environ, "GITHUB_ACTIONS"):
        return _detect_github(environ)
    if _is_true(environ, "GITLAB_CI"):
        return _detect_gitlab(environ)
    for variable, platform in _PLATFORMS.items():
        if _is_true(environ, variable):
            return _detect_platform(environ, platform, git)
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
    the untrusted head. For ``merge_group`` it is the group's commit, which has a branch.
    """
    event = environ.get("GITHUB_EVENT_NAME") or ""
    source = f"GitHub Actions ({event} event)" if event else "GitHub Actions"
    server = (environ.get("GITHUB_SERVER_URL") or "https://github.com").rstrip("/")
    warnings: tuple[str, ...] = ()
    if event in _PULL_REQUEST_EVENTS or event == "workflow_run":
        try:
            payload = json.loads(Path(environ["GITHUB_EVENT_PATH"]).read_bytes())
            base = _base(server, event, payload, environ.get("GITHUB_SHA", ""))
            name, commit = _head(event, payload, base)
        except (OSError, ValueError, KeyError, TypeError):
            warning = f"The {event} event has no head commit, so clinder uses GITHUB_SHA."
            warnings = (f"{warning} A hub cannot clone it if it is a pull request's merge commit.",)
        else:
            head = repository_at(f"{server}/{name}", commit)
            from_fork = base and base.name != head.name
            return Checkout(head, source, base=base if from_fork else None)
    name, commit = _require(environ, "GitHub Actions", "GITHUB_REPOSITORY", "GITHUB_SHA")
    return Checkout(repository_at(f"{server}/{name}", commit), source, warnings=warnings)


def _head(event: str, payload: Any, base: Repository | None) -> tuple[str, str]:
    """Return the head's repository and commit. Raises KeyError or TypeError without them."""
    if event == "workflow_run":
        run = payload["workflow_run"]
        repository, commit = run["head_repository"], run["head_sha"]
    else:
        head = payload["pull_request"]["head"]
        repository, commit = head["repo"], head["sha"]
    if repository is None:
        target = f", or name a commit of the target repository: {base.spec}" if base else ""
        raise UsageError(
            f"The head repository of this {event} event is gone: the fork was deleted.",
            hint="No branch contains the commit any more, so a hub cannot clone it. Push it to a"
            f" branch{target}.",
        )
    name = repository["full_name"]
    if not (isinstance(name, str) and name and isinstance(commit, str) and commit):
        raise TypeError
    return name, commit


def _base(server: str, event: str, payload: Any, sha: str) -> Repository | None:
    """Return the repository in which the event occurred, at a commit that is on a branch there.

    A ``workflow_run`` event does not name the base of a fork's pull request, but ``GITHUB_SHA`` is
    then the tip of the default branch.
    """
    try:
        if event == "workflow_run":
            name, commit = payload["workflow_run"]["repository"]["full_name"], sha
        else:
            base = payload["pull_request"]["base"]
            name, commit = base["repo"]["full_name"], base["sha"]
        target = repository_at(f"{server}/{name}", commit)
    except (KeyError, TypeError, AttributeError, UsageError):
        return None
    return target if target.is_commit else None


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


def _detect_platform(environ: Mapping[str, str], platform: _Platform, git: Git) -> Checkout:
    """Return the commit that a platform builds, with a warning if a hub might not clone it."""
    url, commit = _require(environ, platform.name, platform.url, platform.commit)
    repository = repository_at(url, commit)
    source = f"the build on {platform.name}"
    variable, value = platform.pull_request
    if environ.get(variable) != value or _is_on_branch(git, commit):
        return Checkout(repository, source)
    warning = (
        f"{platform.name} does not tell which repository a pull request comes from. If it is a"
        f" fork, a hub cannot clone commit {commit[:12]} from {repository.name}."
    )
    return Checkout(repository, source, warnings=(warning,), base=default_branch(git, repository))


def _is_on_branch(git: Git, commit: str) -> bool:
    """Whether a branch or tag in the clone of origin contains a commit."""
    with suppress(UsageError):  # there is no clone, or it does not have the commit
        return bool(refs_with(git, commit))
    return False
