"""What a BinderHub reads out of a provider and a spec (``repoproviders.py``).

Nothing is looked up: repository and ref are taken at their word, and a ref that a real hub would
resolve to a commit is echoed as it is. What a real hub refuses without looking is refused here,
in its words, for clients tell refusals apart by them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

_ALIASES = {"", "HEAD", "main", "master"}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DOI = re.compile(r"10\.\d+/.+")
_HYDROSHARE = re.compile(r"[0-9a-f]{32}")
_SSH = re.compile(r"([\w\-]+@[\w\-.]+):(.+)")


class SpecRefused(Exception):
    """The hub refuses the spec; the message is what it says in its ``failed`` event."""


@dataclass(frozen=True)
class Source:
    """Where a repository is, as a hub's events name it.

    ``ref`` tags the image, ``slug`` names it; ``resolved`` is the spec of
    ``binder_persistent_request``, ``ref_url`` the address of the ref in a browser.
    """

    repo_url: str
    ref: str
    ref_url: str
    resolved: str
    slug: str


def read(provider: str, spec: str) -> Source:
    """Return what the spec names. The spec is raw, as it was in the request's path.

    Raises :class:`SpecRefused` for an unknown provider and for a spec that is not of its form.
    """
    if provider not in _READERS:
        raise SpecRefused(f"No provider found for prefix {provider}")
    source = _READERS[provider](spec.rstrip("/"))
    if source is None:
        raise SpecRefused(
            f"Could not resolve ref for {provider}:{spec.rstrip('/')}. "
            "Double check your URL and that your repo is public."
        )
    return source


def _github(spec: str) -> Source | None:
    parts = spec.split("/", 2)
    if len(parts) != 3:
        what = f'Spec is not of the form "user/repo/ref", provided: "{spec}".'
        if len(parts) == 2 and parts[1] not in _ALIASES:
            what += f' Did you mean "{spec}/HEAD"?'
        raise SpecRefused(what)
    user, repo, ref = parts[0], parts[1].removesuffix(".git"), parts[2]
    if not (user and repo and ref):
        return None
    url = f"https://github.com/{user}/{repo}"
    return Source(url, ref, f"{url}/tree/{ref}", f"{user}/{repo}/{ref}", f"{user}-{repo}")


def _gist(spec: str) -> Source | None:
    parts = spec.split("/")
    if len(parts) < 2:
        raise SpecRefused("not enough values to unpack (expected at least 2, got 1)")
    user, name, ref = (*parts, "")[:3]
    if ref not in _ALIASES and not _COMMIT.fullmatch(ref):
        return None
    ref = ref or "HEAD"
    url = f"https://gist.github.com/{user}/{name}"
    return Source(f"{url}.git", ref, f"{url}/{ref}", f"{user}/{name}/{ref}", name)


def _gitlab(spec: str) -> Source:
    quoted, ref = _pair(spec)
    namespace = unquote(quoted)
    url = f"https://gitlab.com/{namespace}"
    slug = "-".join(part.replace("-", "_-") for part in namespace.split("/"))
    return Source(f"{url}.git", unquote(ref), f"{url}/tree/{unquote(ref)}", spec, slug)


def _git(spec: str) -> Source:
    quoted, ref = _pair(spec)
    url = unquote(quoted)
    if match := _SSH.match(url):
        url = f"ssh://{match[1]}/{match[2]}"
    protocol = urlsplit(url).scheme
    if protocol not in ("http", "https", "git", "ssh", "file"):  # a real hub has no file
        raise SpecRefused(
            f"Unsupported git url {url}, protocol {protocol} not in http, https, git, ssh"
        )
    return Source(url, unquote(ref), url, spec, url)


def _pair(spec: str) -> tuple[str, str]:
    first, slash, rest = spec.partition("/")
    if not slash:
        raise SpecRefused("not enough values to unpack (expected 2, got 1)")
    return first, rest


def _archive(provider: str) -> Callable[[str], Source]:
    """Return the reader of a provider whose specs are DOIs, with their slashes raw."""

    def reader(spec: str) -> Source:
        if not _DOI.fullmatch(spec):
            raise SpecRefused(f"Error resolving ref for {provider}:{spec}: HTTP 404: Not Found")
        record = spec.rpartition("/")[2].rpartition(".")[2]
        return Source(spec, record, f"https://doi.org/{spec}", spec, f"{provider}-{record}")

    return reader


def _hydroshare(spec: str) -> Source:
    found = _HYDROSHARE.findall(spec)
    if not found:
        raise SpecRefused("The specified Hydroshare resource id was not recognized.")
    url = f"https://www.hydroshare.org/resource/{found[-1]}"
    return Source(url, found[-1], url, url, f"hydroshare-{found[-1]}")


def _ckan(spec: str) -> Source | None:
    url = unquote(spec)
    _prefix, found, dataset = urlsplit(url).path.partition("/dataset/")
    name = dataset.partition("/")[0]
    return Source(url, name, url, url, f"ckan-{name}") if found and name else None


_READERS: Mapping[str, Callable[[str], Source | None]] = {
    "gh": _github,
    "gist": _gist,
    "git": _git,
    "gl": _gitlab,
    "zenodo": _archive("zenodo"),
    "figshare": _archive("figshare"),
    "hydroshare": _hydroshare,
    "dataverse": _archive("dataverse"),
    "ckan": _ckan,
}


def providers() -> list[dict[str, Any]]:
    """Return the providers as ``/api/repoproviders`` lists them."""
    return [
        {
            "id": name,
            "displayName": title,
            "spec": {"validateRegex": form},
            "repo": {"label": title, "placeholder": example, "urlEncode": encoded},
            "ref": {"enabled": True, "default": "HEAD"} if has_ref else {"enabled": False},
        }
        for name, title, form, example, encoded, has_ref in _PROVIDERS
    ]


_PROVIDERS = (
    ("gh", "GitHub", r"[^/]+/[^/]+/.+", "binder-examples/requirements", False, True),
    ("gist", "GitHub Gist", r"[^/]+/[^/]+(/[^/]+)?", "user/gistId", False, True),
    ("git", "Git repository", r"[^/]+/.+", "https://git.example.com/repo", True, True),
    ("gl", "GitLab", r"[^/]+/.+", "group/project", True, True),
    ("zenodo", "Zenodo DOI", r"10\.\d+\/(.)+", "10.5281/zenodo.3242074", False, False),
    ("figshare", "FigShare DOI", r"10\.\d+\/(.)+", "10.6084/m9.figshare.9782777", False, False),
    ("hydroshare", "Hydroshare resource", r"[^/]+", "a resource's id", True, False),
    ("dataverse", "Dataverse DOI", r"10\.\d+\/(.)+", "10.7910/DVN/TJCLKP", False, False),
    ("ckan", "CKAN dataset", r"[^/]+", "https://example.com/dataset/name", True, False),
)
