"""Which repository a page shows: web pages of repository hosts and archives, and DOIs."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import SplitResult, parse_qs

from clinder._urls import base_url, percent_decode, redact
from clinder.errors import UsageError
from clinder.repository.providers import DOI, PROVIDERS
from clinder.repository.repository import Repository

_PULL_REQUEST_PAGE = re.compile(r".+/(?:pulls?|merge_requests|pull-requests)/[0-9]+(?:/.*)?")
_OLD_GITLAB_PAGE = re.compile(r"(?P<name>.+?/[^/]+)/(?P<page>(?:tree|blob)/.+)")
_FORGEJO_PAGE = re.compile(r"(?P<name>.+?)/src/(?:branch|tag|commit)/(?P<ref>.+)")
_FIGSHARE_PAGE = re.compile(r"articles/(?:[^/]+/){1,2}([0-9]{5,})(?:/([0-9]{1,3}))?")


def parse_page(parts: SplitResult) -> Repository:
    """Return the repository of a URL; on an unknown host, usually a git repository.

    Raises :class:`~clinder.errors.UsageError` if the page does not belong to a repository.
    """
    path = parts.path.removesuffix("/").removeprefix("/")
    if "" in path.split("/"):
        raise UsageError(f"{redact(parts.geturl())} has no path to a repository.")
    if parse := _HOSTS.get(parts.hostname or ""):
        return parse(path)
    if parts.scheme in ("http", "https"):
        return _parse_other_host(parts, path)
    return Repository("git", parts.geturl())


def is_known_host(host: str) -> bool:
    """Whether the host's name is enough to know how its pages are addressed."""
    return host.lower() in _HOSTS


def parse_doi(doi: str) -> Repository:
    """Return the dataset of a DOI; its prefix determines the archive.

    Raises :class:`~clinder.errors.UsageError` if the prefix is unknown.
    """
    for prefix, provider in PROVIDERS.items():
        if provider.dois and provider.dois.match(doi):
            return Repository(prefix, doi)
    hint = "Write the provider before the DOI: dataverse/10.5072/FK2/ABC or zenodo/10.5072/1"
    raise UsageError(f"The DOI {redact(doi)} does not identify its archive.", hint=hint)


def _parse_other_host(parts: SplitResult, path: str) -> Repository:
    for dataset_id in parse_qs(parts.query).get("persistentId", []):
        if doi := DOI.fullmatch(dataset_id):
            return Repository("dataverse", doi[1])
    if "/dataset/" in f"/{path}" and not path.endswith(".git"):
        return Repository("ckan", parts.geturl())
    if page := _FORGEJO_PAGE.fullmatch(path):
        return Repository("git", base_url(parts, f"/{page['name']}"), percent_decode(page["ref"]))
    if "/-/" in path:
        name, ref = _gitlab_page(path)
        return Repository("git", base_url(parts, f"/{name}.git"), ref)
    if _PULL_REQUEST_PAGE.fullmatch(path):
        raise _pull_request_error("git/URL/COMMIT")
    return Repository("git", parts.geturl())


# One function per host. `path` has no slashes at either end.


def _github(path: str) -> Repository:
    org, _, rest = path.partition("/")
    repo, *page = rest.split("/")
    name = f"{org}/{repo}"
    match page:
        case []:
            return Repository("gh", name)
        case ["tree", *ref] | ["releases", "tag", *ref] if ref:
            return Repository("gh", name, percent_decode("/".join(ref)))
        case ["commit", segment] | ["blob", segment, _, *_]:
            return Repository("gh", name, percent_decode(segment))
        case ["pull", *_]:
            raise _pull_request_error("ORG/REPO@COMMIT")
    raise _unrecognized_page(path)


def _gitlab(path: str) -> Repository:
    if "/-/" in path:
        return Repository("gl", *_gitlab_page(path))
    # Old links have no "/-/". GitLab does not allow projects named tree or blob.
    if old := _OLD_GITLAB_PAGE.fullmatch(path):
        return Repository("gl", *_gitlab_page(f"{old['name']}/-/{old['page']}"))
    return Repository("gl", path)


def _gitlab_page(path: str) -> tuple[str, str]:
    name, _, page = path.partition("/-/")
    match page.split("/"):
        case ["tree" | "commit" | "tags", *ref] if ref:
            return name, percent_decode("/".join(ref))
        case ["blob", ref, *_]:
            return name, percent_decode(ref)
        case ["merge_requests", *_]:
            raise _pull_request_error("gl/NAMESPACE/COMMIT")
    raise _unrecognized_page(path)


def _gist(path: str) -> Repository:
    match path.split("/"):
        case [gist]:
            hint = "Write gist/USER/ID. GitHub shows the user above the gist, before its name."
            raise UsageError("A hub cannot find a gist without its user.", hint=hint)
        case [user, gist] | [user, gist, "revisions"]:
            return Repository("gist", f"{user}/{gist}")
        case [user, gist, ref]:
            return Repository("gist", f"{user}/{gist}", ref)
    raise _unrecognized_page(path)


def _doi(path: str) -> Repository:
    if doi := DOI.fullmatch(percent_decode(path)):
        return parse_doi(doi[1])
    raise _unrecognized_page(path)


def _zenodo(path: str) -> Repository:
    match path.split("/"):
        case ["record" | "records", record, *_] if record.isascii() and record.isdecimal():
            return Repository("zenodo", f"10.5281/zenodo.{record}")
        case ["doi", *doi]:
            return Repository("zenodo", percent_decode("/".join(doi)))
    raise _unrecognized_page(path)


def _figshare(path: str) -> Repository:
    if page := _FIGSHARE_PAGE.fullmatch(path):
        version = f".v{page[2]}" if page[2] else ""
        return Repository("figshare", f"10.6084/m9.figshare.{page[1]}{version}")
    raise _unrecognized_page(path)


def _hydroshare(path: str) -> Repository:
    return Repository("hydroshare", path)


_HOSTS: dict[str, Callable[[str], Repository]] = {
    **dict.fromkeys(("github.com", "www.github.com", "ssh.github.com"), _github),
    **dict.fromkeys(("gitlab.com", "www.gitlab.com", "altssh.gitlab.com"), _gitlab),
    "gist.github.com": _gist,
    **dict.fromkeys(("doi.org", "www.doi.org", "dx.doi.org"), _doi),
    **dict.fromkeys(("zenodo.org", "www.zenodo.org"), _zenodo),
    **dict.fromkeys(("figshare.com", "www.figshare.com"), _figshare),
    **dict.fromkeys(("hydroshare.org", "www.hydroshare.org"), _hydroshare),
}


def _pull_request_error(form: str) -> UsageError:
    hint = f"Name the commit and the repository that it comes from, possibly a fork: {form}"
    return UsageError("A hub cannot launch a pull or merge request.", hint=hint)


def _unrecognized_page(path: str) -> UsageError:
    return UsageError(f"The page {redact(f'/{path}')} does not identify a repository or ref.")
