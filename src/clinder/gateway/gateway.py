"""The gateway: a port on the loopback interface that stands for the session's server."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from clinder.gateway.access import Access, Denied, Target
from clinder.gateway.exchange import Exchange
from clinder.gateway.forward import forward
from clinder.gateway.listener import HOST, Listener
from clinder.gateway.relay import relay
from clinder.gateway.upstream import Credential
from clinder.timeouts import Timeouts
from clinder.wire.http_connection import Sockets


class Gateway:
    """Serves the session's API on this machine, until the context ends.

    ``credential`` opens the session's server. Consumers use :attr:`url` and :attr:`token`, which
    open nothing else. On leaving the context, all connections end within a second.
    """

    def __init__(self, credential: Credential, *, timeouts: Timeouts | None = None):
        self.token = secrets.token_urlsafe(32)
        self._credential = credential
        self._timeouts = timeouts or Timeouts()
        self._listener = Listener()
        self._access = Access(self.token, self._listener.port)
        self._open: set[Sockets] = set()
        self._lock = threading.Lock()
        self._closed = False

    def __repr__(self) -> str:
        return f"Gateway({self.url!r})"

    @property
    def url(self) -> str:
        """The gateway's URL, which ends in a slash."""
        return f"http://{HOST}:{self._listener.port}/"

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment variables by which programs find the gateway.

        If ``environ`` has a proxy, it must not be used for this machine.
        """
        variables = {"JUPYTER_BASE_URL": self.url, "JUPYTER_TOKEN": self.token}
        if any(name.lower().endswith("_proxy") for name in environ):
            for name in ("NO_PROXY", "no_proxy"):
                hosts = [environ.get("NO_PROXY") or environ.get("no_proxy", ""), HOST, "localhost"]
                variables[name] = ",".join(filter(None, hosts))
        return variables

    def __enter__(self) -> Gateway:
        self._listener.start(self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            opened = list(self._open)
        for each in opened:
            each.end()
        self._listener.close()

    def _handle(self, exchange: Exchange) -> bool:
        try:
            target = self._access.admit(exchange.method, exchange.target, exchange.headers)
        except Denied as error:
            exchange.respond_json(error.status, {"message": error.message})
            return False
        with self._sockets() as sockets:
            self._serve(exchange, target, sockets)
        return True

    def _serve(self, exchange: Exchange, target: Target, sockets: Sockets) -> None:
        serve = relay if exchange.is_for_websocket else forward
        serve(exchange, target, self._credential, sockets=sockets, timeouts=self._timeouts)

    @contextmanager
    def _sockets(self) -> Iterator[Sockets]:
        """Yield sockets for one request to the server, which end with the gateway."""
        sockets = Sockets()
        with self._lock:
            self._open.add(sockets)
            if self._closed:
                sockets.end()
        try:
            yield sockets
        finally:
            with self._lock:
                self._open.discard(sockets)
