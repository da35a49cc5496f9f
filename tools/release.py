r"""The git part of a release: ``check``, before anything is built, and ``push``, at the end.

The repository contains only sources, but ``org/clinder-action@v1`` must also contain clinder.pyz,
so that a job downloads nothing. Therefore a release has two commits::

    main:  ... -- S -- ...      S: tagged v1.2.3-source by a person, which starts the release
                   \
                    R           R: S plus clinder.pyz, tagged v1.2.3 and v1 by the release

R is on no branch. The same S and the same zipapp always give the same R, so an interrupted release
can be run again. A tag with three numbers never moves; v1 moves to the newest version.

Uses only the standard library: the job that can write to the repository installs nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from changelog import NotReady, notes

SUFFIX = "-source"
ZIPAPP = "clinder.pyz"
_AUTHOR = ("github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com")
_REVIEWED = ("origin/main", "origin/release-*")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def version() -> str:
    """Return the version of the sources. Raises :class:`NotReady`."""
    source = Path("src", "clinder", "_version.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "(.*)"$', source, re.MULTILINE)
    if not match or not _VERSION.fullmatch(match[1]):
        raise NotReady("src/clinder/_version.py has no version with three numbers.")
    return match[1]


def check(tag: str) -> str:
    """Return the version that a tag releases. Raises :class:`NotReady`."""
    ours = version()
    if tag != f"v{ours}{SUFFIX}":
        raise NotReady(f"The tag is {tag}, but the sources are v{ours}{SUFFIX}.")
    notes(Path("CHANGELOG.md").read_text(encoding="utf-8"), ours)
    if not _git("branch", "--remotes", "--contains", "HEAD", "--list", *_REVIEWED):
        raise NotReady(f"The commit of {tag} is neither on main nor on a release-* branch.")
    return ours


def push(zipapp: Path) -> str:
    """Commit the zipapp on top of HEAD, push the commit's tags, and return the commit.

    Raises :class:`NotReady`, and :class:`subprocess.CalledProcessError` if git fails. A failed push
    changes nothing.
    """
    ours = version()
    commit = _commit(zipapp, ours)
    refs = [f"{commit}:refs/tags/v{ours}"]  # no plus: never moves an existing tag
    major = ours.partition(".")[0]
    if _is_newest(ours, major):
        refs.append(f"+{commit}:refs/tags/v{major}")
    _git("push", "--quiet", "--atomic", "origin", *refs)
    return commit


def _commit(zipapp: Path, ours: str) -> str:
    """Commit HEAD and the zipapp without touching the work tree, and return the commit."""
    when = _git("show", "--no-patch", "--format=%cI", "HEAD")
    name, email = _AUTHOR
    identity = {
        f"GIT_{role}_{field}": value
        for role in ("AUTHOR", "COMMITTER")
        for field, value in (("NAME", name), ("EMAIL", email), ("DATE", when))
    }
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        blob = _git("hash-object", "-w", "--no-filters", str(zipapp))
        _git("read-tree", "HEAD", **index)
        _git("update-index", "--add", "--cacheinfo", f"100644,{blob},{ZIPAPP}", **index)
        tree = _git("write-tree", **index)
    return _git("commit-tree", tree, "-p", "HEAD", "-m", f"Release v{ours}", **identity)


def _is_newest(ours: str, major: str) -> bool:
    tags = _git("tag", "--list", f"v{major}.*").split()
    released = [each[1:] for each in tags if _VERSION.fullmatch(each[1:])]
    return all(_numbers(ours) >= _numbers(each) for each in released)


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(".")]


def _git(*arguments: str, **variables: str) -> str:
    result = subprocess.run(  # noqa: S603 - no shell, and the arguments are ours
        ["git", *arguments],  # noqa: S607 - the git on PATH
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return result.stdout.strip()


def main() -> None:
    """Run a command in the repository that is the current folder."""
    parser = argparse.ArgumentParser(description="The git part of a release.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check").add_argument("tag")
    commands.add_parser("push").add_argument("zipapp", type=Path)
    chosen = parser.parse_args()
    try:
        result = check(chosen.tag) if chosen.command == "check" else push(chosen.zipapp)
    except (NotReady, OSError) as error:
        sys.exit(f"release: {error}")
    except subprocess.CalledProcessError as failed:
        sys.exit(f"release: `git {failed.cmd[1]}` failed; see above. Nothing was pushed.")
    sys.stdout.write(f"{result}\n")


if __name__ == "__main__":
    main()
