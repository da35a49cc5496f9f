"""What the pages of forges and archives name, by their URLs as a browser shows them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qs

from clinder._urls import base_url, percent_decode, redact
from clinder.errors import UsageError
from clinder.repository.providers import DOI

_REQUEST_PAGE = re.compile(r".+/(?:pulls?|merge_requests|pull-requests)/[0-9]+(?:/.*)?")
_OLD_GITLAB_PAGE = re.compile(r"(?P<name>.+?/[^/]+)/(?P<page>(?:tree|blob)/.+)")
_FORGEJO_PAGE = re.compile(r"(?P<name>.+?)/src/(?:branch|tag|commit)/(?P<ref>.+)")
_FIGSHARE_PAGE = re.compile(r"articles/(?:[^/]+/){1,2}([0-9]{5,})(?:/([0-9]{1,3}))?")

# The prefixes of Dataverse's larger installations (IQSS/dataverse-installations).
_DATAVERSE = """
    10.5064 10.5683 10.7281 10.7910 10.15139 10.15454 10.18150 10.18419 10.18710 10.18738 10.21950
    10.21979 10.25625 10.26165 10.26193 10.34894 10.48331 10.57745
"""


class Named(NamedTuple):
    """What a page names, not yet checked: a provider, its name for the repository, the ref."""

    provider: str
    name: str
    ref: str = ""


def of_page(parts: SplitResult) -> Named:
    """Return what a URL names; of a host that is not known by name, a git repository.

    Raises :class:`~clinder.errors.UsageError` where the page is not one of a repository.
    """
    path = parts.path.removesuffix("/").removeprefix("/")
    if "" in path.split("/"):
        raise UsageError(f"{redact(parts.geturl())} has no path of a repository.")
    if site := _SITES.get(parts.hostname or ""):
        return site(path)
    if parts.scheme in ("http", "https"):
        return _elsewhere(parts, path)
    return Named("git", parts.geturl())


def is_site(host: str) -> bool:
    """Whether a host's pages are known by its name."""
    return host.lower() in _SITES


def of_doi(doi: str) -> Named:
    """Return which archive's dataset a DOI is, by its prefix.

    Raises :class:`~clinder.errors.UsageError` for a prefix that is not known.
    """
    prefix, _, suffix = doi.partition("/")
    if prefix == "10.5281":
        return Named("zenodo", doi)
    if prefix == "10.6084" or "figshare." in suffix.lower():
        return Named("figshare", doi)
    if prefix == "10.4211":
        return Named("hydroshare", doi)
    if prefix in _DATAVERSE.split():
        return Named("dataverse", doi)
    hint = "Name the provider before the DOI, as in dataverse/10.5072/FK2/ABC or zenodo/10.5072/1"
    raise UsageError(f"The DOI {redact(doi)} does not say which archive it is in.", hint=hint)


def _elsewhere(parts: SplitResult, path: str) -> Named:
    """Return what the page of a host names that is not known by name."""
    for dataset in parse_qs(parts.query).get("persistentId", []):
        if doi := DOI.fullmatch(dataset):
            return Named("dataverse", doi[1])
    if "/dataset/" in f"/{path}" and not path.endswith(".git"):
        return Named("ckan", parts.geturl())
    if page := _FORGEJO_PAGE.fullmatch(path):
        return Named("git", base_url(parts, f"/{page['name']}"), percent_decode(page["ref"]))
    if "/-/" in path:
        name, ref = _gitlab_page(path)
        return Named("git", base_url(parts, f"/{name}.git"), ref)
    if _REQUEST_PAGE.fullmatch(path):
        raise _request("git/URL/COMMIT")
    return Named("git", parts.geturl())


# Sites: from the path of a page, without the slashes at its ends, to a repository.


def _github(path: str) -> Named:
    org, _, rest = path.partition("/")
    repo, *page = rest.split("/")
    name = f"{org}/{repo}"
    match page:
        case []:
            return Named("gh", name)
        case ["tree", *ref] | ["releases", "tag", *ref] if ref:
            return Named("gh", name, percent_decode("/".join(ref)))
        case ["commit", part] | ["blob", part, _, *_]:
            return Named("gh", name, percent_decode(part))
        case ["pull", *_]:
            raise _request("ORG/REPO@COMMIT")
    raise _unread(path)


def _gitlab(path: str) -> Named:
    if "/-/" in path:
        return Named("gl", *_gitlab_page(path))
    # Old links lack the "/-/"; no project can be called tree or blob.
    if old := _OLD_GITLAB_PAGE.fullmatch(path):
        return Named("gl", *_gitlab_page(f"{old['name']}/-/{old['page']}"))
    return Named("gl", path)


def _gitlab_page(path: str) -> tuple[str, str]:
    name, _, page = path.partition("/-/")
    match page.split("/"):
        case ["tree" | "commit" | "tags", *ref] if ref:
            return name, percent_decode("/".join(ref))
        case ["blob", ref, *_]:
            return name, percent_decode(ref)
        case ["merge_requests", *_]:
            raise _request("gl/NAMESPACE/COMMIT")
    raise _unread(path)


def _gist(path: str) -> Named:
    match path.split("/"):
        case [gist]:
            hint = "Write gist/USER/ID: the user is shown above the gist, before its name."
            raise UsageError("A gist without its user is found by no hub.", hint=hint)
        case [user, gist] | [user, gist, "revisions"]:
            return Named("gist", f"{user}/{gist}")
        case [user, gist, ref]:
            return Named("gist", f"{user}/{gist}", ref)
    raise _unread(path)


def _doi(path: str) -> Named:
    if doi := DOI.fullmatch(percent_decode(path)):
        return of_doi(doi[1])
    raise _unread(path)


def _zenodo(path: str) -> Named:
    match path.split("/"):
        case ["record" | "records", record, *_] if record.isascii() and record.isdecimal():
            return Named("zenodo", f"10.5281/zenodo.{record}")
        case ["doi", *doi]:
            return Named("zenodo", percent_decode("/".join(doi)))
    raise _unread(path)


def _figshare(path: str) -> Named:
    if page := _FIGSHARE_PAGE.fullmatch(path):
        version = f".v{page[2]}" if page[2] else ""
        return Named("figshare", f"10.6084/m9.figshare.{page[1]}{version}")
    raise _unread(path)


def _hydroshare(path: str) -> Named:
    return Named("hydroshare", path)


_SITES: dict[str, Callable[[str], Named]] = {
    **dict.fromkeys(("github.com", "www.github.com", "ssh.github.com"), _github),
    **dict.fromkeys(("gitlab.com", "www.gitlab.com", "altssh.gitlab.com"), _gitlab),
    "gist.github.com": _gist,
    **dict.fromkeys(("doi.org", "www.doi.org", "dx.doi.org"), _doi),
    **dict.fromkeys(("zenodo.org", "www.zenodo.org"), _zenodo),
    **dict.fromkeys(("figshare.com", "www.figshare.com"), _figshare),
    **dict.fromkeys(("hydroshare.org", "www.hydroshare.org"), _hydroshare),
}


def _request(form: str) -> UsageError:
    hint = f"Name the repository of its head, which may be a fork, and the commit: {form}"
    return UsageError("A pull or merge request is nothing that a hub can launch.", hint=hint)


def _unread(path: str) -> UsageError:
    return UsageError(f"The page {redact(f'/{path}')} does not say which repository or ref it is.")
