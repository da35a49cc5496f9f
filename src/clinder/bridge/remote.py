"""The session's kernel: started, interrupted and deleted over HTTP, and its websocket.

All requests go to the gateway on this machine, so they need neither TLS nor a proxy.
"""

from __future__ import annotations

import json
import socket
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote, urlsplit

from clinder.bridge.envelope import SUBPROTOCOL, Message, pack, unpack
from clinder.wire.frames import Broken, Fragment, FrameReader, Opcode, make_frame
from clinder.wire.handshake import ClientHandshake, Refused

_SILENCE = 120.0
"""Seconds without a byte after which a response is given up. The gateway sends a blank every 10 s
while it waits for a kernel."""
_MAX_RESPONSE = 1024 * 1024
_CHUNK = 1024 * 1024
_CHUNKS = 32
"""How many chunks of one long message are read before the tool's sockets have their turn."""


class RemoteError(Exception):
    """The session's kernel could not be started or reached; ``str`` explains why."""


class ChannelClosed(Exception):
    """The gateway closed the kernel's websocket."""


@dataclass
class Gateway:
    """The gateway's URL, which ends in a slash, and its token."""

    url: str
    token: str = field(repr=False)
    _connection: HTTPConnection | None = field(default=None, repr=False)

    def start_kernel(self, kernelspec: str, path: str, name: str) -> tuple[str, str]:
        """Start a kernel in the folder of ``path``; return the ids of its session and of itself.

        This can take as long as the gateway lets kernels wait. :meth:`cancel` ends it.
        Raises :class:`RemoteError`.
        """
        kernel = {"name": kernelspec}
        body = {"path": path, "name": name, "type": "notebook", "kernel": kernel}
        data = self._request("POST", "api/sessions", body)
        started = data.get("kernel")
        kernel_id = started.get("id") if isinstance(started, dict) else None
        session_id = data.get("id")
        if not (isinstance(session_id, str) and isinstance(kernel_id, str)):
            reason = data.get("message") or "the session's server gave no reason"
            raise RemoteError(f"The kernel could not be started: {reason}")
        return session_id, kernel_id

    def interrupt(self, kernel_id: str) -> None:
        """Interrupt a kernel. If that fails, the kernel continues."""
        with suppress(RemoteError):
            self._request("POST", f"api/kernels/{quote(kernel_id, safe='')}/interrupt", timeout=10)

    def delete(self, session_id: str, *, timeout: float) -> None:
        """Delete a session and its kernel. If this fails, the gateway deletes them."""
        with suppress(RemoteError):
            path = f"api/sessions/{quote(session_id, safe='')}"
            self._request("DELETE", path, timeout=timeout)

    def cancel(self) -> None:
        """End the request that starts a kernel; the gateway deletes the kernel then."""
        opened = self._connection.sock if self._connection else None
        if opened:  # the thread that starts the kernel can close it at any time
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def _request(
        self, method: str, path: str, body: object = None, *, timeout: float = _SILENCE
    ) -> dict[str, Any]:
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
        if body is not None:
            self._connection = connection
        headers = {
            "Authorization": f"token {self.token}",
            "Content-Type": "application/json",
            "Clinder-Bridge": "1",  # the gateway deletes a kernel whose bridge is gone
        }
        try:
            connection.request(method, parts.path + path, json.dumps(body or {}), headers)
            response = connection.getresponse()
            text = response.read(_MAX_RESPONSE)
        except (HTTPException, OSError) as error:
            reason = getattr(error, "strerror", "") or type(error).__name__
            raise RemoteError(f"clinder's gateway does not respond: {reason}.") from None
        finally:
            connection.close()
        try:
            data = json.loads(text or b"{}")
        except (RecursionError, ValueError):
            data = {}
        data = data if isinstance(data, dict) else {}
        if response.status >= 400:
            reason = data.get("message") or f"it responded with {response.status}"
            raise RemoteError(f"The kernel could not be started: {reason}")
        return data

    def open_channel(self, kernel_id: str, session_id: str) -> Channel:
        """Return the kernel's websocket. Raises :class:`RemoteError`."""
        parts = urlsplit(self.url)
        path = f"{parts.path}api/kernels/{quote(kernel_id, safe='')}/channels"
        target = f"{path}?session_id={quote(session_id, safe='')}"
        headers = [("Authorization", f"token {self.token}")]
        address = (parts.hostname or "", parts.port or 80)
        try:
            handshake = ClientHandshake(parts.netloc, target, headers, [SUBPROTOCOL])
            with ExitStack() as stack:
                opened = stack.enter_context(socket.create_connection(address, timeout=_SILENCE))
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                channel = Channel(opened, handshake)
                stack.pop_all()
        except (OSError, Broken, Refused) as error:
            reason = getattr(error, "strerror", "") or type(error).__name__
            if isinstance(error, Refused):
                reason = f"it responded with {error.status}"
            raise RemoteError(f"The kernel's websocket could not be opened: {reason}.") from None
        return channel


class Channel:
    """A kernel's websocket, on a socket that never blocks once the handshake is over."""

    def __init__(self, opened: socket.socket, handshake: ClientHandshake):
        self._socket = opened
        self._reader = FrameReader(masked=False)
        self._unsent: deque[memoryview] = deque()
        self._data = bytearray()
        self._received: list[Message] = []
        self.is_closed = False
        """Whether nothing more can arrive. There can still be messages to :meth:`receive`."""
        opened.sendall(handshake.request)
        while (response := handshake.feed(data := opened.recv(_CHUNK))) is None:
            if not data:
                raise ConnectionResetError
        self._subprotocol, received = response
        self._feed(received)
        opened.setblocking(False)

    def fileno(self) -> int:
        """Return the socket's descriptor, for a poller."""
        return self._socket.fileno()

    @property
    def has_unsent(self) -> bool:
        """Whether :meth:`flush` has to be called once the socket is writable."""
        return bool(self._unsent)

    def send(self, message: Message) -> None:
        """Send a message, as far as the socket accepts it now."""
        data = pack(message, self._subprotocol)
        if isinstance(data, str):
            self._send(Opcode.TEXT, data.encode())
        else:
            self._send(Opcode.BINARY, data)

    def _send(self, opcode: Opcode, data: bytes) -> None:
        self._unsent += map(memoryview, make_frame(opcode, data, masked=True))
        self.flush()

    def flush(self) -> None:
        """Send what the socket has not accepted yet. Raises :class:`ChannelClosed`."""
        while self._unsent:
            view = self._unsent.popleft()
            try:
                sent = self._socket.send(view)
            except BlockingIOError:
                sent = 0
            except OSError:
                raise ChannelClosed from None
            if sent < len(view):
                self._unsent.appendleft(view[sent:])
                return

    def receive(self) -> list[Message]:
        """Return the messages that are complete by now.

        Raises :class:`ChannelClosed` if the websocket is closed and there are none.
        """
        for _ in range(_CHUNKS):
            if self._received or self.is_closed:
                break
            try:
                data = self._socket.recv(_CHUNK)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            self.is_closed = not data
            self._feed(data)
        received, self._received = self._received, []
        if self.is_closed and not received:
            raise ChannelClosed
        return received

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _feed(self, data: bytes) -> None:
        try:
            for fragment in self._reader.feed(data):
                self._handle(fragment)
        except (Broken, ChannelClosed):  # the messages before that are complete
            self.is_closed = True

    def _handle(self, fragment: Fragment) -> None:
        if fragment.opcode == Opcode.CLOSE:
            raise ChannelClosed
        if fragment.opcode == Opcode.PING:
            self._send(Opcode.PONG, fragment.data)
        elif fragment.opcode < Opcode.CLOSE:
            self._data += fragment.data
            if fragment.final:
                data, self._data = self._data, bytearray()
                with suppress(ValueError):  # it is no message, or no text
                    text = data.decode() if fragment.opcode == Opcode.TEXT else data
                    self._received.append(unpack(text, self._subprotocol))
