"""Which repository a page shows: web pages of git hosts and archives, and git URLs."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import SplitResult

from clinder._urls import redact
from clinder.errors import UsageError
from clinder.repository import archive_pages, git_pages, git_url_pages
from clinder.repository.page import Page
from clinder.repository.repository import Repository

_HOSTS = {**git_pages.HOSTS, **archive_pages.HOSTS}
_DOMAINS = {**git_url_pages.DOMAINS, **archive_pages.DOMAINS}


def parse_page(parts: SplitResult) -> Repository:
    """Return the repository of a URL; on an unknown host, usually a git repository.

    Raises :class:`~clinder.errors.UsageError` if the page does not belong to a repository.
    """
    path = parts.path.removesuffix("/").removeprefix("/")
    if "" in path.split("/"):
        raise UsageError(f"{redact(parts.geturl())} has no path to a repository.")
    page = Page(parts, path)
    if parse := _HOSTS.get(page.host):
        return parse(page)
    if parts.scheme not in ("http", "https"):
        return Repository("git", parts.geturl())
    if parse := git_url_pages.HOSTS.get(page.host) or _of_domain(page.host):
        return parse(page)
    return archive_pages.find_dataset(page) or git_url_pages.other_host(page)


def is_known_host(host: str) -> bool:
    """Whether the host's name is enough to know how its pages are addressed."""
    host = host.lower()
    return host in _HOSTS or host in git_url_pages.HOSTS or _of_domain(host) is not None


def _of_domain(host: str) -> Callable[[Page], Repository] | None:
    """Return the function for all hosts of the domain to which this one belongs, if any."""
    return next((parse for end, parse in _DOMAINS.items() if host.endswith(end)), None)
