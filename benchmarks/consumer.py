"""Runs code in sessions, like MyST but with as little work of its own as possible.

python consumer.py cells NUMBER URL ...     runs NUMBER small cells, one after the other
python consumer.py output BYTES URL ...     runs one cell that displays BYTES bytes of text

JUPYTER_TOKENS has the token of each URL, separated by blanks. With several URLs, the kernels take
turns of a few cells, so that the processors' speed is the same for all. Prints for each URL the
seconds that its cells took.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

_TURN = 50
"""Cells that a kernel runs before it is the next one's turn."""
_SMALL = 65536
"""Longer messages are counted, but not read: they are the output."""


class Kernel:
    """A kernel, on a websocket whose frames this reads itself."""

    def __init__(self, url: str, token: str):
        self._parts = urlsplit(url)
        self._authorization = {"Authorization": f"token {token}"}
        body = {"path": f"{uuid4()}.md", "name": "x", "type": "console", "kernel": {}}
        self._session = self._call("POST", "api/sessions", body)
        key = base64.b64encode(os.urandom(16)).decode()
        path = f"{self._parts.path}api/kernels/{self._session['kernel']['id']}/channels"
        head = {
            "Host": self._parts.netloc,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
            **self._authorization,
        }
        lines = [f"GET {path}?session_id={uuid4()} HTTP/1.1", *(f"{k}: {head[k]}" for k in head)]
        self._socket = socket.create_connection((self._parts.hostname, self._parts.port or 80))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._file = self._socket.makefile("rb")
        if b" 101 " not in self._file.readline():
            raise SystemExit("no websocket")
        while self._file.readline().strip():
            pass

    def run(self, code: str) -> int:
        """Run a cell to its end; return the size of its longest message."""
        message_id = uuid4().hex
        header = {"msg_id": message_id, "msg_type": "execute_request", "session": "s"}
        content = {"code": code, "silent": False, "store_history": True, "stop_on_error": False}
        message = {
            "channel": "shell",
            "header": {**header, "username": "", "version": "5.3", "date": ""},
            "parent_header": {},
            "metadata": {},
            "content": {**content, "allow_stdin": False, "user_expressions": {}},
            "buffers": [],
        }
        self._send(json.dumps(message).encode())
        longest, ended = 0, set[str]()
        for size, text in self._messages():
            longest = max(longest, size)
            reply = json.loads(text) if text else None
            if reply is None or reply["parent_header"].get("msg_id") != message_id:
                continue
            kind, state = reply["header"]["msg_type"], reply["content"].get("execution_state")
            ended |= {each for each in ("execute_reply", "idle") if each in (kind, state)}
            if len(ended) == 2:
                return longest
        raise SystemExit("the websocket ended")

    def delete(self) -> None:
        """Delete the kernel."""
        self._socket.close()
        self._call("DELETE", f"api/sessions/{self._session['id']}")

    def _call(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection(self._parts.netloc, timeout=120)
        url = f"{self._parts.path}{path}"
        connection.request(method, url, json.dumps(body), self._authorization)
        response = connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise SystemExit(f"{response.status}: {content!r}")
        return json.loads(content) if content.strip() else None

    def _send(self, data: bytes) -> None:
        """Send a masked text frame, of less than 64 KiB, whose mask changes nothing."""
        self._socket.sendall(b"\x81\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data)

    def _messages(self) -> Iterator[tuple[int, bytes]]:
        """Yield the size of each message and, if it is small, the message itself."""
        size, text = 0, b""
        while head := self._file.read(2):
            length = head[1]
            if length > 125:
                length = int.from_bytes(self._file.read(2 if length == 126 else 8), "big")
            size += length
            text += self._read(length, keep=size <= _SMALL)
            if head[0] & 0x88 == 0x80:  # the last frame of a message, and no control frame
                yield size, text if size <= _SMALL else b""
                size, text = 0, b""

    def _read(self, length: int, *, keep: bool) -> bytes:
        if keep:
            return self._file.read(length)
        while length:
            length -= len(self._file.read(min(length, 1 << 20)))
        return b""


def run_cells(kernels: list[Kernel], number: int) -> list[float]:
    """Run small cells on each kernel, and return the seconds that they took."""
    seconds = [0.0] * len(kernels)
    turns = [*enumerate(kernels)]
    for first in range(0, number, _TURN):
        for at, kernel in turns:
            start = time.perf_counter()
            for each in range(first, min(first + _TURN, number)):
                kernel.run(f"print({each})")
            seconds[at] += time.perf_counter() - start
        turns.reverse()
    return seconds


def run_output(kernel: Kernel, size: int) -> float:
    """Run one cell with one output, and return the seconds that it took."""
    start = time.perf_counter()
    if kernel.run(f"display({{'text/plain': 'x' * {size}}}, raw=True)") < size:
        raise SystemExit("output is missing")
    return time.perf_counter() - start


def main(task: str, number: int, *urls: str) -> None:
    """Run the cells and print how long they took."""
    tokens = os.environ["JUPYTER_TOKENS"].split()
    kernels = [Kernel(*each) for each in zip(urls, tokens, strict=True)]
    for kernel in kernels:
        kernel.run("from IPython.display import display")
    if task == "cells":
        seconds = run_cells(kernels, number)
    else:
        seconds = [run_output(kernel, number) for kernel in kernels]
    sys.stdout.write(f"seconds: {' '.join(map(str, seconds))}\n")
    for kernel in kernels:
        kernel.delete()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
