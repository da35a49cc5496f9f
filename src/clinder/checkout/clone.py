"""Detect the commit of a git clone: origin, HEAD, and whether HEAD is pushed."""

from __future__ import annotations

import re
from collections.abc import Mapping

from clinder.checkout.checkout import Checkout, repository_at
from clinder.checkout.git import EXAMPLES, Git, strip_credentials
from clinder.errors import UsageError


def detect_clone(git: Git, ref: str) -> Checkout:
    """Return ``origin`` at HEAD or at another ref. Raises UsageError if HEAD is not pushed."""
    lines = git.read("status", "--porcelain=v2", "--branch")
    state = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    changes = len(lines) - len(state)
    origin = _origin(git)
    if ref:
        return Checkout(repository_at(origin, ref), "this checkout's origin")
    commit = state["branch.oid"]
    if commit == "(initial)":
        raise UsageError(
            "This checkout has no commit yet.",
            hint="Run `git commit` and `git push`, or name another commit or branch with --ref.",
        )
    warnings = _warn_if_unpushed(git, commit, state)
    if changes:
        warnings += (f"The hub cannot see {_plural(changes, 'uncommitted change')}.",)
    return Checkout(repository_at(origin, commit), "this checkout's origin and HEAD", warnings)


def _origin(git: Git) -> str:
    """Return the URL from which git fetches ``origin``, after ``url.*.insteadOf``."""
    remotes = git.read("remote")
    if "origin" not in remotes:
        others = f", only {', '.join(remotes)}" if remotes else ""
        raise UsageError(f"This checkout has no remote named origin{others}.", hint=EXAMPLES)
    url = next(iter(git.read("remote", "get-url", "origin")), "")
    if _is_path(url):
        raise UsageError(
            f"This checkout's origin is on this machine, not on a server: {strip_credentials(url)}",
            hint=EXAMPLES,
        )
    return url


def _is_path(url: str) -> bool:
    """Whether git would read the URL as a path (``connect.c``)."""
    host = url.partition("/")[0]
    return ":" not in host or host == "file:" or bool(re.match(r"[A-Za-z]:[\\/]", url))


def _warn_if_unpushed(git: Git, commit: str, state: Mapping[str, str]) -> tuple[str, ...]:
    """Return a warning if no known branch of origin has the commit; raise if none can have it."""
    containing = ("for-each-ref", f"--contains={commit}", "--format=%(refname:lstrip=2)")
    branches = git.read(*containing, "refs/remotes")
    if any(branch.startswith("origin/") for branch in branches):
        return ()
    if branches:
        return (f"Commit {commit[:12]} is on {branches[0]}, but not on a known branch of origin.",)
    ahead = int(state.get("branch.ab", "+0").split()[0])
    if ahead:
        raise UsageError(
            f"Commit {commit[:12]} is not pushed yet: {state['branch.head']} is "
            f"{_plural(ahead, 'commit')} ahead of {state['branch.upstream']}.",
            hint="Run `git push`, or use --ref to name a commit or branch that is pushed.",
        )
    return (f"Commit {commit[:12]} is not on a known branch of origin. Hubs need a pushed commit.",)


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
