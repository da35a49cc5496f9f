"""Say how many of a clone's last pushes could have reused an image.

    python tools/reusable.py CLONE [--last 100] [--commit HEAD]

A push is a commit of the branch itself, by first parents, as a forge's merges make them.
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
from clinder.checkout.reuse import NotReusable, find_oldest_equivalent
from clinder.errors import UsageError


@dataclass
class Pushes:
    """How many pushes there were, how many could have reused an image, or why they could not.

    ``environments`` is how many times the environment was another, so that a hub had to build.
    """

    number: int = 0
    reused: int = 0
    environments: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def words(self) -> str:
        """Return it as lines for a person."""
        share = f" ({100 * self.reused / self.number:.0f} %)" if self.number else ""
        return (
            f"{self.reused} of {self.number} pushes{share} could have reused an image;"
            f" {self.environments} brought a new environment.\n"
        ) + "".join(f"{number} could not: {why}.\n" for why, number in self.refused.most_common())


def last_pushes(git: Git, commit: str, number: int) -> Pushes:
    """Look at the last pushes of a branch, from one run of the same environment to the next.

    Raises :class:`~clinder.errors.UsageError` and :class:`Unlike` where the clone does not tell.
    """
    commits = git.read("rev-list", "--first-parent", f"--max-count={number}", commit)
    pushes = Pushes(len(commits))
    at = 0
    while at < len(commits):
        length, why = _run(git, commits[at])
        seen = min(length, len(commits) - at)
        brought = length == seen
        if why and seen > brought:
            pushes.refused[why] += seen - brought
        elif not why:
            pushes.reused += seen - brought
        pushes.environments += brought
        at += seen
    return pushes


def _run(git: Git, commit: str) -> tuple[int, str]:
    """Return how many commits share an environment, and why its image cannot be reused, if so."""
    try:
        length = find_oldest_equivalent(git, commit, force=True).newer + 1
    except NotReusable as error:
        if git.read("rev-parse", "--is-shallow-repository") == ["true"]:
            raise
        return 1, str(error)
    try:
        find_oldest_equivalent(git, commit)
    except NotReusable as error:
        return length, str(error).partition(". ")[0]
    return length, ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("clone", type=Path)
    parser.add_argument("--last", type=int, default=100, metavar="N", help="default: 100")
    parser.add_argument("--commit", default="HEAD", help="default: HEAD")
    given = parser.parse_args(arguments)
    git = Git(given.clone, os.environ)
    try:
        pushes = last_pushes(git, given.commit, given.last)
    except (NotReusable, UsageError) as error:
        words = str(error)
        sys.stderr.write(f"{words[:1].upper()}{words[1:].rstrip('.')}.\n")
        return 2
    sys.stdout.write(pushes.words())
    return 0


if __name__ == "__main__":
    sys.exit(main())
