"""The gateway before there is a session: the launch, and requests that wait for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from clinder.errors import BuildFailed
from clinder.gateway import held_response
from clinder.gateway.forward import GONE
from clinder.gateway.gateway import Gateway
from clinder.gateway.upstream import Credential
from hubs import Jupyter, ScriptedHub
from loopback import Loopback

SESSION = {"path": "page.md", "name": "page.md", "type": "console", "kernel": {"name": "python3"}}
TOKEN = "s3cret"

FAILED = "There is no session, because its launch failed. The build failed."


class Launch:
    """A launch that ends when a test lets it, with a session or without."""

    def __init__(self, url: str = ""):
        self._url = url
        self.number = 0
        self.may_end = threading.Event()

    def __call__(self) -> Credential:
        self.number += 1
        assert self.may_end.wait(60)
        if not self._url:
            raise BuildFailed("The build failed.")
        return Credential(self._url, TOKEN)


@contextmanager
def asked(
    opened: Gateway, method: str, path: str, body: object = None, **headers: str
) -> Iterator[HTTPConnection]:
    """Send a request, and yield the connection on which the response arrives."""
    with closing(HTTPConnection(urlsplit(opened.url).netloc, timeout=60)) as connection:
        headers = {**headers, "Authorization": f"token {opened.token}"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        yield connection


def answer(connection: HTTPConnection) -> tuple[int, Any]:
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def test_lists_are_empty_and_launch_nothing() -> None:
    launch = Launch()
    with Gateway(launch) as opened:
        for path in ("/api/sessions?1", "/api/kernels"):
            with asked(opened, "GET", path) as connection:
                assert answer(connection) == (200, [])
    assert launch.number == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [("POST", "/api/sessions", SESSION, 201), ("GET", "/api/kernelspecs", None, 200)],
)
@pytest.mark.parametrize("begins_early", [False, True])
def test_a_request_waits_for_the_launch(
    monkeypatch: pytest.MonkeyPatch,
    *,
    method: str,
    path: str,
    body: object,
    status: int,
    begins_early: bool,
) -> None:
    """After some seconds the response begins, so that the consumer goes on waiting."""
    monkeypatch.setattr(held_response, "_BLANK_AFTER", 0.01 if begins_early else 60)
    with ScriptedHub() as hub:
        launch = Launch(hub.serve("x", Jupyter(TOKEN)))
        with Gateway(launch) as opened, asked(opened, method, path, body) as connection:
            if not begins_early:
                launch.may_end.set()
            response = connection.getresponse()
            launch.may_end.set()
            content = json.loads(response.read())
            with asked(opened, "GET", "/api/sessions") as listing:
                answer(listing)
        assert hub.calls("GET", "api/sessions"), "lists are the server's once there is one"
    assert (response.status, launch.number) == (status, 1)
    assert "kernel" in content or "kernelspecs" in content


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/sessions", SESSION),
        ("GET", "/api/kernelspecs", None),
        ("DELETE", "/api/sessions/x", None),
        ("PATCH", "/api/sessions/x", {}),
    ],
)
def test_without_a_session_each_request_fails_at_once(method: str, path: str, body: object) -> None:
    launch = Launch()
    launch.may_end.set()
    with Gateway(launch) as opened:
        for _ in range(2):
            with asked(opened, method, path, body) as connection:
                assert answer(connection) == (GONE, {"message": FAILED})


@pytest.mark.parametrize("path", ["/api/kernels/k/channels", "/api/events/subscribe"])
def test_without_a_session_a_websocket_is_refused(path: str) -> None:
    launch = Launch()
    launch.may_end.set()
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    with Gateway(launch) as opened, asked(opened, "GET", path, **upgrade) as connection:
        assert answer(connection) == (GONE, {"message": FAILED})


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/sessions"), ("GET", "/api/specs")])
def test_a_response_that_has_begun_is_not_what_the_consumer_expects(
    monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    monkeypatch.setattr(held_response, "_BLANK_AFTER", 0.01)
    launch = Launch()
    body = SESSION if method == "POST" else None
    with Gateway(launch) as opened, asked(opened, method, path, body) as connection:
        response = connection.getresponse()
        launch.may_end.set()
        assert json.loads(response.read()) == {"message": FAILED}


def test_a_server_that_is_gone_after_the_launch_is_unreachable() -> None:
    with Loopback() as server:
        url = f"{server.origin}/user/x/"
    launch = Launch(url)
    launch.may_end.set()
    with Gateway(launch) as opened, asked(opened, "GET", "/api/kernelspecs") as connection:
        status, content = answer(connection)
    assert status == 502
    assert content["message"].startswith("The session's server is unreachable: ")
