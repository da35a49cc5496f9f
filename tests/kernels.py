"""A scripted kernel: a Jupyter Server's answers about it, and its websocket."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from answers import Answer, json_page, page

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455


class Mood(Enum):
    """How a kernel responds to requests. It runs no code."""

    ANSWERS = "answers"
    SILENT = "does not answer"
    DEAD = "is dead"
    UNREACHABLE = "has a websocket that is refused"
    NOT_INSTALLED = "has a kernelspec that is the server's default, but not installed"


@dataclass(frozen=True)
class Kernel:
    """The kernels of a server, all with the same kernelspec and mood."""

    mood: Mood = Mood.ANSWERS
    name: str = "python3"

    @property
    def state(self) -> str:
        """The state that the server reports."""
        return "dead" if self.mood is Mood.DEAD else "starting"


def about_kernels(kernel: Kernel, method: str, path: str) -> Answer:
    """Return the answer of a server's REST API to a request about its kernels."""
    installed = kernel.mood is not Mood.NOT_INSTALLED
    match method, path:
        case "GET", "api/kernelspecs":
            default = kernel.name if installed else "conda"
            return json_page(200, {"default": default, "kernelspecs": {kernel.name: {}}})
        case "POST", "api/sessions":
            started = json_page(201, {"id": "s1", "kernel": {"id": "k1"}})
            return started if installed else json_page(501, {"message": "not available"})
        case "GET", "api/kernels/k1":
            return json_page(200, {"id": "k1", "execution_state": kernel.state})
        case "GET", "api/kernels/k1/channels":
            return page(502)
        case "DELETE", "api/kernels/k1":
            return page(204, b"")
    return json_page(404, {"message": "Not Found"})


def handshake(key: str) -> bytes:
    """Return the response that opens a websocket, for the key in the request."""
    accept = base64.b64encode(hashlib.sha1(key.encode() + _MAGIC).digest()).decode()
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()


def converse(connection: socket.socket, headers: Mapping[str, str], kernel: Kernel) -> None:
    """Open the websocket and answer by the kernel's mood until the client leaves."""
    connection.sendall(handshake(headers["sec-websocket-key"]))
    with suppress(OSError), connection.makefile("rb") as file:
        while (text := _message(file.read)) is not None:
            if kernel.mood is Mood.ANSWERS and text:
                request = json.loads(text)["header"]
                reply = request["msg_type"].replace("request", "reply")
                for kind, content in ((reply, {}), ("status", {"execution_state": "idle"})):
                    parent = {"msg_id": request["msg_id"]}
                    message = {
                        "channel": "shell" if kind == reply else "iopub",
                        "header": {"msg_type": kind},
                        "parent_header": parent,
                        "metadata": {},
                        "content": content,
                    }
                    connection.sendall(_frame(json.dumps(message).encode()))


def _frame(payload: bytes) -> bytes:
    """Return a text frame, of less than 64 KiB."""
    size = len(payload)
    head = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    return b"\x81" + head + payload


def _message(read: Callable[[int], bytes]) -> bytes | None:
    """Return a client's masked frame, ``None`` at the end."""
    head = read(2)
    if len(head) < 2 or head[0] & 15 == 8:
        return None
    size = head[1] & 127
    if size > 125:
        size = int.from_bytes(read(2 if size == 126 else 8), "big")
    mask, data = read(4), read(size)
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
