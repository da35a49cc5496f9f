"""Read what people write to name a repository: recognise its form, and return the Repository."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult

from clinder import _urls
from clinder.errors import UsageError
from clinder.repository.archive_pages import parse_doi
from clinder.repository.pages import is_known_host, parse_page
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
_OLD_LINK = re.compile(r"(?P<base>/(?:[^/]+/)?)repo/(?P<name>[^/]+/[^/]+)(?:/.*)?")
_BINDER_HOST = re.compile(r"(?:.+\.)?(?:my)?binder(?:hub)?\..+")
_MYBINDER = re.compile(r"(?:.+\.)?mybinder\.org")
_BADGE = re.compile(r"\s*(?:!?\[|<|\.\. )")
_MARKUP = re.compile(r"[\s\[]|^[!-,:-@\\\]-`{-~]")
"""In a text that is more than a name or a URL: a space, a bracket, or punctuation before it."""
_AUTOLINK = re.compile(r"\s*<([^<>\s]+)>\s*")
_TEXT_LINK = re.compile(  # no link continues over the beginning of another: that would be slow
    r"https?://(?:(?!https?://)[^\s<>()\[\]{}|\\`\"'?#*])+/(?:v2/[a-z]+|repo)/[^\s<>()\[\]{}|\\`\"'*]+"
)


@dataclass(frozen=True)
class ParsedTarget:
    """A repository and, if the text was a Binder link, the URL of its hub."""

    repository: Repository
    hub: str = ""


def parse(text: str) -> ParsedTarget:
    """Return the repository that a text names in any of :data:`FORMS`.

    A text can also be a piece of a page's source that contains one Binder link, or several of the
    same repository. Everything after ``/tree/`` in a page's URL is the ref, because the name of a
    branch can contain slashes. In ``/blob/REF/PATH`` the ref is one segment. Raises
    :class:`~clinder.errors.UsageError`. Neither the result nor the error contains a password.
    """
    try:
        if autolink := _AUTOLINK.fullmatch(text):
            text = autolink[1]
        elif _MARKUP.search(text.strip()) and (target := _find_link(text)):
            return target
        return _parse_text(text)
    except UsageError as error:
        raise UsageError(error.message, hint=error.hint or _HINT) from None


def _find_link(text: str) -> ParsedTarget | None:
    """Return the target of the Binder links in a text. A badge must contain one."""
    targets = set()
    for url in {url.replace("&amp;", "&").rstrip(".,;:!") for url in _TEXT_LINK.findall(text)}:
        parts = _urls.split(_urls.require_printable(url, "link"))
        link = _LINK.fullmatch(parts.path)
        if not link or link["spec"].partition("/")[0] in PROVIDERS:
            targets.add(_parse_link(parts))
    targets.discard(None)
    if len(targets) > 1:
        raise UsageError("The text contains Binder links to different targets.")
    if not targets and _BADGE.match(text):
        raise UsageError("The badge contains no Binder link.")
    return targets.pop() if targets else None


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
    return bool(path and (is_known_host(host) or link or _MYBINDER.fullmatch(host)))


def _parse_url(url: str) -> ParsedTarget:
    parts = _urls.split(url)
    return _parse_link(parts) or ParsedTarget(parse_page(parts))


def _parse_link(parts: SplitResult) -> ParsedTarget | None:
    """Return the target of a URL if it is a Binder link."""
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https"):
        return None
    link = _LINK.fullmatch(parts.path)
    if link and not _is_page(host, link):
        return ParsedTarget(Repository.from_spec(link["spec"]), _hub(parts, link["base"]))
    old = _OLD_LINK.fullmatch(parts.path) if _BINDER_HOST.fullmatch(host) else None
    if old:  # BinderHub's LegacyRedirectHandler
        return ParsedTarget(Repository("gh", old["name"], "master"), _hub(parts, old["base"]))
    if _MYBINDER.fullmatch(host):
        url = _urls.redact(parts.geturl())
        raise UsageError(f"{url} is not a Binder link, which contains the repository after /v2/.")
    return None


def _hub(parts: SplitResult, base: str) -> str:
    """Return the base URL of a Binder link's hub. mybinder.org has links from before https."""
    is_old = parts.scheme == "http" and _MYBINDER.fullmatch(parts.hostname or "")
    return _urls.base_url(parts._replace(scheme="https") if is_old else parts, base) + "/"


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
