"""The rest of the commit around an environment file, as far as the file refers to it."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from clinder.checkout.addresses import Own, find_moving
from clinder.checkout.tree import is_inside

LIMIT = 500_000
"""Characters of the largest file that is inspected."""

SLOW_LIMIT = 64_000
"""Characters of the largest requirements, without hashes, and scripts: each takes 0.5 s."""

TOO_LARGE = "is too large to inspect"
_FILES = 20  # followed in one commit, with this many characters in all
_CHARACTERS = 256_000
_PLAIN_PATH = re.compile(r"[\w.@+-][\w./@+-]*")


class Files(Protocol):
    """The files of a commit, by their paths from its root."""

    def text(self, path: str) -> str | None:
        """Return a file's text, or ``None`` if there is no such file or if it is too large."""

    def has(self, path: str) -> bool:
        """Return whether there is such a file."""


class NoFiles:
    """No files: nothing that an environment file refers to can be followed."""

    def text(self, path: str) -> str | None:  # noqa: ARG002 - there is no file
        """Return ``None``."""
        return None

    def has(self, path: str) -> bool:  # noqa: ARG002 - there is no file
        """Return ``False``."""
        return False


@dataclass
class Releases:
    """Installations of the repository's own ``packages`` with one package manager.

    ``options`` are those with which it installs what is not a release, or not a public one.
    """

    packages: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)


@dataclass
class Surroundings:
    """The files and names around environment files, and what their checks notice on the way.

    ``root`` has the names of everything in the root, and ``folder`` has only environment files.
    ``followed`` are the files that environment files refer to, by their checks, with the number of
    their characters; ``copied`` are those that the build only copies. They belong to the
    environment, too.

    ``has_includes`` tells whether requirements name other files or URLs of requirements.
    ``settings_copy`` is a script's command that might have copied settings. ``addresses`` and
    ``packages`` can change although no file does: addresses without a commit, and packages without
    an exact version. ``releases`` are those of the repository's own packages, by package manager.
    """

    files: Files = field(default_factory=NoFiles)
    own: Own = field(default_factory=Own)
    root: frozenset[str] = frozenset()
    folder: str = ""
    followed: dict[tuple[str, Check], int] = field(default_factory=dict)
    copied: dict[str, None] = field(default_factory=dict)
    has_includes: bool = False
    settings_copy: str = ""
    addresses: dict[str, None] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    releases: dict[str, Releases] = field(default_factory=lambda: defaultdict(Releases))

    def judge(self, path: str, text: str, check: Check) -> str:
        """Return why a build that reads this file needs more than it, or ``""`` if it does not."""
        if line := self.own.find(text):
            return f"has the line {quote(line)}, which refers to this repository itself"
        self.addresses.update(dict.fromkeys(find_moving(text)))
        return check(text, Place(path, self))

    def find_own_release(self) -> str:
        """Return that the build installs a state of this repository that is no public release."""
        for own in self.releases.values():
            if own.packages and own.options:
                return (
                    f"the build installs {quote(own.packages[0])}, which this repository publishes,"
                    f" with {quote(own.options[0])}"
                )
        return ""


@dataclass(frozen=True)
class Place:
    """Where a text is: the path of its file, and the rest of the commit."""

    path: str = ""
    around: Surroundings = field(default_factory=Surroundings)

    def follow(self, name: str, check: Check, folder: str | None = None) -> str | None:
        """Check a file that this one names, relative to its own or to another folder.

        Return like a check, or ``None`` if it cannot be followed.
        """
        around = self.around
        path = self.locate(name, folder)
        if (path, check) in around.followed:
            return ""
        if not path or len(around.followed) >= _FILES:
            return None
        text = around.files.text(path)
        if text is None or sum(around.followed.values()) + len(text) > _CHARACTERS:
            return None
        around.followed[path, check] = len(text)
        reason = around.judge(path, text, check)
        return reason and f"reads {path}, which {reason}"

    def copy(self, name: str) -> bool:
        """Note that the build copies a file, without reading it; the root is its base.

        Return ``False`` if there is no such file. A folder must be below the environment's.
        """
        around = self.around
        path = self.locate(name, "")
        if self.is_in_folder(path) or path in around.copied:
            return True
        if not path or len(around.copied) >= _FILES or not around.files.has(path):
            return False
        around.copied[path] = None
        return True

    def is_in_folder(self, path: str) -> bool:
        """Return whether a path is in the folder of the environment files, if there is one."""
        folder = self.around.folder
        return bool(folder) and f"{posixpath.normpath(path)}/".startswith(f"{folder}/")

    def locate(self, name: str, folder: str | None = None) -> str:
        """Return the path of a file from the root, or ``""`` if it is outside of the repository."""
        base = posixpath.dirname(self.path) if folder is None else folder
        path = posixpath.normpath(posixpath.join(base, name))
        return path if _PLAIN_PATH.fullmatch(name) and is_inside(path) else ""


Check = Callable[[str, Place], str]
"""Takes a file's text and its place; returns the rest of a sentence that begins with its name."""


def refers(subject: str) -> str:
    """Return that a build might need a file of the repository."""
    return f"{subject}, which might refer to files of the repository"


def reads(subject: str) -> str:
    """Return that a build might read any files of the repository."""
    return f"{subject}, which might read the repository"


def quote(text: str) -> str:
    """Return a text for a message: on one line, and not too long."""
    line = " ".join(text.split())
    return f"`{line if len(line) <= 80 else line[:79] + '…'}`"
