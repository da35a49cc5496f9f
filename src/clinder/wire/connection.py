"""requests, made to measure: its sockets are known, so that another thread can end them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import requests
import requests.adapters
import requests.auth
import urllib3
from requests.cookies import RequestsCookieJar
from urllib3.connection import HTTPConnection, HTTPSConnection

_PIECE = 65536


class Token(requests.auth.AuthBase):
    """The token and nothing else: with an ``auth`` set, requests leaves ``~/.netrc`` alone.

    Otherwise an entry there replaces the header (psf/requests#3929).
    """

    def __init__(self, token: str):
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request with the token in its header, if there is one."""
        if self._token:
            request.headers["Authorization"] = f"token {self._token}"
        return request


class Session(requests.Session):
    """A session for one request, with cookies that outlive it.

    ``opened`` is given each socket, ``connected`` is set once a connection stands.
    """

    def __init__(
        self,
        cookies: RequestsCookieJar,
        opened: Callable[[socket.socket], None],
        connected: threading.Event,
    ):
        super().__init__()
        self.cookies = cookies
        adapter = _Adapter(opened, connected)
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[requests.Response]:
        """Yield nothing: requests looks where a redirect leads, and fails where it is no URL."""
        return iter(())


class _Adapter(requests.adapters.HTTPAdapter):
    """An adapter that says which sockets it opens, so that another thread can end them."""

    def __init__(self, opened: Callable[[socket.socket], None], connected: threading.Event):
        self._pools = _pools(opened, connected)
        self._connected = connected
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        if not isinstance(manager, urllib3.ProxyManager):  # SOCKS, with connections of its own
            self._connected.set()
            return manager
        manager.pool_classes_by_scheme = self._pools
        return manager


def _pools(
    opened: Callable[[socket.socket], None], connected: threading.Event
) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _told(super()._new_conn(), opened)

        def connect(self) -> None:
            super().connect()
            connected.set()

    class Encrypted(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _told(super()._new_conn(), opened)

        def connect(self) -> None:
            super().connect()
            if self.sock is not None:
                _told(self.sock, opened)  # the handshake took the first socket's place
            connected.set()

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


def _told(made: socket.socket, opened: Callable[[socket.socket], None]) -> socket.socket:
    opened(made)
    return made


def body(raw: urllib3.HTTPResponse) -> Iterator[bytes]:
    """Yield a body as it comes: each of the two ways is live only for its kind of framing."""
    if raw.chunked:
        yield from raw.stream(_PIECE, decode_content=True)
        return
    while piece := raw.read1(_PIECE, decode_content=True):
        yield piece
