"""Pages of other git hosts, and of programs that run anywhere: the git URL and ref that they show.

What follows ``/tree/`` or precedes the path of a file is read as in :mod:`.git_pages`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from clinder._urls import percent_decode, redact
from clinder.errors import UsageError
from clinder.repository.git_pages import github_ref, gitlab_ref, require_no_discussion, split_gitlab
from clinder.repository.page import (
    Page,
    archive_ref,
    commit_ref,
    first_ref,
    pull_request_error,
    unrecognized_page,
    whole_ref,
)
from clinder.repository.repository import Repository

_FORM = "git/URL/COMMIT"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,64}")
_AZURE_VERSION = re.compile(r"G[BTC](.+)")  # a branch, a tag or a commit
_HUGGING_FACE_PAGES = ("blog", "collections", "docs", "learn", "papers")
_MOST_SEGMENTS = 6
"""One more than the longest pattern for the segments of a page that ends with its ref."""
_CGIT_PAGES = ("about", "commit", "diff", "log", "plain", "refs", "snapshot", "stats", "tree")


def bitbucket(page: Page) -> Repository:
    """Read a page of bitbucket.org. A ref with slashes is percent-encoded, or in ``at``."""
    require_no_discussion(page, _FORM)
    name, shown = page.segments[:2], page.segments[2:]
    match shown:
        case [] | ["src"] if name[1:]:
            return page.git(name)
        case ["src" | "raw" | "annotate", ref, *_]:
            branch = "" if _COMMIT.fullmatch(ref) else page.query("at")
            return page.git(name, branch or percent_decode(ref))
        case ["branch", *ref] | ["commits", "branch" | "tag", *ref] if ref:
            return page.git(name, whole_ref(ref))
        case ["commits", commit, *_]:
            return page.git(name, commit_ref(commit))
        case ["get", *file] if file and (ref := archive_ref(file)):
            return page.git(name, ref)
    raise unrecognized_page(page.path)


def azure(page: Page) -> Repository:
    """Read a page of Azure DevOps, or of a server of one's own: the ref is in ``version``."""
    if "_git" not in page.segments[:-1]:
        raise unrecognized_page(page.path)
    at = page.segments.index("_git") + 2
    name, shown = page.segments[:at], page.segments[at:]
    version = _AZURE_VERSION.fullmatch(page.query("version"))
    match shown:
        case []:
            return page.git(name, version[1] if version else "")
        case ["commit", commit]:
            return page.git(name, commit_ref(commit))
        case ["pullrequest", *_]:
            raise pull_request_error(_FORM)
    raise unrecognized_page(page.path)


def hugging_face(page: Page) -> Repository:
    """Read a page of a model, dataset or space. Slashes in a ref are percent-encoded."""
    segments = page.segments
    first = 1 if segments[0] in ("datasets", "spaces") else 0
    for at in range(first + 1, min(first + 3, len(segments))):
        match segments[at:]:
            case ["tree" | "commits" | "commit" | "blob" | "raw" | "resolve" | "blame", ref, *_]:
                return page.git(segments[:at], percent_decode(ref))
            case ["discussions", *_]:
                raise pull_request_error(_FORM)
    if first < len(segments) <= first + 2 and segments[0] not in _HUGGING_FACE_PAGES:
        return page.git(segments)
    raise unrecognized_page(page.path)


def sourcehut(page: Page) -> Repository:
    """Read a page of git.sr.ht: ``item`` separates the ref from the path of a file."""
    name, shown = page.segments[:2], page.segments[2:]
    match shown:
        case [] if name[1:]:
            return page.git(name)
        case ["tree" | "log" | "blob" | "blame", *ref] if ref:
            return page.git(name, whole_ref(ref[: ref.index("item")] if "item" in ref else ref))
        case ["commit" | "refs", ref]:
            return page.git(name, commit_ref(ref))
        case ["archive", *file] if file and (ref := archive_ref(file)):
            return page.git(name, ref)
    raise unrecognized_page(page.path)


def other_host(page: Page) -> Repository:
    """Read a page of another host: a repository's, unless its path is that of another page."""
    segments = page.segments
    if page.path.endswith(".git"):
        return page.git(segments)
    finders = (_find_azure, _find_bitbucket_server, _find_gitlab, _find_cgit, _find_gitiles)
    for find in (*finders, _find_forgejo_or_github):
        if repository := find(page):
            return repository
    require_no_discussion(page, _FORM)
    return page.git(segments)


def _find_azure(page: Page) -> Repository | None:
    return azure(page) if "_git" in page.segments[1:-1] else None


def _find_bitbucket_server(page: Page) -> Repository | None:
    """Return the repository of a Bitbucket server's page, which is cloned from ``/scm/``."""
    segments = page.segments
    for at, segment in enumerate(segments[:-3]):
        if segment in ("projects", "users") and segments[at + 2] == "repos":
            _, owner, _, repo, *shown = segments[at:]
            owner = owner if segment == "projects" else f"~{owner}"
            name = [*segments[:at], "scm", owner, f"{repo}.git"]
            match shown:
                case [] | ["browse" | "commits" | "raw", *_]:
                    commit = shown[1] if shown[:1] == ["commits"] and len(shown) > 1 else ""
                    return page.git(name, commit or whole_ref(page.query("at").split("/")))
                case ["pull-requests", *_]:
                    raise pull_request_error(_FORM)
            raise unrecognized_page(page.path)
    return None


def _find_gitlab(page: Page) -> Repository | None:
    if "-" not in page.segments[1:]:
        return None
    name, shown = split_gitlab(page.segments)
    return page.git([*name[:-1], f"{name[-1]}.git"], gitlab_ref(page.path, shown))


def _find_cgit(page: Page) -> Repository | None:
    for at, segment in enumerate(page.segments[:-1]):
        if segment.endswith(".git") and page.segments[at + 1] in _CGIT_PAGES:
            ref = page.query("h") or page.query("id")
            return page.git(page.segments[: at + 1], whole_ref(ref.split("/")))
    return None


def _find_gitiles(page: Page) -> Repository | None:
    if "+" not in page.segments[1:-1]:
        return None
    at = page.segments.index("+", 1)
    return page.git(page.segments[:at], first_ref(page.segments[at + 1 :]))


def _find_forgejo_or_github(page: Page) -> Repository | None:
    """Return the repository of a page of Forgejo, Gitea, GitHub Enterprise or a similar program."""
    segments = page.segments
    for at in range(1, len(segments) - 1):
        for read in (_forgejo_ref, _github_ref_elsewhere) if at > 1 else (_forgejo_ref,):
            # First a few segments, because copying all of them each time takes quadratic time.
            if read(segments[at : at + _MOST_SEGMENTS]) and (ref := read(segments[at:])):
                return page.git(segments[:at], ref)
    return None


def _forgejo_ref(shown: list[str]) -> str | None:
    match shown:
        case ["src", "branch" | "tag", *ref] if ref:
            return whole_ref(ref)
        case ["src" | "commits", "commit", ref, *_] | ["commits", "branch" | "tag", ref]:
            return percent_decode(ref)
        case ["raw" | "media" | "blame", "branch" | "tag" | "commit", ref, _, *_]:
            return percent_decode(ref)
    return None


def _github_ref_elsewhere(shown: list[str]) -> str | None:
    """Return the ref of a page like GitHub's, if its path is unlikely to be a repository's."""
    match shown:
        case ["tree", _, *_] | ["blob" | "raw" | "blame" | "resolve", _, _, *_]:
            return github_ref(shown)
        case ["releases", "tag" | "download", _, *_] | ["archive", _, *_]:
            return github_ref(shown)
        case ["commit", commit, *_] if _ABBREVIATED.fullmatch(commit_ref(commit)):
            return github_ref(shown)
    return None


def _website(page: Page) -> Repository:
    owner, _, domain = page.host.partition(".")
    site = f"{owner}/{page.segments[0]}"
    hosts = {"gitlab.io": "https://gitlab.com/", "codeberg.page": "https://codeberg.org/"}
    hint = f"Name the repository that the site is built from, perhaps {hosts.get(domain, '')}{site}"
    raise UsageError(f"{redact(page.parts.geturl())} is a website, not a repository.", hint=hint)


HOSTS: dict[str, Callable[[Page], Repository]] = {
    **dict.fromkeys(("bitbucket.org", "www.bitbucket.org"), bitbucket),
    **dict.fromkeys(("codeberg.org", "gitea.com", "gitee.com"), other_host),
    "dev.azure.com": azure,
    "git.sr.ht": sourcehut,
    **dict.fromkeys(("huggingface.co", "hf.co"), hugging_face),
}
"""The hosts whose pages lead to a git URL on the same host."""

DOMAINS: dict[str, Callable[[Page], Repository]] = {
    ".github.io": _website,
    ".gitlab.io": _website,
    ".codeberg.page": _website,
    ".visualstudio.com": azure,
}
"""The same for all hosts whose names end so."""
