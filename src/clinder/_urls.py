"""Check and split URLs as people type them, and redact them for messages.

No function returns or shows a password, except that :func:`split` keeps all parts of its URL.
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
_ONE_SLASH = re.compile(r"https?:/", re.IGNORECASE)
_USER = re.compile(r"\w[\w.-]*")
_SCP = re.compile(r"(\w[\w.-]*@\w[\w.-]*):(?!//)/?(.+)")
_HUB_PAGE = re.compile(r"/(?:v2|build)(?:/.*)?$")
_FIELD_START = re.compile(r"[?#&]")


def hub_url(text: str) -> str:
    """Return the base URL of a hub, with its path prefix and a trailing slash.

    The URL of a launch page is accepted too; query and fragment are dropped. The default scheme is
    https, or http on this machine. Raises :class:`~clinder.errors.UsageError` if the text is not
    the URL of a hub.
    """
    text = require_printable(text.strip(" "), "hub")
    hint = "Use the URL of the hub's launch page, for example https://mybinder.org"
    if not text or "," in text:
        problem = "Separate hubs by spaces, not by commas." if text else "A hub's URL is empty."
        raise UsageError(problem, hint=hint)
    parts = split(add_scheme(text), schemes=("http", "https"))
    if parts.username is not None:
        raise UsageError("A hub's URL must not contain a user or a password.", hint=hint)
    if not is_url(text) and (
        _ONE_SLASH.match(text) or not re.search(r"[.:]|^localhost$", parts.netloc)
    ):
        raise UsageError(f"{redact(text)} is not the URL of a hub.", hint=hint)
    return base_url(parts, _HUB_PAGE.sub("", parts.path)) + "/"


def is_url(text: str) -> bool:
    """Whether a text begins with a scheme and ``://``."""
    return bool(_URL.match(text))


def is_loopback(url: str) -> bool:
    """Whether a URL, with or without a scheme, names this machine; without a DNS lookup."""
    with suppress(ValueError):
        host = urlsplit(url if is_url(url) else f"//{url}").hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        return ipaddress.ip_address(host).is_loopback
    return False


def is_cleartext(url: str) -> bool:
    """Whether others can read requests to a URL, because it is plain http to another machine."""
    return url.startswith("http:") and not is_loopback(url)


def add_scheme(text: str) -> str:
    """Return a URL with its own scheme or the default: https, or http on this machine."""
    if is_url(text):
        return text
    return f"{'http' if is_loopback(text) else 'https'}://{text}"


def scp_to_url(text: str) -> str:
    """Convert ``git@HOST:PATH`` to a URL, like a hub (``repoproviders.py``); keep other texts."""
    scp = _SCP.fullmatch(text)
    return f"ssh://{scp[1]}/{scp[2]}" if scp else text


def split(url: str, *, schemes: tuple[str, ...] = SCHEMES) -> SplitResult:
    """Split a URL into its parts.

    Raises :class:`~clinder.errors.UsageError` unless it has a valid host and one of the schemes.
    """
    try:
        parts = urlsplit(url)
        valid = _HOST.fullmatch(parts.hostname or "") and parts.port != 0
    except ValueError:
        valid = None
    if not valid:
        raise UsageError(f"{redact(url)} is not a URL with a valid host and port.")
    if parts.scheme not in schemes:
        allowed = ", ".join(schemes)
        raise UsageError(f"{redact(url)} begins with none of these schemes: {allowed}.")
    return parts


def base_url(parts: SplitResult, path: str) -> str:
    """Return the URL of a path on the same host, without password, query and trailing slash.

    Raises :class:`~clinder.errors.UsageError` if the path has empty or ``..`` segments.
    """
    path = path.rstrip("/")
    if path and not is_clean_path(path[1:]):
        raise UsageError(f"{redact(path)} has empty, dotted or unprintable segments.")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    # An ssh URL needs its user. In other URLs, the user might be a token.
    has_user = parts.scheme == "ssh" and _USER.fullmatch(parts.username or "")
    user = f"{parts.username}@" if has_user else ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{user}{host}{port}{path}"


def is_clean_path(path: str) -> bool:
    """Whether no segment is empty, ``.``, ``..`` or unprintable, not even once decoded."""
    decoded = unquote(path)
    return decoded.isprintable() and not {"", ".", ".."} & set(decoded.split("/"))


def require_printable(text: str, what: str) -> str:
    """Return the text unchanged; ``what`` names it in the error.

    Raises :class:`~clinder.errors.UsageError` if it contains spaces, control characters or other
    invisible ones: separators, direction marks, lone surrogates.
    """
    if not text.isprintable() or " " in text:
        raise UsageError(f"The {what} {redact(text)} contains spaces or control characters.")
    return text


def percent_decode(text: str) -> str:
    """Decode a percent-encoded text. Raises ``UsageError`` if the result is not UTF-8."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise UsageError(f"{redact(text)} is percent-encoded, but not as UTF-8.") from None


def redact(text: str) -> str:
    """Quote a text for a message, without its password, query and control characters."""
    decoded = text
    for _ in range(4):  # the URL in a spec is encoded, and can contain encoded parts itself
        decoded = unquote(decoded)
    head, at, tail = decoded.rpartition("@")
    if at and ("//" in head or ":" in head or "/" not in head):
        text = decoded = f"…@{tail}"
    if (field := _FIELD_START.search(decoded)) and "=" in decoded[field.end() :]:
        text = decoded[: field.start()] + "…"
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:200])
    return f"'{shown}'"
