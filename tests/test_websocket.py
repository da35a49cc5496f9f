"""Websockets in both roles, on two ends of one connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, Event, TextMessage

from clinder.wire import websocket
from clinder.wire.duplex import Duplex
from clinder.wire.http_connection import Sockets
from clinder.wire.websocket import Broken, Invalid, InvalidText, KeepAlive, Offer, WebSocket

MIB = 1024 * 1024
REQUEST = [
    (b"Host", b"127.0.0.1:1"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"keep-alive, Upgrade"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Sec-WebSocket-Protocol", b"one, two"),
    (b"Sec-WebSocket-Extensions", b"permessage-deflate"),
]
OPENED = b"HTTP/1.1 101 Switching Protocols\r\n"


def duplex(raw: socket.socket) -> Duplex:
    sockets = Sockets()
    sockets.add(raw)
    return Duplex(raw, sockets)


@contextmanager
def opened(subprotocol: str = "") -> Iterator[tuple[WebSocket, socket.socket]]:
    """A server's end of a websocket, and the socket of its client, which has read the response."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(20)
    with theirs:
        end = websocket.accept(Offer(b"/", REQUEST), duplex(ours), subprotocol)
        while not theirs.recv(65536).endswith(b"\r\n\r\n"):
            pass
        yield end, theirs
        end.stream.close()


@contextmanager
def pair() -> Iterator[tuple[WebSocket, WebSocket]]:
    """A client's end and a server's end of one websocket."""
    ours, theirs = socket.socketpair()
    ends: list[WebSocket] = []
    server = threading.Thread(daemon=True, target=lambda: ends.append(serve(duplex(theirs))))
    server.start()
    client = websocket.connect(
        duplex(ours), "http://hub.test:8/user/x/a b?c=d", subprotocols=["one", "two"], seconds=20
    )
    server.join()
    yield client, ends[0]
    for end in (client, ends[0]):
        end.stream.close()


def serve(stream: Duplex) -> WebSocket:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += stream.receive(20) or b""
    first, *lines = head.decode().split("\r\n")[:-2]
    assert first == "GET /user/x/a%20b?c=d HTTP/1.1"
    headers = [tuple(each.encode() for each in line.split(": ", 1)) for line in lines]
    assert (b"Host", b"hub.test:8") in headers
    offer = Offer(b"/", [(name, value) for name, value in headers])
    return websocket.accept(offer, stream, "two")


def frames(*events: Event) -> bytes:
    """What a client sends."""
    client = Connection(ConnectionType.CLIENT)
    return b"".join(client.send(event) for event in events)


def messages(end: WebSocket, number: int) -> list[str | bytes]:
    """Read whole messages."""
    parts: list[str | bytes] = []
    whole: list[str | bytes] = []
    for piece in end.pieces():
        parts.append(piece.data)
        if piece.final:
            whole.append(websocket.join(parts))
            parts = []
        if len(whole) == number:
            break
    return whole


def test_both_sides_agree_on_a_subprotocol() -> None:
    with pair() as (client, server):
        assert (client.subprotocol, server.subprotocol) == ("two", "two")


@pytest.mark.parametrize("subprotocol", ["", "three"])
def test_a_subprotocol_that_the_client_does_not_offer_is_not_chosen(subprotocol: str) -> None:
    with opened(subprotocol) as (end, _):
        assert end.subprotocol == ""


def test_no_extension_is_accepted() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        websocket.accept(Offer(b"/", REQUEST), duplex(ours))
        response = theirs.recv(65536)
    assert response.startswith(OPENED)
    assert b"extensions" not in response.lower()


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        (b"Upgrade", None, 400),
        (b"Upgrade", b"h2c", 400),
        (b"Connection", b"close", 400),
        (b"Sec-WebSocket-Key", None, 400),
        (b"Sec-WebSocket-Version", b"8", 426),
        (b"Sec-WebSocket-Version", None, 400),
        (b"Sec-WebSocket-Protocol", b"\xff", 400),
    ],
)
def test_a_request_that_is_not_one_for_a_websocket_is_refused(
    name: bytes, value: bytes | None, status: int
) -> None:
    changed = [(each, old) for each, old in REQUEST if each != name]
    with pytest.raises(Invalid) as raised:
        Offer(b"/", [*changed, *([(name, value)] if value else [])])
    assert raised.value.status == status


TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]))


@given(st.lists(TEXTS, min_size=1, max_size=5), st.data())
@settings(max_examples=50, deadline=None)
def test_a_text_can_be_cut_anywhere(sent: list[str], data: st.DataObject) -> None:
    """Frames end within characters here, and each read of the socket within frames."""
    raw = b"".join(_cut(data, each.encode()) for each in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=9)))
    with opened() as (end, client):
        for begin, stop in pairwise([0, *cuts, len(raw)]):
            client.sendall(raw[begin:stop])
        assert messages(end, len(sent)) == sent


def _cut(data: st.DataObject, payload: bytes) -> bytes:
    """Return a text message in frames, unmasked by a mask of zeros."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(payload)), max_size=3)))
    parts = [payload[begin:stop] for begin, stop in pairwise([0, *cuts, len(payload)])]
    out = b""
    for number, part in enumerate(parts):
        head = (0x80 if number == len(parts) - 1 else 0) | (0x1 if number == 0 else 0)
        size = bytes([0x80 | len(part)])
        if len(part) > 125:
            size = b"\xfe" + len(part).to_bytes(2, "big")
        out += bytes([head]) + size + bytes(4) + part
    return out


@pytest.mark.parametrize("data", ["é" * 3 * MIB, b"\xff" * 6 * MIB], ids=["text", "bytes"])
def test_a_large_message_arrives_in_pieces(data: str | bytes) -> None:
    with pair() as (client, server):
        sender = threading.Thread(daemon=True, target=client.send, args=(data,))
        sender.start()
        pieces = []
        for piece in server.pieces():
            pieces.append(piece)
            if piece.final:
                break
        sender.join()
    assert [piece.final for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    parts = [piece.data for piece in pieces]
    sizes = [len(part.encode() if isinstance(part, str) else part) for part in parts]
    assert all(MIB <= size < 2 * MIB for size in sizes[:-1])
    assert websocket.join(parts) == data


def test_a_message_can_be_sent_in_pieces() -> None:
    with pair() as (client, server):
        client.send("o", final=False)
        client.send("ne")
        client.send(b"two")
        assert messages(server, 2) == ["one", b"two"]


def test_a_ping_is_answered_while_another_thread_waits_for_the_other_side_to_read() -> None:
    """The reader must not wait for the sender: the other side might first have to send, too."""
    with opened() as (end, client):
        sender = threading.Thread(daemon=True, target=end.send, args=(b"x" * 30 * MIB,))
        sender.start()
        first = client.recv(10)  # by now the sender waits: no socket holds 30 MiB
        client.sendall(b"\x89\x80" + bytes(4) + frames(TextMessage("after the ping")))
        assert messages(end, 1) == ["after the ping"]
        received, tail = len(first), b""
        while not tail.endswith(b"\x8a\x00"):
            data = client.recv(MIB)
            received += len(data)
            tail = (tail + data)[-2:]
        sender.join()
    assert received == 30 * MIB + 10 + 2, "a frame's head, its data and the pong"


def test_silence_is_noticed() -> None:
    times = iter(range(0, 1000, 9))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        keep_alive = KeepAlive(every=0.01, limit=30)
        end = WebSocket(
            duplex(ours), is_client=False, keep_alive=keep_alive, now=lambda: next(times)
        )
        with pytest.raises(Broken, match="stopped responding"):
            next(end.pieces())
        assert theirs.recv(65536) == b"\x89\x00" * 3, "pings after 9, 18 and 27 s"


def test_a_close_is_answered() -> None:
    with opened() as (end, client):
        client.sendall(b"\x88\x82" + bytes(4) + (1001).to_bytes(2, "big"))
        assert [*end.pieces()] == []
        assert end.close_code == 1001
        assert client.recv(99) == b"\x88\x02\x03\xe9"
        with pytest.raises(Broken):
            end.send("too late")


def test_a_close_is_sent() -> None:
    with opened() as (end, client):
        end.close(4000, "why")
        assert client.recv(99) == b"\x88\x05\x0f\xa0why"


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"\x81\x00", Broken),  # a client must mask its frames
        (b"\x83\x80" + bytes(4), Broken),  # a reserved opcode
        (b"\xc1\x80" + bytes(4), Broken),  # compressed
        (b"\x80\x80" + bytes(4), Broken),  # continues nothing
        (b"\x81\x81" + bytes(4) + b"\xff", InvalidText),
        (b"", Broken),  # the connection ends without a close
    ],
)
def test_an_invalid_frame_breaks_the_websocket(sent: bytes, error: type[Broken]) -> None:
    with opened() as (end, client):
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        with pytest.raises(Broken) as raised:
            next(end.pieces())
    assert raised.type is error


@pytest.mark.parametrize("blocked", ["read", "send"])
def test_shutting_the_socket_down_ends_both_directions(blocked: str) -> None:
    with opened() as (end, _):
        work = {"read": lambda: [*end.pieces()], "send": lambda: end.send(b"x" * 30 * MIB)}[blocked]
        with ThreadPoolExecutor() as threads:
            outcome = threads.submit(work)
            end.stream.sockets.end()
            error = outcome.exception(20)
    assert str(error) == ("None" if blocked == "read" else "the connection broke")


def test_messages_of_many_threads_do_not_mix() -> None:
    """A thread that sends a message in pieces holds the lock meanwhile."""

    def send(end: WebSocket, parts: Sequence[bytes]) -> None:
        with end.message_lock:
            for number, part in enumerate(parts):
                end.send(part, final=number == len(parts) - 1)

    with pair() as (client, server):
        threads = [
            threading.Thread(daemon=True, target=send, args=(client, [bytes([number])] * 50))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        received = messages(server, 8)
        for thread in threads:
            thread.join()
    assert {*received} == {bytes([number]) * 50 for number in range(8)}


def test_a_received_part_of_the_first_message_is_not_lost() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sent = frames(BytesMessage(b"first"))
        end = websocket.accept(Offer(b"/", REQUEST), duplex(ours), received=sent[:4])
        theirs.sendall(sent[4:])
        assert messages(end, 1) == [b"first"]
