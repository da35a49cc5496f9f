"""The API of a JupyterHub, for one user and with that user's token. Each call is one request.

The paths, the fields and the statuses are those of JupyterHub 5 and 6 (``apihandlers/users.py``,
``apihandlers/base.py``). No call follows a redirect, so the token reaches no other address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urljoin, urlsplit

from clinder._deadline import Deadline
from clinder._text import one_line
from clinder._urls import is_cleartext
from clinder.errors import HubTokenRefused, HubUnreachable
from clinder.wire.http import Response, Transport
from clinder.wire.http_errors import TransportError
from clinder.wire.json_fields import get_object, get_text, parse_object
from clinder.wire.sse import EventTooLarge, iter_events

ACCESS_SERVICE = "access:services"
ACCESS, DELETE, READ = "access:servers", "delete:servers", "read:servers"
SERVERS, TOKENS = "servers", "tokens"

_SERVER = re.compile(r"(https?://[^/]+/(?:.*?/)??)user/([^/]+)/(?:([^/]+)/)?")
_AUTHORIZE = re.compile(r"(.*/hub/)api/oauth2/authorize")
_SERVICE = re.compile(r"(.*/)services/([^/]+)/")
_TOO_LONG = re.compile(r"must not exceed (\d{1,12})")
_LINE = 300
_NAME = 100


@dataclass(frozen=True)
class HubServer:
    """A user's server at a JupyterHub.

    ``hub`` is the URL of the hub's pages, which ends in ``/hub/``. ``user`` and ``name`` are
    percent-encoded, as in the server's URL; the name of a user's default server is empty.
    """

    hub: str
    user: str
    name: str = ""

    @classmethod
    def of(cls, url: str) -> HubServer | None:
        """Return the server whose URL this is, ``None`` if it is none of a JupyterHub's."""
        match = _SERVER.fullmatch(url)
        return cls(f"{match[1]}hub/", match[2], match[3] or "") if match else None

    @property
    def url(self) -> str:
        """The server's URL."""
        name = f"{self.name}/" if self.name else ""
        return f"{self.hub.removesuffix('hub/')}user/{self.user}/{name}"

    @property
    def key(self) -> str:
        """The server's name in JupyterHub's JSON."""
        return unquote(self.name)

    @property
    def scope(self) -> str:
        """The scope that permits access to this server, and to nothing else."""
        return f"{ACCESS}!server={unquote(self.user)}/{self.key}"

    @property
    def path(self) -> str:
        """The server's path in the API."""
        user = f"users/{self.user}/"
        return f"{user}servers/{self.name}" if self.name else f"{user}server"


@dataclass(frozen=True)
class KnownServer:
    """A server as JupyterHub describes it.

    ``launch_id`` and ``request`` are the values that a BinderHub gave it: its token, and the
    requested spec after ``v2/``. ``active``: it runs, is ``starting`` or ``stopping``.
    """

    name: str
    launch_id: str = field(default="", repr=False)
    request: str = ""
    active: bool = True
    starting: bool = False
    stopping: bool = False


@dataclass(frozen=True)
class SpawnProgress:
    """A message while a server starts. ``failed``: it does not."""

    message: str
    failed: bool = False


@dataclass(frozen=True)
class Identity:
    """The user whose token it is, what it permits, and the user's servers by their names.

    ``servers`` is ``None`` if the token does not permit to read them.
    """

    user: str
    scopes: frozenset[str]
    servers: Mapping[str, KnownServer] | None

    def permits(self, scope: str) -> bool:
        """Whether the token permits something, even if only for some users or servers."""
        return any(each.partition("!")[0] == scope for each in self.scopes)


@dataclass(frozen=True)
class Issued:
    """A token that JupyterHub issued, and its id."""

    token: str = field(repr=False)
    token_id: str


@dataclass(frozen=True)
class JupyterHub:
    """The requests to the API of the JupyterHub whose pages are at ``url``, such as ``…/hub/``.

    Each raises its deadline's errors, :class:`~clinder.errors.HubTokenRefused` for a 401 or 403,
    and :class:`~clinder.errors.HubUnreachable` if no clear response arrives.
    """

    url: str
    token: str = field(repr=False)
    transport: Transport

    def identity(self, deadline: Deadline) -> Identity:
        """Return whose token it is, and that user's servers, with the stopped ones."""
        answer = self._call("GET", "user?include_stopped_servers=1", deadline)
        data = parse_object(answer.body)
        if answer.status != 200 or data is None or not get_text(data, "name"):
            raise self._unclear(answer)
        scopes = data.get("scopes")
        listed = data.get("servers")
        return Identity(
            get_text(data, "name"),
            frozenset(map(str, scopes if isinstance(scopes, list) else ())),
            _parse_servers(listed) if isinstance(listed, dict) else None,
        )

    def find(self, server: HubServer, launch_id: str, deadline: Deadline) -> KnownServer | None:
        """Return what is known about the server of a launch, ``None`` if it is gone.

        The user can have another server at its address now. Another user's token proves nothing,
        and raises :class:`~clinder.errors.HubTokenRefused`.
        """
        identity = self.identity(deadline)
        servers, owner = identity.servers, unquote(server.user)
        if identity.user != owner:
            raise HubTokenRefused(
                f"The hub token belongs to the user {one_line(identity.user, _NAME)}, but the"
                f" session runs under the account {one_line(owner, _NAME)}."
            )
        if servers is None:
            raise HubTokenRefused(f"The hub token lacks a scope: {READ}!user.")
        known = servers.get(server.key)
        return known if known and known.launch_id == launch_id else None

    def start_server(
        self, server: HubServer, options: Mapping[str, str], deadline: Deadline
    ) -> str:
        """Start a server with ``user_options``; return the reason if JupyterHub refuses."""
        answer = self._call("POST", server.path, deadline, options)
        if answer.status in (201, 202):  # started, starting
            return ""
        reason = self._hide(_reason(answer)).rstrip(".")
        if not reason or answer.status > 500 or answer.status < 400:
            raise self._unclear(answer)
        return reason

    def progress(self, server: HubServer, deadline: Deadline) -> Iterator[SpawnProgress]:
        """Yield the messages of a server that starts. The last one shows whether it has failed."""
        url = f"{self.url}api/{server.path}/progress"
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        try:
            with self.transport.stream(
                url, deadline=deadline, headers=headers, token=self.token
            ) as stream:
                if stream.status != 200:
                    return
                for data in chain.from_iterable(iter_events(stream.chunks)):
                    event = parse_object(data) or {}
                    message = one_line(self._hide(get_text(event, "message")), _LINE)
                    failed = event.get("failed") is True
                    yield SpawnProgress(message, failed)
                    if failed or event.get("ready") is True:
                        return
        except (TransportError, EventTooLarge) as error:
            raise HubUnreachable(f"The JupyterHub at {self.url} is unreachable.") from error

    def stop_server(self, server: HubServer, deadline: Deadline) -> None:
        """Stop a server, even one that is only starting, and remove it if it has a name."""
        body = {"remove": True} if server.name else None
        answer = self._call("DELETE", server.path, deadline, body)
        if answer.status not in (202, 204, 404):  # stopping, stopped, unknown
            raise self._unclear(answer)

    def issue_token(
        self, server: HubServer, seconds: int, note: str, deadline: Deadline
    ) -> Issued | None:
        """Return a token that opens this server only, ``None`` if JupyterHub issues none.

        It expires after this many seconds, or sooner if the hub's limit is lower.
        """
        path = f"users/{server.user}/tokens"
        body = {"expires_in": seconds, "note": note, "scopes": [server.scope]}
        answer = self._call("POST", path, deadline, body)
        limit = _TOO_LONG.search(_reason(answer)) if answer.status == 400 else None
        if limit:
            answer = self._call("POST", path, deadline, {**body, "expires_in": int(limit[1])})
        if answer.status >= 500:
            raise self._unclear(answer)
        data = parse_object(answer.body) or {}
        token, token_id = get_text(data, "token"), get_text(data, "id")
        is_valid = answer.status in (200, 201) and re.fullmatch(r"[!-~]{1,8000}", token)
        return Issued(token, one_line(token_id, _LINE)) if is_valid else None

    def revoke_token(self, server: HubServer, token_id: str, deadline: Deadline) -> None:
        """Revoke a token that was issued for a server."""
        path = f"users/{server.user}/tokens/{quote(token_id, safe='')}"
        self._call("DELETE", path, deadline)

    def _call(
        self, method: str, path: str, deadline: Deadline, json: object | None = None
    ) -> Response:
        url = f"{self.url}api/{path}"
        try:
            answer = self.transport.request(
                method, url, deadline=deadline, token=self.token, json=json
            )
        except TransportError as error:
            message = f"The JupyterHub at {self.url} is unreachable: {error.message}."
            raise HubUnreachable(message) from None
        if answer.status in (401, 403):
            reason = self._hide(_reason(answer)).rstrip(".")
            raise HubTokenRefused(
                f"The JupyterHub at {self.url} refused the hub token"
                + (f": {reason}." if reason else ".")
            )
        return answer

    def _hide(self, text: str) -> str:
        return text.replace(self.token, "…")

    def _unclear(self, answer: Response) -> HubUnreachable:
        reason = self._hide(_reason(answer)).rstrip(".")
        return HubUnreachable(
            f"The JupyterHub at {self.url} responded with {answer.status}"
            + (f": {reason}." if reason else ".")
        )


def find_jupyterhub(transport: Transport, hub: str, deadline: Deadline) -> tuple[str, str]:
    """Return the URL of the JupyterHub where a BinderHub's users log in, and the service's name.

    The BinderHub's page redirects to it. In API-only mode it has no page, but is usually below its
    JupyterHub. Both are empty if neither leads to a JupyterHub. No token is sent.
    """
    candidate, service = _login_page(transport, hub, deadline)
    if not candidate and (below := _SERVICE.fullmatch(hub)):
        candidate, service = f"{below[1]}hub/", below[2]
    try:
        if candidate and _is_jupyterhub(transport, candidate, deadline):
            return candidate, service
    except TransportError:
        pass
    return "", ""


def _login_page(transport: Transport, hub: str, deadline: Deadline) -> tuple[str, str]:
    """Return the JupyterHub to which a BinderHub's page redirects, and the service's name.

    If the BinderHub is not told its JupyterHub's address, it redirects to itself.
    """
    try:
        page = transport.request("GET", hub, deadline=deadline)
        target = urlsplit(urljoin(hub, page.headers.get("Location", "")))
        client = parse_qs(target.query).get("client_id", [""])[0]
    except (TransportError, ValueError):
        return "", ""
    authorize = _AUTHORIZE.fullmatch(target.path)
    if not authorize or not client.startswith("service-") or "@" in target.netloc:
        return "", ""
    url = f"{target.scheme}://{target.netloc}{authorize[1]}"
    if is_cleartext(url) or (hub.startswith("https:") and not url.startswith("https:")):
        return "", ""
    return url, one_line(client.removeprefix("service-"), _NAME)


def _is_jupyterhub(transport: Transport, url: str, deadline: Deadline) -> bool:
    answer = transport.request("GET", f"{url}api", deadline=deadline)
    return answer.status == 200 and "version" in (parse_object(answer.body) or {})


def _parse_servers(listed: Mapping[str, Any]) -> dict[str, KnownServer]:
    servers = {}
    for name, fields in listed.items():
        if isinstance(fields, dict):
            options = get_object(fields, "user_options")
            stopped = fields.get("stopped", False) is True
            servers[str(name)] = KnownServer(
                str(name),
                launch_id=get_text(options, "token"),
                request=get_text(options, "binder_request").removeprefix("v2/"),
                active=not stopped,
                starting=fields.get("pending") == "spawn",
                stopping=fields.get("pending") == "stop",
            )
    return servers


def _reason(answer: Response) -> str:
    return one_line(get_text(parse_object(answer.body) or {}, "message"), _LINE)
