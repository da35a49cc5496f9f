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


def detect(directory: Path, environ: Mapping[str, str], ref: str = "") -> Checkout:
    """Return the repository and commit of the CI job or, outside CI, of the clone.

    ``ref`` selects another ref of the same repository; HEAD need not be pushed then. Raises
    :class:`~clinder.errors.UsageError` if there is no repository or if HEAD is not pushed.
    """
    checkout = detect_ci(environ)
    if checkout is None:
        return detect_clone(Git(directory, environ), ref)
    return replace(checkout, repository=checkout.repository.with_ref(ref)) if ref else checkout


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
