"""What the handlers of a hub share: its state, and the requests that it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from traceback import format_exception
from types import TracebackType
from urllib.parse import urlsplit

from tornado.httputil import split_host_and_port
from tornado.web import HTTPError, RequestHandler

from clinder.embedded.account import Account
from clinder.embedded.servers import Servers

_HOSTS = {"127.0.0.1", "localhost", "[::1]", "::1"}


@dataclass
class State:
    """State that the handlers of one hub share. ``keepalive`` is in seconds.

    With an ``account``, the hub needs a login.
    """

    servers: Servers
    keepalive: float
    report: Callable[[str], None]
    account: Account | None = None
    builds: set[asyncio.Task[None]] = field(init=False, default_factory=set)

    async def close(self, *, stop_servers: bool) -> None:
        """Cancel the running builds; stop all servers, or those whose token no client has."""
        for build in self.builds:
            build.cancel()
        ending = self.servers.close(all_of_them=stop_servers)
        await asyncio.gather(*self.builds, ending, return_exceptions=True)


def _host(origin: str) -> str:
    with suppress(ValueError):
        return urlsplit(origin).netloc
    return ""


class Handler(RequestHandler):
    """A handler of requests from programs on this machine."""

    def initialize(self, state: State) -> None:
        """Keep the hub's state."""
        self.state = state

    def prepare(self) -> None:
        """Refuse requests that another site's page could send through this user's browser.

        If somebody else's name resolves to this machine (DNS rebinding), ``Host`` shows it.
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
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Report a bug to the hub's owner. Loggers belong to the process, not to the hub."""
        if not isinstance(value, HTTPError):
            self.state.report("".join(format_exception(typ, value, tb)))
