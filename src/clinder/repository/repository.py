"""What to launch: a repository at a ref, read from what people write, written as a hub reads it.

:func:`target` reads any text. A :class:`Repository` writes itself as a provider spec, encoded the
way BinderHub's ``repoproviders.py`` decodes it, which differs from provider to provider.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import parse_qs, quote

from clinder._urls import (
    SCHEMES,
    add_scheme,
    base_url,
    hub_url,
    is_clean_path,
    is_loopback,
    is_url,
    percent_decode,
    redact,
    require_printable,
    scp_to_url,
    split,
)
from clinder.errors import UsageError
from clinder.repository.pages import DOI, is_site, of_doi, of_page

__all__ = ["FORMS", "Repository", "Target", "hub_url", "target"]

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

_HINT = "Write one of these:\n" + "\n".join(f"  {form:<24}{example}" for form, example in FORMS)
_SPECS = {form.partition("/")[0]: (form, example) for form, example in FORMS[6:]}
_WITH_REFS = ("gh", "gl", "gist", "git")
_ONE_PART = ("gl", "git", "ckan")  # the name is encoded with its slashes

_OWNER = r"[A-Za-z0-9][A-Za-z0-9_-]*"
_GITHUB = re.compile(rf"({_OWNER}/[A-Za-z0-9._-]+(?<!\.git))")
_GITLAB = re.compile(r"(\w[\w.+-]*(?:/\w[\w.+-]*)+(?<!\.git))", re.ASCII)
_GIST = re.compile(rf"({_OWNER}/[A-Za-z0-9]+)")
_HYDROSHARE = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", re.IGNORECASE)
_COMMIT = re.compile(r"[0-9a-f]{40}", re.IGNORECASE)
_NO_REF = re.compile(r"[~^:*\[\\]|\.\.|@\{|^@$|^-|\.$|(?:^|/)(?:\.|/|$)|\.lock(?:/|$)")

_LINK = re.compile(r"(?P<base>/(?:.*?/)??)(?:v2|build)/(?P<spec>[a-z]+/.+)")
_BADGE = re.compile(r"\s*(?:!?\[|<|\.\. )")
_BADGE_LINK = re.compile(r"https?://[^\s<>()\[\]\"'?#]+/v2/[a-z]+/[^\s<>()\[\]\"']+")


@dataclass(frozen=True)
class Repository:
    """A repository at a ref, or a dataset of an archive, which has no refs.

    ``provider`` is the prefix by which a hub knows the provider. ``name`` and ``ref`` are decoded,
    as a person reads them: ``ORG/REPO``, ``group/sub/project``, ``USER/ID``, a URL, a DOI, a
    HydroShare id. The name is brought into one form: without ``.git`` where the forge is known,
    a URL without password, query and fragment. ``ref`` becomes ``HEAD`` where it is left out, and
    a commit lower-case. Raises :class:`~clinder.errors.UsageError` for what no hub can read.
    """

    provider: str
    name: str
    ref: str = ""

    def __post_init__(self) -> None:
        if self.provider not in _SPECS:
            raise UsageError(f"{redact(self.provider)} is not one of {_PROVIDERS}.")
        object.__setattr__(
            self, "name", _NAMES[self.provider](require_printable(self.name, "name"))
        )
        if self.provider in _WITH_REFS:
            object.__setattr__(self, "ref", _ref(self.provider, self.ref or "HEAD"))
        elif self.ref:
            raise UsageError(f"{self.provider} has no refs: {redact(self.ref)} cannot be had.")

    @property
    def spec(self) -> str:
        """The provider spec, encoded as the hub decodes it (``repoproviders.py``).

        Slashes of a ref stay, as in the links that a hub makes itself.
        """
        name = quote(self.name, safe="" if self.provider in _ONE_PART else "/")
        return "/".join(part for part in (self.provider, name, quote(self.ref)) if part)

    @property
    def is_commit(self) -> bool:
        """Whether the ref is a full commit, which always means the same."""
        return bool(_COMMIT.fullmatch(self.ref))

    def at(self, ref: str) -> Repository:
        """Return the same repository at another ref.

        Raises :class:`~clinder.errors.UsageError` where the provider has no such refs.
        """
        return replace(self, ref=ref)

    def binder_link(self, hub: str) -> str:
        """Return the link that launches it on a hub in a browser."""
        return f"{hub.rstrip('/')}/v2/{self.spec}"

    @classmethod
    def from_spec(cls, spec: str) -> Repository:
        """Return the repository of a provider spec, with or without its ref.

        A slash at its end is dropped, as the hub does (``builder.py``). Raises
        :class:`~clinder.errors.UsageError`, also where a hub would misread it in silence.
        """
        provider, _, rest = require_printable(spec, "spec").partition("/")
        name, ref = rest.removesuffix("/"), ""
        if provider in ("gl", "git"):
            _refuse_raw(provider, name)
            name, _, ref = name.partition("/")
        elif provider in ("gh", "gist"):
            org, _, rest = name.partition("/")
            repo, _, ref = rest.partition("/")
            name = f"{org}/{repo}"
        return cls(provider, percent_decode(name), percent_decode(ref))


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


def _ref(provider: str, ref: str) -> str:
    """Return a ref that git may have (``git check-ref-format``), a commit in lower case.

    A ``?`` passes, though git has none: it is encoded, and the hub says what it found.
    """
    if _NO_REF.search(require_printable(ref, "ref")):
        raise UsageError(f"{redact(ref)} is not a ref: git has no branch or tag of that form.")
    if _COMMIT.fullmatch(ref):
        return ref.lower()
    if provider == "gist" and ref not in ("HEAD", "main", "master"):
        raise UsageError(f"{redact(ref)} is not a ref of a gist: that is HEAD or a full commit.")
    return ref


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
