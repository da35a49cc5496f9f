"""The HTTP API of a BinderHub (its ``builder.py``, ``base.py`` and ``main.py``)."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import sys
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from http.client import responses
from socket import socket
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError

from clinder._version import USER_AGENT
from clinder.embedded import jupyterhub
from clinder.embedded.account import USER
from clinder.embedded.handler import Handler, State
from clinder.embedded.servers import NotLaunched, Server, name_for
from clinder.embedded.specs import ResolvedSpec, SpecRefused, list_providers, resolve_spec

_BOTS = re.compile("bot|crawler|spider|gpt", re.IGNORECASE)


def _application(state: State) -> Application:
    return Application(
        [
            *(jupyterhub.routes(state) if state.account else []),
            (r"/build/([^/]+)/(.+)", _BuildHandler, {"state": state}),
            (r"/versions", _VersionsHandler, {"state": state}),
            (r"/health", _HealthHandler, {"state": state}),
            (r"/api/repoproviders", _ProvidersHandler, {"state": state}),
            (r".*", _PageHandler, {"state": state}),
        ],
        log_function=lambda handler: state.report(  # no query: it can hold a build token
            f"{handler.request.method} {handler.request.path} {handler.get_status()}"
        ),
    )


async def serve(
    state: State,
    listening: socket,
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]],
    *,
    stop_servers: bool,
) -> None:
    """Serve until an event is set. ``started`` receives the loop and that event."""
    server = HTTPServer(_application(state))
    server.add_socket(listening)
    closing = asyncio.Event()
    started.set_result((asyncio.get_running_loop(), closing))
    await closing.wait()
    server.stop()
    await server.close_all_connections()
    await state.close(stop_servers=stop_servers)


class _BuildHandler(Handler):
    """One build request, which launches a server and streams events.

    Refusals are events too; the HTTP status is always 200 (``builder.py``).
    """

    _build: asyncio.Task[None] | None = None
    _client_left = False

    def set_default_headers(self) -> None:  # of refusals, too
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache")

    def prepare(self) -> None:
        super().prepare()
        if self._finished:
            return
        if _BOTS.search(self.request.headers.get("User-Agent", "")):
            raise HTTPError(403, "Bots not allowed")
        accept = self.request.headers.get("Accept", "")
        if "text/event-stream" not in {part.strip().lower() for part in accept.split(";")}:
            raise HTTPError(400, "Missing Accept header: text/event-stream")
        account = self.state.account
        token = jupyterhub.presented_token(self)
        if account and not account.owns(token):
            known = account.knows(token)
            raise HTTPError(403, f"user {USER} is not allowed." if known else "Forbidden")

    async def get(self, *_unquoted: str) -> None:
        """Launch a server without building an image, and send a hub's events."""
        provider, spec = self.request.path.removeprefix("/build/").split("/", 1)
        if self.get_query_argument("build_token", ""):
            raise HTTPError(403, "Invalid build token")  # this hub never issues any
        build = self._build = asyncio.create_task(self._events(provider, spec))
        self.state.builds.add(build)
        build.add_done_callback(self.state.builds.discard)
        await asyncio.wait({build})
        if not build.cancelled():
            build.result()

    def on_connection_close(self) -> None:
        self._client_left = True
        if self._build is not None:  # pragma: no branch - set before the first await
            self._build.cancel()

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        error = (kwargs.get("exc_info") or (None, None))[1]
        message = error.log_message if isinstance(error, HTTPError) else None
        message = message or responses.get(status_code, "Unknown HTTP Error")
        event = {"phase": "failed", "status_code": status_code, "message": f"{message}\n"}
        self.write(f"data: {json.dumps(event)}\n\n")
        self.finish()

    async def _events(self, provider: str, spec: str) -> None:
        try:
            resolved = resolve_spec(provider, spec)
        except SpecRefused as refusal:
            await self._emit("failed", f"{refusal}\n")
            return
        if self.get_query_argument("build_only", "").lower() == "true":
            raise HTTPError(
                400,
                "Building but not launching is not permitted when the API only mode was not "
                "enabled by setting `enable_api_only_mode` to True. ",
            )
        keepalive = asyncio.create_task(self._keep_alive())
        try:
            image = await self._build_nothing(resolved)
            await self._launch(resolved, image, f"v2/{provider}/", spec.rstrip("/"))
        except StreamClosedError:
            return  # the client has disconnected
        finally:
            keepalive.cancel()

    async def _build_nothing(self, resolved: ResolvedSpec) -> str:
        slug, tag = (re.sub(r"[^\w.]+", "-", s.lower()) for s in (resolved.slug, resolved.ref))
        image = f"localhost/embedded-{slug}:{tag}"
        await self._emit("waiting", "Waiting for build to start...\n")
        for line in (
            "This is clinder's embedded hub. It builds no image and fetches no repository.\n",
            f"Kernels run in this Python environment: {sys.executable}\n",
            f"The session's files are those in {self.state.servers.directory}\n",
            "The repository and ref have no effect.\n",
        ):
            await self._emit("building", line)
        await self._emit("built", "Built image, launching...\n", imageName=image)
        return image

    async def _launch(self, resolved: ResolvedSpec, image: str, prefix: str, spec: str) -> None:
        name = name_for(resolved.repo_url)
        about = {
            "repo_url": resolved.repo_url,
            "binder_ref_url": resolved.ref_url,
            "binder_launch_host": f"{self.request.protocol}://{self.request.host}/",
            "binder_request": prefix + spec,
            "binder_persistent_request": prefix + resolved.spec,
            "binder_client_ip": self.request.remote_ip or "",
        }
        variables = {key.upper(): value for key, value in about.items()}
        variables["BINDER_REPO_URL"] = variables.pop("REPO_URL")  # see binderspawner_mixin.py
        await self._emit("launching", "Launching server...\n")
        await self._emit("launching", "Server requested\n")
        options = {**about, "image": image, "token": secrets.token_urlsafe(16)}
        try:
            server = await self.state.servers.launch(name, variables, options)
        except NotLaunched as error:
            for line in error.log:
                await self._emit("launching", f"{line}\n")
            outcome = "took too long" if error.late else "failed"
            raise HTTPError(500, f"Image {image} for user {name} {outcome} to launch") from None
        await self._deliver(server, {**about, "image": image})

    async def _deliver(self, server: Server, about: Mapping[str, str]) -> None:
        """Hand the server over to the client, or stop it if the client has disconnected."""
        url, token = server.url, server.token
        if self.state.account:  # the hub is in front of the server, and only the account opens it
            url = f"{self.request.protocol}://{self.request.host}{server.path}"
            token = server.options["token"]
        message = f"server running at {url}\n"
        ready = {**about, "token": token, "url": url}
        try:
            await self._emit("launching", f"Server ready at /user/{server.name}/\n")
            server.hand_over()  # a client that has read the next event can close the hub at once
            await self._emit("ready", message, **ready)
        except (StreamClosedError, asyncio.CancelledError) as error:
            if self._client_left or isinstance(error, StreamClosedError):
                server.handed_over = False
            if not server.handed_over:
                # Shielded because a cancellation can follow the StreamClosedError.
                await asyncio.shield(self.state.servers.stop(server))
            raise

    async def _emit(self, phase: str, message: str, **fields: str) -> None:
        """Send an event. Raises ``StreamClosedError`` if the client has disconnected."""
        self._last_sent = asyncio.get_running_loop().time()
        event = {"phase": phase, "message": message, **fields}
        self.write(f"data: {json.dumps(event)}\n\n")
        await self.flush()

    async def _keep_alive(self) -> None:
        clock = asyncio.get_running_loop().time
        self._last_sent = clock()
        with suppress(StreamClosedError):
            while True:
                await asyncio.sleep(self._last_sent + self.state.keepalive - clock())
                if clock() >= self._last_sent + self.state.keepalive:
                    self._last_sent = clock()
                    self.write(":keepalive\n\n")
                    await self.flush()


class _VersionsHandler(Handler):
    def get(self) -> None:
        self.write({"builder_info": {"embedded": True}, "binderhub": USER_AGENT.split()[0]})


class _HealthHandler(Handler):
    def get(self) -> None:
        servers = {"service": "Servers", "ok": True, "running": self.state.servers.running}
        self.write({"ok": True, "checks": [servers]})

    head = get


class _ProvidersHandler(Handler):
    def get(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps(list_providers()))


class _PageHandler(Handler):
    """The page at every path outside the API (``main.py``)."""

    def get(self) -> None:
        self.write(
            "<!DOCTYPE html>\n<html lang=en>\n<title>clinder's embedded hub</title>\n"
            "<p>This is clinder's BinderHub for one machine. It launches real Jupyter Servers, but "
            "builds no image and fetches no repository. To use it, run "
            f"<code>clinder start --hub http://{self.request.host}</code>.</p>\n</html>\n"
        )
