"""Find the oldest commit whose image can be reused for the requested one.

It stays the same for every push until the environment files change, so a hub builds it once.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clinder.checkout import buildpacks
from clinder.checkout.checkout import Checkout
from clinder.checkout.environment_files import LIMIT, TOO_LARGE
from clinder.checkout.git import Git, strip_credentials
from clinder.errors import UsageError
from clinder.repository import Repository

_FOLDER, _LINK, _SUBMODULE = "040000", "120000", "160000"


@dataclass(frozen=True)
class Choice:
    """The commit to launch instead of the requested one, and the reason in a sentence or two.

    If ``refused``, both are the same: clinder could not tell, or the image of another commit might
    behave differently.
    """

    requested: Repository
    launched: Repository
    reason: str
    refused: bool = False


@dataclass(frozen=True)
class Reusable:
    """The oldest ``commit`` with the same environment, ``newer`` commits before the requested one.

    ``environment`` lists the files that they share.
    """

    commit: str
    newer: int
    environment: str


class NotReusable(Exception):
    """No other commit's image can be reused. The message continues a sentence after a colon."""


def choose_commit(
    checkout: Checkout, directory: Path, environ: Mapping[str, str], *, force: bool = False
) -> Choice:
    """Return what to launch for the commit of a checkout; never raises.

    ``force`` ignores that the build might read the rest of the repository.
    """
    requested = checkout.repository
    git = Git(directory, environ)
    try:
        reusable = find_oldest_equivalent(git, requested.ref, force=force)
    except (NotReusable, UsageError) as error:
        reason = f"Commit {requested.ref[:12]} is launched as requested: {error}"
        return Choice(requested, requested, reason.rstrip(".") + ".", refused=True)
    launched = requested.with_ref(reusable.commit)
    if checkout.base and _is_ancestor(git, reusable.commit, checkout.base.ref):
        launched = checkout.base.with_ref(reusable.commit)
    return Choice(requested, launched, _explain(requested, launched, reusable))


def _explain(requested: Repository, launched: Repository, reusable: Reusable) -> str:
    short = launched.ref[:12]
    if launched == requested:
        return (
            f"Commit {short} is launched as requested: it is the first with its environment"
            f" ({reusable.environment})."
        )
    of_base = f" of {launched.name}" if launched.name != requested.name else ""
    newer = "1 commit" if reusable.newer == 1 else f"{reusable.newer} commits"
    return (
        f"Commit {short}{of_base} is launched instead of {requested.ref[:12]}, which is {newer}"
        f" newer and has the same environment ({reusable.environment}). The server has the files"
        f" of {short}."
    )


def find_oldest_equivalent(git: Git, commit: str, *, force: bool = False) -> Reusable:
    """Return the oldest commit of the unbroken run of first parents with the same environment.

    Raises :class:`NotReusable` if the history is incomplete or the image might differ, and
    :class:`~clinder.errors.UsageError` if git does not run.
    """
    _require_full_history(git, commit)
    files = _Files.at_commit(git, commit)
    if not force and (obstacle := files.find_obstacle(git)):
        raise NotReusable(f"{obstacle}. To reuse an image anyway, use `force`")
    walk = ("rev-list", "--first-parent")
    changed = _read(git, *walk, "--max-count=1", commit, "--", *files.pathspecs(git)).split()
    (oldest,) = changed or _read(git, *walk, "--max-parents=0", commit).split()
    newer = _read(git, *walk, "--count", f"{oldest}..{commit}")
    return Reusable(oldest, int(newer), files.description)


def find_same_environment(
    git: Git, commit: str, others: Iterable[str], *, force: bool = False
) -> tuple[str, str]:
    """Return the first of these other commits with the same environment, and that environment.

    No history is needed, and commits that this clone does not have are skipped. Raises
    :class:`NotReusable` if there is none or if its image might differ, and
    :class:`~clinder.errors.UsageError` if git does not run.
    """
    present = [each for each in others if _has_commit(git, each)]
    if not _has_commit(git, commit) or not present:
        raise NotReusable(f"there is no clone with both commits. {_how_to_fetch_all(git)}")
    files = _Files.at_commit(git, commit)
    difference = ""
    for other in present:
        diff = ("diff-tree", "-r", "--name-only", other, commit, "--", *files.pathspecs(git))
        changed = _read(git, *diff).splitlines()
        difference = difference or next(iter(changed), "")
        if changed:
            continue
        if not force and (obstacle := files.find_obstacle(git)):
            raise NotReusable(f"{obstacle}. To reuse an image anyway, use `force`")
        return other, files.description
    raise NotReusable(f"{difference} differs")


def _require_full_history(git: Git, commit: str) -> None:
    """Raise :class:`NotReusable` if the clone does not have the whole history of the commit."""
    shallow = git.run("rev-parse", "--is-shallow-repository")
    if "not a git repository" in shallow.stderr:
        raise NotReusable(f"there is no clone, so no history. {_how_to_fetch_all(git)}")
    if shallow.returncode:
        raise _unreadable(git, shallow.stderr)
    if shallow.stdout.strip() == "true":
        raise NotReusable(f"this clone is shallow. {_how_to_fetch_all(git)}")
    if not _has_commit(git, commit):
        raise NotReusable(f"it is not in this clone. {_how_to_fetch_all(git)}")


def _has_commit(git: Git, commit: str) -> bool:
    return git.run("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0


def _read(git: Git, *arguments: str) -> str:
    """Return git's output. Raises :class:`NotReusable` if git fails."""
    done = git.run(*arguments)
    if done.returncode:
        raise _unreadable(git, done.stderr)
    return done.stdout


def _unreadable(git: Git, message: str) -> NotReusable:
    if "lazy fetching disabled" in message or "promisor remote" in message:
        advice = "Clone without `--filter`"
        if git.environ.get("GITHUB_ACTIONS"):
            advice = "Remove `filter` and `sparse-checkout` from actions/checkout"
        return NotReusable(f"this is a partial clone, without some of the files. {advice}")
    first_line = strip_credentials(message.strip()).partition("\n")[0]
    return NotReusable(f"git cannot read this clone: {first_line}")


def _how_to_fetch_all(git: Git) -> str:
    if git.environ.get("GITHUB_ACTIONS"):
        return "Run actions/checkout beforehand, with `fetch-depth: 0`"
    if git.environ.get("GITLAB_CI"):
        return "Set the variable `GIT_DEPTH: 0` for this job"
    return "Run `git fetch --unshallow`, or `git fetch` if the clone is not shallow"


def _is_ancestor(git: Git, commit: str, other: str) -> bool:
    return git.run("merge-base", "--is-ancestor", commit, other).returncode == 0


@dataclass(frozen=True)
class _Entry:
    mode: str
    id: str
    size: int
    path: str


@dataclass(frozen=True)
class _Files:
    """The environment files of a commit: everything in ``folder``, or those at the root.

    ``settings`` is a file or folder at the root that tools treat as the user's settings.
    """

    commit: str
    folder: str
    entries: tuple[_Entry, ...]
    settings: str

    @classmethod
    def at_commit(cls, git: Git, commit: str) -> _Files:
        """Return a commit's files. Raises :class:`NotReusable` if repo2docker refuses them."""
        root = _tree(git, commit)
        folders = [
            each for each in root if each.path in buildpacks.FOLDERS and each.mode == _FOLDER
        ]
        if len(folders) > 1:
            raise NotReusable("it has both binder/ and .binder/, which repo2docker refuses")
        settings = next((each.path for each in root if each.path in buildpacks.SETTINGS), "")
        if folders:
            inside = _tree(git, commit, folders[0].path, deep=True)
            return cls(commit, folders[0].path, tuple(inside), settings)
        links = [
            each
            for each in root
            if each.path in buildpacks.FOLDERS and each.mode in (_LINK, _SUBMODULE)
        ]
        files = [each for each in root if buildpacks.is_environment_file(each.path)]
        return cls(commit, "", (*links, *files), settings)

    @property
    def description(self) -> str:
        """The names of the files, for a message."""
        names = [each.path for each in self.entries]
        listed = ", ".join(names[:3]) + (" and more" if names[3:] else "")
        return f"{self.folder}/" if self.folder else listed or "no files"

    def pathspecs(self, git: Git) -> list[str]:
        """Return the paths that git compares; nothing else can change this environment."""
        names = [*buildpacks.FOLDERS, *(() if self.folder else buildpacks.ROOT)]
        names += [self._target(git, each) for each in self.entries if each.mode == _LINK]
        patterns = () if self.folder else buildpacks.ROOT_PATTERNS
        return [
            *(f":(top,literal){name}" for name in names if _is_inside(name)),
            *(f":(top,glob){pattern}" for pattern in patterns),
        ]

    def find_obstacle(self, git: Git) -> str:
        """Return why the build might read more than these files, or ``""`` if it does not."""
        texts: dict[str, str] = {}
        for entry in self.entries:
            name = entry.path.removeprefix(f"{self.folder}/") if self.folder else entry.path
            if entry.mode == _SUBMODULE:
                return f"{entry.path} is a submodule, whose files are not in this clone"
            file = self._file(git, entry)
            if file is None:
                return f"{entry.path} is a symbolic link, but not to a file of this repository"
            if buildpacks.is_inspected(name):
                if file.size > LIMIT:
                    return f"{entry.path} {TOO_LARGE}"
                texts[name] = _read(git, "cat-file", "blob", file.id)
        if self.settings and "postBuild" in texts:
            return f"postBuild might read its settings from {self.settings}"
        return buildpacks.needs_source(texts, at_root=not self.folder)

    def _target(self, git: Git, entry: _Entry) -> str:
        """Return the target of a symbolic link. It is a path relative to the repository's root."""
        target = _read(git, "cat-file", "blob", entry.id)
        return posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), target))

    def _file(self, git: Git, entry: _Entry) -> _Entry | None:
        """Return the file that an entry is or links to, or ``None`` if there is no such file."""
        if entry.mode != _LINK:
            return entry
        target = self._target(git, entry)
        if not _is_inside(target):
            return None
        others = (_LINK, _SUBMODULE, _FOLDER)
        entries = _tree(git, self.commit, target)
        return next((one for one in entries if one.path == target and one.mode not in others), None)


def _is_inside(path: str) -> bool:
    return not path.startswith(("/", "../")) and path not in (".", "..")


def _tree(git: Git, commit: str, path: str = "", *, deep: bool = False) -> list[_Entry]:
    """Return the entries of a commit's root, or those of a path in it; all below it if ``deep``."""
    options = ["-z", "--long", "--full-tree", *(["-r"] if deep else [])]
    paths = ["--", path] if path else []
    entries = []
    output = _read(git, "--literal-pathspecs", "ls-tree", *options, commit, *paths)
    for line in filter(None, output.split("\0")):
        fields, _, name = line.partition("\t")
        mode, _, object_id, size = fields.split()
        entries.append(_Entry(mode, object_id, int(size) if size.isdigit() else 0, name))
    return entries
