"""requests, made to measure: its sockets are known, so that another thread can end them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, cast
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

    ``on_socket`` is called with each socket as soon as it is open, ``on_connected`` once the
    connection is established, which includes a proxy's tunnel and the TLS handshake.
    """

    def __init__(
        self,
        cookies: RequestsCookieJar,
        on_socket: Callable[[socket.socket], None],
        on_connected: Callable[[], None],
    ):
        super().__init__()
        self.cookies = cookies
        adapter = _Adapter(on_socket, on_connected)
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def merge_environment_settings(self, url: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the environment's settings; raise an error if its proxy is not supported."""
        settings = super().merge_environment_settings(url, *args, **kwargs)
        _proxy(url, settings["proxies"], "http", "https", "socks4", "socks4a", "socks5", "socks5h")
        return settings

    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[requests.Response]:
        """Yield nothing: requests would parse the target of a redirect, even of an invalid one."""
        return iter(())


class _Adapter(requests.adapters.HTTPAdapter):
    """An adapter whose connections report their sockets."""

    def __init__(
        self, on_socket: Callable[[socket.socket], None], on_connected: Callable[[], None]
    ):
        self._on_socket = on_socket
        self._on_connected = on_connected
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._instrument(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return self._instrument(super().proxy_manager_for(*args, **kwargs))

    def _instrument(self, manager: urllib3.PoolManager) -> urllib3.PoolManager:
        manager.pool_classes_by_scheme = {
            scheme: type(pool.__name__, (pool,), {"ConnectionCls": self._reporting(pool)})
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }
        return manager

    def _reporting(self, pool: type[urllib3.HTTPConnectionPool]) -> type[HTTPConnection]:
        base = cast("type[HTTPConnection]", pool.ConnectionCls)
        return reporting(base, self._on_socket, self._on_connected)


class _Reporting(HTTPConnection):
    """A connection that reports each of its sockets, and that it is established.

    Another thread can then end whatever this one waits for: a response, but also a proxy's tunnel.
    """

    on_socket: Callable[[socket.socket], None]
    on_connected: Callable[[], None]
    _sock: socket.socket | None = None

    @property
    def sock(self) -> Any:
        return self._sock

    @sock.setter
    def sock(self, opened: Any) -> None:
        self._sock = opened
        if isinstance(opened, socket.socket):  # TLS inside a proxy's TLS is another class
            self.on_socket(opened)

    def connect(self) -> None:
        super().connect()
        self.on_connected()


def reporting(
    base: type[HTTPConnection],
    on_socket: Callable[[socket.socket], None],
    on_connected: Callable[[], None] = lambda: None,
) -> type[HTTPConnection]:
    """Return a class of connections that report their sockets."""
    callbacks = {"on_socket": staticmethod(on_socket), "on_connected": staticmethod(on_connected)}
    return type(base.__name__, (_Reporting, base), callbacks)


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
        settings = session.merge_environment_settings(url, {}, None, None, None)
    proxy = None if is_loopback(url) else _proxy(url, settings["proxies"], "http")
    to, at = (proxy.host or "", proxy.port or 80) if proxy else (host, port)
    options = _ca_options(settings["verify"]) if secure else {}
    base = HTTPSConnection if secure else HTTPConnection
    connection = reporting(base, on_socket)(to, at, timeout=seconds, **options)
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


def _ca_options(verify: str | bool | None) -> dict[str, Any]:
    bundle = verify if isinstance(verify, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH
    if Path(bundle).is_dir():
        return {"cert_reqs": "CERT_REQUIRED", "ca_cert_dir": bundle}
    if not Path(bundle).is_file():
        raise OSError("no CA certificate bundle")
    return {"cert_reqs": "CERT_REQUIRED", "ca_certs": bundle}


def iter_body(raw: urllib3.HTTPResponse) -> Iterator[bytes]:
    """Yield a body as it comes: each of the two ways is live only for its kind of framing."""
    if raw.chunked:
        yield from raw.stream(_PIECE, decode_content=True)
        return
    while piece := raw.read1(_PIECE, decode_content=True):
        yield piece
