"""requests, made to measure: its sockets are known, so that another thread can end them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypedDict, cast
from urllib.parse import unquote, urlsplit

import requests
import requests.adapters
import requests.auth
import requests.exceptions
import requests.utils
import urllib3
from requests.cookies import RequestsCookieJar
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Url, make_headers, parse_url

from clinder._urls import is_loopback

_PIECE = 65536


class TokenAuth(requests.auth.AuthBase):
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


class OneRequestSession(requests.Session):
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

    def merge_environment_settings(self, url: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what the environment says; raises where that names no proxy of a known kind."""
        found = super().merge_environment_settings(url, *args, **kwargs)
        _proxy(url, found["proxies"], "http", "https", "socks4", "socks4a", "socks5", "socks5h")
        return found

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
    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = _plain(opened, connected)

    class EncryptedPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = _encrypted(opened, connected)

    return {"http": PlainPool, "https": EncryptedPool}


def _plain(
    opened: Callable[[socket.socket], None], connected: threading.Event
) -> type[HTTPConnection]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _report_socket(super()._new_conn(), opened)

        def connect(self) -> None:
            super().connect()
            connected.set()

    return Plain


def _encrypted(
    opened: Callable[[socket.socket], None], connected: threading.Event
) -> type[HTTPSConnection]:
    class Encrypted(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _report_socket(super()._new_conn(), opened)

        def connect(self) -> None:
            super().connect()
            if self.sock is not None:
                _report_socket(self.sock, opened)  # the handshake took the first socket's place
            connected.set()

    return Encrypted


def _report_socket(made: socket.socket, opened: Callable[[socket.socket], None]) -> socket.socket:
    opened(made)
    return made


def open_socket(
    url: str, *, seconds: float, on_socket: Callable[[socket.socket], None]
) -> socket.socket:
    """Return a socket to a URL's host, opened as requests opens its own, for a websocket.

    Its proxies, by a tunnel, and its trust in certificates are the environment's as requests reads
    it. ``seconds`` bounds each step of connecting; ``opened`` is given each socket on the way.
    Raises what urllib3 raises, and ``OSError``.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    with requests.Session() as session:
        found = session.merge_environment_settings(url, {}, None, None, None)
    proxy = None if is_loopback(url) else _proxy(url, found["proxies"], "http")
    to, at = (proxy.host or "", proxy.port or 80) if proxy else (host, port)
    connected = threading.Event()
    connection = (
        _encrypted(on_socket, connected)(
            to, at, timeout=seconds, cert_reqs="CERT_REQUIRED", **_ca_options(found["verify"])
        )
        if secure
        else _plain(on_socket, connected)(to, at, timeout=seconds)
    )
    if proxy:
        named = unquote(proxy.auth) if proxy.auth else None
        connection.set_tunnel(host, port, headers=make_headers(proxy_basic_auth=named))
    _connect(connection, by_proxy=proxy is not None)
    return cast("socket.socket", connection.sock)


def _connect(connection: HTTPConnection, *, by_proxy: bool) -> None:
    try:
        connection.connect()
    except Exception as error:
        reached = connection.has_connected_to_proxy
        connection.close()
        if by_proxy and not reached:
            raise urllib3.exceptions.ProxyError("no connection", error) from error
        if isinstance(error, HTTPException):
            raise urllib3.exceptions.ProtocolError("no tunnel", error) from error
        raise


def _proxy(url: str, proxies: Mapping[str, str], *schemes: str) -> Url | None:
    address = requests.utils.select_proxy(url, proxies)
    if not address:
        return None
    try:
        proxy = parse_url(address if "://" in address else f"http://{address}")
    except urllib3.exceptions.LocationParseError:
        raise requests.exceptions.InvalidProxyURL from None
    if not proxy.host or proxy.scheme not in schemes:
        raise requests.exceptions.InvalidProxyURL
    return proxy


class _CaOptions(TypedDict, total=False):
    ca_certs: str
    ca_cert_dir: str


def _ca_options(verify: str | bool | None) -> _CaOptions:
    bundle = verify if isinstance(verify, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH
    if Path(bundle).is_dir():
        return {"ca_cert_dir": bundle}
    if not Path(bundle).is_file():
        raise OSError("no CA certificate bundle")
    return {"ca_certs": bundle}


def iter_body(raw: urllib3.HTTPResponse) -> Iterator[bytes]:
    """Yield a body as it comes: each of the two ways is live only for its kind of framing."""
    if raw.chunked:
        yield from raw.stream(_PIECE, decode_content=True)
        return
    while piece := raw.read1(_PIECE, decode_content=True):
        yield piece
