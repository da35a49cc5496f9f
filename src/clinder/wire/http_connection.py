"""Connections by requests and urllib3 whose sockets another thread can shut down."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
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

_CHUNK = 65536


class TokenAuth(requests.auth.AuthBase):
    """The session's token as a header; without a token, no credentials at all.

    Without any ``auth``, requests would use ``~/.netrc`` (psf/requests#3929).
    """

    def __init__(self, token: str):
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        if self._token:
            request.headers["Authorization"] = f"token {self._token}"
        return request


class Sockets:
    """The sockets of a connection. Any thread can shut them down, to end what another waits for."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self.ended = threading.Event()

    def add(self, opened: socket.socket) -> None:
        """Add a socket that was just opened."""
        self._sockets.append(opened)
        if self.ended.is_set():
            self.end()

    def end(self) -> None:
        """Shut down all sockets, including those that are opened later."""
        self.ended.set()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class OneRequestSession(requests.Session):
    """A session for one request, with cookies that outlive it.

    Each socket is added to ``sockets`` as soon as it is open. ``on_connected`` is called once the
    connection is established, which includes a proxy's tunnel and the TLS handshake.
    """

    def __init__(
        self,
        cookies: RequestsCookieJar,
        sockets: Sockets,
        on_connected: Callable[[], None],
    ):
        super().__init__()
        self.cookies = cookies
        adapter = _Adapter(on_socket=sockets.add, on_connected=on_connected)
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
    """An adapter whose connections call these hooks."""

    def __init__(self, **hooks: Callable[..., None]):
        super().__init__()
        self._hooks = hooks

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pool for a request; requests lets subclasses change it here."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _hooked(pool.ConnectionCls, **self._hooks)
        return pool


class _Hooked(HTTPConnection):
    """A connection that calls a hook with each of its sockets, and one once it is established."""

    on_socket: Callable[[socket.socket], None]
    on_connected: Callable[[], None] = staticmethod(lambda: None)
    _sock: socket.socket | None = None

    @property
    def sock(self) -> Any:
        return self._sock

    @sock.setter
    def sock(self, opened: Any) -> None:
        self._sock = opened
        if isinstance(opened, socket.socket):  # TLS inside a proxy's TLS is of another class
            self.on_socket(opened)

    def connect(self) -> None:
        super().connect()
        self.on_connected()


def _hooked(base: Any, **hooks: Callable[..., None]) -> type[HTTPConnection]:
    methods = {name: staticmethod(hook) for name, hook in hooks.items()}
    return type(base.__name__, (_Hooked, base), methods)


def open_socket(url: str, *, seconds: float, sockets: Sockets) -> socket.socket:
    """Return a connected socket to a URL's host, for a websocket.

    The trusted certificates and the proxies are those that requests would use, but a proxy always
    opens a tunnel. ``seconds`` limits each step of connecting. Each socket is added to ``sockets``
    as soon as it is open. Raises urllib3's errors and ``OSError``.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    with requests.Session() as session:
        settings = session.merge_environment_settings(url, {}, None, None, None)
    proxy = None if is_loopback(url) else _proxy(url, settings["proxies"], "http")
    first_hop = (proxy.host or "", proxy.port or 80) if proxy else (host, port)
    options = _ca_options(settings["verify"]) if secure else {}
    base = HTTPSConnection if secure else HTTPConnection
    connection = _hooked(base, on_socket=sockets.add)(*first_hop, timeout=seconds, **options)
    if proxy:
        account = unquote(proxy.auth) if proxy.auth else None
        connection.set_tunnel(host, port, headers=make_headers(proxy_basic_auth=account))
    try:
        connection.connect()
    except Exception as error:
        reached_proxy = connection.has_connected_to_proxy
        connection.close()
        if proxy and not reached_proxy:
            raise urllib3.exceptions.ProxyError("no connection", error) from error
        if isinstance(error, HTTPException):
            raise urllib3.exceptions.ProtocolError("no tunnel", error) from error
        raise
    return cast("socket.socket", connection.sock)


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
    """Yield a body as it arrives. Either method waits for more if the framing is the other kind."""
    if raw.chunked:
        yield from raw.stream(_CHUNK, decode_content=True)
        return
    while chunk := raw.read1(_CHUNK, decode_content=True):
        yield chunk
