"""The providers of a BinderHub, one row each. How a hub reads them: ``repoproviders.py``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qs, quote

from clinder import _urls
from clinder.errors import UsageError

DOI = re.compile(r"(?:doi:)?(10\.[0-9]{4,9}/.+)", re.IGNORECASE)
"""A DOI, group 1, with or without ``doi:``."""
# The larger Dataverse installations (IQSS/dataverse-installations).
_DATAVERSE_DOI = re.compile(
    r"10\.(?:5064|5683|7281|7910|15139|15454|18150|18419|18710|18738|21950"
    r"|21979|25625|26165|26193|34894|48331|57745)/"
)

_OWNER = r"[A-Za-z0-9][A-Za-z0-9_-]*"
_GITHUB = re.compile(rf"({_OWNER}/[A-Za-z0-9._-]+(?<!\.git))")
_GITLAB = re.compile(r"(\w[\w.+-]*(?:/\w[\w.+-]*)+(?<!\.git))", re.ASCII)
_GIST = re.compile(rf"({_OWNER}/[A-Za-z0-9]+)")
_HYDROSHARE = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", re.IGNORECASE)


@dataclass(frozen=True)
class Provider:
    """How the specs of a provider are written and read.

    ``normalize`` returns the canonical form of a decoded name, or ``""`` if the name is invalid.
    ``name_is_one_segment``: the slashes of a name are percent-encoded. ``ref_names``: the only
    refs besides commits that a hub resolves; empty if there are others. ``check`` raises
    :class:`~clinder.errors.UsageError` if a hub would silently misread what follows the prefix.
    ``dois`` matches the beginning of DOIs that belong to the provider.
    """

    form: str
    example: str
    normalize: Callable[[str], str]
    has_refs: bool = False
    name_is_one_segment: bool = False
    ref_names: tuple[str, ...] = ()
    check: Callable[[str], None] | None = None
    dois: re.Pattern[str] | None = None

    def is_id(self, segment: str) -> bool:
        """Whether one segment, without any encoding, is the whole name of a dataset."""
        if self.has_refs or self.name_is_one_segment:
            return False
        return self.normalize(segment).lower() == segment.lower()

    def split(self, rest: str) -> tuple[str, str]:
        """Split what follows the prefix of a spec into name and ref, both still encoded."""
        if self.check:
            self.check(rest)
        if not self.has_refs:
            return rest, ""
        if self.name_is_one_segment:
            name, _, ref = rest.partition("/")
            return name, ref
        owner, _, rest = rest.partition("/")
        name, _, ref = rest.partition("/")
        return f"{owner}/{name}", ref


def _match(pattern: re.Pattern[str], suffix: str, name: str) -> str:
    match = pattern.fullmatch(name.removesuffix(suffix))
    return match[1] if match and _urls.is_clean_path(match[1]) else ""


def _hydroshare(name: str) -> str:
    match = _HYDROSHARE.search(name)
    return match[0].lower() if match else ""


def _git(name: str) -> str:
    # Only the embedded hub reads this machine's files; the others refuse such a URL.
    is_local = name.startswith("file://localhost/")
    parts = _urls.split(_urls.scp_to_url(name), schemes=("file",) if is_local else _urls.SCHEMES)
    return _urls.base_url(parts, parts.path) if parts.path.strip("/") else ""


def _ckan(name: str) -> str:
    parts = _urls.split(name)
    if parts.path.rstrip("/").count("/dataset/") != 1 or parts.scheme not in ("http", "https"):
        return ""
    # The version is all that the hub reads from the query.
    version = parse_qs(parts.query).get("activity_id", [""])[0]
    version = quote(_urls.require_printable(version, "activity"), safe="")
    return _urls.base_url(parts, parts.path) + (f"?activity_id={version}" if version else "")


def _require_encoded_url(rest: str) -> None:
    first, slash, more = rest.partition("/")
    name = _urls.percent_decode(first)
    if slash and "/" not in name and (name.endswith(":") or ("@" in name and "/" in more)):
        hint = f"Write the URL alone, or encode it as in {PROVIDERS['git'].example}"
        raise UsageError("The URL in a git spec must be percent-encoded.", hint=hint)


def _require_encoded_namespace(rest: str) -> None:
    first, slash, _ = rest.partition("/")
    name = _urls.percent_decode(first)
    if slash and "/" not in name:
        namespace, _, ref = rest.rpartition("/")
        if "/" not in namespace:
            namespace, ref = rest, "HEAD"
        encoded = f"gl/{quote(_urls.percent_decode(namespace), safe='')}/{ref}"
        hint = f"Percent-encode the slashes of the namespace: {_urls.redact(encoded)}"
        raise UsageError(
            f"A hub would take {_urls.redact(name)} for the whole namespace.", hint=hint
        )


PROVIDERS: dict[str, Provider] = {
    "gh": Provider(
        form="gh/ORG/REPO/REF",
        example="gh/binder-examples/requirements/HEAD",
        normalize=partial(_match, _GITHUB, ".git"),
        has_refs=True,
    ),
    "gl": Provider(
        form="gl/NAMESPACE/REF",
        example="gl/group%2Fsubgroup%2Fproject/main",
        normalize=partial(_match, _GITLAB, ".git"),
        has_refs=True,
        name_is_one_segment=True,
        check=_require_encoded_namespace,
    ),
    "gist": Provider(
        form="gist/USER/ID/REF",
        example="gist/octocat/6cad326836d38bd3a7ae/HEAD",
        normalize=partial(_match, _GIST, ".git"),
        has_refs=True,
        ref_names=("HEAD", "main", "master"),
    ),
    "git": Provider(
        form="git/URL/REF",
        example="git/https%3A%2F%2Fgit.example.org%2Fproject.git/main",
        normalize=_git,
        has_refs=True,
        name_is_one_segment=True,
        check=_require_encoded_url,
    ),
    "zenodo": Provider(
        form="zenodo/DOI",
        example="zenodo/10.5281/zenodo.3242074",
        normalize=partial(_match, DOI, ""),
        dois=re.compile(r"10\.5281/"),
    ),
    "figshare": Provider(
        form="figshare/DOI",
        example="figshare/10.6084/m9.figshare.9782777.v1",
        normalize=partial(_match, DOI, ""),
        dois=re.compile(r"(?ai)10\.6084/|[^/]+/.*figshare\."),
    ),
    "hydroshare": Provider(
        form="hydroshare/ID",
        example="hydroshare/8f7c2f0341ef4180b0dbe97f59130756",
        normalize=_hydroshare,
        dois=re.compile(r"10\.4211/"),
    ),
    "dataverse": Provider(
        form="dataverse/DOI",
        example="dataverse/10.7910/DVN/TJCLKP",
        normalize=partial(_match, DOI, ""),
        dois=_DATAVERSE_DOI,
    ),
    "ckan": Provider(
        form="ckan/URL",
        example="ckan/https%3A%2F%2Fdemo.ckan.org%2Fdataset%2Fmy-sample-dataset-001",
        normalize=_ckan,
        name_is_one_segment=True,
    ),
}
"""The providers by their prefix, in the order in which messages and the documentation list them."""

PREFIXES = ", ".join(PROVIDERS)
