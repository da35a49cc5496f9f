"""How an exchange fails, in words."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests
import urllib3

PROXY = "the proxy in this machine's settings"


class TransportError(Exception):
    """An exchange that brought no whole answer; ``what`` says why, in words.

    ``refused``: nothing listens at that address. ``answered``: it broke after the headers came.
    ``untrusted``: whose certificate is not trusted, as ``https://HOST``, if that is why.
    """

    def __init__(
        self, message: str, *, refused: bool = False, answered: bool = False, untrusted: str = ""
    ):
        super().__init__(message)
        self.message = message
        self.refused = refused
        self.answered = answered
        self.untrusted = untrusted


_WORDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    # A proxy's fault says nothing about the server.
    (
        (requests.exceptions.InvalidProxyURL, requests.exceptions.InvalidSchema),
        f"{PROXY} is no address of one, or of no known kind",
    ),
    (urllib3.exceptions.ProxyError, f"{PROXY} does not answer"),
    ((urllib3.exceptions.NameResolutionError, socket.gaierror), "its name does not resolve"),
    (ConnectionRefusedError, "connection refused"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    ((urllib3.exceptions.SSLError, ssl.SSLError), "it does not speak TLS, as https needs"),
    (urllib3.exceptions.ConnectTimeoutError, "no connection in time"),
    ((urllib3.exceptions.ReadTimeoutError, TimeoutError), "nothing came in time"),
    (urllib3.exceptions.DecodeError, "its answer could not be decompressed"),
    ((requests.exceptions.InvalidURL, UnicodeError), "its address is not a valid URL"),
)
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})\b")
_ANY = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


def to_transport_error(
    error: BaseException, *, connected: bool, answered: bool, url: str
) -> TransportError:
    """Return what happened in words, without the URL, which may hold a token.

    What is no failure of a connection is a bug, and is raised as it is.
    """
    causes = list(_causes(error))
    if special := next(filter(None, map(_from_text, causes)), ""):
        return TransportError(special, answered=answered)
    for kinds, words in _WORDS:
        for cause in causes:
            if isinstance(cause, kinds):
                reason = getattr(cause, "verify_message", "")
                return TransportError(
                    f"{words} ({reason})" if reason else words,
                    refused=kinds is ConnectionRefusedError,
                    answered=answered,
                    untrusted=_origin(url) if kinds is ssl.SSLCertVerificationError else "",
                )
    if not any(isinstance(cause, _ANY) for cause in causes):
        raise error
    if connected:
        return TransportError("the connection broke before the answer was whole", answered=answered)
    return TransportError("no connection could be made")


def _from_text(cause: BaseException) -> str:
    """Return the words for a cause that only its own text, or its details, tell from others."""
    if not isinstance(cause, OSError):
        return ""
    if refused := _TUNNEL.match(str(cause)):
        return f"{PROXY} refused, with {refused[1]}"
    if "CA certificate bundle" in str(cause) or getattr(cause, "library", "") in ("X509", "PEM"):
        return "REQUESTS_CA_BUNDLE names no certificates"
    return ""


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    left: list[object] = [error]
    while left:
        one = left.pop(0)
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            yield one
            left += [getattr(one, "reason", None), one.__cause__, one.__context__, *one.args]
