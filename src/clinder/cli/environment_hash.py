"""``clinder environment-hash``: the part of a cache's key that stands for the environment."""

from __future__ import annotations

import json
import os
from pathlib import Path

from clinder.checkout.environment import environment_hash, read_environment
from clinder.checkout.git import Git
from clinder.checkout.reuse import remotes
from clinder.checkout.tree import NotReusable, Tree
from clinder.cli.streams import print_warning, write
from clinder.errors import UsageError


def write_hash(directory: Path, ref: str, output: str) -> None:
    """Write the hash of the environment files of a commit in a clone.

    It makes no difference whether the commit is pushed. Raises
    :class:`~clinder.errors.UsageError` if there is no clone, no such commit, or no environment.
    """
    git = Git(directory, os.environ)
    _require_clone(git)
    resolved = git.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if resolved.returncode:
        missing = "has no commit yet" if ref == "HEAD" else f"does not have {ref!r}"
        raise UsageError(f"This clone {missing}.", hint="Commit, or name a commit of this clone.")
    commit = resolved.stdout.strip()
    tree = Tree(git, commit)
    try:
        environment = read_environment(tree, remotes(git))
        value = environment_hash(tree, environment)
    except NotReusable as error:
        message = f"The environment of {commit[:12]} has no hash: {error}."
        raise UsageError(message, hint="Name another commit with --ref.") from None
    if environment.obstacle:
        print_warning(
            "The hash is that of all files, because the image might depend on them:"
            f" {environment.obstacle}."
        )
    if output == "json":
        paths = sorted(each.path for each in environment.entries)
        fields = {"hash": value, "commit": commit, "files": paths, "reason": environment.obstacle}
        value = json.dumps(fields)
    write(f"{value}\n")


def _require_clone(git: Git) -> None:
    try:
        git.read("rev-parse", "--git-dir")
    except UsageError as error:
        error.hint = "Run clinder in a clone of the repository, or name its --directory."
        raise
