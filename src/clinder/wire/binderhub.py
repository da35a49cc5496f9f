"""One build request to a BinderHub: its events, and its refusals as typed errors.

What a hub answers is read in BinderHub's ``builder.py``, ``base.py``, ``launcher.py`` and
``quota.py``; the recorded streams under ``tests/transcripts`` show each case.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from clinder._deadline import Deadline
from clinder._text import one_line
from clinder._urls import hub_url, is_loopback
from clinder.errors import (
    Banned,
    BotsRefused,
    BuildFailed,
    BuildTokenRefused,
    CertificateUntrusted,
    ClinderError,
    HubBroken,
    HubDown,
    HubError,
    HubFull,
    HubUnreachable,
    LaunchFailed,
    LoginRequired,
    MalformedSpec,
    NetworkRefused,
    NotABinderHub,
    QuotaReached,
    RateLimited,
    RefNotFound,
    Refused,
    RepositoryHostFailed,
    ServerUnusable,
    UnknownProvider,
    UsageError,
)
from clinder.session import Session
from clinder.wire.http import BadRedirect, Stream, Transport
from clinder.wire.http_errors import TransportError
from clinder.wire.json_fields import get_object, get_text, parse_object
from clinder.wire.sse import EventTooLarge, iter_events


@dataclass(frozen=True)
class Progress:
    """A step, or lines of a log; ``phase`` is lower case, and empty where the hub names none."""

    phase: str
    message: str

    @property
    def fallback_ref(self) -> str:
        """The ref that the hub takes because the one asked for does not exist, or ``""``."""
        found = _FALLBACK_REF.search(self.message) if self.phase == "waiting" else None
        return one_line(found[1]) if found else ""


@dataclass(frozen=True)
class Redirected:
    """The request was passed on to a member of a federation; ``hub`` is that one's base URL."""

    hub: str


@dataclass(frozen=True)
class Ready:
    """The server runs: the fields of the ``ready`` event, with the hub's own names."""

    url: str
    token: str = field(repr=False)
    image: str = ""
    repo_url: str = ""
    binder_ref_url: str = ""
    binder_launch_host: str = ""
    binder_persistent_request: str = ""


_FALLBACK_REF = re.compile(r"^Trying again with (\S+) instead of ", re.MULTILINE)  # builder.py
_NO_LAUNCH = "launches nothing: it builds only (API-only mode)"

_REFUSALS: tuple[tuple[str, type[ClinderError], str], ...] = (
    (r"No provider found for prefix", UnknownProvider, "The hub does not have this provider"),
    (r"Spec is not of the form", MalformedSpec, "The hub cannot read the spec"),
    (r"not enough values to unpack", MalformedSpec, "The hub cannot read the spec"),
    (r"Unsupported git url", MalformedSpec, "The hub does not take this URL"),
    (r"An unresolved ref is required", MalformedSpec, "The hub wants a ref"),
    (r"`unresolved_ref` must be specified", MalformedSpec, "The hub wants a ref"),
    (r"Could not resolve ref for", RefNotFound, "The repository or its ref was not found"),
    (r"Error resolving ref for gist:.*secret Gist", RefNotFound, "The gist is secret"),
    (
        r"Error resolving ref for",
        RepositoryHostFailed,
        "The hub could not ask the repository's host",
    ),
    (r"Sorry, .* is not allowed to launch", Banned, "The hub does not launch this repository"),
    (r"Requests from .* are not allowed", NetworkRefused, "The hub refuses this network"),
    (r"Bots not allowed", BotsRefused, "The hub took clinder for a robot"),
    (r"Invalid build token", BuildTokenRefused, "The hub refused the build token"),
    (r"Forbidden$", LoginRequired, "The hub needs a login, which clinder does not support"),
    (r"Rate limit exceeded", RateLimited, "The hub limits how often it may be asked"),
    (r"Too many users running", QuotaReached, "The repository's quota on the hub is used up"),
    (r"Too many users on this BinderHub", HubFull, "The hub is full"),
    (r"Spawn failed|.*took too long to launch", LaunchFailed, "The server could not be launched"),
    (r"Internal Server Error", HubBroken, "The hub failed"),
    (r"Unhandled error watching for build", HubBroken, "The hub lost sight of the build"),
)
"""What a ``failed`` event's message begins with, what that means, and in words."""

_FAILURE_PHASES = ("failed", "failure")
_PHASES = ("", "built", "launching", "ready", *_FAILURE_PHASES)
"""Those by which something is decided."""
_MIN_REDACTED = 16  # characters of a build token that a hub's echo is told from its own words by
_FIELD = 1000  # characters of what ``ready`` tells beside URL and token
_ADDRESS = 8000  # characters of those, more than a server takes

_BY_STATUS: Mapping[int, type[ClinderError]] = {429: RateLimited}


def request_build(
    transport: Transport,
    hub: str,
    spec: str,
    *,
    deadline: Deadline,
    build_token: str = "",
) -> Generator[Redirected | Progress | Ready, None, None]:
    """Make one build request and yield its events, the last a :class:`Ready`.

    ``hub`` is a base URL with a trailing slash, ``spec`` a provider spec, percent-encoded. The
    request ends when the iterator is closed. Raises the errors of :mod:`clinder.errors` that say
    how the hub refused or failed; :class:`~clinder.errors.HubUnreachable` for a stream that
    ended or broke before its verdict; :class:`~clinder.errors.HubDown` where it reached no hub;
    :class:`~clinder.errors.CertificateUntrusted`.
    """
    url = f"{hub}build/{spec}"
    if build_token:
        url += f"?build_token={quote(build_token, safe='')}"
    headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
    try:
        with transport.stream(url, deadline=deadline, headers=headers) as stream:
            if member := _member(stream.url, hub):
                yield Redirected(member)
            if not _is_event_stream(stream):
                raise _not_a_stream(stream)
            yield from _events(stream, secure=hub.startswith("https:"), secret=build_token)
    except BadRedirect as error:
        raise NotABinderHub(f"This is not a BinderHub's address: {error.message}.") from None
    except TransportError as error:
        if error.untrusted:
            raise CertificateUntrusted(
                f"The hub's {error.message.removeprefix('its ')}.",
                hint=f"The address is {error.untrusted}. {CertificateUntrusted.hint}",
            ) from None
        # On this machine it is a port that was mistyped, or a hub that is about to listen.
        kind = HubDown if error.refused and not is_loopback(hub) else HubUnreachable
        raise kind(f"The hub is unreachable: {error.message}.") from None
    except EventTooLarge:
        raise HubError("The hub sent an event too large to be one.") from None


def members(transport: Transport, hub: str, *, deadline: Deadline) -> tuple[str, ...]:
    """Return the base URLs of a federation's members, none where the hub is no federation.

    mybinder.org lists them at ``active_hosts`` (mybinder.org-deploy, ``federation-redirect``).
    """
    try:
        answer = transport.request("GET", f"{hub}active_hosts", deadline=deadline)
    except TransportError:
        return ()
    listed = get_object(parse_object(answer.body) or {}, "active_hosts")
    urls = [_hub_url(get_text(one, "url")) for one in listed.values() if isinstance(one, dict)]
    secure = hub.startswith("https:")
    return tuple(url for url in urls if url.startswith("https:" if secure else "http"))


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


def _events(stream: Stream, *, secure: bool, secret: str) -> Iterator[Progress | Ready]:
    """Yield what the events say; those of one phase that came together are one."""
    seen: list[str] = []
    for came in iter_events(stream.chunks):
        for phase, together in groupby(_parse_events(came, seen, secret), itemgetter(0)):
            (_, event), *others = together
            if phase in _FAILURE_PHASES:
                raise _failure(event, stream.status, seen)
            if phase == "ready":
                yield _ready(event, secure=secure)
                return
            if phase not in seen:
                seen.append(phase)
            messages = (get_text(each, "message") for _, each in others)
            yield Progress(phase, "\n".join((get_text(event, "message"), *messages)))
    if stream.status == 429:
        raise RateLimited("The hub limits how often it may be asked, and did not say more.")
    if stream.status >= 400:
        raise HubBroken(f"The hub answered {stream.status} and did not say why.")
    raise HubUnreachable("The hub ended the stream before the launch had ended.")


def _parse_events(
    batch: Iterable[str], seen: Sequence[str], secret: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each event and its phase; what is no event is passed over, as a browser would."""
    for data in batch:
        event = parse_object(data.replace(secret, "…") if len(secret) >= _MIN_REDACTED else data)
        if event is not None:
            phase = get_text(event, "phase")
            yield phase if phase in seen else _phase(phase, seen), event


def _phase(told: str, seen: Sequence[str]) -> str:
    """Return the phase that a hub tells; one more than a hub can have is ``unknown``."""
    phase = one_line(told, 40).lower()
    return phase if phase in _PHASES or phase in seen or len(seen) < 20 else "unknown"


def _failure(event: Mapping[str, Any], answered: int, seen: Sequence[str]) -> ClinderError:
    """Return the error that a ``failed`` event means after the phases seen before it."""
    status, said = event.get("status_code") or answered, one_line(get_text(event, "message"))
    launching = "built" in seen or "launching" in seen
    for beginning, kind, meaning in _REFUSALS:
        if re.match(beginning, said) and not (launching and kind is HubBroken):
            return kind(_sentence(meaning, said))
    if launching:
        return LaunchFailed(_sentence("The server could not be launched", said))
    if isinstance(status, int) and 400 <= status < 600:
        kind = _BY_STATUS.get(status, Refused if status < 500 else HubBroken)
        return kind(_sentence(f"The hub answered {status}", said))
    if seen:
        return BuildFailed(_sentence("The image could not be built", said))
    if said:
        return Refused(_sentence("The hub refused", said))
    return HubBroken("The hub failed without a word.")


def _ready(event: Mapping[str, Any], *, secure: bool) -> Ready:
    url, token = get_text(event, "url"), get_text(event, "token")
    if len(url) > _ADDRESS or len(token) > _ADDRESS:
        raise ServerUnusable(
            "The hub said that the server is ready, but gave too long a URL or token."
        )
    if not url or not token:
        if "url" not in event and "token" not in event:
            raise NotABinderHub(f"The hub {_NO_LAUNCH}.", hint="Use another hub with --hub.")
        raise ServerUnusable("The hub said that the server is ready, but gave no URL or no token.")
    try:
        url = Session(url, token).url
    except UsageError:
        raise ServerUnusable(
            "The hub said that the server is ready, but gave no http(s) URL and token of one."
        ) from None
    if secure and not url.startswith("https:"):
        raise ServerUnusable(
            "The hub is https, but its server is plain http: the token would be seen."
        )
    return Ready(
        url,
        token,
        image=one_line(get_text(event, "image"), _FIELD),
        repo_url=one_line(get_text(event, "repo_url"), _FIELD),
        binder_ref_url=one_line(get_text(event, "binder_ref_url"), _FIELD),
        binder_launch_host=one_line(get_text(event, "binder_launch_host"), _FIELD),
        binder_persistent_request=one_line(get_text(event, "binder_persistent_request"), _FIELD),
    )


def _is_event_stream(stream: Stream) -> bool:
    content_type = stream.headers.get("Content-Type", "")
    return content_type.split(";")[0].strip().lower() == "text/event-stream"


def _not_a_stream(stream: Stream) -> ClinderError:
    if stream.status == 429:
        return RateLimited("Rate limit exceeded: the hub, or what stands before it, answered 429.")
    if stream.status == 503:  # a proxy's, which passed the request on to nobody
        return HubDown("The hub answered 503, as a proxy does whose hub is away.")
    if stream.status >= 500:
        return HubBroken(f"The hub answered {stream.status}.")
    kind = stream.headers.get("Content-Type", "nothing").split(";")[0].strip().lower()
    return NotABinderHub(
        f"This is not a BinderHub's address: it answered {stream.status} with"
        f" {kind if re.fullmatch(r'[a-z0-9.+/-]{1,60}', kind) else 'something else'},"
        " not with an event stream."
    )


def _sentence(meaning: str, said: str) -> str:
    """Return our words and the hub's as one sentence, not too long to read."""
    text = f"{meaning}: {said}" if said else meaning
    short = text if len(text) <= 600 else text[:600] + " …"
    return short if short.endswith((".", "!", "?", "…")) else short + "."
