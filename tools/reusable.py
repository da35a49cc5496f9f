"""Report how many of a clone's last pushes could have reused an image.

    python tools/reusable.py CLONE [--last 100] [--commit HEAD]

Each first parent counts as a push, because a merged pull request is one.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clinder.checkout.git import Git
from clinder.checkout.reuse import find_oldest_equivalent, remotes
from clinder.checkout.tree import NotReusable
from clinder.errors import UsageError
from clinder.repository import Repository


@dataclass
class Pushes:
    """The number of pushes, and how many of them could have ``reused`` an image.

    ``environments`` counts the pushes with a new environment, which a hub had to build. ``refused``
    counts the others by the reason that prevented a reuse.
    """

    number: int
    reused: int = 0
    environments: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def describe(self) -> str:
        """Return lines for a person."""
        share = f" ({100 * self.reused / self.number:.0f} %)" if self.number else ""
        return (
            f"{self.reused} of {self.number} pushes{share} could have reused an image;"
            f" {self.environments} brought a new environment.\n"
        ) + "".join(
            f"{number} could not: {reason}.\n" for reason, number in self.refused.most_common()
        )


def count_pushes(git: Git, commit: str, number: int) -> Pushes:
    """Count the last pushes of a branch, one run of commits with the same environment at a time.

    Raises :class:`~clinder.errors.UsageError` and :class:`~clinder.checkout.reuse.NotReusable` if
    git does not run or the clone's history is incomplete.
    """
    own = tuple(remotes(git))
    commits = git.read("rev-list", "--first-parent", f"--max-count={number}", commit)
    pushes = Pushes(len(commits))
    at = 0
    while at < len(commits):
        length, reason = _find_run(git, commits[at], own)
        counted = min(length, len(commits) - at)
        new_environment = length == counted
        if reason and counted > new_environment:
            pushes.refused[reason] += counted - new_environment
        elif not reason:
            pushes.reused += counted - new_environment
        pushes.environments += new_environment
        at += counted
    return pushes


def _find_run(git: Git, commit: str, own: Sequence[Repository]) -> tuple[int, str]:
    """Return how many commits up to this one share its environment.

    If their image cannot be reused, also return the reason. ``own`` are the names of the clone's
    repository.
    """
    try:
        length = find_oldest_equivalent(git, commit, force=True, own=own).newer + 1
    except NotReusable as error:
        if git.read("rev-parse", "--is-shallow-repository") == ["true"]:
            raise
        return 1, str(error)
    try:
        find_oldest_equivalent(git, commit, own=own)
    except NotReusable as error:
        return length, str(error).partition(". To reuse an image anyway")[0]
    return length, ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("clone", type=Path)
    parser.add_argument("--last", type=int, default=100, metavar="N", help="default: 100")
    parser.add_argument("--commit", default="HEAD", help="default: HEAD")
    options = parser.parse_args(arguments)
    git = Git(options.clone, os.environ)
    try:
        pushes = count_pushes(git, options.commit, options.last)
    except (NotReusable, UsageError) as error:
        message = str(error)
        sys.stderr.write(f"{message[:1].upper()}{message[1:].rstrip('.')}.\n")
        return 2
    sys.stdout.write(pushes.describe())
    return 0


if __name__ == "__main__":
    sys.exit(main())
