"""What is being worked on, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from clinder.repository import Repository
from clinder.repository.parse import parse


@dataclass(frozen=True)
class Checkout:
    """What is being worked on.

    ``source`` says in words where this was taken from, each of ``warnings`` in a sentence why the
    hub may not build what the person sees. ``base`` is, for a fork's pull request, the repository
    that it was sent to, at a commit that is known to be there.
    """

    repository: Repository
    source: str
    warnings: tuple[str, ...] = ()
    base: Repository | None = None


def repository_at(url: str, ref: str) -> Repository:
    """Return the repository of a URL, at a ref."""
    return parse(url).repository.with_ref(ref)
