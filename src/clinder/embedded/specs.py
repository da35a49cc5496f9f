"""Resolve a provider's spec like BinderHub's ``repoproviders.py``, but without network requests.

The repository and the ref are assumed to exist, and a branch or tag is not resolved to a commit.
If a real hub would refuse a spec without such a request, this one refuses it with the same message,
because clients recognise refusals by their message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

_ALIASES = {"", "HEAD", "main", "master"}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DOI = r"10\.\d+\/(.)+"
_HYDROSHARE = re.compile(r"[0-9a-f]{32}")
_SSH = re.compile(r"([\w\-]+@[\w\-.]+):(.+)")


class SpecRefused(Exception):
    """The hub refuses the spec. The message is that of its ``failed`` event."""


@dataclass(frozen=True)
class ResolvedSpec:
    """The facts about a repository that a hub's events contain.

    ``ref`` and ``slug`` are the tag and the name of the image. ``ref_url`` shows the ref in a
    browser. ``spec`` is the one in ``binder_persistent_request``.
    """

    repo_url: str
    ref: str
    ref_url: str
    spec: str
    slug: str


def resolve_spec(provider: str, spec: str) -> ResolvedSpec:
    """Resolve a spec, which is still percent-encoded as in the path of the build request.

    Raises :class:`SpecRefused` if the provider is unknown or the spec is malformed.
    """
    if provider not in _PROVIDERS:
        raise SpecRefused(f"No provider found for prefix {provider}")
    spec = spec.rstrip("/")
    resolved = _PROVIDERS[provider].resolve(spec)
    if resolved is None:
        raise SpecRefused(
            f"Could not resolve ref for {provider}:{spec}. "
            "Double check your URL and that your repo is public."
        )
    return resolved


def list_providers() -> list[dict[str, Any]]:
    """Return the providers as ``/api/repoproviders`` lists them."""
    return [
        {
            "id": prefix,
            "displayName": row.title,
            "spec": {"validateRegex": row.regex},
            "repo": {"label": row.title, "placeholder": row.example, "urlEncode": row.encoded},
            "ref": {"enabled": True, "default": "HEAD"} if row.refs else {"enabled": False},
        }
        for prefix, row in _PROVIDERS.items()
    ]


def _github(spec: str) -> ResolvedSpec | None:
    parts = spec.split("/", 2)
    if len(parts) != 3:
        message = f'Spec is not of the form "user/repo/ref", provided: "{spec}".'
        if len(parts) == 2 and parts[1] not in _ALIASES:
            message += f' Did you mean "{spec}/HEAD"?'
        raise SpecRefused(message)
    user, repo, ref = parts[0], parts[1].removesuffix(".git"), parts[2]
    if not (user and repo and ref):
        return None
    url = f"https://github.com/{user}/{repo}"
    return ResolvedSpec(url, ref, f"{url}/tree/{ref}", f"{user}/{repo}/{ref}", f"{user}-{repo}")


def _gist(spec: str) -> ResolvedSpec | None:
    parts = spec.split("/")
    if len(parts) < 2:
        raise SpecRefused("not enough values to unpack (expected at least 2, got 1)")
    user, name, ref = (*parts, "")[:3]
    if ref not in _ALIASES and not _COMMIT.fullmatch(ref):
        return None
    ref = ref or "HEAD"
    url = f"https://gist.github.com/{user}/{name}"
    return ResolvedSpec(f"{url}.git", ref, f"{url}/{ref}", f"{user}/{name}/{ref}", name)


def _gitlab(spec: str) -> ResolvedSpec:
    quoted, ref = _split(spec)
    namespace = unquote(quoted)
    url = f"https://gitlab.com/{namespace}"
    slug = "-".join(part.replace("-", "_-") for part in namespace.split("/"))
    return ResolvedSpec(f"{url}.git", unquote(ref), f"{url}/tree/{unquote(ref)}", spec, slug)


def _git(spec: str) -> ResolvedSpec:
    quoted, ref = _split(spec)
    url = unquote(quoted)
    if match := _SSH.match(url):
        url = f"ssh://{match[1]}/{match[2]}"
    protocol = urlsplit(url).scheme
    if protocol not in ("http", "https", "git", "ssh", "file"):  # a real hub has no file
        raise SpecRefused(
            f"Unsupported git url {url}, protocol {protocol} not in http, https, git, ssh"
        )
    return ResolvedSpec(url, unquote(ref), url, spec, url)


def _split(spec: str) -> tuple[str, str]:
    first, slash, rest = spec.partition("/")
    if not slash:
        raise SpecRefused("not enough values to unpack (expected 2, got 1)")
    return first, rest


def _doi(provider: str) -> Callable[[str], ResolvedSpec]:
    """Return the resolver of a provider whose specs are DOIs with unencoded slashes."""

    def resolve(spec: str) -> ResolvedSpec:
        if not re.fullmatch(_DOI, spec):
            raise SpecRefused(f"Error resolving ref for {provider}:{spec}: HTTP 404: Not Found")
        record = spec.rpartition("/")[2].rpartition(".")[2]
        return ResolvedSpec(spec, record, f"https://doi.org/{spec}", spec, f"{provider}-{record}")

    return resolve


def _hydroshare(spec: str) -> ResolvedSpec:
    ids = _HYDROSHARE.findall(spec)
    if not ids:
        raise SpecRefused("The specified Hydroshare resource id was not recognized.")
    url = f"https://www.hydroshare.org/resource/{ids[-1]}"
    return ResolvedSpec(url, ids[-1], url, url, f"hydroshare-{ids[-1]}")


def _ckan(spec: str) -> ResolvedSpec | None:
    url = unquote(spec)
    _, slash, dataset = urlsplit(url).path.partition("/dataset/")
    name = dataset.partition("/")[0]
    return ResolvedSpec(url, name, url, url, f"ckan-{name}") if slash and name else None


class _Provider(NamedTuple):
    resolve: Callable[[str], ResolvedSpec | None]
    title: str
    regex: str
    example: str
    encoded: bool = False
    refs: bool = False


_PROVIDERS = {
    "gh": _Provider(
        _github, "GitHub", r"[^/]+/[^/]+/.+", "binder-examples/requirements", refs=True
    ),
    "gist": _Provider(_gist, "GitHub Gist", r"[^/]+/[^/]+(/[^/]+)?", "user/gistId", refs=True),
    "git": _Provider(
        _git, "Git repository", r"[^/]+/.+", "https://git.example.com/repo", True, True
    ),
    "gl": _Provider(_gitlab, "GitLab", r"[^/]+/.+", "group/project", True, True),
    "zenodo": _Provider(_doi("zenodo"), "Zenodo DOI", _DOI, "10.5281/zenodo.3242074"),
    "figshare": _Provider(_doi("figshare"), "FigShare DOI", _DOI, "10.6084/m9.figshare.9782777"),
    "hydroshare": _Provider(_hydroshare, "Hydroshare resource", r"[^/]+", "a resource's id", True),
    "dataverse": _Provider(_doi("dataverse"), "Dataverse DOI", _DOI, "10.7910/DVN/TJCLKP"),
    "ckan": _Provider(_ckan, "CKAN dataset", r"[^/]+", "https://example.com/dataset/name", True),
}
