"""What to launch if a hub refuses a fork's commit or cannot clone it: the target repository's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from clinder.checkout.checkout import Checkout
from clinder.checkout.git import Git
from clinder.checkout.reuse import Choice, find_same_environment, own_names
from clinder.checkout.tree import NotReusable
from clinder.errors import UsageError


def find_fallback(
    checkout: Checkout, directory: Path, environ: Mapping[str, str], *, force: bool = False
) -> Choice | None:
    """Return the target repository's commit with the same environment; never raises.

    A refused choice explains why there is no such commit. ``None`` means that the checkout is not
    a fork's. ``force`` ignores that the build might read the rest of the repository.
    """
    requested, base = checkout.repository, checkout.base
    if base is None or not requested.is_commit:
        return None
    git = Git(directory, environ)
    short, target = requested.ref[:12], base.name
    try:
        commits = list(_commits(git, requested.ref, base.ref))
        commit, environment = find_same_environment(
            git, requested.ref, commits, force=force, own=own_names(checkout, git)
        )
    except (NotReusable, UsageError) as error:
        reason = f"No commit of {target} is launched instead of {short}: {error}"
        return Choice(requested, requested, reason.rstrip(".") + ".", refused=True)
    reason = (
        f"The hub cannot launch commit {short} of {requested.name}, so clinder launches commit"
        f" {commit[:12]} of {target}, which has the same environment ({environment}). The server"
        f" has the files of {commit[:12]}."
    )
    return Choice(requested, base.with_ref(commit), reason)


def _commits(git: Git, head: str, base: str) -> Iterator[str]:
    """Yield commits of the target's branch, the newest first.

    GitHub's jobs check out a merge of the pull request into its target, and with ``fetch-depth: 2``
    the merge's parents, too. The event's own base can be older than that.
    """
    parents = git.run("rev-parse", "HEAD^1", "HEAD^2").stdout.split()
    if parents[1:] == [head]:
        yield parents[0]
    yield base
    yield from git.run("merge-base", head, base).stdout.split()
