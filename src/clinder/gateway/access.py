"""Who is allowed to use the gateway, and for what: a request's credentials, origin and path."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlencode

_SCHEMES = ("token ", "bearer ")
_SAME_SITE = ("none", "same-origin")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_TARGET = re.compile(r"/[!-\"$-\[\]-~]*")  # printable ASCII without # and \
_MAX_DECODINGS = 3
"""How often a path is decoded to find dots: proxies before a server can decode it, too."""


@dataclass(frozen=True)
class Target:
    """What a request is for: a path below the server's base URL, and its query without a token.

    Both are still percent-encoded.
    """

    path: str
    query: str = ""

    @property
    def text(self) -> str:
        """The path with its query, relative to a base URL that ends in a slash."""
        return f"{self.path}?{self.query}" if self.query else self.path


class Denied(Exception):
    """The gateway does not serve a request; ``status`` and ``message`` are for the response."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Access:
    """The gateway's own token, and the port that it listens on."""

    token: str = field(repr=False)
    port: int

    def admit(self, method: str, target: str, headers: Mapping[str, str]) -> Target:
        """Return what a request is for. The names of ``headers`` are in lower case.

        Only a program on this machine that has the gateway's token is served, no web page, and
        only the Jupyter Server's API: a page of the server can hold the session's token.
        Raises :class:`Denied`.
        """
        if not _TARGET.fullmatch(target):
            raise Denied(400, "The request's target is not a path.")
        path, _, query = target.partition("?")
        if headers.get("host", "").lower() not in self._hosts():
            raise Denied(403, "The request's Host is not the gateway.")
        origin = headers.get("origin", "").lower()
        if origin and origin not in {f"http://{host}" for host in self._hosts()}:
            raise Denied(403, "The request comes from a web page.")
        if headers.get("sec-fetch-site", "none").lower() not in _SAME_SITE:
            raise Denied(403, "The request comes from a web page.")
        if not self._has_token(headers.get("authorization", ""), query):
            raise Denied(403, "The gateway's token is missing or wrong.")
        if method not in _METHODS:
            raise Denied(405, "The gateway does not support this method.")
        return Target(_require_api(path), _without_token(query))

    def _hosts(self) -> Iterator[str]:
        return (f"{name}:{self.port}" for name in ("127.0.0.1", "localhost"))

    def _has_token(self, authorization: str, query: str) -> bool:
        given = [value for name, value in parse_qsl(query) if name == "token"]
        for scheme in _SCHEMES:
            if authorization.lower().startswith(scheme):
                given.append(authorization[len(scheme) :].strip())
        own = self.token.encode()
        matches = [hmac.compare_digest(each.encode(), own) for each in given]
        return any(matches)


def _require_api(path: str) -> str:
    """Return a path without its leading slash. Raises :class:`Denied` unless it is in the API."""
    decoded = path
    for _ in range(_MAX_DECODINGS):
        segments = decoded.split("/")
        if {".", ".."} & set(segments) or not decoded.isprintable() or "\\" in decoded:
            raise Denied(400, "The request's path has dot segments or unprintable characters.")
        decoded = unquote(decoded)
    if not path.startswith("/api/") and path != "/api":
        raise Denied(404, "The gateway serves nothing but the Jupyter Server's API.")
    return path[1:]


def _without_token(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    if all(name != "token" for name, _ in pairs):
        return query
    return urlencode([(name, value) for name, value in pairs if name != "token"])
