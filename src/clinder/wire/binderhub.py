"""One build request to a BinderHub: its events, and its refusals as typed errors.

The messages come from BinderHub's ``builder.py``, ``base.py``, ``launcher.py`` and ``quota.py``.
``tests/transcripts`` has a recorded event stream for each case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from itertools import groupby
from operator import itemgetter
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from clinder._deadline import Deadline
from clinder._text import one_line, printable_lines, truncate
from clinder._urls import hub_url
from clinder.errors import (
    BuildFailed,
    CertificateUntrusted,
    ClinderError,
    Context,
    HubBroken,
    HubDown,
    HubError,
    HubSilent,
    HubUnreachable,
    LaunchFailed,
    NotABinderHub,
    RateLimited,
    Refused,
    ServerUnusable,
    TimedOut,
    UsageError,
)
from clinder.session import Session
from clinder.wire.http import BadRedirect, Response, Stream, Transport
from clinder.wire.http_errors import TransportError
from clinder.wire.hub_pages import content_type, explain_page, login_redirect, login_required
from clinder.wire.json_fields import get_object, get_text, parse_object
from clinder.wire.refusals import find_refusal
from clinder.wire.sse import EventTooLarge, iter_events


@dataclass(frozen=True)
class Progress:
    """A step or log lines; ``phase`` is in lower case, and empty if the hub sent none."""

    phase: str
    message: str

    @property
    def fallback_ref(self) -> str:
        """The ref that the hub uses because the requested one does not exist, or ``""``."""
        match = _FALLBACK_REF.search(self.message) if self.phase == "waiting" else None
        return one_line(match[1]) if match else ""

    @property
    def reports_failed_launch(self) -> bool:
        """Whether the hub failed to launch a server, which it then tries again."""
        return self.phase == "launching" and bool(_FAILED_LAUNCH.search(self.message))


@dataclass(frozen=True)
class Redirected:
    """The hub redirected the request to a member of its federation, whose base URL is ``hub``."""

    hub: str


@dataclass(frozen=True)
class Ready:
    """The server is running: the fields of the ``ready`` event, with the hub's own names."""

    url: str
    token: str = field(repr=False)
    image: str = ""
    repo_url: str = ""
    binder_ref_url: str = ""
    binder_launch_host: str = ""
    binder_persistent_request: str = ""


@dataclass(frozen=True)
class Built:
    """The hub has the image, and launches no server."""

    image: str


_FALLBACK_REF = re.compile(r"^Trying again with (\S+) instead of ", re.MULTILINE)  # builder.py
_FAILED_LAUNCH = re.compile(r"^Launch attempt \d+ failed", re.MULTILINE)  # builder.py
_PAGE_TIMEOUT = 5.0
"""How long another page of the hub can take, in seconds."""

_FAILURE_PHASES = ("failed", "failure")
_KNOWN_PHASES = ("", "built", "launching", "ready", *_FAILURE_PHASES)
_MAX_PHASES = 20
"""More than any hub sends. Observers keep every phase, so the number must be limited."""
_MIN_REDACTED = 16
"""Tokens with fewer characters are not redacted because ordinary log text could match."""
_MAX_FIELD = 1000
_MAX_URL = 8000
"""Characters of the URL and of the token; servers do not accept longer ones in a request."""


def request_build(
    transport: Transport,
    hub: str,
    spec: str,
    *,
    deadline: Deadline,
    build_token: str = "",
    hub_token: str = "",
    build_only: bool = False,
) -> Generator[Redirected | Progress | Ready | Built, None, None]:
    """Send one build request and yield its events; the last one is a :class:`Ready`.

    ``hub`` is a base URL with a trailing slash, ``spec`` is percent-encoded. The last event is a
    :class:`Built` if the hub launches no server: with ``build_only``, which only hubs in API-only
    mode permit (see :func:`is_api_only`). ``hub_token`` is a user's, and is not sent to the target
    of a redirect. Closing the iterator ends the request. Raises the error
    from :mod:`clinder.errors` that fits the hub's refusal or failure, among them
    :class:`~clinder.errors.HubUnreachable` if the event stream ended or broke too early,
    :class:`~clinder.errors.HubDown` if the request reached no hub, and
    :class:`~clinder.errors.CertificateUntrusted`.
    """
    query = {"build_token": build_token, "build_only": "true" if build_only else ""}
    given = [f"{name}={quote(value, safe='')}" for name, value in query.items() if value]
    url = f"{hub}build/{spec}" + ("?" + "&".join(given) if given else "")
    headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
    try:
        with transport.stream(url, deadline=deadline, headers=headers, token=hub_token) as stream:
            member = _member(stream.url, hub)
            if member:
                yield Redirected(member)
            base = member or hub
            if content_type(stream) != "text/event-stream":
                raise explain_page(
                    stream,
                    url,
                    deadline=deadline,
                    is_binderhub=lambda: _is_binderhub(transport, base, deadline),
                )
            secrets = [each for each in (build_token, hub_token) if len(each) >= _MIN_REDACTED]
            events = _events(stream, secure=hub.startswith("https:"), secrets=secrets)
            yield from _stop_if_only_building(
                events, lambda: is_api_only(transport, base, deadline=deadline)
            )
    except BadRedirect as error:
        if reason := login_redirect(error.url):
            raise login_required(reason) from None
        raise NotABinderHub(f"This is not a BinderHub's address: {error.message}.") from None
    except TransportError as error:
        if error.untrusted:
            raise CertificateUntrusted(
                f"The hub's {error.message.removeprefix('its ')}.",
                hint=f"The address is {error.untrusted}. {CertificateUntrusted.hint}",
            ) from None
        if error.silent:
            raise HubSilent(f"The hub is silent: {error.message}.") from None
        kind = HubDown if error.refused else HubUnreachable
        raise kind(f"The hub is unreachable: {error.message}.") from None
    except EventTooLarge:
        raise HubError("The hub sent an event that is too large.") from None


def members(transport: Transport, hub: str, *, deadline: Deadline) -> tuple[str, ...]:
    """Return the base URLs of a federation's members, or none if the hub is not a federation.

    mybinder.org lists those that are healthy at ``active_hosts``, and sends no launches to one with
    the weight 0 (mybinder.org-deploy, ``federation-redirect``). Raises
    :class:`~clinder.errors.HubError` if the hub fails to respond.
    """
    try:
        response = transport.request("GET", f"{hub}active_hosts", deadline=deadline)
    except TransportError as error:
        raise HubUnreachable(f"The hub did not list its members: {error.message}.") from None
    if response.status >= 500:
        raise HubBroken(f"The hub did not list its members: status {response.status}.")
    listed = get_object(parse_object(response.body) or {}, "active_hosts").values()
    hosts = [one for one in listed if isinstance(one, dict) and one.get("weight") != 0]
    urls = [_hub_url(get_text(one, "url")) for one in hosts]
    secure = hub.startswith("https:")
    return tuple(url for url in urls if url.startswith("https:" if secure else "http"))


def _stop_if_only_building(
    events: Iterator[Progress | Ready | Built], builds_only: Callable[[], bool]
) -> Iterator[Progress | Ready | Built]:
    """Pass events on, but raise once a launch fails on a hub that ``builds_only``.

    Such a hub accepts build requests, fails to launch a server, and tries this four times within
    half a minute, because the URL of its JupyterHub is empty (``launcher.py``).
    """
    asked = False
    try:
        for event in events:
            yield event
            if not asked and isinstance(event, Progress) and event.reports_failed_launch:
                asked = True
                if builds_only():
                    raise api_only_error()
    except LaunchFailed:
        if not asked and builds_only():
            raise api_only_error() from None
        raise


def api_only_error() -> NotABinderHub:
    """Return the error for a hub that cannot launch."""
    return NotABinderHub(
        "The hub only builds images and launches no servers (API-only mode).",
        hint="If its JupyterHub can start other images, name a profile with --profile. Otherwise,"
        " use another hub with --hub.",
    )


def is_api_only(transport: Transport, hub: str, *, deadline: Deadline) -> bool:
    """Return whether the hub is in API-only mode, in which it can build without launching.

    It then has no pages, only an API (BinderHub's ``app.py``). It can also launch servers, unless
    it knows no JupyterHub.
    """
    home = _get(transport, hub, deadline)
    return home is not None and home.status == 404 and _is_binderhub(transport, hub, deadline)


def _is_binderhub(transport: Transport, hub: str, deadline: Deadline) -> bool:
    """Whether a BinderHub reports its version at this address (``base.py``)."""
    response = _get(transport, f"{hub}versions", deadline)
    if response is None or response.status != 200:
        return False
    return "binderhub" in (parse_object(response.body) or {})


def _get(transport: Transport, url: str, deadline: Deadline) -> Response | None:
    """Return a page of the hub, ``None`` if it does not respond soon."""
    limit = deadline.capped(_PAGE_TIMEOUT)
    limit.grace = deadline.grace
    try:
        return transport.request("GET", url, deadline=limit)
    except (TransportError, TimedOut):
        return None


def _hub_url(text: str) -> str:
    """Return a hub's base URL, or ``""`` if this text is not one."""
    with suppress(UsageError):
        return hub_url(text)
    return ""


def _member(url: str, hub: str) -> str:
    """Return the base URL of the hub whose build URL this is, or ``""`` if it is ``hub`` itself."""
    parts = urlsplit(url)
    prefix, build, _ = parts.path.partition("/build/")
    member = _hub_url(f"{parts.scheme}://{parts.netloc}{prefix}") if build else ""
    return "" if _parts(member) == _parts(hub) else member


def _parts(hub: str) -> tuple[str, str | None, int | None, str]:
    """Return the parts of a base URL, the same ones for every spelling of it."""
    parts = urlsplit(hub)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port, unquote(parts.path)


def _events(
    stream: Stream, *, secure: bool, secrets: Sequence[str]
) -> Iterator[Progress | Ready | Built]:
    """Yield the events; successive events of one phase that arrive together become one."""
    seen: list[str] = []
    for batch in iter_events(stream.chunks):
        for phase, group in groupby(_parse_events(batch, seen, secrets), itemgetter(0)):
            events = [event for _, event in group]
            if phase in _FAILURE_PHASES:
                raise _failure(events[0], stream.status, seen)
            if phase == "ready":
                yield _ready(events[0], secure=secure)
                return
            if phase not in seen:
                seen.append(phase)
            yield Progress(phase, "\n".join(get_text(event, "message") for event in events))
    if stream.status == 429:
        raise RateLimited("The hub limits the rate of build requests.")
    if stream.status >= 400:
        raise HubBroken(f"The hub responded with status {stream.status} and gave no reason.")
    raise HubUnreachable("The hub ended the event stream before the launch finished.")


def _parse_events(
    batch: Iterable[str], seen: Sequence[str], secrets: Sequence[str]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each event with its phase. Data that is not an event is skipped, as in browsers."""
    for data in batch:
        for secret in secrets:
            data = data.replace(secret, "…")  # noqa: PLW2901 - the loop's own text, redacted
        event = parse_object(data)
        if event is not None:
            phase = get_text(event, "phase")
            yield phase if phase in seen else _normalize(phase, seen), event


def _normalize(text: str, seen: Sequence[str]) -> str:
    """Return a phase in lower case, ``unknown`` if the hub has sent too many others before."""
    phase = one_line(text, 40).lower()
    known = phase in _KNOWN_PHASES or phase in seen or len(seen) < _MAX_PHASES
    return phase if known else "unknown"


def _failure(event: Mapping[str, Any], response_status: int, seen: Sequence[str]) -> ClinderError:
    """Return the error that a ``failed`` event means after the phases seen before it."""
    status = event.get("status_code") or response_status
    message = one_line(get_text(event, "message"))
    launching = "built" in seen or "launching" in seen
    refusal = find_refusal(message)
    if refusal and not (launching and refusal.kind is HubBroken):
        return refusal.kind(_sentence(refusal.meaning, message), hint=refusal.hint)
    if launching:
        return LaunchFailed(_sentence("The server could not be launched", message))
    if isinstance(status, int) and 400 <= status < 600:
        kind = RateLimited if status == 429 else Refused if status < 500 else HubBroken
        return kind(_sentence(f"The hub responded with status {status}", message))
    if seen:
        log = printable_lines(get_text(event, "message"))
        context = Context(log=tuple(log))
        return BuildFailed(_sentence("The image could not be built", message), context=context)
    if message:
        return Refused(_sentence("The hub refused", message))
    return HubBroken("The hub failed and gave no reason.")


def _ready(event: Mapping[str, Any], *, secure: bool) -> Ready | Built:
    url, token = get_text(event, "url"), get_text(event, "token")
    if "url" not in event and "token" not in event:
        return Built(one_line(get_text(event, "imageName"), _MAX_FIELD))
    if not url or not token:
        raise ServerUnusable("The hub reported a ready server, but no URL or no token.")
    if len(url) > _MAX_URL or len(token) > _MAX_URL:
        raise ServerUnusable("The hub reported a ready server whose URL or token is too long.")
    try:
        url = Session(url, token).url
    except UsageError:
        raise ServerUnusable("The hub reported a server whose URL or token is invalid.") from None
    if secure and not url.startswith("https:"):
        raise ServerUnusable(
            "The hub uses HTTPS, but its server uses plain HTTP, which would expose the token."
        )
    names = [each.name for each in fields(Ready) if each.name not in ("url", "token")]
    texts = {name: one_line(get_text(event, name), _MAX_FIELD) for name in names}
    return Ready(url, token, **texts)


def _sentence(meaning: str, message: str) -> str:
    """Return clinder's and the hub's message as one sentence that is short enough to read."""
    text = truncate(f"{meaning}: {message}" if message else meaning, 600)
    return text if text.endswith((".", "!", "?", "…")) else text + "."
