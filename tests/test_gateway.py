"""The gateway between a consumer and a server, byte by byte."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from typing import Any
from urllib.parse import urlsplit

import pytest

from answers import Answer, Ending, Framing, Raw, json_page, moved, page
from clinder.gateway.gateway import Gateway
from clinder.gateway.upstream import Credential
from hubs import ScriptedHub
from loopback import Loopback

SECRET = "s" * 32
MOST_CONNECTIONS = 256


class Echo(Loopback):
    """A server that answers with the request that it received, head and body, as JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[str] = []

    def handle(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file:
            lines = list(iter(lambda: file.readline().decode().rstrip("\r\n"), ""))
            self.heads.append("\n".join(lines))
            fields = {
                name.lower(): value
                for name, _, value in (line.partition(": ") for line in lines[1:])
            }
            if fields.get("transfer-encoding") == "chunked":
                body = b"".join(iter(lambda: _chunk(file), b""))
            else:
                body = file.read(int(fields.get("content-length", 0)))
            answer = json.dumps({"lines": lines, "body": body.decode()}).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\nSet-Cookie: a=b\r\n"
            connection.sendall(
                f"{head}Connection: close, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n\r\n".encode() + answer
            )


def _chunk(file: Any) -> bytes:
    size = int(file.readline(), 16)
    data: bytes = file.read(size)
    file.readline()
    return data


@contextmanager
def gateway(url: str) -> Iterator[Gateway]:
    with Gateway(Credential(url, SECRET)) as opened:
        yield opened


def connect(opened: Gateway) -> HTTPConnection:
    return HTTPConnection(urlsplit(opened.url).netloc, timeout=60)


def request(
    opened: Gateway,
    method: str = "GET",
    path: str = "/api/status",
    body: Any = None,
    **headers: str,
) -> tuple[HTTPResponse, bytes]:
    with closing(connect(opened)) as connection:
        return send(connection, opened, method, path, body, **headers)


def send(
    connection: HTTPConnection, opened: Gateway, method: str, path: str, body: Any, **headers: str
) -> tuple[HTTPResponse, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    given = {"Authorization": f"token {opened.token}", **named}
    connection.request(method, path, body, given)
    response = connection.getresponse()
    return response, response.read()


@contextmanager
def begun(opened: Gateway) -> Iterator[HTTPResponse]:
    """Send a request, and yield the response once its head has arrived."""
    with closing(connect(opened)) as connection:
        headers = {"Authorization": f"token {opened.token}"}
        connection.request("GET", "/api/status", headers=headers)
        yield connection.getresponse()


@pytest.fixture(scope="module")
def echo() -> Iterator[tuple[Echo, Gateway]]:
    with Echo() as server, gateway(f"{server.origin}/user/x/") as opened:
        yield server, opened


def test_the_server_receives_the_request_with_its_own_token(echo: tuple[Echo, Gateway]) -> None:
    _, opened = echo
    _, body = request(opened, path=f"/api/contents/a%20b?x=1&token={opened.token}")
    lines = json.loads(body)["lines"]
    assert lines[0] == "GET /user/x/api/contents/a%20b?x=1 HTTP/1.1"
    assert f"Authorization: token {SECRET}" in lines
    assert opened.token not in str(lines)


def test_the_server_does_not_receive_what_is_meant_for_the_gateway(
    echo: tuple[Echo, Gateway],
) -> None:
    _, opened = echo
    own = opened.url.rstrip("/")
    headers = {
        "Cookie": "c=1",
        "Origin": own,
        "Referer": own,
        "X_XSRFToken": "x",
        "Sec_Fetch_Mode": "cors",
    }
    _, body = request(opened, Connection="X-Mine", X_Mine="1", X_Kept="2", **headers)
    names = {line.partition(":")[0].lower() for line in json.loads(body)["lines"][1:]}
    assert names == {"host", "authorization", "connection", "x-kept", "accept-encoding"}


def test_the_consumer_receives_neither_cookies_nor_the_headers_of_one_connection(
    echo: tuple[Echo, Gateway],
) -> None:
    response, _ = request(echo[1])
    names = {name.lower() for name, _ in response.getheaders()}
    assert names == {"content-length", "x-end"}


@pytest.mark.parametrize("body", [b"x" * 300_000, "plain", iter([b"one", b"two" * 50_000])])
def test_a_body_arrives_as_it_was_sent(echo: tuple[Echo, Gateway], body: Any) -> None:
    expected = b"one" + b"two" * 50_000 if not isinstance(body, (bytes, str)) else body
    _, answer = request(echo[1], "PUT", "/api/contents/x", body)
    text = expected.decode() if isinstance(expected, bytes) else expected
    assert json.loads(answer)["body"] == text


def test_one_connection_serves_many_requests(echo: tuple[Echo, Gateway]) -> None:
    with closing(connect(echo[1])) as connection:
        for number in range(3):
            response, _ = send(connection, echo[1], "GET", f"/api/{number}", None)
            assert response.status == 200
        assert connection.sock is not None


RESPONSES = [
    (json_page(200, [1]), 200),
    (json_page(404, {"message": "no such kernel"}), 404),
    (page(204, b""), 204),
    (Answer(b"x" * 200_000, content_type="a/b"), 200),
    (Answer(b"x" * 1000, content_type="a/b", framing=Framing.CLOSE), 200),
]


@pytest.mark.parametrize(("answer", "status"), RESPONSES)
def test_a_response_arrives_as_the_server_sent_it(answer: Answer, status: int) -> None:
    with (
        ScriptedHub(pages={"/user/x/api/status": answer}) as hub,
        gateway(f"{hub.url}user/x/") as opened,
    ):
        response, body = request(opened)
    sent = answer.body if isinstance(answer.body, bytes) else b""
    assert (response.status, body) == (status, sent)
    assert response.getheader("content-type") == answer.content_type


def test_a_response_arrives_piece_by_piece() -> None:
    more = threading.Event()
    answer = Answer((b"first", more, b"second"), content_type="a/b")
    with (
        ScriptedHub(pages={"/user/x/api/status": answer}) as hub,
        gateway(f"{hub.url}user/x/") as opened,
        begun(opened) as response,
    ):
        assert response.read(5) == b"first"
        more.set()
        assert response.read() == b"second"


@pytest.mark.parametrize(
    "answer",
    [moved("/hub/user/x/"), moved("https://hub.example/hub/login?next=x"), json_page(424, {})],
)
def test_a_session_that_is_gone_is_a_424_with_a_reason(answer: Answer) -> None:
    with (
        ScriptedHub(pages={"/user/x/api/status": answer}) as hub,
        gateway(f"{hub.url}user/x/") as opened,
    ):
        response, body = request(opened)
    assert (response.status, json.loads(body)) == (424, {"message": "The session is gone."})


def test_another_redirect_is_not_passed_on() -> None:
    answer = moved("https://evil.example/")
    with (
        ScriptedHub(pages={"/user/x/api/status": answer}) as hub,
        gateway(f"{hub.url}user/x/") as opened,
    ):
        response, _ = request(opened)
    assert (response.status, response.getheader("location")) == (502, None)


UNREACHABLE = [
    Raw([], Ending.RESET),
    Raw([b"SSH-2.0-OpenSSH\r\n"]),
    Raw([b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]),
    Raw([b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000]),
]


@pytest.mark.parametrize("answer", UNREACHABLE)
def test_a_server_that_does_not_speak_http_is_a_502_with_a_reason(answer: Raw) -> None:
    with (
        ScriptedHub(pages={"/user/x/api/status": answer}) as hub,
        gateway(f"{hub.url}user/x/") as opened,
    ):
        response, body = request(opened)
    assert response.status == 502
    assert json.loads(body)["message"].startswith("The session's server is unreachable: ")


def test_a_server_that_is_not_there_is_a_502_with_a_reason() -> None:
    with gateway("http://127.0.0.1:9/user/x/") as opened:
        response, body = request(opened)
    assert response.status == 502
    assert "unreachable" in json.loads(body)["message"]


def test_a_response_that_is_cut_is_cut_for_the_consumer() -> None:
    answer = Answer(b"half", content_type="a/b", ending=Ending.BROKEN)
    with (
        ScriptedHub(pages={"/user/x/api/status": answer}) as hub,
        gateway(f"{hub.url}user/x/") as opened,
        begun(opened) as response,
        pytest.raises((IncompleteRead, ConnectionResetError)),
    ):
        response.read()


def open_socket(opened: Gateway) -> socket.socket:
    parts = urlsplit(opened.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


def head(opened: Gateway, request: str) -> bytes:
    """Return the beginning of a request with the gateway's token."""
    host = urlsplit(opened.url).netloc
    return f"{request} HTTP/1.1\r\nHost: {host}\r\nAuthorization: token {opened.token}\r\n".encode()


def exchange(opened: Gateway, data: bytes) -> bytes:
    """Send bytes to the gateway and return all that it sends until it closes the connection."""
    with open_socket(opened) as raw:
        raw.sendall(data)
        return b"".join(iter(lambda: raw.recv(65536), b""))


SMUGGLED = [
    "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: gzip, chunked\r\n\r\n",
    "Content-Length: +3\r\n\r\nabc",
    "Content-Length : 3\r\n\r\nabc",
    "X: a\r\n b\r\nContent-Length: -1\r\n\r\n",
    "Host: other\r\n\r\n",
    f"X: {'x' * 100_000}\r\n\r\n",
]


@pytest.mark.parametrize("rest", SMUGGLED)
def test_an_ambiguous_request_never_reaches_the_server(
    echo: tuple[Echo, Gateway], rest: str
) -> None:
    server, opened = echo
    before = len(server.heads)
    answer = exchange(opened, head(opened, "POST /api/x") + rest.encode())
    assert answer.split()[1] in (b"400", b"431", b"501")
    assert len(server.heads) == before


def test_a_stranger_reaches_nothing(echo: tuple[Echo, Gateway]) -> None:
    server, opened = echo
    before = len(server.heads)
    response, body = request(opened, Authorization=f"token {SECRET}")
    assert response.status == 403
    assert b"token is missing or wrong" in body
    assert len(server.heads) == before


def test_idle_strangers_do_not_keep_others_out(echo: tuple[Echo, Gateway]) -> None:
    _, opened = echo
    parts = urlsplit(opened.url)
    strangers = [socket.create_connection((parts.hostname, parts.port)) for _ in range(30)]
    try:
        response, _ = request(opened)
        assert response.status == 200
        gateways = [each for each in threading.enumerate() if each.name == "clinder-gateway"]
        assert len(gateways) < 25
    finally:
        for each in strangers:
            each.close()


def test_many_requests_that_run_and_idle_strangers_do_not_end_each_other() -> None:
    """A kernel's websocket is such a request, and each page has one."""
    proceed = threading.Event()
    answer = Answer((b"first", proceed, b"second"), content_type="a/b")
    with (
        ScriptedHub(pages={"/user/x/api/status": answer}) as hub,
        gateway(f"{hub.url}user/x/") as opened,
        ExitStack() as stack,
    ):
        parts = urlsplit(opened.url)
        running = []
        for _ in range(24):
            running.append(stack.enter_context(begun(opened)))
            assert running[-1].read(5) == b"first"
            stranger = socket.create_connection((parts.hostname, parts.port))
            stack.enter_context(stranger)
        proceed.set()
        assert [each.read() for each in running] == [b"second"] * 24


def test_many_connections_at_once_are_all_served(echo: tuple[Echo, Gateway]) -> None:
    """They show the token once all are open, like those of a tool on a busy machine."""
    _, opened = echo
    with ExitStack() as stack:
        many = [stack.enter_context(open_socket(opened)) for _ in range(100)]
        for each in many:
            each.sendall(head(opened, "GET /api/status") + b"\r\n")
        assert [each.recv(12) for each in many] == [b"HTTP/1.1 200"] * 100


def test_idle_connections_do_not_keep_others_out(echo: tuple[Echo, Gateway]) -> None:
    _, opened = echo
    with ExitStack() as stack:
        idle = [stack.enter_context(closing(connect(opened))) for _ in range(MOST_CONNECTIONS + 1)]
        for each in idle:
            assert send(each, opened, "GET", "/api/status", None)[0].status == 200
        assert idle[0].sock.recv(1) == b""
        assert send(idle[1], opened, "GET", "/api/status", None)[0].status == 200


def test_too_many_connections_in_use_are_reported_once(echo: tuple[Echo, Gateway]) -> None:
    warnings: list[str] = []
    with Gateway(Credential(echo[0].origin, SECRET), warn=warnings.append) as opened:
        begun = head(opened, "POST /api/sessions") + b"Content-Length: 2\r\n"
        with ExitStack() as stack:
            for _ in range(MOST_CONNECTIONS):
                each = stack.enter_context(open_socket(opened))
                each.sendall(begun + b"Expect: 100-continue\r\n\r\n")
                assert each.recv(12) == b"HTTP/1.1 100"
            assert [exchange(opened, b""), exchange(opened, b"")] == [b"", b""]
        (warning,) = warnings
        assert f"{MOST_CONNECTIONS} connections to clinder's gateway are in use" in warning


def test_a_request_that_runs_ends_with_the_gateway() -> None:
    never = threading.Event()
    answer = Answer((b"first", never), content_type="a/b")
    with ScriptedHub(pages={"/user/x/api/status": answer}) as hub, ExitStack() as stack:
        before = set(threading.enumerate())
        with gateway(f"{hub.url}user/x/") as opened:
            assert stack.enter_context(begun(opened)).read(5) == b"first"
            threads = set(threading.enumerate()) - before
        gateways = [each for each in threads if each.name == "clinder-gateway"]
        assert len(gateways) == 2
        assert not any(each.is_alive() for each in gateways)
        assert hub.requests[0].left.wait(60)


@pytest.mark.parametrize(
    ("environ", "direct"),
    [
        ({}, None),
        ({"NO_PROXY": "*", "HTTP_PROXY": "http://p"}, None),
        ({"http_proxy": "http://p"}, "127.0.0.1,localhost"),
        ({"HTTPS_PROXY": "http://p", "no_proxy": "a.test"}, "a.test,127.0.0.1,localhost"),
    ],
)
def test_the_gateway_is_used_without_a_proxy(environ: dict[str, str], direct: str | None) -> None:
    with gateway("http://127.0.0.1:9/user/x/") as opened:
        variables = opened.variables(environ)
    assert variables.pop("JUPYTER_BASE_URL") == opened.url
    assert variables.pop("JUPYTER_TOKEN") == opened.token
    assert variables == ({} if direct is None else {"NO_PROXY": direct, "no_proxy": direct})


def test_a_bug_ends_one_request_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr("clinder.gateway.gateway.forward", lambda *_: 1 // 0)
    with Gateway(Credential("http://127.0.0.1:9/", SECRET), warn=warnings.append) as opened:
        with pytest.raises(OSError):
            request(opened)
        with pytest.raises(OSError):
            request(opened)
    assert len(warnings) == 1
    assert warnings[0].startswith("A bug in clinder ")


def test_neither_token_is_shown() -> None:
    with gateway("http://127.0.0.1:9/user/x/") as opened:
        assert opened.token not in repr(opened)
        assert SECRET not in f"{opened!r} {Credential('http://x/', SECRET)!r}"
