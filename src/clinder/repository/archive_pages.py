"""The dataset that a page of an archive shows, and archives from which no hub can launch."""

from __future__ import annotations

import re
from collections.abc import Callable

from clinder._urls import percent_decode, redact
from clinder.errors import UsageError
from clinder.repository.page import Page, unrecognized_page
from clinder.repository.providers import DOI, PROVIDERS
from clinder.repository.repository import Repository

_FIGSHARE_PAGE = re.compile(r"articles/(?:[^/]+/){1,2}([0-9]{5,})(?:/([0-9]{1,3}))?")
_FIGSHARE_PORTAL = re.compile(r"articles/[a-z_]+/[^/]+/[0-9]{5,}(?:/[0-9]{1,3})?")
_CKAN_VIEWS = ("activity", "edit", "followers", "groups", "showcases")
"""What can precede the name of a dataset in the path of its page."""
_COPY_DOI = "Copy the DOI from the page, and write it alone."
_SUPPORTED = (
    "Hubs launch git repositories, and datasets at Zenodo, Figshare, Dataverse, HydroShare and "
    "CKAN. If the page links to a git repository, name that one."
)
_UNSUPPORTED_DOIS = {
    "10.1594/": "PANGAEA",
    "10.5061/": "Dryad",
    "10.17605/": "OSF",
    "10.17632/": "Mendeley Data",
}


def parse_doi(doi: str) -> Repository:
    """Return the dataset of a DOI; its prefix determines the archive.

    Raises :class:`~clinder.errors.UsageError` if the prefix is unknown, or no hub supports it.
    """
    for prefix, provider in PROVIDERS.items():
        if provider.dois and provider.dois.match(doi):
            return Repository(prefix, doi)
    for prefix, archive in _UNSUPPORTED_DOIS.items():
        if doi.startswith(prefix):
            raise _unsupported(f"{archive}, to which the DOI {redact(doi)} belongs")
    hint = "Write the provider before the DOI: dataverse/10.5072/FK2/ABC or zenodo/10.5072/1"
    raise UsageError(f"The DOI {redact(doi)} does not identify its archive.", hint=hint)


def doi_page(page: Page) -> Repository:
    """Read a page of doi.org."""
    if doi := DOI.fullmatch(percent_decode(page.path)):
        return parse_doi(doi[1])
    raise unrecognized_page(page.path)


def zenodo(page: Page) -> Repository:
    """Read a page of zenodo.org, or its badge."""
    segments = page.segments[1:] if page.segments[0] == "api" else page.segments
    match segments:
        case ["record" | "records", record, *_] if record.isascii() and record.isdecimal():
            return Repository("zenodo", f"10.5281/zenodo.{record}")
        case ["doi", *doi]:
            return Repository("zenodo", percent_decode("/".join(doi)))
        case ["badge", "DOI", *doi]:
            return Repository("zenodo", percent_decode("/".join(doi)).removesuffix(".svg"))
    raise unrecognized_page(page.path)


def figshare(page: Page) -> Repository:
    """Read a page of figshare.com."""
    if shown := _FIGSHARE_PAGE.fullmatch(page.path):
        version = f".v{shown[2]}" if shown[2] else ""
        return Repository("figshare", f"10.6084/m9.figshare.{shown[1]}{version}")
    raise unrecognized_page(page.path, _COPY_DOI)


def hydroshare(page: Page) -> Repository:
    """Read a page of hydroshare.org."""
    return Repository("hydroshare", page.path)


def _figshare_portal(page: Page) -> Repository:
    url = redact(page.parts.geturl())
    raise UsageError(f"{url} does not contain the dataset's DOI.", hint=_COPY_DOI)


def _no_archive(page: Page) -> Repository:
    raise _unsupported(page.host)


def _unsupported(what: str) -> UsageError:
    return UsageError(f"No hub can launch from {what}.", hint=_SUPPORTED)


def find_dataset(page: Page) -> Repository | None:
    """Return the dataset of a Dataverse, CKAN or Figshare page on an unknown host, if it is one."""
    dataset_id = page.query("persistentId")
    if dataset_id or page.path.endswith(".xhtml") or page.host.startswith("dataverse."):
        return _dataverse(page, dataset_id)
    if _FIGSHARE_PORTAL.fullmatch(page.path):
        return _figshare_portal(page)
    if "dataset" in page.segments[:-1] and not page.path.endswith(".git"):
        return _ckan(page)
    return None


def _ckan(page: Page) -> Repository:
    at = page.segments.index("dataset") + 1
    is_view = page.segments[at] in _CKAN_VIEWS and len(page.segments) > at + 1
    path = "/".join([*page.segments[:at], *page.segments[at + is_view :]])
    return Repository("ckan", page.parts._replace(path=f"/{path}").geturl())


def _dataverse(page: Page, dataset_id: str) -> Repository:
    doi = DOI.fullmatch(dataset_id)
    if not doi:
        message = "A hub finds a dataset on a Dataverse only by its DOI, which is not in this URL."
        raise UsageError(message, hint=_COPY_DOI)
    is_file = page.path.endswith("file.xhtml") and doi[1].count("/") > 2  # its dataset's DOI, /FILE
    return Repository("dataverse", doi[1].rpartition("/")[0] if is_file else doi[1])


HOSTS: dict[str, Callable[[Page], Repository]] = {
    **dict.fromkeys(("doi.org", "www.doi.org", "dx.doi.org"), doi_page),
    **dict.fromkeys(("zenodo.org", "www.zenodo.org"), zenodo),
    **dict.fromkeys(("figshare.com", "www.figshare.com"), figshare),
    **dict.fromkeys(("hydroshare.org", "www.hydroshare.org"), hydroshare),
    **dict.fromkeys(
        (
            *("archive.softwareheritage.org", "data.mendeley.com", "datadryad.org"),
            *("doi.pangaea.de", "drive.google.com", "kaggle.com", "osf.io", "sandbox.zenodo.org"),
            "www.kaggle.com",
        ),
        _no_archive,
    ),
}
"""The archives whose hosts are known."""

DOMAINS: dict[str, Callable[[Page], Repository]] = {".figshare.com": _figshare_portal}
"""The same for all hosts whose names end so."""
