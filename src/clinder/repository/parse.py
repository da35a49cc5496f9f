"""Read what people write to name a repository: recognise its form, and return the Repository."""

from __future__ import annotations

import re
from dataclasses import dataclass

from clinder import _urls
from clinder.errors import UsageError
from clinder.repository.pages import is_known_host, parse_doi, parse_page
from clinder.repository.providers import DOI, PREFIXES, PROVIDERS
from clinder.repository.repository import Repository

FORMS: tuple[tuple[str, str], ...] = (
    ("ORG/REPO", "binder-examples/requirements"),
    ("ORG/REPO@REF", "binder-examples/requirements@v1.0"),
    ("a repository's page", "https://github.com/binder-examples/requirements/tree/main"),
    ("a git URL", "git@gitlab.com:group/project.git"),
    ("a DOI", "10.5281/zenodo.3242074"),
    ("a Binder link or badge", "https://mybinder.org/v2/gh/binder-examples/requirements/HEAD"),
    *((provider.form, provider.example) for provider in PROVIDERS.values()),
)
"""Every form that :func:`parse` reads, each with an example."""

_HINT = "Write one of these:\n" + "\n".join(f"  {form:<24}{example}" for form, example in FORMS)
_LINK = re.compile(r"(?P<base>/(?:.*?/)??)(?:v2|build)/(?P<spec>[a-z]+/.+)")
_BADGE = re.compile(r"\s*(?:!?\[|<|\.\. )")
_BADGE_LINK = re.compile(  # no link continues over the beginning of another: that would be slow
    r"https?://(?:(?!https?://)[^\s<>()\[\]\"'?#])+/v2/[a-z]+/[^\s<>()\[\]\"']+"
)


@dataclass(frozen=True)
class ParsedTarget:
    """A repository and, if the text was a Binder link, the URL of its hub."""

    repository: Repository
    hub: str = ""


def parse(text: str) -> ParsedTarget:
    """Return the repository that a text names in any of :data:`FORMS`.

    Everything after ``/tree/`` in a page's URL is the ref, because the name of a branch can contain
    slashes. In ``/blob/REF/PATH`` the ref is one segment. Raises
    :class:`~clinder.errors.UsageError`. Neither the result nor the error contains a password.
    """
    try:
        return _parse_badge(text) if _BADGE.match(text) else _parse_text(text)
    except UsageError as error:
        raise UsageError(error.message, hint=error.hint or _HINT) from None


def _parse_badge(text: str) -> ParsedTarget:
    links = {link.replace("&amp;", "&") for link in _BADGE_LINK.findall(text)}
    targets = {_parse_url(_urls.require_printable(link, "link")) for link in links}
    if len(targets) != 1:
        problem = "Binder links to different targets" if targets else "no Binder link"
        raise UsageError(f"The badge contains {problem}.")
    return targets.pop()


def _parse_text(text: str) -> ParsedTarget:
    text = _urls.require_printable(text.strip(" "), "text")
    if doi := DOI.fullmatch(text):
        return ParsedTarget(parse_doi(doi[1]))
    text = _urls.scp_to_url(text)
    if _urls.is_url(text) or _lacks_only_scheme(text):
        return _parse_url(_urls.add_scheme(text))
    return ParsedTarget(_parse_shorthand(text))


def _lacks_only_scheme(text: str) -> bool:
    host, _, path = text.partition("/")
    link = _LINK.fullmatch(f"/{path}") and ("." in host or _urls.is_loopback(host))
    return bool(path and (is_known_host(host) or link))


def _parse_url(url: str) -> ParsedTarget:
    parts = _urls.split(url)
    link = _LINK.fullmatch(parts.path)
    if link and parts.scheme in ("http", "https") and not _is_page(parts.hostname or "", link):
        hub = _urls.base_url(parts, link["base"]) + "/"
        return ParsedTarget(Repository.from_spec(link["spec"]), hub)
    return ParsedTarget(parse_page(parts))


def _is_page(host: str, link: re.Match[str]) -> bool:
    """Whether an apparent Binder link is a repository's page with ``v2`` in its path."""
    unknown = link["spec"].partition("/")[0] not in PROVIDERS
    return is_known_host(host) or "/-/" in link["base"] or (unknown and link[0].endswith(".git"))


def _parse_shorthand(text: str) -> Repository:
    """Return the repository of ``ORG/REPO``, ``ORG/REPO@REF`` or a provider spec.

    ``git/git`` and ``zenodo/zenodo`` are GitHub repositories, not specs.
    """
    if text.startswith((".", "/", "~")):
        hint = "To launch the checkout in the current directory, omit REPOSITORY."
        raise UsageError(f"{_urls.redact(text)} is a path on this machine.", hint=hint)
    if at_ref := re.fullmatch(r"([^/]+/[^/@:%]+)@(.*)", text):
        if not at_ref[2]:
            raise UsageError(f"{_urls.redact(text)} has no ref after the @.")
        return Repository("gh", at_ref[1], at_ref[2])
    prefix, _, rest = text.removesuffix("/").partition("/")
    if not rest:
        raise UsageError(f"{_urls.redact(text)} names no repository.")
    provider = PROVIDERS.get(prefix)
    if "/" in rest and not provider:
        raise UsageError(
            f"{_urls.redact(text)} looks like a spec but begins with none of {PREFIXES}."
        )
    if "/" in rest or (provider and ("%" in rest or provider.is_id(rest))):
        return Repository.from_spec(text.partition("?")[0])
    return Repository("gh", f"{prefix}/{rest}")
