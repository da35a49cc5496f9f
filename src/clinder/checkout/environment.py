"""The environment files of a commit, and everything else that clinder compares."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from clinder._text import one_line
from clinder.checkout import buildpacks
from clinder.checkout.addresses import Own
from clinder.checkout.git import strip_credentials
from clinder.checkout.surroundings import LIMIT, TOO_LARGE, Surroundings
from clinder.checkout.tree import FOLDER, LINK, SUBMODULE, Entry, NotReusable, Tree
from clinder.repository import Repository

_PACKAGE_FILES = ("pyproject.toml", "setup.cfg", "setup.py", "DESCRIPTION")
_PACKAGE_NAME = re.compile(
    r"^[ \t]*(?:name[ \t]*=|Package:)[ \t]*[\"']?([A-Za-z0-9][\w.-]*)", re.MULTILINE
)
_LONGEST_ADDRESS = 100
_ALWAYS_MOVING = {
    "apt.txt": "the packages of apt.txt",
    "default.nix": "the channel nixpkgs-unstable",
}


@dataclass(frozen=True)
class Environment:
    """The environment of a commit.

    ``entries`` is all that another commit must have in common with it. ``named`` are the names of
    its environment files, for a message. ``obstacle`` is the reason why the image might depend on
    more than that, or ``""``. ``moving`` are the inputs of the build that can change although no
    file does.
    """

    entries: frozenset[Entry]
    named: tuple[str, ...]
    folder: str = ""
    obstacle: str = ""
    moving: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """The names of the files, for a message."""
        listed = ", ".join(self.named[:3]) + (" and more" if self.named[3:] else "")
        return f"{self.folder}/" if self.folder else listed or "no files"

    def difference(self, other: Environment) -> list[str]:
        """Return the paths that differ between two environments."""
        return sorted({each.path for each in self.entries ^ other.entries})

    @property
    def hash(self) -> str:
        """A hash of the entries: their paths, modes and content."""
        lines = sorted(f"{each.mode} {each.id}\t{each.path}\0" for each in self.entries)
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()

    def pathspecs(self, tree: Tree) -> list[str]:
        """Return paths for git: a commit that changes none of them has the same environment."""
        names = [*buildpacks.FOLDERS, *buildpacks.SETTINGS, buildpacks.ATTRIBUTES]
        paths = (each.path for each in self.entries)
        names += (path for path in paths if path.partition("/")[0] != self.folder)
        patterns = [*buildpacks.SETTINGS_PATTERNS]
        excluded: list[str] = []
        if not self.folder:
            names += buildpacks.ROOT
            patterns += buildpacks.ROOT_PATTERNS
            root = tree.root
            excluded = [
                each for each in buildpacks.ROOT if each in root and root[each].mode == FOLDER
            ]
        return [
            *(f":(top,literal){name}" for name in sorted(set(names))),
            *(f":(top,glob){pattern}" for pattern in patterns),
            *(f":(top,exclude,glob){name}/**" for name in excluded),
        ]


def read_environment(tree: Tree, repositories: Iterable[Repository] = ()) -> Environment:
    """Return a commit's environment; ``repositories`` are the names of the commit's own one.

    Raises :class:`~clinder.checkout.tree.NotReusable` if repo2docker refuses the commit or if git
    cannot read it.
    """
    folder, files = _environment_files(tree)
    around = Surroundings(
        _CommitFiles(tree), _own(tree, tuple(repositories)), frozenset(tree.root), folder
    )
    obstacle = _find_obstacle(tree, folder, files, around)
    others = [
        entry
        for name, entry in tree.root.items()
        if name == buildpacks.ATTRIBUTES or buildpacks.is_setting(name)
    ]
    named = {*around.copied, *(path for path, _ in around.followed)}
    others += filter(None, map(tree.find, named))
    linked = filter(None, (_target(tree, entry) for entry in (*files, *others)))
    return Environment(
        frozenset((*files, *others, *linked)),
        tuple(entry.path for entry in files),
        folder,
        obstacle,
        tuple(_describe_moving(around, {entry.path for entry in files})),
    )


def environment_hash(tree: Tree, environment: Environment) -> str:
    """Return a hash that changes whenever the image of a commit might differ from another's.

    It is that of the commit's environment or, if the image might depend on other files, of all
    files. Addresses that move have no part in it.
    """
    if environment.obstacle:
        environment = replace(environment, entries=frozenset(tree.root.values()))
    return environment.hash


def _environment_files(tree: Tree) -> tuple[str, list[Entry]]:
    """Return the folder of the environment files, or ``""`` for the root, and the files."""
    places = [tree.root[name] for name in buildpacks.FOLDERS if name in tree.root]
    folders = [entry for entry in places if entry.mode == FOLDER]
    if len(folders) > 1:
        raise NotReusable("it has both binder/ and .binder/, which repo2docker refuses")
    if folders:
        return folders[0].path, tree.files_below(folders[0].path)
    links = [entry for entry in places if entry.mode in (LINK, SUBMODULE)]
    names = filter(buildpacks.is_environment_file, tree.root)
    files = [tree.root[name] for name in names if tree.root[name].mode != FOLDER]
    return "", [*links, *files]


def _find_obstacle(tree: Tree, folder: str, files: list[Entry], around: Surroundings) -> str:
    """Return why the build might read more than known files, or ``""`` if it does not."""
    texts: dict[str, str] = {}
    for entry in files:
        name = entry.path.removeprefix(f"{folder}/") if folder else entry.path
        if entry.mode == SUBMODULE:
            return f"{entry.path} is a submodule, whose files are not in this clone"
        file = tree.resolve(entry)
        if file is None:
            return f"{entry.path} is a symbolic link, but not to a file of this repository"
        if buildpacks.is_inspected(name):
            if file.size > LIMIT:
                return f"{entry.path} {TOO_LARGE}"
            texts[name] = tree.read(file)
    return buildpacks.needs_source(texts, at_root=not folder, surroundings=around)


@dataclass(frozen=True)
class _CommitFiles:
    """The files of a commit, for its environment files to refer to."""

    tree: Tree

    def text(self, path: str) -> str | None:
        """Return a file's text, or ``None`` if there is no such file or if it is too large."""
        entry = self.tree.find(path)
        file = self.tree.resolve(entry) if entry else None
        return self.tree.read(file) if file and file.size <= LIMIT else None

    def has(self, path: str) -> bool:
        """Return whether there is such a file."""
        entry = self.tree.find(path)
        return bool(entry and self.tree.resolve(entry))


def _target(tree: Tree, entry: Entry) -> Entry | None:
    return tree.find(tree.target(entry)) if entry.mode == LINK else None


def _own(tree: Tree, repositories: tuple[Repository, ...]) -> Own:
    packages: list[str] = []
    files = _CommitFiles(tree)
    for name in _PACKAGE_FILES if repositories else ():
        packages += _PACKAGE_NAME.findall(files.text(name) or "")[:10]
    return Own.of(repositories, packages)


def _describe_moving(around: Surroundings, files: Collection[str]) -> Iterator[str]:
    """Yield the inputs of the build that can change although no file does."""
    for address in around.addresses:
        yield one_line(strip_credentials(address), _LONGEST_ADDRESS)
    if around.packages:
        number = len(around.packages)
        yield f"{number} package{'s' * (number > 1)} without an exact version"
    names = {path.rpartition("/")[2] for path in files}
    yield from (what for name, what in _ALWAYS_MOVING.items() if name in names)
