"""The https URL of a repository that is cloned over ssh, on hosts whose rule is known.

A public hub has no ssh key, so it can clone only over https.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

from clinder.repository.repository import Repository

_FORGES = re.compile(r"(?:.+\.)?(?:forgejo|gitea|gitlab)\..+")
"""Hosts named after the program that they run. Each of these serves both protocols at one path."""
_AZURE = re.compile(r"/v3/([^/]+)/([^/]+)/([^/]+)")


def over_https(repository: Repository) -> Repository | None:
    """Return a repository with its https URL in place of its ssh URL.

    Returns ``None`` if the host's rule is unknown, or the repository has no ssh URL.
    """
    if not is_over_ssh(repository):
        return None
    parts = urlsplit(repository.name)
    host = parts.hostname or ""
    rule = _RULES.get(host) or (_same_path(host) if _FORGES.fullmatch(host) else None)
    url = rule(parts) if rule else ""
    return Repository(repository.provider, url, repository.ref) if url else None


def is_over_ssh(repository: Repository) -> bool:
    """Whether a hub needs an ssh key to clone this repository."""
    return repository.provider == "git" and repository.name.startswith("ssh://")


def _same_path(host: str) -> Callable[[SplitResult], str]:
    """Return the rule of a host whose https URLs have the paths of its ssh URLs."""
    return lambda parts: f"https://{host}{parts.path}"


def _azure(parts: SplitResult) -> str:
    match = _AZURE.fullmatch(parts.path)
    return f"https://dev.azure.com/{match[1]}/{match[2]}/_git/{match[3]}" if match else ""


_SAME_PATH = (
    "bitbucket.org", "codebase.helmholtz.cloud", "codeberg.org", "framagit.org",
    "git.launchpad.net", "git.rwth-aachen.de", "git.sr.ht", "gitee.com", "huggingface.co",
    "invent.kde.org", "jugit.fz-juelich.de", "notabug.org", "pagure.io", "salsa.debian.org",
)  # fmt: skip
_RULES: dict[str, Callable[[SplitResult], str]] = {
    **{host: _same_path(host) for host in _SAME_PATH},
    "altssh.bitbucket.org": _same_path("bitbucket.org"),
    "hf.co": _same_path("huggingface.co"),
    "ssh.dev.azure.com": _azure,
}
