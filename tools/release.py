r"""What a release needs of git: ``check``, before anything is built, and ``push``, at the end.

The repository holds sources; what people use as ``org/clinder-action@v1`` also holds clinder.pyz,
so that nothing is downloaded. So there are two commits::

    main:  ... -- S -- ...      S is tagged v1.2.3-source, by a person: it starts the release
                   \
                    R           R = S and clinder.pyz, tagged v1.2.3 and v1, by the release

R is on no branch, and S tells all of it: the same S and the same zipapp give the same R, so that a
release that broke off can be run again. A tag of three numbers never moves; v1 moves to the newest.

Standard library only, as the job that may write to the repository installs nothing.
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
    """Return the version that the sources have. Raises :class:`NotReady`."""
    source = Path("src", "clinder", "_version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.*)"$', source, re.MULTILINE)
    if not found or not _VERSION.fullmatch(found[1]):
        raise NotReady("src/clinder/_version.py has no version of three numbers.")
    return found[1]


def check(tag: str) -> str:
    """Return the version that a tag releases. Raises :class:`NotReady`."""
    ours = version()
    if tag != f"v{ours}{SUFFIX}":
        raise NotReady(f"The tag is {tag}, but the sources are v{ours}{SUFFIX}.")
    notes(Path("CHANGELOG.md").read_text(encoding="utf-8"), ours)
    if not _git("branch", "--remotes", "--contains", "HEAD", "--list", *_REVIEWED):
        raise NotReady(f"The commit of {tag} is not on main, nor on a branch release-*.")
    return ours


def push(zipapp: Path) -> str:
    """Commit the zipapp on top of HEAD, tag that, push the tags; return the commit.

    Raises :class:`NotReady`, and :class:`subprocess.CalledProcessError` of git; a push that fails
    has moved nothing.
    """
    ours = version()
    commit = _committed(zipapp, ours)
    refs = [f"{commit}:refs/tags/v{ours}"]  # without a plus: it is made, or is this very commit
    major = ours.partition(".")[0]
    if _is_newest(ours, major):
        refs.append(f"+{commit}:refs/tags/v{major}")
    _git("push", "--quiet", "--atomic", "origin", *refs)
    return commit


def _committed(zipapp: Path, ours: str) -> str:
    """Return a commit of HEAD and the zipapp, made without touching the work tree."""
    when = _git("show", "--no-patch", "--format=%cI", "HEAD")
    name, email = _AUTHOR
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", name), ("EMAIL", email), ("DATE", when))
    }
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        blob = _git("hash-object", "-w", "--no-filters", str(zipapp))
        _git("read-tree", "HEAD", **index)
        _git("update-index", "--add", "--cacheinfo", f"100644,{blob},{ZIPAPP}", **index)
        tree = _git("write-tree", **index)
    return _git("commit-tree", tree, "-p", "HEAD", "-m", f"Release v{ours}", **who)


def _is_newest(ours: str, major: str) -> bool:
    tags = _git("tag", "--list", f"v{major}.*").split()
    released = [each[1:] for each in tags if _VERSION.fullmatch(each[1:])]
    return all(_numbers(ours) >= _numbers(each) for each in released)


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(".")]


def _git(*arguments: str, **variables: str) -> str:
    ran = subprocess.run(  # noqa: S603 - no shell, and the arguments are ours
        ["git", *arguments],  # noqa: S607 - the git on the path
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return ran.stdout.strip()


def main() -> None:
    """Do what the arguments say, in the repository that is the current folder."""
    parser = argparse.ArgumentParser(description="The release's part in git.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check").add_argument("tag")
    commands.add_parser("push").add_argument("zipapp", type=Path)
    asked = parser.parse_args()
    try:
        said = check(asked.tag) if asked.command == "check" else push(asked.zipapp)
    except (NotReady, OSError) as error:
        sys.exit(f"release: {error}")
    except subprocess.CalledProcessError as failed:
        sys.exit(f"release: `git {failed.cmd[1]}` failed, see above. Nothing was pushed.")
    sys.stdout.write(f"{said}\n")


if __name__ == "__main__":
    main()
