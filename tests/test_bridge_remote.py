"""The bridge's two sides: the session's kernel, on a scripted server, and a tool's sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import zmq
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection

from answers import json_page
from clinder.bridge.envelope import SUBPROTOCOL, Message, pack
from clinder.bridge.remote import Channel, ChannelClosed, Gateway, RemoteError
from clinder.bridge.sockets import KernelSockets
from hubs import Jupyter, ScriptedHub
from kernels import Kernel, Mood
from loopback import Loopback

TOKEN = "s3cret"
PORTS = ("hb", "iopub", "shell", "control", "stdin")
REQUEST = (b'{"msg_id": "1", "msg_type": "kernel_info_request"}', b"{}", b"{}", b"{}")


@pytest.fixture
def hub() -> Iterator[ScriptedHub]:
    with ScriptedHub() as hub:
        yield hub


def gateway(hub: ScriptedHub, kernel: Kernel | None = None) -> Gateway:
    return Gateway(hub.serve("x", Jupyter(TOKEN, kernel=kernel or Kernel())), TOKEN)


def test_a_server_that_chooses_no_protocol_sends_json(hub: ScriptedHub) -> None:
    """As notebook 6 does."""
    remote = gateway(hub)
    _, kernel_id = remote.start_kernel("python3", "a.ipynb", "a")
    with closing(remote.open_channel(kernel_id, "c")) as channel:
        channel.send(Message("shell", REQUEST))
        received: list[str] = []
        while "kernel_info_reply" not in received:
            received += [str(each.header["msg_type"]) for each in channel.receive()]


def test_a_small_message_is_not_delayed(hub: ScriptedHub) -> None:
    """Otherwise Nagle's algorithm would hold it for 40 ms."""
    with closing(gateway(hub).open_channel("k1", "c")) as channel:
        duplicate = socket.socket(fileno=socket.dup(channel.fileno()))
        with duplicate:
            assert duplicate.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("mood", "message"),
    [
        (Mood.NOT_INSTALLED, "The kernel could not be started: not available"),
        (Mood.UNREACHABLE, "The kernel's websocket could not be opened: it responded with 502."),
    ],
)
def test_a_kernel_that_cannot_be_used_has_a_reason(
    hub: ScriptedHub, mood: Mood, message: str
) -> None:
    remote = gateway(hub, Kernel(mood))
    with pytest.raises(RemoteError) as raised:
        remote.open_channel(remote.start_kernel("python3", "a.ipynb", "a")[1], "c")
    assert str(raised.value) == message


@pytest.mark.parametrize("kernel", [None, "k1", ["k1"], {}, {"id": 1}], ids=str)
def test_a_response_without_a_kernel_has_a_reason(hub: ScriptedHub, kernel: object) -> None:
    hub.pages["/api/sessions"] = json_page(201, {"id": "s1", "kernel": kernel})
    with pytest.raises(RemoteError, match="the session's server gave no reason"):
        Gateway(f"{hub.origin}/", TOKEN).start_kernel("python3", "a.ipynb", "a")


def test_a_gateway_that_is_gone_has_a_reason(hub: ScriptedHub) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(RemoteError, match="clinder's gateway does not respond: Connection refused"):
        Gateway(f"http://127.0.0.1:{port}/", TOKEN).start_kernel("python3", "a.ipynb", "a")


def test_a_websocket_that_ends_is_noticed(hub: ScriptedHub) -> None:
    with closing(gateway(hub).open_channel("k1", "c")) as channel:
        for each in list(hub.open):
            each.shutdown(socket.SHUT_RDWR)
        with pytest.raises(ChannelClosed):
            receive_forever(channel)


def as_bytes(message: Message) -> bytes:
    data = pack(message, SUBPROTOCOL)
    assert isinstance(data, bytes)
    return data


class ClosesAtOnce(Loopback):
    """Opens a websocket, sends messages, and closes it, all in the segment of the response."""

    def __init__(self, *messages: Message):
        super().__init__()
        self._messages = messages

    def handle(self, connection: socket.socket) -> None:
        protocol = WSConnection(ConnectionType.SERVER)
        with connection:
            protocol.receive_data(connection.recv(65536))
            assert [*protocol.events()]
            events = (
                AcceptConnection(subprotocol=SUBPROTOCOL),
                *(BytesMessage(as_bytes(each)) for each in self._messages),
                CloseConnection(1000),
            )
            connection.sendall(b"".join(map(protocol.send, events)))


@pytest.mark.parametrize("count", [0, 2])
def test_what_arrives_together_with_the_close_is_received_before_it(count: int) -> None:
    """The last message explains why the kernel is lost."""
    messages = [Message("iopub", REQUEST)] * count
    with ClosesAtOnce(*messages) as server:
        channel = Gateway(f"{server.origin}/", TOKEN).open_channel("k1", "c")
        with closing(channel):
            if messages:
                assert [each.channel for each in channel.receive()] == ["iopub"] * count
            assert channel.is_closed
            with pytest.raises(ChannelClosed):
                channel.receive()


def receive_forever(channel: Channel) -> None:
    while True:
        channel.receive()


@pytest.fixture
def sockets() -> Iterator[KernelSockets]:
    ports = {}
    for name in PORTS:
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports[f"{name}_port"] = free.getsockname()[1]
    with KernelSockets({"ip": "127.0.0.1", "key": "k", **ports}) as opened:
        yield opened


def connect(opened: zmq.Socket[bytes], kind: int) -> zmq.Socket[bytes]:
    """Return a client's socket."""
    client: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    client.set_hwm(0)
    client.connect(opened.getsockopt_string(zmq.LAST_ENDPOINT))
    return client


def test_a_client_that_reads_late_loses_no_output(sockets: KernelSockets) -> None:
    """By default, zmq drops messages for a client that is 1,000 behind."""
    with connect(sockets.iopub, zmq.SUB) as client:
        client.setsockopt(zmq.SUBSCRIBE, b"")
        client.setsockopt(zmq.RCVHWM, 1)
        while not client.poll(10):  # until the subscription has arrived
            sockets.publish(Message("iopub", REQUEST))
        for number in range(5_000):
            sockets.publish(Message("iopub", (*REQUEST[:3], b"%d" % number)))
        last = b""
        while last != b"4999":
            assert client.poll(10_000), f"the last one was {last!r}"
            last = client.recv_multipart()[-1]


def test_a_message_with_a_wrong_signature_is_ignored(sockets: KernelSockets) -> None:
    with connect(sockets.requests["shell"], zmq.DEALER) as client:
        for signature in (b"", b"0" * 64):
            client.send_multipart([b"<IDS|MSG>", signature, *REQUEST])
        client.send_multipart([b"nothing"])
        deadline = time.monotonic() + 30
        received: list[object] = []
        while len(received) < 3 and time.monotonic() < deadline:
            if sockets.requests["shell"].poll(100):
                received.append(sockets.receive("shell"))
        assert received == [None, None, None]
