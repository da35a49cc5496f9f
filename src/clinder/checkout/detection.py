"""Detect which commit somebody is working on: the CI job's or, outside CI, the clone's.

The environment and the directory are parameters; nothing is read from this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from clinder.checkout.checkout import Checkout
from clinder.checkout.ci import detect_ci
from clinder.checkout.clone import detect_clone
from clinder.checkout.git import Git
from clinder.errors import UsageError
from clinder.repository import Repository
from clinder.repository.https import is_over_ssh, over_https


def detect(directory: Path, environ: Mapping[str, str], ref: str = "") -> Checkout:
    """Return the repository and commit of the CI job or, outside CI, of the clone.

    ``ref`` selects another ref of the same repository; HEAD need not be pushed then. Raises
    :class:`~clinder.errors.UsageError` if there is no repository or if HEAD is not pushed.
    """
    git = Git(directory, environ)
    checkout = detect_ci(environ, git)
    if checkout is None:
        checkout = detect_clone(git, ref)
    elif ref:
        checkout = replace(checkout, repository=checkout.repository.with_ref(ref), warnings=())
    return _avoid_ssh(checkout) if is_over_ssh(checkout.repository) else checkout


def _avoid_ssh(checkout: Checkout) -> Checkout:
    """Replace the ssh URL of a checkout by an https URL, or add a warning if it is unknown.

    The user who cloned the repository had a key. A public hub has none.
    """
    url = checkout.repository.name
    repository = over_https(checkout.repository)
    if repository is None:
        warning = (
            f"A public hub has no ssh key to clone {url}. If the repository is public, name its"
            " https URL, as in https://HOST/ORG/REPO."
        )
        return replace(checkout, warnings=(*checkout.warnings, warning))
    note = f"clinder launches {repository.name}, because a public hub has no ssh key for {url}."
    base = checkout.base and (over_https(checkout.base) or checkout.base)
    return replace(checkout, repository=repository, base=base, notes=(*checkout.notes, note))


def local_repository(directory: Path, environ: Mapping[str, str]) -> Repository:
    """Return the directory itself as a repository; it needs no origin, no push and no git.

    Its URL is ``file://localhost/PATH``, which only the embedded hub accepts.
    """
    path = urlsplit(directory.resolve().as_uri()).path
    try:
        head = Git(directory, environ).run("rev-parse", "--verify", "HEAD^{commit}")
        commit = head.stdout.strip()
    except UsageError:
        commit = ""
    try:
        return Repository("git", f"file://localhost{path}", commit)
    except UsageError:  # the root, or a name that no URL can have; the hub only echoes it
        return Repository("git", "file://localhost/this-directory", commit)
