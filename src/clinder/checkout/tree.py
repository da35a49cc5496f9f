"""The files of one commit, read through git."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from clinder.checkout.git import Git, strip_credentials

FOLDER, LINK, SUBMODULE = "040000", "120000", "160000"
"""Modes of entries that are not files."""


class NotReusable(Exception):
    """No other commit's image can be reused. The message continues a sentence after a colon."""


@dataclass(frozen=True)
class Entry:
    """A file, link, folder or submodule of a commit: its mode and git's hash of its content."""

    mode: str
    id: str
    size: int
    path: str


@dataclass(frozen=True)
class Tree:
    """The files of a commit. Paths are relative to the repository's root.

    Each method raises :class:`NotReusable` if git cannot read the clone, and
    :class:`~clinder.errors.UsageError` if git does not run.
    """

    git: Git
    commit: str

    @cached_property
    def root(self) -> Mapping[str, Entry]:
        """The entries of the root, by name."""
        return {entry.path: entry for entry in self._list()}

    def files_below(self, folder: str) -> list[Entry]:
        """Return all entries below a folder, at any depth, except folders."""
        return self._list(folder, deep=True)

    def find(self, path: str) -> Entry | None:
        """Return the entry at exactly this path, or ``None``. Links on the way are not followed."""
        if not is_inside(path):
            return None
        if "/" not in path:
            return self.root.get(path)
        return next((entry for entry in self._list(path) if entry.path == path), None)

    def resolve(self, entry: Entry) -> Entry | None:
        """Return the file that an entry is or links to, or ``None`` if there is no such file."""
        file = self.find(self.target(entry)) if entry.mode == LINK else entry
        return None if file is None or file.mode in (LINK, FOLDER, SUBMODULE) else file

    def target(self, link: Entry) -> str:
        """Return the target of a symbolic link, which can be outside of the repository."""
        return posixpath.normpath(posixpath.join(posixpath.dirname(link.path), self.read(link)))

    def read(self, entry: Entry) -> str:
        """Return a file's text, or a link's target."""
        return read(self.git, "cat-file", "blob", entry.id)

    def _list(self, path: str = "", *, deep: bool = False) -> list[Entry]:
        """Return the entries of the root, or those of a path in it; all below it if ``deep``."""
        options = ["-z", "--long", "--full-tree", *(["-r"] if deep else [])]
        paths = ["--", path] if path else []
        entries = []
        output = read(self.git, "--literal-pathspecs", "ls-tree", *options, self.commit, *paths)
        for line in filter(None, output.split("\0")):
            fields, _, name = line.partition("\t")
            mode, _, object_id, size = fields.split()
            entries.append(Entry(mode, object_id, int(size) if size.isdigit() else 0, name))
        return entries


def is_inside(path: str) -> bool:
    """Return whether a normalized path is inside the repository, and not its root."""
    return not path.startswith(("/", "../")) and path not in (".", "..")


def read(git: Git, *arguments: str) -> str:
    """Return git's output. Raises :class:`NotReusable` if git fails."""
    done = git.run(*arguments)
    if done.returncode:
        raise unreadable(git, done.stderr)
    return done.stdout


def unreadable(git: Git, message: str) -> NotReusable:
    """Return the error for a message of git."""
    if "lazy fetching disabled" in message or "promisor remote" in message:
        advice = "Clone without `--filter`"
        if git.environ.get("GITHUB_ACTIONS"):
            advice = "Remove `filter` and `sparse-checkout` from actions/checkout"
        return NotReusable(f"this is a partial clone, without some of the files. {advice}")
    first_line = strip_credentials(message.strip()).partition("\n")[0]
    return NotReusable(f"git cannot read this clone: {first_line}")
