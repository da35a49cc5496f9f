"""Detect the commit of a git clone: origin, HEAD, and whether HEAD is pushed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from clinder.checkout.checkout import Checkout, repository_at
from clinder.checkout.git import EXAMPLES, Git, strip_credentials
from clinder.errors import UsageError
from clinder.repository import Repository


def detect_clone(git: Git, ref: str) -> Checkout:
    """Return ``origin`` at HEAD or at another ref, or the remote that has HEAD if origin does not.

    Raises :class:`~clinder.errors.UsageError` if HEAD is not pushed.
    """
    lines = git.read("status", "--porcelain=v2", "--branch")
    state = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    changes = sum(not _is_build_output(line) for line in lines) - len(state)
    origin = _origin(git)
    if ref:
        return Checkout(repository_at(origin, ref), "this checkout's origin")
    commit = state["branch.oid"]
    if commit == "(initial)":
        raise UsageError(
            "This checkout has no commit yet.",
            hint="Run `git commit` and `git push`, or name another commit or branch with --ref.",
        )
    checkout = _find_remote(git, commit, origin, state)
    if not changes:
        return checkout
    unseen = f"The hub cannot see {_plural(changes, 'uncommitted change')}."
    return replace(checkout, warnings=(*checkout.warnings, unseen))


def refs_with(git: Git, commit: str) -> list[str]:
    """Return the remote-tracking branches and the tags that contain a commit of this clone."""
    command = ("for-each-ref", f"--contains={commit}", "--format=%(refname)")
    return git.read(*command, "refs/remotes", "refs/tags")


def default_branch(git: Git, repository: Repository) -> Repository | None:
    """Return a repository, which is origin, at the tip of its default branch in this clone."""
    tip = git.run("rev-parse", "--verify", "--quiet", "refs/remotes/origin/HEAD^{commit}")
    return None if tip.returncode else repository.with_ref(tip.stdout.strip())


def _is_build_output(line: str) -> bool:
    """Whether a line of ``git status`` is about an untracked folder that MyST writes."""
    return line.startswith("? ") and "/_build/" in f"/{line[2:]}"


def _origin(git: Git) -> str:
    """Return the URL from which git fetches ``origin``, after ``url.*.insteadOf``."""
    remotes = git.read("remote")
    if "origin" not in remotes:
        others = f", only {', '.join(remotes)}" if remotes else ""
        raise UsageError(f"This checkout has no remote named origin{others}.", hint=EXAMPLES)
    url = _url(git, "origin")
    if _is_path(url):
        raise UsageError(
            f"This checkout's origin is on this machine, not on a server: {strip_credentials(url)}",
            hint=EXAMPLES,
        )
    return url


def _url(git: Git, remote: str) -> str:
    return next(iter(git.read("remote", "get-url", remote)), "")


def _is_path(url: str) -> bool:
    """Whether git would read the URL as a path (``connect.c``)."""
    host = url.partition("/")[0]
    return ":" not in host or host == "file:" or bool(re.match(r"[A-Za-z]:[\\/]", url))


def _find_remote(git: Git, commit: str, origin: str, state: Mapping[str, str]) -> Checkout:
    """Return the remote that has the commit; ``origin`` is the URL of the preferred one.

    ``state`` has the headers of ``git status``. Raises UsageError if no remote can have it.
    """
    refs = refs_with(git, commit)
    own = repository_at(origin, commit)
    if not any(ref.startswith("refs/remotes/origin/") for ref in refs):
        if fork := _find_fork(git, own, refs):
            return fork
        _require_pushed(commit, state)
        if not any(ref.startswith("refs/tags/") for ref in refs):
            warning = (
                f"Commit {commit[:12]} is not on a known branch of origin. A hub can clone it only"
                " if a branch or a tag there contains it."
            )
            return Checkout(own, "this checkout's origin and HEAD", warnings=(warning,))
    return Checkout(own, "this checkout's origin and HEAD")


def _find_fork(git: Git, origin: Repository, refs: Sequence[str]) -> Checkout | None:
    """Return another remote that has the commit of ``origin``, if it has a URL for hubs.

    A host such as GitHub finds a fork's commit in the original repository, too, but a clone of that
    repository does not have the commit.
    """
    for remote in git.read("remote"):
        branch = next((ref for ref in refs if ref.startswith(f"refs/remotes/{remote}/")), "")
        url = _url(git, remote) if branch else ""
        if _is_path(url):
            continue
        try:
            fork = repository_at(url, origin.ref)
        except UsageError:
            continue
        note = (
            f"Commit {origin.ref[:12]} is on {branch.removeprefix('refs/remotes/')}, but not on a"
            f" known branch of origin, so clinder launches {fork.name} instead of {origin.name}."
        )
        source = f"this checkout's {remote} and HEAD"
        return Checkout(fork, source, (note,), base=default_branch(git, origin))
    return None


def _require_pushed(commit: str, state: Mapping[str, str]) -> None:
    ahead = int(state.get("branch.ab", "+0").split()[0])
    if ahead:
        raise UsageError(
            f"Commit {commit[:12]} is not pushed yet: {state['branch.head']} is "
            f"{_plural(ahead, 'commit')} ahead of {state['branch.upstream']}.",
            hint="Run `git push`, or use --ref to name a commit or branch that is pushed.",
        )


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
