"""Addresses as people type them: cut into parts, checked, and fit to be kept and shown.

No password, query or control character that an address holds gets past this module.
"""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from urllib.parse import SplitResult, unquote, urlsplit

from clinder.errors import UsageError

SCHEMES = ("http", "https", "git", "ssh")
"""The schemes of git URLs that a BinderHub reads (``repoproviders.py``)."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_HOST = re.compile(r"\w[\w-]*(?:\.\w[\w-]*)*\.?|[0-9a-f]*:[0-9a-f:.]+")
_USER = re.compile(r"\w[\w.-]*")
_SCP = re.compile(r"(\w[\w.-]*@\w[\w.-]*):(?!//)/?(.+)")
_HUB_PAGE = re.compile(r"/(?:v2|build)(?:/.*)?$")
_SECRET_FIELD = re.compile(r"[?#&][^=]*=")


def hub_url(text: str) -> str:
    """Return the base URL of a hub, ending in a slash, its path prefix kept.

    A launch page's link stands for its hub; query and fragment are dropped. Without a scheme it
    is https, on this machine http. Raises :class:`~clinder.errors.UsageError` for anything else.
    """
    text = require_printable(text.strip(" "), "hub")
    hint = "Give the address of the hub's launch page, for example https://mybinder.org"
    if not text or "," in text:
        what = "Hubs are separated by blanks, not by commas." if text else "A hub's URL is empty."
        raise UsageError(what, hint=hint)
    parts = split(add_scheme(text), schemes=("http", "https"))
    if parts.username is not None:
        raise UsageError("A hub's URL holds no user and no password: no hub needs one.", hint=hint)
    if not is_url(text) and not re.search(r"[.:]|^localhost$", parts.netloc):
        raise UsageError(f"{redact(text)} is not the address of a hub.", hint=hint)
    return base_url(parts, _HUB_PAGE.sub("", parts.path)) + "/"


def is_url(text: str) -> bool:
    """Whether a text begins with a scheme."""
    return bool(_URL.match(text))


def is_loopback(url: str) -> bool:
    """Whether a URL's host, with or without scheme, is this machine by its very name."""
    with suppress(ValueError):
        host = urlsplit(url if is_url(url) else f"//{url}").hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        return ipaddress.ip_address(host).is_loopback
    return False


def is_cleartext(url: str) -> bool:
    """Whether others can read what is sent to a URL: plain http, to another machine."""
    return url.startswith("http:") and not is_loopback(url)


def add_scheme(text: str) -> str:
    """Return an address with a scheme: its own, else https, or http on this machine."""
    if is_url(text):
        return text
    return f"{'http' if is_loopback(text) else 'https'}://{text}"


def scp_to_url(text: str) -> str:
    """Return ``git@HOST:PATH`` as the URL that a hub makes of it (``repoproviders.py``)."""
    scp = _SCP.fullmatch(text)
    return f"ssh://{scp[1]}/{scp[2]}" if scp else text


def split(url: str, *, schemes: tuple[str, ...] = SCHEMES) -> SplitResult:
    """Return the parts of a URL that has a host and one of the schemes, by default those of git.

    Raises :class:`~clinder.errors.UsageError` for any other text.
    """
    try:
        parts = urlsplit(url)
        valid = _HOST.fullmatch(parts.hostname or "") and parts.port != 0
    except ValueError:
        valid = None
    if not valid:
        raise UsageError(f"{redact(url)} is not a URL with a valid host and port.")
    if parts.scheme not in schemes:
        which = ", ".join(schemes)
        raise UsageError(f"{redact(url)} is a {redact(parts.scheme)} URL, and not one of: {which}.")
    return parts


def base_url(parts: SplitResult, path: str) -> str:
    """Return the URL of a path on the same host, without password, query and slash at its end.

    Raises :class:`~clinder.errors.UsageError` where the path has empty or ``..`` parts.
    """
    path = path.rstrip("/")
    if path and not is_clean_path(path[1:]):
        raise UsageError(
            f"{redact(path)} is not a path: it has empty, dotted or unprintable parts."
        )
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    # Over ssh the user is part of the address; elsewhere it may be a token.
    named = parts.scheme == "ssh" and _USER.fullmatch(parts.username or "")
    user = f"{parts.username}@" if named else ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{user}{host}{port}{path}"


def is_clean_path(path: str) -> bool:
    """Whether all parts of a path are names, also once they are decoded."""
    plain = unquote(path)
    return plain.isprintable() and not {"", ".", ".."} & set(plain.split("/"))


def require_printable(text: str, what: str) -> str:
    """Return a text that can stand in a URL once it is encoded.

    Raises :class:`~clinder.errors.UsageError` where it holds blanks, control characters, or what
    else has no shape of its own: separators, direction marks, lone surrogates.
    """
    if not text.isprintable() or " " in text:
        raise UsageError(f"The {what} {redact(text)} holds blanks or control characters.")
    return text


def percent_decode(text: str) -> str:
    """Return a percent-encoded text decoded; raises ``UsageError`` where it is not UTF-8."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise UsageError(f"{redact(text)} is percent-encoded, but not from UTF-8.") from None


def redact(text: str) -> str:
    """Return a text as a message may show it: no password, no query, no control characters."""
    plain = text
    for _ in range(4):  # a spec holds a URL encoded, which may be encoded itself
        plain = unquote(plain)
    head, at, tail = plain.rpartition("@")
    if at and ("//" in head or ":" in head or "/" not in head):
        text = plain = f"…@{tail}"
    if field := _SECRET_FIELD.search(plain):
        text = plain[: field.start()] + "…"
    return (
        "'"
        + "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:200])
        + "'"
    )
