"""Which commit's image will do: the oldest that has had the environment of the one asked for.

It is the same commit for every push until the environment changes, so a hub builds it once.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clinder.checkout.buildpacks import (
    FOLDERS,
    ROOT,
    ROOT_PATTERNS,
    SETTINGS,
    is_environment_file,
    is_inspected,
    needs_source,
)
from clinder.checkout.checkout import Checkout
from clinder.checkout.git import Git, strip_credentials
from clinder.errors import UsageError
from clinder.repository import Repository

_LARGE = 1_000_000
"""Bytes of an environment file that is not looked into: nobody wrote it."""
_FOLDER, _LINK, _SUBMODULE = "040000", "120000", "160000"


@dataclass(frozen=True)
class Choice:
    """Which commit is launched for the one that was asked for, and in a sentence or two why.

    ``refused`` says that nothing could be found out, or that the image of another commit would
    not do: then the commit itself is launched.
    """

    requested: Repository
    launched: Repository
    reason: str
    refused: bool = False


@dataclass(frozen=True)
class Reusable:
    """The oldest ``commit`` of an unbroken run, and by how many commits the one asked is newer.

    ``environment`` is what they share, in words.
    """

    commit: str
    newer: int
    environment: str


class NotReusable(Exception):
    """No other commit's image will do, or none can be found; its text is the rest of a sentence."""


def choose_commit(
    checkout: Checkout, directory: Path, environ: Mapping[str, str], *, force: bool = False
) -> Choice:
    """Return what to launch for the commit of a checkout; it never fails.

    With ``force`` it does not matter that the build may read the rest of the repository.
    """
    asked = checkout.repository
    git = Git(directory, environ)
    try:
        alike = find_oldest_equivalent(git, asked.ref, force=force)
    except (NotReusable, UsageError) as error:
        why = f"Commit {asked.ref[:12]} is launched itself: {error}"
        return Choice(asked, asked, why.rstrip(".") + ".", refused=True)
    launched = asked.with_ref(alike.commit)
    if checkout.base and _is_ancestor(git, alike.commit, checkout.base.ref):
        launched = checkout.base.with_ref(alike.commit)
    return Choice(asked, launched, _reason(asked, launched, alike))


def _reason(asked: Repository, launched: Repository, alike: Reusable) -> str:
    short = launched.ref[:12]
    if launched == asked:
        return (
            f"Commit {short} is launched itself: it is the first with its environment"
            f" ({alike.environment})."
        )
    place = f" of {launched.name}" if launched.name != asked.name else ""
    newer = "1 commit" if alike.newer == 1 else f"{alike.newer} commits"
    return (
        f"Commit {short}{place} is launched in place of {asked.ref[:12]}, which is {newer} newer"
        f" and has the same environment ({alike.environment}). Files on the server are those of"
        f" {short}."
    )


def find_oldest_equivalent(git: Git, commit: str, *, force: bool = False) -> Reusable:
    """Return the oldest of the unbroken run of first parents with the environment of a commit.

    Raises :class:`NotReusable` where the history does not tell or the image would not do, and
    :class:`~clinder.errors.UsageError` where git itself does not run.
    """
    _require_full_history(git, commit)
    files = _Files.at_commit(git, commit)
    if not force and (reason := files.reason(git)):
        raise NotReusable(f"{reason}. Only `force` has another image launched all the same")
    walk = ("rev-list", "--first-parent")
    changed = _read(git, *walk, "--max-count=1", commit, "--", *files.pathspecs(git)).split()
    (oldest,) = changed or _read(git, *walk, "--max-parents=0", commit).split()
    newer = _read(git, *walk, "--count", f"{oldest}..{commit}")
    return Reusable(oldest, int(newer), files.description)


def _require_full_history(git: Git, commit: str) -> None:
    """Raise where the commit's whole history is not here."""
    asked = git.run("rev-parse", "--is-shallow-repository")
    if "not a git repository" in asked.stderr:
        raise NotReusable(f"there is no clone whose history would tell. {_how_to_fetch_all(git)}")
    if asked.returncode:
        raise _unreadable(git, asked.stderr)
    if asked.stdout.strip() == "true":
        raise NotReusable(
            f"this clone is shallow, and its history may not tell. {_how_to_fetch_all(git)}"
        )
    if git.run("cat-file", "-e", f"{commit}^{{commit}}").returncode:
        raise NotReusable(f"it is not in this clone. {_how_to_fetch_all(git)}")


def _read(git: Git, *arguments: str) -> str:
    """Return git's output. Raises :class:`NotReusable` if git fails: no output looks harmless."""
    done = git.run(*arguments)
    if done.returncode:
        raise _unreadable(git, done.stderr)
    return done.stdout


def _unreadable(git: Git, message: str) -> NotReusable:
    """Return what is to be said where git failed with such words."""
    if "lazy fetching disabled" in message:
        advice = "Clone without `--filter`"
        if git.environ.get("GITHUB_ACTIONS"):
            advice = "Leave out `filter` and `sparse-checkout` of actions/checkout"
        return NotReusable(f"this is a partial clone, without the files that would tell. {advice}")
    said = strip_credentials(message.strip()).partition("\n")[0]
    return NotReusable(f"git cannot read this clone: {said}")


def _how_to_fetch_all(git: Git) -> str:
    """Return how to get a whole clone."""
    if git.environ.get("GITHUB_ACTIONS"):
        return "Let actions/checkout run before, with `fetch-depth: 0`"
    if git.environ.get("GITLAB_CI"):
        return "Set the variable `GIT_DEPTH: 0` for this job"
    return "Type `git fetch --unshallow`, or where the clone is not shallow `git fetch`"


def _is_ancestor(git: Git, commit: str, other: str) -> bool:
    return git.run("merge-base", "--is-ancestor", commit, other).returncode == 0


@dataclass(frozen=True)
class _Entry:
    """One entry of a commit's tree."""

    mode: str
    id: str
    size: int
    path: str


@dataclass(frozen=True)
class _Files:
    """The environment files of a commit: all that is in ``folder``, or those at the root.

    ``settings`` is a file or folder at the root that tools take for a user's settings.
    """

    commit: str
    folder: str
    entries: tuple[_Entry, ...]
    settings: str

    @classmethod
    def at_commit(cls, git: Git, commit: str) -> _Files:
        """Return those of a commit. Raises :class:`NotReusable` for what repo2docker refuses."""
        root = _tree(git, commit)
        folders = [each for each in root if each.path in FOLDERS and each.mode == _FOLDER]
        if len(folders) > 1:
            raise NotReusable("it has both binder/ and .binder/, which repo2docker refuses")
        settings = next((each.path for each in root if each.path in SETTINGS), "")
        if folders:
            inside = _tree(git, commit, folders[0].path, deep=True)
            return cls(commit, folders[0].path, tuple(inside), settings)
        odd = [each for each in root if each.path in FOLDERS and each.mode in (_LINK, _SUBMODULE)]
        files = [each for each in root if is_environment_file(each.path)]
        return cls(commit, "", (*odd, *files), settings)

    @property
    def description(self) -> str:
        """The files in words."""
        names = [each.path for each in self.entries]
        shown = ", ".join(names[:3]) + (" and more" if names[3:] else "")
        return f"{self.folder}/" if self.folder else shown or "no files"

    def pathspecs(self, git: Git) -> list[str]:
        """Return what git compares: nothing else can change this environment."""
        names = [*FOLDERS, *(() if self.folder else ROOT)]
        names += [self._target(git, each) for each in self.entries if each.mode == _LINK]
        patterns = () if self.folder else ROOT_PATTERNS
        return [
            *(f":(top,literal){name}" for name in names if _is_inside(name)),
            *(f":(top,glob){pattern}" for pattern in patterns),
        ]

    def reason(self, git: Git) -> str:
        """Return why the build needs more than these files, or ``""`` where it does not."""
        texts: dict[str, str] = {}
        for entry in self.entries:
            name = entry.path.removeprefix(f"{self.folder}/") if self.folder else entry.path
            if entry.mode == _SUBMODULE:
                return f"{entry.path} is a submodule, whose files are not here"
            file = self._file(git, entry)
            if file is None:
                return f"{entry.path} is a symbolic link to what is no single file here"
            if is_inspected(name):
                if file.size > _LARGE:
                    return f"{entry.path} is too large to be looked into"
                texts[name] = _read(git, "cat-file", "blob", file.id)
        if self.settings and "postBuild" in texts:
            return f"postBuild runs beside {self.settings}, which may steer what it does"
        return needs_source(texts, at_root=not self.folder)

    def _target(self, git: Git, entry: _Entry) -> str:
        """Return the path that a symbolic link leads to."""
        target = _read(git, "cat-file", "blob", entry.id)
        return posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), target))

    def _file(self, git: Git, entry: _Entry) -> _Entry | None:
        """Return the file that is read for an entry, or ``None`` where that is no such file."""
        if entry.mode != _LINK:
            return entry
        target = self._target(git, entry)
        if not _is_inside(target):
            return None
        found = [each for each in _tree(git, self.commit, target) if each.path == target]
        return found[0] if found and found[0].mode not in (_LINK, _SUBMODULE, _FOLDER) else None


def _is_inside(path: str) -> bool:
    return not path.startswith(("/", "../")) and path not in (".", "..")


def _tree(git: Git, commit: str, path: str = "", *, deep: bool = False) -> list[_Entry]:
    """Return the entries of a commit's root, or of a path in it, or of all beneath that."""
    options = ["-z", "--long", "--full-tree", *(["-r"] if deep else [])]
    paths = ["--", path] if path else []
    entries = []
    listed = _read(git, "--literal-pathspecs", "ls-tree", *options, commit, *paths)
    for line in filter(None, listed.split("\0")):
        facts, _, name = line.partition("\t")
        mode, _, identity, size = facts.split()
        entries.append(_Entry(mode, identity, int(size) if size.isdigit() else 0, name))
    return entries
