"""A repository at a ref, read from and written as a provider spec."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote

from clinder._urls import percent_decode, redact, require_printable
from clinder.errors import UsageError
from clinder.repository.providers import PREFIXES, PROVIDERS, Provider

_COMMIT = re.compile(r"[0-9a-f]{40}", re.IGNORECASE)
_INVALID_REF = re.compile(r"[~^:*\[\\]|\.\.|@\{|^@$|^-|\.$|(?:^|/)(?:\.|/|$)|\.lock(?:/|$)")


@dataclass(frozen=True)
class Repository:
    """A repository at a ref, or an archived dataset, which has no refs.

    ``provider`` is a prefix of :data:`~clinder.repository.providers.PROVIDERS`. ``name`` and
    ``ref`` are decoded: ``ORG/REPO``, ``group/sub/project``, ``USER/ID``, a URL, a DOI, a
    HydroShare id. The name is kept in its provider's canonical form, for example a URL without
    password, query and fragment. An empty ``ref`` becomes ``HEAD``, a commit lower-case.
    Raises :class:`~clinder.errors.UsageError` if no hub can read the name or the ref.
    """

    provider: str
    name: str
    ref: str = ""

    def __post_init__(self) -> None:
        provider = _require_provider(self.provider)
        name = provider.normalize(require_printable(self.name, "name"))
        if not name:
            form, example = provider.form, provider.example
            raise UsageError(f"{redact(self.name)} does not fit {form}, for example {example}")
        object.__setattr__(self, "name", name)
        if provider.has_refs:
            object.__setattr__(self, "ref", _normalize_ref(provider, self.ref or "HEAD"))
        elif self.ref:
            raise UsageError(f"{self.provider} has no refs: omit {redact(self.ref)}.")

    @property
    def spec(self) -> str:
        """The provider spec, encoded so that the hub decodes it to this repository.

        Slashes of a ref are not encoded, as in the links that hubs generate.
        """
        provider = PROVIDERS[self.provider]
        name = quote(self.name, safe="" if provider.name_is_one_segment else "/")
        return "/".join(part for part in (self.provider, name, quote(self.ref)) if part)

    @property
    def is_commit(self) -> bool:
        """Whether the ref is a full commit hash, which never changes its meaning."""
        return bool(_COMMIT.fullmatch(self.ref))

    def with_ref(self, ref: str) -> Repository:
        """Return the same repository at another ref.

        Raises :class:`~clinder.errors.UsageError` if the provider does not have such refs.
        """
        return replace(self, ref=ref)

    def binder_link(self, hub: str) -> str:
        """Return the link that launches this repository on a hub in a browser."""
        return f"{hub.rstrip('/')}/v2/{self.spec}"

    @classmethod
    def from_spec(cls, spec: str) -> Repository:
        """Return the repository of a provider spec, with or without its ref.

        A trailing slash is ignored, because hubs ignore it (``builder.py``). Raises
        :class:`~clinder.errors.UsageError`, also if a hub would silently misread the spec.
        """
        prefix, _, rest = require_printable(spec, "spec").partition("/")
        name, ref = _require_provider(prefix).split(rest.removesuffix("/"))
        return cls(prefix, percent_decode(name), percent_decode(ref))


def _require_provider(prefix: str) -> Provider:
    if prefix not in PROVIDERS:
        raise UsageError(f"{redact(prefix)} is not one of {PREFIXES}.")
    return PROVIDERS[prefix]


def _normalize_ref(provider: Provider, ref: str) -> str:
    """Return a ref that git allows (``git check-ref-format``), a commit in lower case.

    A ``?`` passes although git does not allow it: the spec encodes it, and the hub reports that
    there is no such ref.
    """
    if _INVALID_REF.search(require_printable(ref, "ref")):
        raise UsageError(f"{redact(ref)} is not a ref: git allows no branch or tag of that name.")
    if _COMMIT.fullmatch(ref):
        return ref.lower()
    if provider.ref_names and ref not in provider.ref_names:
        raise UsageError(f"{redact(ref)} does not fit {provider.form}: use HEAD or a full commit.")
    return ref
