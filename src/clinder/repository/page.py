"""A web page that people name a repository by, and what all hosts' pages have in common."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import SplitResult, parse_qs

from clinder._urls import base_url, percent_decode, redact
from clinder.errors import UsageError
from clinder.repository.repository import Repository

_ARCHIVE = re.compile(r"\.(?:zip|tar|tar\.gz|tgz|tar\.bz2|bundle)$")


@dataclass(frozen=True)
class Page:
    """The URL of a page; ``path`` has no slashes at either end, and is still percent-encoded."""

    parts: SplitResult
    path: str

    @cached_property
    def segments(self) -> list[str]:
        """The segments of the path."""
        return self.path.split("/")

    @property
    def host(self) -> str:
        """The name of the host, in lower case."""
        return self.parts.hostname or ""

    def query(self, name: str) -> str:
        """Return the first value of a field of the query, decoded, or ``""``."""
        return parse_qs(self.parts.query).get(name, [""])[0]

    def git(self, name: list[str], ref: str = "") -> Repository:
        """Return the git repository at these segments of a path on this host."""
        return Repository("git", base_url(self.parts, f"/{'/'.join(name)}"), ref)


def whole_ref(segments: list[str]) -> str:
    """Return the ref that all these segments of a path are: branches can contain slashes."""
    return percent_decode("/".join(_without_kind(segments)))


def first_ref(segments: list[str]) -> str:
    """Return the ref with which these segments of a path begin; the rest is the path of a file."""
    return percent_decode(_without_kind(segments)[0])


def _without_kind(segments: list[str]) -> list[str]:
    """Return ``main`` for ``refs/heads/main``, because hubs and people use the short name."""
    has_kind = segments[:1] == ["refs"] and segments[1:2] in (["heads"], ["tags"])
    return segments[2:] if has_kind and segments[2:] else segments


def archive_ref(segments: list[str]) -> str:
    """Return the ref of an archive's file name, or ``""`` if this is none."""
    name, found = _ARCHIVE.subn("", segments[-1])
    return whole_ref([*segments[:-1], name]) if found else ""


def commit_ref(segment: str) -> str:
    """Return the commit of a page that shows it, or of its patch."""
    return percent_decode(segment.removesuffix(".patch").removesuffix(".diff"))


def pull_request_error(form: str) -> UsageError:
    """Return the error for the page of a pull or merge request; ``form`` names what to write."""
    hint = f"Name the commit and the repository that it comes from, possibly a fork: {form}"
    return UsageError("A hub cannot launch a pull or merge request.", hint=hint)


def unrecognized_page(path: str, hint: str = "") -> UsageError:
    """Return the error for a page that does not show a repository at a ref."""
    message = f"The page {redact(f'/{path}')} does not identify a repository or ref."
    return UsageError(message, hint=hint)
