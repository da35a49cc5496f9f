"""The sockets of a local kernel: what a tool's Jupyter client connects to.

The Jupyter messaging protocol defines them ("Messaging in Jupyter", version 5.4).
"""

from __future__ import annotations

import hmac
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import zmq

from clinder.bridge.envelope import Message

_DELIMITER = b"<IDS|MSG>"
_LARGE = 64 * 1024
"""From this size on, zmq refers to a frame instead of copying it."""
_LINGER = 1000  # milliseconds in which a closed socket can send what it still holds
REQUESTS = ("shell", "control", "stdin")


@dataclass(frozen=True)
class Request:
    """A client's message, with the routing prefix that its replies need."""

    identities: tuple[bytes, ...]
    message: Message


class KernelSockets:
    """The five sockets that a connection file names, bound. Close them, or use ``with``.

    Raises ``zmq.ZMQError`` if a port is in use.
    """

    def __init__(self, connection: Mapping[str, Any]):
        digest = str(connection.get("signature_scheme", "hmac-sha256")).removeprefix("hmac-")
        self._signer = hmac.new(str(connection.get("key", "")).encode(), digestmod=digest)
        self._signed = bool(connection.get("key"))
        self._connection = connection
        self.context = zmq.Context()
        self.heartbeat = self._bind(zmq.REP, "hb")
        self.iopub = self._bind(zmq.PUB, "iopub")
        self.requests = {name: self._bind(zmq.ROUTER, name) for name in REQUESTS}

    def __enter__(self) -> KernelSockets:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self.heartbeat, self.iopub, *self.requests.values()):
            each.close(linger=_LINGER)
        self.context.term()

    def _bind(self, kind: int, name: str) -> zmq.Socket[bytes]:
        opened: zmq.Socket[bytes] = self.context.socket(kind)
        opened.set_hwm(0)  # otherwise zmq drops messages for a client that reads slowly
        if kind == zmq.ROUTER:
            opened.setsockopt(zmq.ROUTER_HANDOVER, 1)
        ip, port = self._connection["ip"], self._connection[f"{name}_port"]
        transport = self._connection.get("transport", "tcp")
        separator = "-" if transport == "ipc" else ":"
        opened.bind(f"{transport}://{ip}{separator}{port}")
        return opened

    def answer_heartbeat(self) -> None:
        """Echo what a client sent to check that the kernel is there."""
        self.heartbeat.send(self.heartbeat.recv())

    def receive(self, channel: str) -> Request | None:
        """Return a client's message, ``None`` if its signature is wrong or it is malformed."""
        frames = self.requests[channel].recv_multipart()
        if _DELIMITER not in frames:
            return None
        middle = frames.index(_DELIMITER)
        identities, (signature, *rest) = frames[:middle], frames[middle + 1 :] or (b"",)
        if len(rest) < 4 or not hmac.compare_digest(signature, self._sign(rest[:4])):
            return None
        header, parent, metadata, content, *buffers = rest
        message = Message(channel, (header, parent, metadata, content), tuple(buffers))
        return Request(tuple(identities), message)

    def send(self, message: Message, identities: Sequence[bytes]) -> None:
        """Send a reply, or a request for input, to the client with these identities."""
        self._send(self.requests[message.channel], message, identities)

    def publish(self, message: Message) -> None:
        """Send a message to all clients."""
        self._send(self.iopub, message, (b"",))  # the topic, which no Jupyter client reads

    def _send(self, socket: zmq.Socket[bytes], message: Message, prefix: Sequence[bytes]) -> None:
        frames = [*prefix, _DELIMITER, self._sign(message.parts), *message.parts, *message.buffers]
        socket.send_multipart(frames, copy=max(map(len, frames)) < _LARGE)

    def _sign(self, parts: Sequence[bytes | memoryview]) -> bytes:
        if not self._signed:
            return b""
        signer = self._signer.copy()
        for part in parts:
            signer.update(part)
        return signer.hexdigest().encode()


def reply_to(request: Message, content: Mapping[str, object]) -> Message:
    """Return the bridge's own reply to a request."""
    header = request.header
    own = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": str(header.get("msg_type", "")).replace("_request", "_reply"),
        "session": header.get("session", ""),
        "username": "clinder",
        "date": datetime.now(timezone.utc).isoformat(),
        "version": "5.3",
    }
    parts = (json.dumps(own).encode(), request.parts[0], b"{}", json.dumps(content).encode())
    return Message(request.channel, parts)
