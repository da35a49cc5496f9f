"""What this CI job, or else this git checkout, says is being worked on.

The environment and the directory are parameters; nothing is read from this process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clinder.checkout.git import EXAMPLES, Git, strip_credentials
from clinder.errors import UsageError
from clinder.repository import Repository, target

_PULL_REQUEST_EVENTS = ("pull_request", "pull_request_review", "pull_request_review_comment")
_PLATFORMS = (
    ("READTHEDOCS", "Read the Docs", "READTHEDOCS_GIT_CLONE_URL", "READTHEDOCS_GIT_COMMIT_HASH"),
    ("NETLIFY", "Netlify", "REPOSITORY_URL", "COMMIT_REF"),
)


@dataclass(frozen=True)
class Checkout:
    """What is being worked on.

    ``source`` says in words where this was taken from, each of ``warnings`` in a sentence why the
    hub may not build what the person sees. ``base`` is, for a fork's pull request, the repository
    that it was sent to, at a commit that is known to be there.
    """

    repository: Repository
    source: str
    warnings: tuple[str, ...] = ()
    base: Repository | None = None


def detect(directory: Path, environ: Mapping[str, str], ref: str = "") -> Checkout:
    """Return the repository and the commit that the CI job or the checkout works on.

    With ``ref`` it is that ref of the same repository, and whether the checkout's own commit was
    pushed does not matter. Raises :class:`~clinder.errors.UsageError` where there is none, or
    where its commit cannot be on a hub yet.
    """
    found = _detect_ci(environ)
    if found is None:
        return _detect_clone(Git(directory, environ), ref)
    return replace(found, repository=found.repository.at(ref)) if ref else found


def local_repository(directory: Path, environ: Mapping[str, str]) -> Repository:
    """Return the directory as a repository of its own: no origin, no push, not even git needed.

    Its URL is ``file://localhost/PATH``, which only the embedded hub reads.
    """
    path = urlsplit(directory.resolve().as_uri()).path
    try:
        head = Git(directory, environ).run("rev-parse", "--verify", "HEAD^{commit}")
        commit = head.stdout.strip()
    except UsageError:
        commit = ""
    try:
        return Repository("git", f"file://localhost{path}", commit)
    except UsageError:  # the root, or a name that no address can have: it is only echoed
        return Repository("git", "file://localhost/this-directory", commit)


def _detect_ci(environ: Mapping[str, str]) -> Checkout | None:
    if _is_true(environ, "GITHUB_ACTIONS"):
        return _detect_github(environ)
    if _is_true(environ, "GITLAB_CI"):
        return _detect_gitlab(environ)
    for variable, name, url, commit in _PLATFORMS:
        if _is_true(environ, variable):
            values = _require(environ, name, url, commit)
            return Checkout(_repository(*values), f"the build on {name}")
    return None


def _is_true(environ: Mapping[str, str], variable: str) -> bool:
    return environ.get(variable, "").lower() == "true"


def _require(environ: Mapping[str, str], platform: str, *names: str) -> list[str]:
    missing = [name for name in names if not environ.get(name)]
    if missing:
        raise UsageError(f"{platform} did not set {' and '.join(missing)}.", hint=EXAMPLES)
    return [environ[name] for name in names]


def _repository(url: str, ref: str) -> Repository:
    return target(url).repository.at(ref)


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
            head = _repository(f"{server}/{name}", commit)
            return Checkout(head, source, base=_base(server, head, payload))
    name, commit = _require(environ, "GitHub Actions", "GITHUB_REPOSITORY", "GITHUB_SHA")
    return Checkout(_repository(f"{server}/{name}", commit), source, warnings)


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
        sent_to = _repository(f"{server}/{base['repo']['full_name']}", base["sha"])
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
    source = _repository(url, commit)
    target_url = environ.get("CI_MERGE_REQUEST_PROJECT_URL")
    known = environ.get("CI_MERGE_REQUEST_DIFF_BASE_SHA")
    base = _repository(target_url, known) if target_url and known else None
    if base and base.name == source.name:
        base = None
    return Checkout(source, f"GitLab CI's {what}", base=base)


def _detect_clone(git: Git, ref: str) -> Checkout:
    lines = git.read("status", "--porcelain=v2", "--branch")
    state = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    changes = len(lines) - len(state)
    origin = _origin(git)
    if ref:
        return Checkout(_repository(origin, ref), "this checkout's origin")
    commit = state["branch.oid"]
    if commit == "(initial)":
        raise UsageError(
            "This checkout has no commit yet.",
            hint="Type `git commit` and `git push`, or name another commit or branch with --ref.",
        )
    warnings = _warn_if_unpushed(git, commit, state)
    if changes:
        warnings += (f"Not part of what the hub builds: {_plural(changes, 'uncommitted change')}.",)
    return Checkout(_repository(origin, commit), "this checkout's origin and HEAD", warnings)


def _origin(git: Git) -> str:
    """Return the URL of ``origin``, rewritten by ``url.*.insteadOf`` as when git fetches it."""
    remotes = git.read("remote")
    if "origin" not in remotes:
        others = f", only {', '.join(remotes)}" if remotes else ""
        raise UsageError(f"This checkout has no remote origin{others}.", hint=EXAMPLES)
    url = next(iter(git.read("remote", "get-url", "origin")), "")
    if _is_path(url):
        raise UsageError(
            f"This checkout's origin is on this machine, not on a server: {strip_credentials(url)}",
            hint=EXAMPLES,
        )
    return url


def _is_path(url: str) -> bool:
    """Tell a path from a URL and from ``HOST:PATH`` by git's own rule (``connect.c``)."""
    host = url.partition("/")[0]
    return ":" not in host or host == "file:" or bool(re.match(r"[A-Za-z]:[\\/]", url))


def _warn_if_unpushed(git: Git, commit: str, state: Mapping[str, str]) -> tuple[str, ...]:
    """Warn where the commit is on no branch of origin that was seen; raise if it cannot be."""
    containing = ("for-each-ref", f"--contains={commit}", "--format=%(refname:lstrip=2)")
    branches = git.read(*containing, "refs/remotes")
    if any(branch.startswith("origin/") for branch in branches):
        return ()
    if branches:
        return (f"Commit {commit[:12]} was seen on {branches[0]}, but on no branch of origin.",)
    ahead = int(state.get("branch.ab", "+0").split()[0])
    if ahead:
        raise UsageError(
            f"Commit {commit[:12]} is not pushed yet: {state['branch.head']} is "
            f"{_plural(ahead, 'commit')} ahead of {state['branch.upstream']}.",
            hint="Type `git push`, or name a commit or branch that is pushed with --ref.",
        )
    return (
        f"Commit {commit[:12]} was seen on no branch of origin: the hub finds only pushed ones.",
    )


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
