"""Certificates and proxies, with a real authority and real proxies on this machine.

Requests, streams and a kernel's websocket must treat them alike.
"""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

import pytest
import trustme
from requests.cookies import RequestsCookieJar

from answers import Answer, moved, ready
from channels import TOKEN, Server, info, serving
from clinder._deadline import Deadline
from clinder.errors import CertificateUntrusted
from clinder.gateway.upstream import Credential, Upstream
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.binderhub import Ready, request_build
from clinder.wire.http import Transport
from clinder.wire.http_connection import OneRequestSession, Sockets
from clinder.wire.http_errors import TransportError
from clinder.wire.kernel_channel import KernelChannel
from clock import StoppedClock
from e2e.world import until
from hubs import ScriptedHub
from proxies import Encrypted, Proxy

pytestmark = pytest.mark.usefixtures("_no_threads_left")

AUTHORITY = trustme.CA()
GOOD = AUTHORITY.issue_cert("hub.test", "localhost", "127.0.0.1")
PAST = datetime(2020, 1, 1, tzinfo=timezone.utc)
READY = ready("https://hub.test/user/x/", TOKEN)

Get = Callable[[str], object]


def request(url: str) -> object:
    """A response to a request with a token."""
    return Transport(Timeouts(5, 5)).request("GET", url + "x", deadline=Deadline(30), token=TOKEN)


def stream(url: str) -> object:
    """The body of a stream."""
    within = Deadline(30)
    with Transport(Timeouts(5, 5)).stream(url + "x", deadline=within, headers={}) as stream:
        return b"".join(stream.chunks)


def open_kernel(url: str) -> object:
    """A kernel's websocket, once the kernel has answered."""
    deadline = Deadline(30)
    with KernelChannel(
        Session(url + "user/x/", TOKEN), "k", deadline=deadline, timeouts=Timeouts(5)
    ) as kernel:
        kernel.wait_until_ready(deadline)
    return kernel


def request_through_gateway(url: str) -> object:
    """The response to a request that the gateway forwards."""
    return Upstream(Credential(url + "user/x/", TOKEN), Timeouts(5, 5)).call("GET", "api/kernels")


EACH_WAY = pytest.mark.parametrize("get", [request, stream, open_kernel, request_through_gateway])


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The environment of a machine that trusts the authority and has no proxy."""
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    for name in (*proxies, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    bundle = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    return monkeypatch


@pytest.fixture
def behind() -> Iterator[str]:
    """The address of a server with a page at every path, and a kernel that answers."""
    with serving(Server(lambda parent: [info(parent)])) as server:
        yield server.session.url.removesuffix("user/x/")


# Certificates.


@EACH_WAY
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_certificate_of_an_authority_in_the_environment_is_trusted(
    get: Get, host: str, behind: str, settings: pytest.MonkeyPatch
) -> None:
    with Encrypted(behind, GOOD) as front:
        assert get(f"https://{host}:{front.port}/")


OTHER = trustme.CA()
FUTURE = datetime(2999, 1, 1, tzinfo=timezone.utc)
CERTIFICATES: dict[str, tuple[trustme.LeafCert, str]] = {
    "wrong name": (AUTHORITY.issue_cert("other.test"), "not valid for 'localhost'"),
    "expired": (AUTHORITY.issue_cert("localhost", not_after=PAST), "expired"),
    "not yet valid": (AUTHORITY.issue_cert("localhost", not_before=FUTURE), "not yet valid"),
    "unknown authority": (OTHER.issue_cert("localhost"), "unable to get local issuer"),
    "self-signed": (
        trustme.LeafCert(OTHER.private_key_pem.bytes(), OTHER.cert_pem.bytes(), []),
        "self.signed certificate",
    ),
}


@EACH_WAY
@pytest.mark.parametrize(("certificate", "reason"), CERTIFICATES.values(), ids=CERTIFICATES)
def test_an_invalid_certificate_is_not_trusted(
    get: Get, certificate: trustme.LeafCert, reason: str, behind: str, settings: pytest.MonkeyPatch
) -> None:
    with Encrypted(behind, certificate) as front:
        url = f"https://localhost:{front.port}/"
        with pytest.raises(
            TransportError, match=f"certificate is not trusted .*{reason}"
        ) as broken:
            get(url)
        assert broken.value.untrusted == url[:-1]
        assert TOKEN not in format_traceback(broken.value)


@EACH_WAY
def test_without_settings_the_authority_is_not_trusted(
    get: Get, settings: pytest.MonkeyPatch, behind: str
) -> None:
    settings.delenv("REQUESTS_CA_BUNDLE")
    with Encrypted(behind, GOOD) as front, pytest.raises(TransportError, match="not trusted"):
        get(f"https://localhost:{front.port}/")


def build(hub: str) -> Ready:
    """The result of one build request."""
    *_, last = request_build(Transport(Timeouts(5, 5)), hub, "gh/a/b/HEAD", deadline=Deadline(30))
    assert isinstance(last, Ready)
    return last


def test_the_error_names_the_member_with_the_untrusted_certificate(
    settings: pytest.MonkeyPatch,
) -> None:
    certificate, _ = CERTIFICATES["expired"]
    with (
        ScriptedHub() as hub,
        Encrypted(hub.origin, certificate) as member,
        Encrypted(hub.origin, GOOD) as front,
    ):
        hub.then(moved(f"https://localhost:{member.port}/build/gh/a/b/HEAD", 307))
        with pytest.raises(
            CertificateUntrusted, match="The hub's certificate is not trusted"
        ) as raised:
            build(f"https://localhost:{front.port}/")
    assert f"https://localhost:{member.port}." in raised.value.hint


def test_a_hub_on_https_launches_a_server_on_https(settings: pytest.MonkeyPatch) -> None:
    with ScriptedHub(Answer(READY)) as hub, Encrypted(hub.origin, GOOD) as front:
        assert build(f"https://localhost:{front.port}/").url == "https://hub.test/user/x/"


@EACH_WAY
@pytest.mark.parametrize("kind", ["missing", "garbage", "empty"])
def test_a_bundle_without_certificates_is_an_error(
    get: Get, kind: str, behind: str, settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / kind
    if kind != "missing":
        path.write_text("no certificate" * (kind == "garbage"))
    settings.setenv("REQUESTS_CA_BUNDLE", str(path))
    with (
        Encrypted(behind, GOOD) as front,
        pytest.raises(TransportError, match="REQUESTS_CA_BUNDLE does not contain"),
    ):
        get(f"https://localhost:{front.port}/")


# Proxies.


@EACH_WAY
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_for_https_forwards_a_tunnel_and_sees_no_token(
    get: Get, name: str, behind: str, settings: pytest.MonkeyPatch
) -> None:
    settings.setenv("NO_PROXY", "other.test,hub.test.example.org,localhost")
    with Encrypted(behind, GOOD) as front, Proxy(front.origin) as proxy:
        settings.setenv(name, proxy.url)
        assert get("https://hub.test/")
    assert proxy.requests == ["CONNECT hub.test:443"]
    assert TOKEN not in proxy.heads[0]


@pytest.mark.parametrize(
    ("get", "request_line"),
    [
        (request, "GET http://hub.test/x"),
        (stream, "GET http://hub.test/x"),
        (open_kernel, "CONNECT hub.test:80"),
    ],
)
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_for_http_receives_the_request(
    get: Get, request_line: str, name: str, behind: str, settings: pytest.MonkeyPatch
) -> None:
    with Proxy(behind) as proxy:
        settings.setenv(name, proxy.url)
        assert get("http://hub.test/")
    assert proxy.requests == [request_line]


@pytest.mark.parametrize("get", [request, stream])
def test_a_proxy_can_be_behind_tls(get: Get, behind: str, settings: pytest.MonkeyPatch) -> None:
    with (
        Encrypted(behind, GOOD) as front,
        Proxy(front.origin) as proxy,
        Encrypted(proxy.url, GOOD) as encrypted,
    ):
        settings.setenv("HTTPS_PROXY", encrypted.origin)
        assert get("https://hub.test/")
    assert proxy.requests == ["CONNECT hub.test:443"]


@EACH_WAY
@pytest.mark.parametrize("excluded", ["hub.test", ".test", "test", "a.test, hub.test", "*"])
def test_hosts_that_the_environment_excludes_use_no_proxy(
    get: Get, excluded: str, behind: str, settings: pytest.MonkeyPatch
) -> None:
    with Proxy(behind) as proxy:
        settings.setenv("ALL_PROXY", proxy.url)
        settings.setenv("NO_PROXY", excluded)
        for scheme in ("http", "https"):
            with pytest.raises(TransportError, match="name does not resolve"):
                get(f"{scheme}://hub.test/")
    assert proxy.heads == []


@EACH_WAY
def test_this_machine_uses_no_proxy(get: Get, behind: str, settings: pytest.MonkeyPatch) -> None:
    with Encrypted(behind, GOOD) as front, Proxy(front.origin) as proxy:
        settings.setenv("ALL_PROXY", proxy.url)
        settings.setenv("NO_PROXY", "other.test")
        assert get(f"https://localhost:{front.port}/")
        assert get(behind)
    assert proxy.heads == []


@EACH_WAY
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_requires_an_account_receives_it(
    get: Get, scheme: str, behind: str, settings: pytest.MonkeyPatch
) -> None:
    """Its password is percent-encoded in its URL, and never shown."""
    with Encrypted(behind, GOOD) as front:
        to = front.origin if scheme == "https" else behind
        with Proxy(to, account="some:p@ss/word") as proxy:
            address = f"127.0.0.1:{proxy.port}"
            settings.setenv(f"{scheme.upper()}_PROXY", f"http://some:p%40ss%2Fword@{address}")
            assert get(f"{scheme}://hub.test/")
            settings.setenv(f"{scheme.upper()}_PROXY", f"http://some:wr0ng@{address}")
            with pytest.raises(
                TransportError, match=r"the proxy .* refused the connection with status 407"
            ) as broken:
                get(f"{scheme}://hub.test/")
    assert "wr0ng" not in format_traceback(broken.value)
    assert TOKEN not in format_traceback(broken.value)


@EACH_WAY
@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (b"HTTP/1.1 403 \x1b[31mno\r\n\r\n", "the proxy .* refused the connection with status 403"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "refused .* status 502"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "proxy|connection"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", "proxy|connection|TLS"),
        (b"HTTP/1.1 200 " + b"x" * 1_000_000 + b"\r\n\r\n", "proxy|connection|TLS"),
        (b"HTTP/1.1 200 OK\r\n\r\nno TLS at all", "TLS|connection"),
    ],
    ids=["403", "502", "not HTTP", "many headers", "long status line", "no TLS"],
)
def test_a_proxy_that_fails_is_an_error(
    get: Get, answers: bytes, message: str, behind: str, settings: pytest.MonkeyPatch
) -> None:
    with Proxy(behind, answers=answers) as proxy:
        settings.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(TransportError, match=message) as broken:
            get("https://hub.test/")
    assert broken.value.message.isprintable()
    assert not broken.value.refused
    assert not broken.value.untrusted


@EACH_WAY
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_connections_is_an_error(
    get: Get, scheme: str, behind: str, settings: pytest.MonkeyPatch
) -> None:
    with Proxy(behind) as gone:
        pass
    settings.setenv(f"{scheme.upper()}_PROXY", gone.url)
    with pytest.raises(TransportError, match="the proxy in this machine's settings") as broken:
        get(f"{scheme}://hub.test/")
    assert not broken.value.refused, "the proxy refused, which says nothing about the server"


@EACH_WAY
@pytest.mark.parametrize("address", ["ftp://127.0.0.1:1", "http://", "http://a:hidden@[::1", "x y"])
def test_an_invalid_proxy_address_is_an_error(
    get: Get, address: str, settings: pytest.MonkeyPatch
) -> None:
    settings.setenv("HTTPS_PROXY", address)
    with pytest.raises(TransportError, match="the proxy in this machine's settings") as broken:
        get("https://hub.test/")
    assert "hidden" not in format_traceback(broken.value)


@EACH_WAY
def test_a_proxy_does_not_make_a_certificate_trusted(
    get: Get, behind: str, settings: pytest.MonkeyPatch
) -> None:
    certificate, _ = CERTIFICATES["unknown authority"]
    with Encrypted(behind, certificate) as front, Proxy(front.origin) as proxy:
        settings.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(TransportError, match="certificate is not trusted") as broken:
            get("https://hub.test/")
    assert broken.value.untrusted == "https://hub.test"


# Time limits.


class LatencyClock(StoppedClock):
    """A clock that only a slow server moves."""

    reads = 0

    def __init__(self) -> None:
        super().__init__()
        self.client_finished = threading.Event()

    def now(self) -> float:
        self.reads += 1
        return super().now()

    def lag(self, seconds: float) -> None:
        """Let ``seconds`` pass, and wait until the client has checked its time limits."""
        self.jump(seconds)
        reads = self.reads + 10  # the client checks after every three
        until(lambda: self.reads >= reads or self.client_finished.is_set())


@pytest.mark.parametrize("proxied", [False, True])
@pytest.mark.parametrize("encrypted", [False, True])
def test_each_socket_has_the_time_limit_of_what_it_is_used_for(
    encrypted: bool, proxied: bool, settings: pytest.MonkeyPatch
) -> None:
    """requests itself limits connecting and reading, too; this ends an abandoned thread."""
    opened: list[socket.socket] = []
    limits: list[float | None] = []

    class Recording(Sockets):
        def add(self, new: socket.socket) -> None:
            opened.append(new)
            limits.append(new.gettimeout())

    connected = threading.Event()
    with ScriptedHub(pages={"/": Answer(b"one")}) as hub, ExitStack() as servers:
        to = servers.enter_context(Encrypted(hub.origin, GOOD)).origin if encrypted else hub.origin
        proxies = {}
        if proxied:
            proxies = {"all": servers.enter_context(Proxy(to)).url}
            to = f"{'https' if encrypted else 'http'}://hub.test"
        with (
            OneRequestSession(RequestsCookieJar(), Recording(), connected.set) as session,
            session.get(to, timeout=(60, 50), stream=True, proxies=proxies) as response,
        ):
            assert connected.is_set()
            assert set(limits) == {60}, "urllib3 no longer reports sockets while they connect"
            assert opened[-1].gettimeout() == 50
            assert response.content == b"one"


@pytest.mark.parametrize("layer", ["TLS handshake", "proxy tunnel"])
@pytest.mark.parametrize(
    ("timeouts", "connecting_and_silence", "error"),
    [
        (Timeouts(60, 40), (50, 30), ""),
        (Timeouts(20, 90), (30, 0), "no connection within 20 s"),
        (Timeouts(90, 40), (30, 50), "it sent nothing for 40 s"),
    ],
    ids=["both in time", "connecting too long", "idle too long"],
)
def test_connecting_and_idling_have_separate_limits(
    layer: str,
    timeouts: Timeouts,
    connecting_and_silence: tuple[float, float],
    error: str,
    settings: pytest.MonkeyPatch,
) -> None:
    """A TLS handshake and a proxy's tunnel are part of connecting."""
    clock, (connecting, silence) = LatencyClock(), connecting_and_silence

    def respond() -> Answer:
        clock.lag(silence)
        return Answer(b"one")

    def lag() -> None:
        clock.lag(connecting)

    with ExitStack() as stack:
        to = stack.enter_context(ScriptedHub(respond)).origin
        before = lag if layer == "TLS handshake" else lambda: None
        to = stack.enter_context(Encrypted(to, GOOD, before=before)).origin
        if layer == "proxy tunnel":
            settings.setenv("HTTPS_PROXY", stack.enter_context(Proxy(to, before=lag)).url)
            to = "https://hub.test"
        stack.callback(clock.client_finished.set)
        if error:
            stack.enter_context(pytest.raises(TransportError, match=error))
        deadline = Deadline(1000, now=clock.now)
        with Transport(timeouts).stream(f"{to}/build/x", deadline=deadline, headers={}) as response:
            assert b"".join(response.chunks) == b"one"


def format_traceback(error: BaseException) -> str:
    """The traceback of an error."""
    return "".join(traceback.format_exception(error))
