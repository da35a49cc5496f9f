"""Pages of GitHub and GitLab, and viewers of their files: the repository and ref that they show.

After ``/tree/``, the rest of a path is the ref, because the name of a branch can contain slashes.
Before the path of a file, as in ``/blob/REF/PATH``, the ref is one segment.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from clinder._urls import percent_decode
from clinder.errors import UsageError
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

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ABBREVIATED = re.compile(r"[0-9a-f]{7,64}")
_PULL_REQUESTS = ("pull", "pulls", "merge_requests", "pull-requests", "pull-request", "pullrequest")


def github(page: Page) -> Repository:
    """Read a page of github.com, or one with the same path."""
    org, _, rest = page.path.partition("/")
    repo, *shown = rest.split("/")
    return _github(page.path, f"{org}/{repo}", shown)


def _github(path: str, name: str, shown: list[str]) -> Repository:
    if shown[:1] == ["pull"]:
        raise pull_request_error("ORG/REPO@COMMIT")
    ref = github_ref(shown)
    if ref is None:
        raise unrecognized_page(path)
    return Repository("gh", name, ref)


def github_ref(shown: list[str]) -> str | None:
    """Return the ref of a page, ``None`` if it shows none.

    ``shown`` are the segments after the repository.
    """
    ref: str | None = None
    match shown:
        case []:
            ref = ""
        case ["tree" | "zipball" | "tarball", *whole] | ["releases", "tag", *whole] if whole:
            ref = whole_ref(whole)
        case ["blob" | "raw" | "blame" | "edit" | "resolve", _, _, *_]:
            ref = first_ref(shown[1:])
        case ["commit", commit, *_]:
            ref = commit_ref(commit)
        case ["commits", name] | ["commits", "refs", "heads" | "tags", name]:
            ref = percent_decode(name)
        case ["releases", "download", tag, _]:
            ref = percent_decode(tag)
        case ["archive", *file] if file:
            ref = archive_ref(file) or None
    return ref


def github_raw(page: Page) -> Repository:
    """Read a file at raw.githubusercontent.com."""
    match page.segments:
        case [org, repo, _, _, *_]:
            return Repository("gh", f"{org}/{repo}", first_ref(page.segments[2:]))
    raise unrecognized_page(page.path)


def github_archive(page: Page) -> Repository:
    """Read an archive at codeload.github.com."""
    match page.segments:
        case [org, repo, "zip" | "tar.gz" | "legacy.zip" | "legacy.tar.gz", *ref] if ref:
            return Repository("gh", f"{org}/{repo}", whole_ref(ref))
    raise unrecognized_page(page.path)


def gist(page: Page) -> Repository:
    """Read a page of gist.github.com."""
    match page.segments:
        case [_]:
            hint = "Write gist/USER/ID. GitHub shows the user above the gist, before its name."
            raise UsageError("A hub cannot find a gist without its user.", hint=hint)
        case [user, gist] | [user, gist, "revisions"]:
            return Repository("gist", f"{user}/{gist}")
        case [user, gist, ref]:
            return Repository("gist", f"{user}/{gist}", ref)
    raise unrecognized_page(page.path)


def gist_raw(page: Page) -> Repository:
    """Read a file of a gist: its URL contains the hash of the file, not the gist's commit."""
    hint = "Write gist/USER/ID for the gist's latest commit, gist/USER/ID/COMMIT for another one."
    raise unrecognized_page(page.path, hint)


def gitlab(page: Page) -> Repository:
    """Read a page of gitlab.com. Old links have no ``/-/``."""
    name, shown = split_gitlab(page.segments)
    if not shown:
        require_no_discussion(page, "gl/NAMESPACE/COMMIT")
    return Repository("gl", "/".join(name), gitlab_ref(page.path, shown) if shown else "")


def split_gitlab(segments: list[str]) -> tuple[list[str], list[str]]:
    """Split a path into the namespace and the rest.

    GitLab does not allow projects that are named like the pages in old links, except ``commit``.
    """
    if "-" in segments[1:]:
        at = segments.index("-", 1)
        return segments[:at], segments[at + 1 :]
    for at in range(2, len(segments) - 1):
        is_commit = segments[at] == "commit" and _ABBREVIATED.fullmatch(segments[at + 1])
        if is_commit or segments[at] in ("tree", "blob", "raw", "blame", "commits"):
            return segments[:at], segments[at:]
    return segments, []


def gitlab_ref(path: str, shown: list[str]) -> str:
    """Return the ref of a page at a path; ``shown`` are the segments after ``/-/``."""
    match shown:
        case ["tree" | "tags", *ref] | ["archive", *ref, _] if ref:
            return whole_ref(ref)
        case ["commits" | "releases", ref]:
            return percent_decode(ref)
        case ["blob" | "raw" | "blame", _, *_]:
            return first_ref(shown[1:])
        case ["commit", commit, *_]:
            return commit_ref(commit)
        case ["merge_requests", *_]:
            raise pull_request_error("gl/NAMESPACE/COMMIT")
    raise unrecognized_page(path)


def require_no_discussion(page: Page, form: str) -> None:
    """Raise if a path contains, after a repository, the number of a pull request or an issue."""
    for before, number in zip(page.segments[1:], page.segments[2:], strict=False):
        if number.isascii() and number.isdecimal():
            if before in _PULL_REQUESTS:
                raise pull_request_error(form)
            if before == "issues":
                raise unrecognized_page(page.path)


def nbviewer(page: Page) -> Repository:
    """Read a page of nbviewer, or of another viewer that is given a repository's page."""
    match page.segments:
        case ["github", org, repo, *shown]:
            return _github(page.path, f"{org}/{repo}", shown)
        case ["gist", user, name, *file]:
            ref = file[0] if file and _COMMIT.fullmatch(file[0]) else ""
            return Repository("gist", f"{user}/{name}", ref)
        case ["url" | "urls" as kind, host, *rest] if rest:
            parts = urlsplit(f"{'https' if kind == 'urls' else 'http'}://{host}/{'/'.join(rest)}")
            if parse := HOSTS.get(parts.hostname or ""):
                return parse(Page(parts, "/".join(rest)))
    hint = "Name the repository that contains the notebook."
    raise unrecognized_page(page.path, hint)


HOSTS: dict[str, Callable[[Page], Repository]] = {
    **dict.fromkeys(
        (
            *("github.com", "www.github.com", "ssh.github.com"),
            *("github.dev", "githubtocolab.com"),
        ),
        github,
    ),
    **dict.fromkeys(("raw.githubusercontent.com", "raw.github.com"), github_raw),
    "codeload.github.com": github_archive,
    **dict.fromkeys(("gitlab.com", "www.gitlab.com", "altssh.gitlab.com"), gitlab),
    "gist.github.com": gist,
    "gist.githubusercontent.com": gist_raw,
    **dict.fromkeys(
        ("nbviewer.org", "nbviewer.jupyter.org", "colab.research.google.com"), nbviewer
    ),
}
"""The hosts whose pages lead to a repository with a provider of its own."""
