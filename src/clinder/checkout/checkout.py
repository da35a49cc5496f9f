"""The Checkout value: the repository and commit that somebody is working on."""

from __future__ import annotations

from dataclasses import dataclass

from clinder.repository import Repository
from clinder.repository.parse import parse


@dataclass(frozen=True)
class Checkout:
    """The repository and commit that somebody is working on.

    ``source`` names the place that clinder got them from. Each of ``notes`` is a sentence about a
    decision of clinder. Each of ``warnings`` is a sentence that explains why the hub might build
    something other than what the person sees, or nothing at all. ``base`` is the target repository
    of a pull request, at a commit that a hub can clone. It is set if a hub might refuse or be
    unable to clone the commit itself, which a fork contains.
    """

    repository: Repository
    source: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    base: Repository | None = None


def repository_at(url: str, ref: str) -> Repository:
    """Return the repository of a URL at a ref."""
    return parse(url).repository.with_ref(ref)
