"""What a BinderHub answers over HTTP (``builder.py``, ``base.py``, ``main.py``)."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import responses
from socket import socket
from traceback import format_exception
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.httputil import split_host_and_port
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler

from clinder._version import USER_AGENT
from clinder.embedded.servers import NotLaunched, Server, Servers, name_for
from clinder.embedded.specs import Source, SpecRefused, providers, read

_BOTS = re.compile("bot|crawler|spider|gpt", re.IGNORECASE)
_HOSTS = {"127.0.0.1", "localhost", "[::1]", "::1"}


@dataclass
class State:
    """What the handlers of one hub share. ``keepalive`` is in seconds."""

    servers: Servers
    keepalive: float
    report: Callable[[str], None]
    builds: set[asyncio.Task[None]] = field(init=False, default_factory=set)

    async def close(self, *, stop_servers: bool) -> None:
        """End the builds that are under way, and all servers or those that nobody holds."""
        for build in self.builds:
            build.cancel()
        ending = self.servers.close(all_of_them=stop_servers)
        await asyncio.gather(*self.builds, ending, return_exceptions=True)


def application(state: State) -> Application:
    """Return the web application of a hub."""
    return Application(
        [
            (r"/build/([^/]+)/(.+)", BuildHandler, {"state": state}),
            (r"/versions", VersionsHandler, {"state": state}),
            (r"/health", HealthHandler, {"state": state}),
            (r"/api/repoproviders", ProvidersHandler, {"state": state}),
            (r".*", PageHandler, {"state": state}),
        ],
        log_function=lambda handler: _report(state, handler),
    )


def _report(state: State, handler: RequestHandler) -> None:
    request = handler.request  # its path only: a query may hold a build token
    state.report(f"{request.method} {request.path} {handler.get_status()}")


async def serve(
    state: State,
    listening: socket,
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]],
    *,
    stop_servers: bool,
) -> None:
    """Answer requests until the event that ``started`` gets is set, in the loop that it gets."""
    server = HTTPServer(application(state))
    server.add_socket(listening)
    closing = asyncio.Event()
    started.set_result((asyncio.get_running_loop(), closing))
    await closing.wait()
    server.stop()
    await server.close_all_connections()
    await state.close(stop_servers=stop_servers)


def _host(origin: str) -> str:
    with suppress(ValueError):
        return urlsplit(origin).netloc
    return ""


class _Handler(RequestHandler):
    """What all answers have in common."""

    def initialize(self, state: State) -> None:
        """Take what the handlers share."""
        self.state = state

    def prepare(self) -> None:
        """Refuse what a page of another site could send through the browser of this user.

        A name that resolves to this machine (DNS rebinding) shows in ``Host``.
        """
        origin = self.request.headers.get("Origin")
        hosts = [self.request.host, *([_host(origin)] if origin is not None else [])]
        names = {split_host_and_port(host.lower())[0] for host in hosts}
        site = self.request.headers.get("Sec-Fetch-Site", "none")
        if not names <= _HOSTS or site not in ("none", "same-origin"):
            self.set_status(403)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish("This hub is for programs on its own machine.\n")

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Tell who runs the hub, and no logger: they are the process's, not the hub's."""
        if not isinstance(value, HTTPError):
            self.state.report("".join(format_exception(typ, value, tb)))


class BuildHandler(_Handler):
    """One build request: its events, up to the server that it launches.

    Refusals are events too, and the HTTP status is always 200 (``builder.py``).
    """

    _build: asyncio.Task[None] | None = None
    _gone = False

    def set_default_headers(self) -> None:
        """Announce events, whatever they will be."""
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache")

    def prepare(self) -> None:
        """Refuse who is not a client for event streams."""
        super().prepare()
        if self._finished:
            return
        if _BOTS.search(self.request.headers.get("User-Agent", "")):
            raise HTTPError(403, "Bots not allowed")
        accept = self.request.headers.get("Accept", "")
        if "text/event-stream" not in {part.strip().lower() for part in accept.split(";")}:
            raise HTTPError(400, "Missing Accept header: text/event-stream")

    async def get(self, *_unquoted: str) -> None:
        """Build nothing, launch a server, and say so as a hub does."""
        provider, spec = self.request.path.removeprefix("/build/").split("/", 1)
        if self.get_query_argument("build_token", ""):
            raise HTTPError(403, "Invalid build token")  # this hub has issued none
        build = self._build = asyncio.create_task(self._events(provider, spec))
        self.state.builds.add(build)
        build.add_done_callback(self.state.builds.discard)
        await asyncio.wait({build})
        if not build.cancelled():
            build.result()

    def on_connection_close(self) -> None:
        """End the build of a client that has gone away, and with it the server's launch."""
        self._gone = True
        if self._build is not None:  # pragma: no branch - before it, nothing is waited for
            self._build.cancel()

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Send the refusal or the failure as an event."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        what = error.log_message if isinstance(error, HTTPError) else None
        what = what or responses.get(status_code, "Unknown HTTP Error")
        event = {"phase": "failed", "status_code": status_code, "message": f"{what}\n"}
        self.write(f"data: {json.dumps(event)}\n\n")
        self.finish()

    async def _events(self, provider: str, spec: str) -> None:
        try:
            source = read(provider, spec)
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
            image = await self._build_nothing(source)
            await self._launch(source, image, f"v2/{provider}/", spec.rstrip("/"))
        except StreamClosedError:
            return  # the client has gone away
        finally:
            keepalive.cancel()

    async def _build_nothing(self, source: Source) -> str:
        slug, tag = (re.sub(r"[^\w.]+", "-", part.lower()) for part in (source.slug, source.ref))
        image = f"localhost/embedded-{slug}:{tag}"
        await self._emit("waiting", "Waiting for build to start...\n")
        for line in (
            "This is clinder's embedded hub: nothing is built and nothing is fetched.\n",
            f"The environment is this Python, {sys.executable}\n",
            f"The files are those of {self.state.servers.directory}\n",
            "Repository and ref are only echoed.\n",
        ):
            await self._emit("building", line)
        await self._emit("built", "Built image, launching...\n", imageName=image)
        return image

    async def _launch(self, source: Source, image: str, prefix: str, spec: str) -> None:
        name = name_for(source.repo_url)
        about = {
            "repo_url": source.repo_url,
            "binder_ref_url": source.ref_url,
            "binder_launch_host": f"{self.request.protocol}://{self.request.host}/",
            "binder_request": prefix + spec,
            "binder_persistent_request": prefix + source.resolved,
            "binder_client_ip": self.request.remote_ip or "",
        }
        variables = {key.upper(): value for key, value in about.items()}
        variables["BINDER_REPO_URL"] = variables.pop("REPO_URL")  # as binderspawner_mixin.py has it
        await self._emit("launching", "Launching server...\n")
        await self._emit("launching", "Server requested\n")
        try:
            server = await self.state.servers.launch(name, variables)
        except NotLaunched as error:
            for line in error.log:
                await self._emit("launching", f"{line}\n")
            how = "took too long" if error.late else "failed"
            raise HTTPError(500, f"Image {image} for user {name} {how} to launch") from None
        await self._deliver(server, {**about, "image": image})

    async def _deliver(self, server: Server, about: Mapping[str, str]) -> None:
        """Hand the server over, or stop it if nobody takes it."""
        message = f"server running at {server.url}\n"
        ready = {**about, "token": server.token, "url": server.url}
        try:
            await self._emit("launching", f"Server ready at /user/{server.name}/\n")
            server.hand_over()  # who has read the next event may close the hub at once
            await self._emit("ready", message, **ready)
        except (StreamClosedError, asyncio.CancelledError) as error:
            if self._gone or isinstance(error, StreamClosedError):
                server.handed_over = False
            if not server.handed_over:
                # Both ways to see that the client left may come, one after the other.
                await asyncio.shield(self.state.servers.stop(server))
            raise

    async def _emit(self, phase: str, message: str, **fields: str) -> None:
        """Send an event. Raises ``StreamClosedError`` if the client has gone away."""
        self._spoke = asyncio.get_running_loop().time()
        event = {"phase": phase, "message": message, **fields}
        self.write(f"data: {json.dumps(event)}\n\n")
        await self.flush()

    async def _keep_alive(self) -> None:
        """Send a comment whenever nothing else was sent for so long."""
        clock = asyncio.get_running_loop().time
        self._spoke = clock()
        with suppress(StreamClosedError):
            while True:
                await asyncio.sleep(self._spoke + self.state.keepalive - clock())
                if clock() >= self._spoke + self.state.keepalive:
                    self._spoke = clock()
                    self.write(":keepalive\n\n")
                    await self.flush()


class VersionsHandler(_Handler):
    """The versions that run."""

    def get(self) -> None:
        """Say that this is no BinderHub of its makers."""
        self.write({"builder_info": {"embedded": True}, "binderhub": USER_AGENT.split()[0]})


class HealthHandler(_Handler):
    """Whether all is well."""

    def get(self) -> None:
        """Say that it is, and how many servers run."""
        servers = {"service": "Servers", "ok": True, "running": self.state.servers.running}
        self.write({"ok": True, "checks": [servers]})

    head = get


class ProvidersHandler(_Handler):
    """The repository providers."""

    def get(self) -> None:
        """List them."""
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps(providers()))


class PageHandler(_Handler):
    """The page that a hub shows at every path that is not of its API (``main.py``)."""

    def get(self) -> None:
        """Say what this is."""
        self.write(
            "<!DOCTYPE html>\n<html lang=en>\n<title>clinder's embedded hub</title>\n"
            "<p>This is the BinderHub for one machine that comes with clinder. It launches real "
            "Jupyter Servers, builds nothing and fetches nothing. To use it, name its address: "
            f"<code>clinder start --hub http://{self.request.host}</code> …</p>\n</html>\n"
        )
