"""What to launch: a repository at a ref, written as a hub reads it.

A :class:`Repository` writes itself as a provider spec, encoded the
way BinderHub's ``repoproviders.py`` decodes it, which differs from provider to provider.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote

from clinder._urls import percent_decode, redact, require_printable
from clinder.errors import UsageError
from clinder.repository.providers import (
    _NAMES,
    _ONE_PART,
    _PROVIDERS,
    _SPECS,
    _WITH_REFS,
    _refuse_raw,
)

_COMMIT = re.compile(r"[0-9a-f]{40}", re.IGNORECASE)
_NO_REF = re.compile(r"[~^:*\[\\]|\.\.|@\{|^@$|^-|\.$|(?:^|/)(?:\.|/|$)|\.lock(?:/|$)")


@dataclass(frozen=True)
class Repository:
    """A repository at a ref, or a dataset of an archive, which has no refs.

    ``provider`` is the prefix by which a hub knows the provider. ``name`` and ``ref`` are decoded,
    as a person reads them: ``ORG/REPO``, ``group/sub/project``, ``USER/ID``, a URL, a DOI, a
    HydroShare id. The name is brought into one form: without ``.git`` where the forge is known,
    a URL without password, query and fragment. ``ref`` becomes ``HEAD`` where it is left out, and
    a commit lower-case. Raises :class:`~clinder.errors.UsageError` for what no hub can read.
    """

    provider: str
    name: str
    ref: str = ""

    def __post_init__(self) -> None:
        if self.provider not in _SPECS:
            raise UsageError(f"{redact(self.provider)} is not one of {_PROVIDERS}.")
        object.__setattr__(
            self, "name", _NAMES[self.provider](require_printable(self.name, "name"))
        )
        if self.provider in _WITH_REFS:
            object.__setattr__(self, "ref", _ref(self.provider, self.ref or "HEAD"))
        elif self.ref:
            raise UsageError(f"{self.provider} has no refs: {redact(self.ref)} cannot be had.")

    @property
    def spec(self) -> str:
        """The provider spec, encoded as the hub decodes it (``repoproviders.py``).

        Slashes of a ref stay, as in the links that a hub makes itself.
        """
        name = quote(self.name, safe="" if self.provider in _ONE_PART else "/")
        return "/".join(part for part in (self.provider, name, quote(self.ref)) if part)

    @property
    def is_commit(self) -> bool:
        """Whether the ref is a full commit, which always means the same."""
        return bool(_COMMIT.fullmatch(self.ref))

    def at(self, ref: str) -> Repository:
        """Return the same repository at another ref.

        Raises :class:`~clinder.errors.UsageError` where the provider has no such refs.
        """
        return replace(self, ref=ref)

    def binder_link(self, hub: str) -> str:
        """Return the link that launches it on a hub in a browser."""
        return f"{hub.rstrip('/')}/v2/{self.spec}"

    @classmethod
    def from_spec(cls, spec: str) -> Repository:
        """Return the repository of a provider spec, with or without its ref.

        A slash at its end is dropped, as the hub does (``builder.py``). Raises
        :class:`~clinder.errors.UsageError`, also where a hub would misread it in silence.
        """
        provider, _, rest = require_printable(spec, "spec").partition("/")
        name, ref = rest.removesuffix("/"), ""
        if provider in ("gl", "git"):
            _refuse_raw(provider, name)
            name, _, ref = name.partition("/")
        elif provider in ("gh", "gist"):
            org, _, rest = name.partition("/")
            repo, _, ref = rest.partition("/")
            name = f"{org}/{repo}"
        return cls(provider, percent_decode(name), percent_decode(ref))


def _ref(provider: str, ref: str) -> str:
    """Return a ref that git may have (``git check-ref-format``), a commit in lower case.

    A ``?`` passes, though git has none: it is encoded, and the hub says what it found.
    """
    if _NO_REF.search(require_printable(ref, "ref")):
        raise UsageError(f"{redact(ref)} is not a ref: git has no branch or tag of that form.")
    if _COMMIT.fullmatch(ref):
        return ref.lower()
    if provider == "gist" and ref not in ("HEAD", "main", "master"):
        raise UsageError(f"{redact(ref)} is not a ref of a gist: that is HEAD or a full commit.")
    return ref
