"""What this CI job, or else this git checkout, says is being worked on.

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
    """Return the repository and the commit that the CI job or the checkout works on.

    With ``ref`` it is that ref of the same repository, and whether the checkout's own commit was
    pushed does not matter. Raises :class:`~clinder.errors.UsageError` where there is none, or
    where its commit cannot be on a hub yet.
    """
    found = detect_ci(environ)
    if found is None:
        return detect_clone(Git(directory, environ), ref)
    return replace(found, repository=found.repository.with_ref(ref)) if ref else found


def local_repository(directory: Path, environ: Mapping[str, str]) -> Repository:
    """Return the directory as a repository of its own: no origin, no push, not even git needed.

    Its URL is ``file://localhost/PATH``, which only the embedded hub reads.
    """
    path = urlsplit(directory.resolve().as_uri()).path
    try:
        head = Git(directory, environ).run("rev-parse", "--verify", "HEAD^{commit}")
        commit = head.stdout.strip()
    except UsageError:
        commit = ""
    try:
        return Repository("git", f"file://localhost{path}", commit)
    except UsageError:  # the root, or a name that no address can have: it is only echoed
        return Repository("git", "file://localhost/this-directory", commit)
