"""A repository, read from what people write."""

from __future__ import annotations

import re
from dataclasses import dataclass

from clinder._urls import (
    add_scheme,
    base_url,
    is_loopback,
    is_url,
    redact,
    require_printable,
    scp_to_url,
    split,
)
from clinder.errors import UsageError
from clinder.repository.pages import is_site, of_doi, of_page
from clinder.repository.providers import _HYDROSHARE, _PROVIDERS, _SPECS, DOI, FORMS
from clinder.repository.repository import Repository

_HINT = "Write one of these:\n" + "\n".join(f"  {form:<24}{example}" for form, example in FORMS)
_LINK = re.compile(r"(?P<base>/(?:.*?/)??)(?:v2|build)/(?P<spec>[a-z]+/.+)")
_BADGE = re.compile(r"\s*(?:!?\[|<|\.\. )")
_BADGE_LINK = re.compile(r"https?://[^\s<>()\[\]\"'?#]+/v2/[a-z]+/[^\s<>()\[\]\"']+")


@dataclass(frozen=True)
class Target:
    """What a text names: a repository and, where the text is a Binder link, the hub's URL."""

    repository: Repository
    hub: str = ""


def target(text: str) -> Target:
    """Return what a text names, in any of :data:`FORMS`.

    On a repository's page all that follows ``/tree/`` is the ref, for a branch may hold slashes;
    of ``/blob/REF/PATH`` the first part is. Raises :class:`~clinder.errors.UsageError` with what
    was understood; no password that the text holds is kept or shown.
    """
    try:
        return (
            _badge(text) if _BADGE.match(text) else _one(require_printable(text.strip(" "), "text"))
        )
    except UsageError as error:
        raise UsageError(error.message, hint=error.hint or _HINT) from None


# Texts, from the outside in.


def _badge(text: str) -> Target:
    links = {link.replace("&amp;", "&") for link in _BADGE_LINK.findall(text)}
    targets = {_of_url(require_printable(link, "link")) for link in links}
    if len(targets) != 1:
        found = "Binder links to different things" if targets else "no Binder link"
        raise UsageError(f"The badge holds {found}.")
    return targets.pop()


def _one(text: str) -> Target:
    if doi := DOI.fullmatch(text):
        return Target(Repository(*of_doi(doi[1])))
    text = scp_to_url(text)
    if is_url(text) or _lacks_only_scheme(text):
        return _of_url(add_scheme(text))
    return Target(_of_words(text))


def _lacks_only_scheme(text: str) -> bool:
    host, _, path = text.partition("/")
    link = _LINK.fullmatch(f"/{path}") and ("." in host or is_loopback(host))
    return bool(path and (is_site(host) or link))


def _of_words(text: str) -> Repository:
    """Return ``ORG/REPO``, ``ORG/REPO@REF`` or a provider spec.

    ``git/git`` and ``zenodo/zenodo`` are GitHub repositories, and no specs.
    """
    if text.startswith((".", "/", "~")):
        hint = "Leave REPOSITORY out to launch the checkout that is the current directory."
        raise UsageError(f"{redact(text)} is a path on this machine.", hint=hint)
    if named := re.fullmatch(r"([^/]+/[^/@:%]+)@(.*)", text):
        if not named[2]:
            raise UsageError(f"{redact(text)} names no ref after its @.")
        return Repository("gh", named[1], named[2])
    provider, _, rest = text.removesuffix("/").partition("/")
    if not rest:
        raise UsageError(f"{redact(text)} names no repository.")
    if "/" in rest and provider not in _SPECS:
        raise UsageError(f"{redact(text)} reads as a spec, but begins with none of {_PROVIDERS}.")
    if "/" in rest or (provider in _SPECS and ("%" in rest or _HYDROSHARE.fullmatch(rest))):
        return Repository.from_spec(text.partition("?")[0])
    return Repository("gh", f"{provider}/{rest}")


def _of_url(url: str) -> Target:
    parts = split(url)
    link = _LINK.fullmatch(parts.path)
    if link and parts.scheme in ("http", "https") and not _is_git(parts.hostname or "", link):
        hub = base_url(parts, link["base"]) + "/"
        return Target(Repository.from_spec(link["spec"]), hub)
    return Target(Repository(*of_page(parts)))


def _is_git(host: str, link: re.Match[str]) -> bool:
    """Whether what looks like a Binder link is a forge's page with ``v2`` in its path."""
    unknown = link["spec"].partition("/")[0] not in _SPECS
    return is_site(host) or "/-/" in link["base"] or (unknown and link[0].endswith(".git"))
