"""A page in place of an event stream: what it shows about the hub, its proxy or its address.

A BinderHub responds to every build request with an event stream, even to one that it refuses. A
page therefore comes from a proxy in front of it, from a login service, or from another program.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from clinder._deadline import Deadline
from clinder._text import one_line
from clinder.errors import (
    ChallengePage,
    ClinderError,
    HubBroken,
    HubDown,
    LoginRequired,
    NotABinderHub,
    ProxyRefused,
    RateLimited,
    SlashesRefused,
    UrlTooLong,
)
from clinder.wire.http import Stream
from clinder.wire.http_errors import TransportError
from clinder.wire.json_fields import get_text, parse_object

_LIMIT = 16 * 1024
"""How many bytes of a page are read."""
_SECONDS = 5.0
"""How long a page is read while its bytes arrive."""
_REASON = 300
_BY_STATUS: dict[int, tuple[type[ClinderError], str]] = {
    403: (ProxyRefused, "The hub's proxy refuses the request"),
    413: (UrlTooLong, "The hub's proxy does not accept a URL of this length"),
    414: (UrlTooLong, "The hub's proxy does not accept a URL of this length"),
    431: (UrlTooLong, "The hub's proxy does not accept a URL of this length"),
    429: (RateLimited, "The hub or its proxy limits the rate of requests"),
    503: (HubDown, "The hub's proxy reports that the hub is down"),  # a hub sends it as an event
}
_LOGIN_SEGMENTS = frozenset(
    (
        *("authn", "authorize", "cas", "log-in", "log_in", "login", "oauth", "oauth2"),
        *("oauth_login", "openid-connect", "saml", "saml2", "sign-in", "sign_in", "signin", "sso"),
    )
)
_LOGIN_HOSTS = frozenset(("accounts", "auth", "idp", "login", "sso"))
_LOGIN_FIELDS = frozenset(("client_id", "samlrequest"))
_LOGIN_PAGE = re.compile(r"""type=["']?password\b|["'/]oauth2/(?:start|sign_in)\b""", re.IGNORECASE)
_CHALLENGE_HEADERS = {"cf-mitigated": ("challenge",), "x-amzn-waf-action": ("challenge", "captcha")}
"""Documented by Cloudflare ("Detect a Challenge Page response") and AWS WAF ("CAPTCHA and Challenge
action behavior")."""
_CHALLENGE_PAGE = re.compile(
    r"_cf_chl_opt|<title>just a moment|within\.website/x/cmd/anubis|sucuri_cloudproxy_js"
    r"|check\.ddos-guard\.net|geo\.captcha-delivery\.com|px-captcha",
    re.IGNORECASE,
)


def content_type(stream: Stream) -> str:
    """Return the content type of a response, without its parameters."""
    return stream.headers.get("Content-Type", "no content type").split(";")[0].strip().lower()


def explain_page(
    stream: Stream, requested_url: str, *, deadline: Deadline, is_binderhub: Callable[[], bool]
) -> ClinderError:
    """Return the error that a response means if it is not an event stream.

    ``is_binderhub`` asks whether a BinderHub is at the address that the build request went to.
    """
    status, kind = stream.status, content_type(stream)
    is_page = status < 500 and kind.endswith(("/html", "json"))
    text = _read_start(stream, deadline) if is_page else ""
    if _is_challenge(stream, text):
        return ChallengePage(
            f"The hub's proxy responded with a challenge page (status {status}), which only a"
            " browser can pass."
        )
    if reason := _login_reason(stream, text, requested_url):
        return login_required(reason)
    if status in _BY_STATUS:
        error, message = _BY_STATUS[status]
        return error(f"{message} (status {status}).")
    if status >= 500:
        return HubBroken(f"The hub responded with status {status}.")
    if status in (400, 404) and "%2f" in requested_url.lower() and is_binderhub():
        message = "The hub's proxy does not accept the encoded slash (%2F) in the spec"
        return SlashesRefused(f"{message} (status {status}).")
    return NotABinderHub(
        f"This is not a BinderHub's address: it responded with status {status} and"
        f" {kind if re.fullmatch(r'[a-z0-9.+/ -]{1,60}', kind) else 'another content type'}"
        " instead of an event stream."
    )


def login_required(reason: str) -> LoginRequired:
    """Return the error for a hub that requires a login, which ``reason`` shows."""
    return LoginRequired(f"The hub requires a login: {reason}.")


def login_redirect(url: str) -> str:
    """Return the description of a redirect to this URL if it is that of a login, otherwise ``""``.

    A spec can contain any word, so the URL of another build request is none.
    """
    try:
        parts = urlsplit(url)
        fields = {name.lower() for name in parse_qs(parts.query)}
    except ValueError:
        return ""
    if "/build/" in parts.path:
        return ""
    host = parts.netloc.rpartition("@")[2].lower()
    segments = set(parts.path.lower().split("/"))
    if segments & _LOGIN_SEGMENTS or fields & _LOGIN_FIELDS or host.split(".")[0] in _LOGIN_HOSTS:
        return f"it redirects to {one_line(f'{parts.scheme}://{host}{parts.path}', _REASON)}"
    return ""


def _login_reason(stream: Stream, text: str, requested_url: str) -> str:
    """Return what shows that the hub requires a login, or ``""``."""
    if stream.status >= 500:
        return ""
    if stream.url != requested_url and (redirect := login_redirect(stream.url)):
        return redirect
    is_json = content_type(stream).endswith("json")
    if stream.status == 401 or (stream.status == 403 and is_json):
        data = parse_object(text) or {}
        names = ("message", "detail", "error_description", "error")
        reasons = (one_line(get_text(data, name), _REASON).rstrip(".") for name in names)
        reason = next(filter(None, reasons), "")
        return f"it responded with status {stream.status}" + (f" ({reason})" if reason else "")
    return "it responded with a login page" if _LOGIN_PAGE.search(text) else ""


def _is_challenge(stream: Stream, text: str) -> bool:
    has_header = any(
        stream.headers.get(name, "").lower() in values
        for name, values in _CHALLENGE_HEADERS.items()
    )
    return has_header or bool(_CHALLENGE_PAGE.search(text))


def _read_start(stream: Stream, deadline: Deadline) -> str:
    """Return the beginning of a page, or as much of it as arrives."""
    body, started = bytearray(), deadline.now()
    try:
        for chunk in stream.chunks:
            body += chunk
            if len(body) >= _LIMIT or deadline.now() - started > _SECONDS:
                break
    except TransportError:
        pass
    return body[:_LIMIT].decode("utf-8", "replace")
