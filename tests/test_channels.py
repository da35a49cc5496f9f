"""A kernel's websockets through the gateway, with a real Jupyter Server behind a relay."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from clinder.embedded.hub import Hub
from clinder.gateway import upstream
from clinder.gateway.conversation import CellLimits, Conversation
from clinder.gateway.gateway import Gateway, GatewayOptions
from clinder.gateway.upstream import Credential
from clinder.wire import websocket
from clinder.wire.duplex import Duplex
from clinder.wire.http_connection import Sockets, open_socket
from clinder.wire.kernel_envelope import Message, Protocol, make_message, read_content, read_head
from clinder.wire.websocket import KeepAlive
from e2e.world import until
from proxies import Relay
from test_embedded import ready

pytestmark = pytest.mark.usefixtures("_no_threads_left")

WARNINGS: list[str] = []


class Freezing(Relay):
    """A relay that passes nothing on while ``flows`` is not set."""

    def __init__(self, to: str):
        super().__init__(to)
        self.flows = threading.Event()
        self.flows.set()

    def wait(self) -> None:
        self.flows.wait(60)


@dataclass
class Place:
    """A Jupyter Server, and the relay that the gateway reaches it through."""

    url: str
    token: str
    relay: Freezing

    def cut(self) -> None:
        """Break all connections."""
        for each in tuple(self.relay.open):
            with suppress(OSError):  # it has just been closed
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Hub(tmp_path_factory.mktemp("hub"), stop_servers=True) as hub:
        session = ready(hub)
        parts = urlsplit(session["url"])
        with Freezing(f"{parts.scheme}://{parts.netloc}") as relay:
            yield Place(f"{relay.origin}{parts.path}", session["token"], relay)


@contextmanager
def gateway(place: Place, **options: Any) -> Iterator[Gateway]:
    credential = Credential(place.url, place.token)
    WARNINGS.clear()
    with Gateway(credential, GatewayOptions(**options), warn=WARNINGS.append) as opened:
        yield opened


def request(opened: Gateway, method: str, path: str, body: object = None) -> tuple[int, Any]:
    connection = HTTPConnection(urlsplit(opened.url).netloc, timeout=60)
    headers = {"Authorization": f"token {opened.token}"}
    connection.request(method, f"/{path}", None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, json.loads(content) if content.strip() else None


@contextmanager
def kernel(opened: Gateway) -> Iterator[str]:
    body = {"path": f"{uuid.uuid4()}.md", "name": "x", "type": "console", "kernel": {}}
    code, model = request(opened, "POST", "api/sessions", body)
    assert code == 201
    yield model["kernel"]["id"]
    assert request(opened, "DELETE", f"api/sessions/{model['id']}")[0] == 204


@dataclass
class Consumer:
    """A program that runs cells."""

    opened: Gateway
    kernel_id: str
    protocol: Protocol = Protocol.V1
    session_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        url = self.opened.url
        self.sockets = Sockets()
        raw = open_socket(url, seconds=20, sockets=self.sockets)
        path = f"api/kernels/{self.kernel_id}/channels?session_id={self.session_id}"
        self.websocket = websocket.connect(
            Duplex(raw, self.sockets),
            url + path,
            headers=[("Authorization", f"token {self.opened.token}")],
            subprotocols=[self.protocol.value] * bool(self.protocol.value),
            seconds=20,
        )
        self.pieces = self.websocket.pieces()

    def __enter__(self) -> Consumer:
        return self

    def __exit__(self, *_: object) -> None:
        self.websocket.stream.close()

    def send(self, code: str) -> str:
        content = {"code": code, "silent": False, "store_history": True, "stop_on_error": False}
        message_id = uuid.uuid4().hex
        message = make_message(
            self.protocol,
            "shell",
            "execute_request",
            content,
            message_id=message_id,
            sender=self.session_id,
        )
        self.websocket.send(message.data)
        return message_id

    def receive(self, message_id: str) -> list[tuple[str, Any]]:
        """Return all messages that belong to a request, once it is done."""
        received: list[tuple[str, Any]] = []
        done: set[str] = set()
        while done != {"idle", "reply"}:
            message = self._next()
            head = read_head(message, self.protocol)
            if head is None or head.parent_id != message_id:
                continue
            content = read_content(message, self.protocol) or {}
            received.append((head.message_type, content))
            if content.get("execution_state") == "idle":
                done.add("idle")
            if head.message_type == "execute_reply":
                done.add("reply")
        return received

    def _next(self) -> Message:
        parts = []
        for piece in self.pieces:
            parts.append(piece.data)
            if piece.final:
                return Message(websocket.join(parts))
        raise AssertionError("the websocket has ended")

    def run(self, code: str) -> list[tuple[str, Any]]:
        return self.receive(self.send(code))


@contextmanager
def consumer_of(
    place: Place, protocol: Protocol = Protocol.V1, **options: Any
) -> Iterator[Consumer]:
    with (
        gateway(place, **options) as opened,
        kernel(opened) as name,
        Consumer(opened, name, protocol) as consumer,
    ):
        yield consumer


def waiting_code(started: Path, go: Path) -> str:
    """Return code that creates one file, waits for another, and prints."""
    return (
        f"import pathlib, time\npathlib.Path({str(started)!r}).touch()\n"
        f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.05)\nprint('done')"
    )


def printed(received: list[tuple[str, Any]]) -> str:
    return "".join(content["text"] for kind, content in received if kind == "stream")


def error(received: list[tuple[str, Any]]) -> str:
    (name,) = [content["ename"] for kind, content in received if kind == "error"]
    (reply,) = [content for kind, content in received if kind == "execute_reply"]
    assert reply["status"] == "error"
    return str(name)


@pytest.mark.parametrize("protocol", Protocol)
def test_a_cell_runs_in_both_protocols(place: Place, protocol: Protocol) -> None:
    with consumer_of(place, protocol) as consumer:
        assert consumer.websocket.subprotocol == protocol.value
        assert printed(consumer.run("print(6 * 7)")) == "42\n"
        assert error(consumer.run("1 / 0")) == "ZeroDivisionError"
        assert len(printed(consumer.run("print('é' * 5_000_000)"))) == 5_000_001


def test_a_kernel_that_dies_ends_its_cell_and_refuses_the_next_until_a_restart(
    place: Place,
) -> None:
    with consumer_of(place) as consumer:
        assert error(consumer.run("import os; os._exit(1)")) == "KernelDied"
        assert error(consumer.run("print(1)")) == "KernelDied"
        restart = f"api/kernels/{consumer.kernel_id}/restart"
        assert request(consumer.opened, "POST", restart, {})[0] == 200
        assert printed(consumer.run("print(1)")) == "1\n"


def test_a_cell_that_is_too_large_for_the_server_fails_alone(place: Place) -> None:
    with consumer_of(place) as consumer:
        assert error(consumer.run(f"text = '{'x' * 11 * 1024 * 1024}'")) == "CellTooLarge"
        assert printed(consumer.run("print(1)")) == "1\n"


def test_a_cell_that_never_ends_is_interrupted(place: Place) -> None:
    with consumer_of(place, cells=CellLimits(cell=1.0)) as consumer:
        assert error(consumer.run("import time\nwhile True: time.sleep(0.1)")) == "CellTimedOut"
        assert printed(consumer.run("print(1)")) == "1\n"


def test_a_cell_that_ignores_interrupts_is_given_up(place: Place) -> None:
    code = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(600)"
    with consumer_of(place, cells=CellLimits(cell=1.0, grace=0.5)) as consumer:
        assert error(consumer.run(code)) == "CellTimedOut"
        assert error(consumer.run("print(1)")) == "CellTimedOut"


def test_a_broken_connection_to_the_server_is_opened_again(place: Place, tmp_path: Path) -> None:
    started, go = tmp_path / "started", tmp_path / "go"
    with consumer_of(place) as consumer:
        request_id = consumer.send(waiting_code(started, go))
        until(started.exists)
        place.cut()
        until(lambda: consumer.opened.kernels[0].reconnections == 1)
        go.touch()
        assert printed(consumer.receive(request_id)) == "done\n"
        assert printed(consumer.run("print(2)")) == "2\n"
        (record,) = consumer.opened.kernels
    assert record.across_reconnections == (1,)


def test_a_frozen_connection_to_the_server_is_opened_again(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "KeepAlive", partial(KeepAlive, every=0.1, limit=0.3))
    started, go = tmp_path / "started", tmp_path / "go"
    with consumer_of(place) as consumer:
        request_id = consumer.send(waiting_code(started, go))
        until(started.exists)
        place.relay.flows.clear()
        go.touch()
        threading.Timer(1.0, place.relay.flows.set).start()
        until(lambda: consumer.opened.kernels[0].reconnections >= 1)
        assert printed(consumer.receive(request_id)) in ("done\n", "")
        assert printed(consumer.run("print(2)")) == "2\n"
        (record,) = consumer.opened.kernels
    assert record.across_reconnections == (1,)


def test_a_session_that_is_gone_ends_its_cells(place: Place) -> None:
    with consumer_of(place) as consumer:
        request_id = consumer.send("import time; time.sleep(600)")
        threading.Timer(0.5, consumer.opened.lose_session, ["The hub stopped it."]).start()
        assert error(consumer.receive(request_id)) == "SessionGone"
        assert error(consumer.run("print(1)")) == "SessionGone"


def test_a_newer_consumer_with_the_same_session_id_supersedes_the_older_one(place: Place) -> None:
    with gateway(place) as opened, kernel(opened) as name:
        with Consumer(opened, name, session_id="same") as old:
            assert printed(old.run("print(1)")) == "1\n"
            with Consumer(opened, name, session_id="same") as new:
                assert [*old.pieces] == []
                assert old.websocket.close_code == 1000
                assert printed(new.run("print(2)")) == "2\n"
        assert opened.kernels[0].reconnections == 0


def test_a_kernel_that_somebody_else_deletes_ends_its_cells(place: Place) -> None:
    with consumer_of(place) as consumer, gateway(place) as other:
        request_id = consumer.send("import time; time.sleep(600)")
        assert request(other, "DELETE", f"api/kernels/{consumer.kernel_id}")[0] == 204
        place.cut()
        consumer.receive(request_id)  # the server interrupts the kernel first
        assert error(consumer.run("print(1)")) == "KernelGone"
        _, listed = request(consumer.opened, "GET", "api/kernels")
        assert consumer.kernel_id in {each["id"] for each in listed}


def test_a_cell_that_the_server_refuses_is_explained(place: Place) -> None:
    """Otherwise its page would wait forever."""
    with consumer_of(place) as consumer:
        assert error(consumer.run(f"x = '{'x' * 11_000_000}'")) == "CellTooLarge"
        assert printed(consumer.run("print(1)")) == "1\n"
    (warning,) = WARNINGS
    assert warning.startswith("The server refused cell 1 of ")


def test_a_bug_ends_the_websocket_because_its_cells_would_never_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with consumer_of(place) as consumer:
        monkeypatch.setattr(Conversation, "from_server", lambda *_: 1 // 0)
        consumer.send("1")
        assert [*_ended(consumer)] == []
        assert consumer.websocket.close_code == 4000
    (warning,) = WARNINGS
    assert warning.startswith("A bug in clinder ")


def test_a_bug_does_not_end_the_time_limits(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    bugs, tick = iter([1, 1]), Conversation.tick

    def fail_twice(conversation: Conversation, now: float) -> Any:
        return tick(conversation, now / (1 - next(bugs, 0)))

    with consumer_of(place, cells=CellLimits(cell=2.0)) as consumer:
        monkeypatch.setattr(Conversation, "tick", fail_twice)
        assert error(consumer.run("import time\nwhile True: time.sleep(0.1)")) == "CellTimedOut"
    assert [each[:16] for each in WARNINGS] == ["A bug in clinder", "clinder interrup"]


def test_open_websockets_end_with_the_gateway(place: Place) -> None:
    with gateway(place) as opened:
        body = {"path": "left.md", "name": "x", "type": "console", "kernel": {}}
        _, model = request(opened, "POST", "api/sessions", body)
        consumer = Consumer(opened, model["kernel"]["id"])
        consumer.run("1")
        assert len(opened.kernels) == 1
    assert [*_ended(consumer)] == []
    consumer.websocket.stream.close()


def _ended(consumer: Consumer) -> Iterator[object]:
    try:
        yield from consumer.pieces
    except websocket.Broken:
        return
