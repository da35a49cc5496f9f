"""Compare the images of commits between which clinder sees no difference, as repo2docker sees them.

    python tools/oracle.py CLONE... [--last 150] [--pairs 10]

For commits of each clone's history, this asks clinder which commit's image it would reuse. Then it
has repo2docker render both, and compares the Dockerfiles and the files that the builds depend on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from clinder.checkout.git import Git
from clinder.checkout.reuse import find_oldest_equivalent, remotes
from clinder.checkout.tree import NotReusable
from clinder.repository import Repository

PYTHON = Path(sys.prefix) / "repo2docker" / "bin" / "python"
"""``make test`` installs repo2docker into an environment of its own."""
Build = Mapping[str, Any]


class Oracle:
    """A process that describes what repo2docker's build of a folder depends on."""

    def __init__(self, *own: str):
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [PYTHON, Path(__file__).with_name("build_inputs.py"), *own],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )

    def __enter__(self) -> Oracle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def describe(self, folder: Path, all_files: str) -> Build:
        """Return the Dockerfile and the inputs of a folder's build.

        ``all_files`` is a hash of all files. It counts if the build might read any of them.
        """
        folders, builds = self._process.stdin, self._process.stdout
        if not (folders and builds):
            raise RuntimeError("The process has no pipes.")
        folders.write(f"{folder}\t{all_files}\n")
        folders.flush()
        build: Build = json.loads(builds.readline())
        return build


def compare(one: Build, other: Build) -> list[str]:
    """Return what differs between two builds: ``refused``, ``dockerfile`` or paths."""
    differing = [key for key in ("refused", "dockerfile") if one.get(key) != other.get(key)]
    inputs = (one.get("inputs", {}), other.get("inputs", {}))
    paths = sorted({*inputs[0], *inputs[1]})
    return differing + [path for path in paths if inputs[0].get(path) != inputs[1].get(path)]


@dataclass
class Comparison:
    """What was found in one clone."""

    requested: int = 0
    unchanged: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    identical: int = 0
    different: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """Return lines for a person."""
        reasons = "".join(f"    {number} times: {why}\n" for why, number in self.refused.items())
        wrong = "".join(f"    DIFFERENT: {pair}\n" for pair in self.different)
        return (
            f"{self.requested} commits: {self.unchanged} first with their environment,"
            f" {sum(self.refused.values())} refused, {self.identical} reused and identical,"
            f" {len(self.different)} reused and different\n{reasons}{wrong}"
        )


class Commits:
    """The builds of a clone's commits, in a work tree of its own."""

    def __init__(self, clone: Path, folder: Path, oracle: Oracle):
        self._folder, self._oracle = folder, oracle
        self._builds: dict[str, Build] = {}
        _git("clone", "--quiet", "--shared", "--no-checkout", str(clone), str(folder))

    def build(self, commit: str) -> Build:
        """Return the inputs of a commit's build."""
        if commit not in self._builds:
            work = ("-C", str(self._folder))
            _git(*work, "checkout", "--quiet", "--force", "--detach", commit)
            _git(*work, "clean", "--quiet", "-ffdx")
            tree = _git(*work, "rev-parse", f"{commit}^{{tree}}")
            self._builds[commit] = self._oracle.describe(self._folder, tree)
        return self._builds[commit]


def _git(*arguments: str) -> str:
    """Run git without hooks and large files. Raises ``CalledProcessError`` if it fails."""
    command = ["git", "-c", f"core.hooksPath={os.devnull}", *arguments]
    environ = {**os.environ, "GIT_LFS_SKIP_SMUDGE": "1"}
    return subprocess.check_output(command, env=environ, text=True).strip()  # noqa: S603 - no shell


def compare_pairs(clone: Path, last: int, pairs: int) -> Comparison:
    """Compare up to so many commits among the last ones with those that clinder would reuse."""
    git = Git(clone, os.environ)
    own = tuple(remotes(git))
    commits = git.read("rev-list", "--first-parent", f"--max-count={last}", "HEAD")
    found = Comparison()
    with tempfile.TemporaryDirectory() as folder, Oracle(*(each.name for each in own)) as oracle:
        work = Commits(clone, Path(folder) / "work", oracle)
        for commit in _spread(commits, pairs):
            found.requested += 1
            _compare_pair(found, git, work, commit, own)
    return found


def _spread(commits: Sequence[str], number: int) -> Iterator[str]:
    step = max(1, len(commits) / number)
    yield from (commits[int(at * step)] for at in range(min(number, len(commits))))


def _compare_pair(
    found: Comparison, git: Git, work: Commits, commit: str, own: tuple[Repository, ...]
) -> None:
    try:
        reused = find_oldest_equivalent(git, commit, own=own).commit
    except NotReusable as error:
        why = str(error).partition(". To reuse")[0]
        found.refused[why] = found.refused.get(why, 0) + 1
        return
    if reused == commit:
        found.unchanged += 1
        return
    differing = compare(work.build(commit), work.build(reused))
    if differing:
        found.different.append(f"{commit[:12]} and {reused[:12]}: {', '.join(differing[:5])}")
    else:
        found.identical += 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code: 1 if a reused image is another one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("clones", type=Path, nargs="+", metavar="CLONE")
    parser.add_argument("--last", type=int, default=150, metavar="N", help="default: 150")
    parser.add_argument("--pairs", type=int, default=10, metavar="N", help="default: 10")
    options = parser.parse_args(arguments)
    code = 0
    for clone in options.clones:
        found = compare_pairs(clone, options.last, options.pairs)
        sys.stdout.write(f"{clone.name}: {found.describe()}")
        sys.stdout.flush()
        code = max(code, int(bool(found.different)))
    return code


if __name__ == "__main__":
    sys.exit(main())
