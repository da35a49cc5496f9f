"""The providers that a hub knows: how each is written, and how each names a repository."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from urllib.parse import parse_qs, quote

from clinder._urls import (
    SCHEMES,
    base_url,
    is_clean_path,
    percent_decode,
    redact,
    require_printable,
    scp_to_url,
    split,
)
from clinder.errors import UsageError

DOI = re.compile(r"(?:doi:)?(10\.[0-9]{4,9}/.+)", re.IGNORECASE)
"""A DOI, group 1, with or without ``doi:``."""

FORMS: tuple[tuple[str, str], ...] = (
    ("ORG/REPO", "binder-examples/requirements"),
    ("ORG/REPO@REF", "binder-examples/requirements@v1.0"),
    ("a repository's page", "https://github.com/binder-examples/requirements/tree/main"),
    ("a git URL", "git@gitlab.com:group/project.git"),
    ("a DOI", "10.5281/zenodo.3242074"),
    ("a Binder link or badge", "https://mybinder.org/v2/gh/binder-examples/requirements/HEAD"),
    ("gh/ORG/REPO/REF", "gh/binder-examples/requirements/HEAD"),
    ("gl/NAMESPACE/REF", "gl/group%2Fsubgroup%2Fproject/main"),
    ("gist/USER/ID/REF", "gist/octocat/6cad326836d38bd3a7ae/HEAD"),
    ("git/URL/REF", "git/https%3A%2F%2Fgit.example.org%2Fproject.git/main"),
    ("zenodo/DOI", "zenodo/10.5281/zenodo.3242074"),
    ("figshare/DOI", "figshare/10.6084/m9.figshare.9782777.v1"),
    ("hydroshare/ID", "hydroshare/8f7c2f0341ef4180b0dbe97f59130756"),
    ("dataverse/DOI", "dataverse/10.7910/DVN/TJCLKP"),
    ("ckan/URL", "ckan/https%3A%2F%2Fdemo.ckan.org%2Fdataset%2Fmy-sample-dataset-001"),
)
"""Every form that :func:`target` reads, each with an example."""

_SPECS = {form.partition("/")[0]: (form, example) for form, example in FORMS[6:]}
_WITH_REFS = ("gh", "gl", "gist", "git")
_ONE_PART = ("gl", "git", "ckan")  # the name is encoded with its slashes

_OWNER = r"[A-Za-z0-9][A-Za-z0-9_-]*"
_GITHUB = re.compile(rf"({_OWNER}/[A-Za-z0-9._-]+(?<!\.git))")
_GITLAB = re.compile(r"(\w[\w.+-]*(?:/\w[\w.+-]*)+(?<!\.git))", re.ASCII)
_GIST = re.compile(rf"({_OWNER}/[A-Za-z0-9]+)")
_HYDROSHARE = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", re.IGNORECASE)


# Names: each provider's into its one form.


def _name(provider: str, pattern: re.Pattern[str], suffix: str, text: str) -> str:
    found = pattern.fullmatch(text.removesuffix(suffix))
    if found and is_clean_path(found[1]):
        return found[1]
    raise _misnamed(provider, text)


def _hydroshare_name(text: str) -> str:
    if found := _HYDROSHARE.search(text):
        return found[0].lower()
    raise _misnamed("hydroshare", text)


def _git_name(text: str) -> str:
    # This machine's own files are for the embedded hub; every other refuses them itself.
    own = text.startswith("file://localhost/")
    parts = split(scp_to_url(text), schemes=("file",) if own else SCHEMES)
    if parts.path.strip("/"):
        return base_url(parts, parts.path)
    raise _misnamed("git", text)


def _ckan_name(text: str) -> str:
    parts = split(text)
    # The hub reads a version from the query, and nothing else (repoproviders.py).
    version = parse_qs(parts.query).get("activity_id", [""])[0]
    if parts.path.rstrip("/").count("/dataset/") == 1 and parts.scheme in ("http", "https"):
        query = (
            f"?activity_id={quote(require_printable(version, 'activity'), safe='')}"
            if version
            else ""
        )
        return base_url(parts, parts.path) + query
    raise _misnamed("ckan", text)


_NAMES: dict[str, Callable[[str], str]] = {
    "gh": partial(_name, "gh", _GITHUB, ".git"),
    "gl": partial(_name, "gl", _GITLAB, ".git"),
    "gist": partial(_name, "gist", _GIST, ".git"),
    "git": _git_name,
    "zenodo": partial(_name, "zenodo", DOI, ""),
    "figshare": partial(_name, "figshare", DOI, ""),
    "hydroshare": _hydroshare_name,
    "dataverse": partial(_name, "dataverse", DOI, ""),
    "ckan": _ckan_name,
}
_PROVIDERS = ", ".join(_NAMES)


def _refuse_raw(provider: str, rest: str) -> None:
    """Refuse raw slashes, of which a hub would take all but the first as part of the ref."""
    name = percent_decode(rest.partition("/")[0])
    if "/" in name or "/" not in rest:
        return
    if provider == "git" and (name.endswith(":") or ("@" in name and rest.count("/") > 1)):
        hint = f"Write the URL alone, or encoded as in {_SPECS['git'][1]}"
        raise UsageError("The URL in a git spec is one percent-encoded part.", hint=hint)
    if provider == "gl":
        namespace, _, ref = rest.rpartition("/")
        if "/" not in namespace:
            namespace, ref = rest, "HEAD"
        right = f"gl/{quote(percent_decode(namespace), safe='')}/{ref}"
        hint = f"The namespace is one percent-encoded part: write {redact(right)}"
        raise UsageError(f"A hub would take {redact(name)} for the whole namespace.", hint=hint)


def _misnamed(provider: str, text: str) -> UsageError:
    form, example = _SPECS[provider]
    return UsageError(f"{redact(text)} was taken for {form} but is not of its form: {example}")
