"""What a git checkout says is being worked on: origin, HEAD, pushed or not."""

from __future__ import annotations

import re
from collections.abc import Mapping

from clinder.checkout.checkout import Checkout, repository_at
from clinder.checkout.git import EXAMPLES, Git, strip_credentials
from clinder.errors import UsageError


def detect_clone(git: Git, ref: str) -> Checkout:
    """Return the commit that is checked out in a clone of ``origin``, or another ref of it."""
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
            hint="Type `git commit` and `git push`, or name another commit or branch with --ref.",
        )
    warnings = _warn_if_unpushed(git, commit, state)
    if changes:
        warnings += (f"Not part of what the hub builds: {_plural(changes, 'uncommitted change')}.",)
    return Checkout(repository_at(origin, commit), "this checkout's origin and HEAD", warnings)


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
