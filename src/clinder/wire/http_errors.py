"""Messages that explain a failed request. They contain no URLs or tokens."""

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
    """A request that got no complete response; ``message`` is the reason.

    ``refused``: nothing listens at that address. ``silent``: the connection exists, but nothing
    arrived on it for too long. ``answered``: it failed after the headers arrived. ``untrusted``:
    ``https://HOST`` if the certificate of that host is not trusted.
    """

    def __init__(
        self,
        message: str,
        *,
        refused: bool = False,
        silent: bool = False,
        answered: bool = False,
        untrusted: str = "",
    ):
        super().__init__(message)
        self.message = message
        self.refused = refused
        self.silent = silent
        self.answered = answered
        self.untrusted = untrusted


_NO_CONNECTION = "no connection could be made"
_MESSAGES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    # The proxy comes first because its failure says nothing about the server.
    (
        (requests.exceptions.InvalidProxyURL, requests.exceptions.InvalidSchema),
        f"{PROXY} has an invalid address or an unsupported scheme",
    ),
    (urllib3.exceptions.ProxyError, f"{PROXY} does not respond"),
    ((urllib3.exceptions.NameResolutionError, socket.gaierror), "its name does not resolve"),
    (ConnectionRefusedError, "connection refused"),
    (urllib3.exceptions.NewConnectionError, _NO_CONNECTION),  # a TimeoutError to urllib3
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    ((urllib3.exceptions.SSLError, ssl.SSLError), "it does not use TLS, which https requires"),
    (urllib3.exceptions.DecodeError, "its response could not be decompressed"),
    ((requests.exceptions.InvalidURL, UnicodeError), "its address is not a valid URL"),
)
_TIMEOUTS = (urllib3.exceptions.TimeoutError, TimeoutError)
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})\b")
_ANY = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


def to_transport_error(
    error: BaseException, *, url: str, limit: float, connected: bool = False, answered: bool = False
) -> TransportError:
    """Return the error as a :class:`TransportError`, without the URL, which can hold a token.

    ``limit`` is the time limit in seconds that a timeout exceeded: for connecting or, if the
    request is ``connected``, for the next bytes. Any error that is not a failed connection is a
    bug, and is raised unchanged.
    """
    causes = list(_causes(error))
    if special := next(filter(None, map(_from_text, causes)), ""):
        return TransportError(special, answered=answered)
    for kinds, message in _MESSAGES:
        for cause in causes:
            if isinstance(cause, kinds):
                reason = getattr(cause, "verify_message", "")
                return TransportError(
                    f"{message} ({reason})" if reason else message,
                    refused=kinds is ConnectionRefusedError,
                    answered=answered,
                    untrusted=_origin(url) if kinds is ssl.SSLCertVerificationError else "",
                )
    if any(isinstance(cause, _TIMEOUTS) for cause in causes):
        problem = "it sent nothing for" if connected else "no connection within"
        return TransportError(f"{problem} {limit:g} s", silent=connected, answered=answered)
    if not any(isinstance(cause, _ANY) for cause in causes):
        raise error
    if connected:
        message = "the connection broke before the response was complete"
        return TransportError(message, answered=answered)
    return TransportError(_NO_CONNECTION)


def _from_text(cause: BaseException) -> str:
    """Return the message for an error that only its text or its ``library`` identifies."""
    if not isinstance(cause, OSError):
        return ""
    if refused := _TUNNEL.match(str(cause)):
        return f"{PROXY} refused the connection with status {refused[1]}"
    if "CA certificate bundle" in str(cause) or getattr(cause, "library", "") in ("X509", "PEM"):
        return "REQUESTS_CA_BUNDLE does not contain valid certificates"
    return ""


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    pending: list[object] = [error]
    while pending:
        cause = pending.pop(0)
        if isinstance(cause, BaseException) and cause not in seen:
            seen.append(cause)
            yield cause
            pending += [getattr(cause, "reason", None), cause.__cause__, cause.__context__]
            pending += cause.args
