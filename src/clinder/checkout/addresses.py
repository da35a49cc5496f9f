"""Addresses in environment files whose content can change although no file does.

An image contains whatever such an address returned when the hub built it. If it is an address of
the repository itself, an older commit's image contains an older state of the repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from clinder.repository import Repository

_FIXED = re.compile(r"(?<![0-9a-z])(?:[0-9a-f]{40}|[0-9a-f]{64})(?![0-9a-z])", re.IGNORECASE)
_REST_OF_ADDRESS = re.compile(r"[^\s\"'<>,;)\]}]{0,300}")
_END = r"(?:\.git)?(?![\w-]|\.\w)"
_URL = re.compile(
    r"(?:(?:git|hg|svn|bzr)\+)?(?:https?|ssh|git)://[^\s\"'<>,;)\]}\\]{3,}", re.IGNORECASE
)
_IMAGE = re.compile(r"FROM[ \t]+(?:--platform=\S+[ \t]+)?(?P<image>\S+)", re.IGNORECASE)
_FROM_GITHUB = re.compile(
    r"install_(?:github|gitlab|bitbucket)\(\s{0,9}[\"'](?P<name>[\w.@/#-]{3,200})[\"']"
)
_PUBLIC_INDEX = re.compile(r"https://(?:pypi\.org|pypi\.python\.org)/simple\b")
_COMMENT = re.compile(r"(?:^|\s)#")


@dataclass(frozen=True)
class Own:
    """The names under which the repository and its packages are published.

    ``names`` are paths such as ``org/repo``, in lower case. ``packages`` are normalized as on PyPI.
    """

    names: frozenset[str] = frozenset()
    packages: frozenset[str] = frozenset()

    @classmethod
    def of(cls, repositories: Iterable[Repository], packages: Iterable[str] = ()) -> Own:
        """Return the names of repositories, and of packages beside those named like them."""
        names = frozenset(map(_name, repositories))
        alike = (name.rpartition("/")[2].removesuffix(".jl") for name in names)
        return cls(names, frozenset(map(normalize, (*packages, *alike))))

    def find(self, text: str) -> str:
        """Return the first line with an address of the repository that can change, or ``""``."""
        if not self.names:
            return ""
        for line in _lines_of_code(text):
            lowered = line.lower().replace("%2f", "/")
            for found in self._pattern.finditer(lowered):
                rest = _REST_OF_ADDRESS.match(lowered, found.end())
                if not (rest and _FIXED.search(rest[0])):
                    return line
        return ""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Match ``org/repo`` in any URL, and the Pages at ``org.github.io/repo`` and elsewhere."""
        patterns = []
        for name in sorted(self.names):
            owner, _, rest = name.partition("/")
            patterns += [re.escape(name), rf"{re.escape(owner)}\.[\w.-]{{1,80}}/{re.escape(rest)}"]
            if rest.startswith(f"{owner}."):  # the repository of org.github.io
                patterns.append(re.escape(rest))
        return re.compile(rf"(?<![\w.-])(?:{'|'.join(patterns)}){_END}")


def normalize(package: str) -> str:
    """Return a package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def _name(repository: Repository) -> str:
    """Return the part of a repository's URL that all its addresses have in common."""
    name = repository.name
    if repository.provider == "gist":
        name = name.rpartition("/")[2]
    elif repository.provider == "git":
        parts = urlsplit(name)
        name = parts.path.strip("/")
        name = name if "/" in name else f"{parts.hostname}/{name}"
    return name.removesuffix(".git").lower()


def find_moving(text: str) -> Iterator[str]:
    """Yield the addresses in a text that name no commit, no version and no hash."""
    for line in _lines_of_code(text):
        for found in _URL.finditer(line):
            if not (_FIXED.search(found[0]) or _PUBLIC_INDEX.match(found[0])):
                yield found[0].rstrip(".")
        for found in _FROM_GITHUB.finditer(line):
            if not _FIXED.search(found["name"]):
                yield found["name"]
        image = _IMAGE.match(line.lstrip(" \t"))
        if image and not _has_version(image["image"]):
            yield image["image"]


def _has_version(image: str) -> bool:
    tag = image.rpartition("/")[2].partition(":")[2]
    return image == "scratch" or "$" in image or any(map(str.isdigit, tag))


def _lines_of_code(text: str) -> Iterator[str]:
    """Yield the lines without comments, as far as a line can be read without its language."""
    for line in text.split("\n"):
        comment = _COMMENT.search(line)
        if comment and not re.search(r"[\"']", line[: comment.start()]):
            yield line[: comment.start()]
        else:
            yield line
