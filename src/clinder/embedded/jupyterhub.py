"""The part of JupyterHub that clients of a hub with a login need.

Requests and responses are those of JupyterHub 5 and 6 (``apihandlers/users.py``), for one user who
has named servers. The user's servers are behind the hub's own port.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from datetime import datetime, timezone
from http.client import responses
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient
from tornado.web import HTTPError

from clinder.embedded.account import SCOPES, USER, Account
from clinder.embedded.handler import Handler, State
from clinder.embedded.servers import Server

_AUTHORIZATION = re.compile(r"(?:token|bearer)\s+(\S+)", re.IGNORECASE)
_SERVER_SCOPE = re.compile(rf"access:servers!server={USER}/(.+)")
_TOKEN_LIFETIME = 24 * 3600.0  # seconds, if the client does not choose one
_HOP_BY_HOP = {"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"}
_CHUNK = 64 * 1024


def routes(state: State) -> list[tuple[str, type[Handler], dict[str, State]]]:
    """Return the handlers of a hub with a login."""
    handlers: list[tuple[str, type[Handler]]] = [
        (r"/", _LoginHandler),
        (r"/hub/api/oauth2/authorize", _LoginPageHandler),
        (r"/hub/api/?", _VersionHandler),
        (r"/hub/api/user", _UserHandler),
        (rf"/hub/api/users/{USER}", _UserHandler),
        (rf"/hub/api/users/{USER}/tokens", _TokensHandler),
        (rf"/hub/api/users/{USER}/tokens/([^/]+)", _TokenHandler),
        (rf"/hub/api/users/{USER}/servers/([^/]+)", _ServerHandler),
        (r"/hub/api/.*", _UnknownHandler),
        (r"/hub/user/.*", _StoppedHandler),
        (rf"/user/{USER}/([^/]+)/.*", _ProxyHandler),
        (r"/user/.*", _ProxyHandler),
    ]
    return [(path, handler, {"state": state}) for path, handler in handlers]


def presented_token(handler: Handler) -> str:
    """Return the token in a request's ``Authorization`` header, or ``""``."""
    header = _AUTHORIZATION.fullmatch(handler.request.headers.get("Authorization", ""))
    return header[1] if header else ""


class _JsonHandler(Handler):
    """A handler whose errors are JSON."""

    @property
    def account(self) -> Account:
        return cast("Account", self.state.account)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = (kwargs.get("exc_info") or (None, None))[1]
        message = error.log_message if isinstance(error, HTTPError) else None
        message = message or responses.get(status_code, "Unknown HTTP Error")
        self.finish({"status": status_code, "message": message})


class _LoginHandler(Handler):
    """BinderHub's page, which redirects to JupyterHub's login."""

    def get(self) -> None:
        self.redirect("/hub/api/oauth2/authorize?client_id=service-binder&response_type=code")


class _LoginPageHandler(Handler):
    """The page that a browser is redirected to."""

    def get(self) -> None:
        self.write(
            "<!DOCTYPE html>\n<html lang=en>\n<title>clinder's embedded hub</title>\n"
            "<p>This embedded hub requires the token in the file that <code>clinder hub "
            "--token-file</code> names. To use it, run <code>clinder start --hub "
            f"http://{self.request.host} --hub-token @FILE</code>.</p>\n</html>\n"
        )


class _VersionHandler(_JsonHandler):
    def get(self) -> None:
        self.write({"version": "5.0.0+embedded"})


class _ApiHandler(_JsonHandler):
    """A handler for requests with a token."""

    def prepare(self) -> None:
        super().prepare()
        if not self._finished and not self.account.knows(presented_token(self)):
            raise HTTPError(403, "Missing or invalid credentials.")

    @property
    def is_user(self) -> bool:
        return self.account.owns(presented_token(self))

    def require_user(self, message: str) -> None:
        if not self.is_user:
            raise HTTPError(403, message)

    def body(self) -> dict[str, Any]:
        with suppress(ValueError):
            body = json.loads(self.request.body or b"{}")
            if isinstance(body, dict):
                return body
        raise HTTPError(400, "Invalid JSON in body of request")


class _UserHandler(_ApiHandler):
    """The user, with all servers if the token can read them."""

    def get(self) -> None:
        model: dict[str, Any] = {"kind": "user", "name": USER, "admin": False, "groups": []}
        if self.is_user:
            model["servers"] = {each.name: _model(each) for each in self.state.servers.all}
            model["scopes"] = [s if "!" in s else f"{s}!user={USER}" for s in SCOPES]
        self.write(model)


def _model(server: Server) -> dict[str, Any]:
    return {
        "name": server.name,
        "full_name": f"{USER}/{server.name}",
        "pending": None if server.ready else "spawn",
        "ready": server.ready,
        "stopped": False,
        "url": server.path,
        "user_options": dict(server.options),
    }


class _TokensHandler(_ApiHandler):
    """Issue a token for one server."""

    def post(self) -> None:
        self.require_user(f"User {USER} not found or no permissions to generate tokens")
        body = self.body()
        scopes = body.get("scopes")
        (scope,) = scopes if isinstance(scopes, list) and len(scopes) == 1 else ("",)
        named = _SERVER_SCOPE.fullmatch(str(scope))
        if not named:
            raise HTTPError(400, "This hub issues tokens for one of the user's servers only.")
        seconds = body.get("expires_in", _TOKEN_LIFETIME)
        if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or seconds <= 0:
            raise HTTPError(400, "token expires_in must be a positive number of seconds")
        issued = self.account.issue(unquote(named[1]), str(body.get("note", "")), seconds)
        self.set_status(201)
        expires_at = datetime.fromtimestamp(issued.expires_at, timezone.utc)
        self.write(
            {
                "user": USER,
                "id": issued.id,
                "kind": "api_token",
                "scopes": scopes,
                "expires_at": expires_at.isoformat().replace("+00:00", "Z"),
                "note": issued.note,
                "token": issued.token,
            }
        )


class _TokenHandler(_ApiHandler):
    """Revoke a token."""

    def delete(self, token_id: str) -> None:
        self.require_user("Action is not authorized with current scopes; requires any of [tokens]")
        if not self.account.revoke(token_id):
            raise HTTPError(404, f"No such token {token_id} for user {USER}")
        self.set_status(204)


class _ServerHandler(_ApiHandler):
    """Stop a server, or cancel its launch."""

    async def delete(self, name: str) -> None:
        self.require_user(
            "Action is not authorized with current scopes; requires any of [delete:servers]"
        )
        server = self.state.servers.find(name)
        if server is None:
            raise HTTPError(404, f"{USER} has no server named '{name}'")
        await self.state.servers.stop(server)
        self.set_status(204)


class _UnknownHandler(_ApiHandler):
    def prepare(self) -> None:
        super().prepare()
        if not self._finished:
            raise HTTPError(404)


class _StoppedHandler(_JsonHandler):
    """The response for a server that does not run, once a client has followed the redirect."""

    def prepare(self) -> None:
        super().prepare()
        if not self._finished:
            raise HTTPError(424, "The server is not running.")


class _ProxyHandler(_JsonHandler):
    """A request to a server, which gets the server's own token in place of the client's."""

    async def forward(self, name: str = "") -> None:
        """Send the request to the server, and its response to the client."""
        server = self.state.servers.find(name)
        if server is None or not server.ready:
            if self.request.method not in ("GET", "HEAD"):
                raise HTTPError(403)  # as JupyterHub, to which its proxy sends such requests
            self.redirect(f"/hub{self.request.path}")
        elif not self.account.opens(presented_token(self), server.name):
            raise HTTPError(403)
        elif self.request.headers.get("Upgrade", "").lower() == "websocket":
            await self._connect(server)
        else:
            await self._exchange(server)

    get = head = post = delete = patch = put = options = forward

    def _request_headers(self, server: Server, without: set[str]) -> list[tuple[str, str]]:
        without = without | {"authorization", "cookie"}
        headers = self.request.headers.get_all()
        kept = [(name, value) for name, value in headers if name.lower() not in without]
        return [*kept, ("Authorization", f"token {server.token}")]

    async def _exchange(self, server: Server) -> None:
        client = AsyncHTTPClient(force_instance=True)
        request = HTTPRequest(
            f"http://{urlsplit(server.url).netloc}{self.request.uri}",
            method=str(self.request.method),
            headers=dict(self._request_headers(server, _HOP_BY_HOP)),
            body=self.request.body or None,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            decompress_response=False,
            request_timeout=0,
        )
        try:
            response = await client.fetch(request, raise_error=False)
        except (OSError, HTTPClientError):
            raise HTTPError(503) from None  # the server has ended
        finally:
            client.close()
        self.clear()
        self.set_status(response.code, response.reason)
        for name, value in response.headers.get_all():
            if name.lower() not in _HOP_BY_HOP:
                self.add_header(name, value)
        if response.body:
            self.write(response.body)

    async def _connect(self, server: Server) -> None:
        """Relay a websocket's bytes, both ways, until one side closes."""
        try:
            upstream = await TCPClient().connect(*_address(server))
        except OSError:
            raise HTTPError(503) from None
        request = [f"GET {self.request.uri} HTTP/1.1"]
        request += [f"{name}: {value}" for name, value in self._request_headers(server, set())]
        client = self.detach()
        for stream in (client, upstream):
            stream.set_nodelay(True)
        await upstream.write("\r\n".join([*request, "\r\n"]).encode("latin-1"))
        await asyncio.gather(_relay(client, upstream), _relay(upstream, client))


def _address(server: Server) -> tuple[str, int]:
    parts = urlsplit(server.url)
    return str(parts.hostname), int(parts.port or 0)


async def _relay(source: IOStream, target: IOStream) -> None:
    with suppress(StreamClosedError):
        while True:
            await target.write(await source.read_bytes(_CHUNK, partial=True))
    source.close()
    target.close()
