"""One kernel's websocket: wait until the kernel is ready, and run code on it.

The messages are JSON, in version 5.3 of the Jupyter messaging protocol.
"""

from __future__ import annotations

import json
import queue
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

import urllib3
import websocket

from clinder._deadline import Deadline, no_op, run_bounded
from clinder._version import USER_AGENT
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire import kernel_messages
from clinder.wire.http_connection import Sockets, open_socket
from clinder.wire.http_errors import TransportError, to_transport_error
from clinder.wire.kernel_messages import KernelError, Output

_TICK = 0.1
_HANDSHAKE_TIMEOUT = 150.0
"""A server opens the websocket only once the kernel responds, for which it waits two minutes."""
_SEND_TIMEOUT = 60.0
"""Time limit in seconds for the server to accept more of a message. It also keeps the socket
non-blocking: otherwise one thread's TLS read blocks another's write (python/cpython#137583)."""
_MESSAGE_LIMIT = 64 * 1024 * 1024
_HEAD_LIMIT = 64 * 1024
_QUEUED_MESSAGES = 4
"""The reader pauses while this many messages wait to be processed."""

_NO_CONNECTION = "no connection to the kernel's websocket"
_DEAD = ("restarting", "dead")


class KernelDied(Exception):
    """The kernel ended on its own; ``message`` explains how clinder noticed."""

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message


class TooLarge(TransportError):
    """The server sent more than clinder accepts in one message."""


class KernelChannel:
    """The websocket of a session's kernel. Close it, or use it as a context manager.

    ``deadline`` bounds opening it. ``poll`` is called repeatedly until the kernel is ready; an
    exception that it raises ends the wait. Raises :class:`KernelDied` if the server has no such
    kernel or cannot start it, and :class:`~clinder.wire.http_errors.TransportError`.
    """

    def __init__(
        self,
        session: Session,
        kernel_id: str,
        *,
        deadline: Deadline,
        timeouts: Timeouts | None = None,
        poll: Callable[[], None] = no_op,
    ):
        self._session_id = uuid.uuid4().hex
        self._poll = poll
        path = f"api/kernels/{quote(kernel_id, safe='')}/channels?session_id={self._session_id}"
        self._connection = _Connection(session, path, timeouts or Timeouts())
        self._connection.open(deadline, poll)
        self._queue: queue.Queue[str | bytes | BaseException] = queue.Queue(_QUEUED_MESSAGES)
        threading.Thread(target=self._read, name="clinder-kernel", daemon=True).start()

    def __enter__(self) -> KernelChannel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the websocket; the kernel keeps running."""
        self._connection.sockets.end()  # wakes the reader, which closes the socket

    def wait_until_ready(self, deadline: Deadline) -> None:
        """Return once the kernel has answered a ``kernel_info_request``.

        Raises :class:`KernelDied`, :class:`~clinder.wire.http_errors.TransportError`.
        """
        request_id = self._send("kernel_info_request", {}, deadline)
        for message in self._messages(deadline, self._poll):
            if kernel_messages.is_reply(message, request_id, "kernel_info_reply"):
                return
            if kernel_messages.state(message) in _DEAD:
                raise KernelDied("the kernel died while it started")

    def execute(self, code: str, deadline: Deadline) -> Iterator[Output | KernelError]:
        """Run code and yield its output, including the exception if it raises one.

        Raises :class:`KernelDied`, :class:`~clinder.wire.http_errors.TransportError`.
        """
        request_id = self._send(
            "execute_request",
            {"code": code, "silent": False, "store_history": False, "allow_stdin": False},
            deadline,
        )
        idle = replied = False
        for message in self._messages(deadline):
            if kernel_messages.state(message) in _DEAD:
                raise KernelDied("the kernel died while it ran the code")
            if kernel_messages.parent_id(message) != request_id:
                continue
            if (output := kernel_messages.output(message)) is not None:
                yield output
            idle = idle or kernel_messages.state(message) == "idle"
            replied = replied or kernel_messages.is_reply(message, request_id, "execute_reply")
            if idle and replied:
                return

    def _send(self, message_type: str, content: Mapping[str, object], deadline: Deadline) -> str:
        message_id = uuid.uuid4().hex
        header = {
            "msg_id": message_id,
            "msg_type": message_type,
            "session": self._session_id,
            "username": "clinder",
            "version": "5.3",
            "date": "",
        }
        message = {
            "channel": "shell",
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "buffers": [],
        }
        self._connection.send(json.dumps(message), deadline)
        return message_id

    def _messages(
        self, deadline: Deadline, poll: Callable[[], None] = no_op
    ) -> Iterator[Mapping[str, Any]]:
        while True:
            deadline.raise_if_expired()
            poll()
            try:
                data = self._queue.get(timeout=min(_TICK, deadline.remaining()))
            except queue.Empty:
                continue
            if isinstance(data, BaseException):
                raise data
            if not data:
                raise TransportError("the session closed the connection to the kernel")
            if isinstance(data, str):  # binary messages carry widgets' buffers
                yield kernel_messages.parse(data)

    def _read(self) -> None:
        """Feed the queue, in a thread, because reading a whole message has no time limit."""
        try:
            while data := self._connection.receive():
                self._put(data)
            self._put("")
        except BaseException as error:  # noqa: BLE001 - not hidden: the caller raises it
            self._put(error)
        finally:
            self._connection.close()

    def _put(self, item: str | bytes | BaseException) -> None:
        while not self._connection.sockets.ended.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=_TICK)
                return


class _BoundedSocket:
    """A socket that stops reading after ``allowance`` bytes: websocket-client has no limit."""

    def __init__(self, raw: socket.socket):
        self._raw = raw
        self.allowance = _HEAD_LIMIT

    def recv(self, size: int) -> bytes:
        if self.allowance <= 0:
            raise TooLarge("a message was too large")
        chunk = self._raw.recv(min(size, self.allowance))
        self.allowance -= len(chunk)
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


@contextmanager
def _broken_as_transport_error() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:
        raise kernel_messages.MalformedMessage from None
    except (OSError, websocket.WebSocketException):
        raise TransportError("the connection to the kernel broke") from None


class _Connection:
    """A websocket with limits, which any thread can end with its ``sockets``."""

    _websocket: websocket.WebSocket
    _socket: _BoundedSocket

    def __init__(self, session: Session, path: str, timeouts: Timeouts):
        self._session = session
        self._path = path
        self._timeouts = timeouts
        self._connected = threading.Event()
        self.sockets = Sockets()

    def open(self, deadline: Deadline, poll: Callable[[], None]) -> None:
        began, connect = deadline.now(), self._timeouts.connect

        def poll_and_check() -> None:
            poll()
            if not self._connected.is_set() and deadline.now() - began > connect:
                raise TransportError(f"{_NO_CONNECTION} within {connect:g} s")

        try:
            run_bounded(self._open, deadline, poll_and_check)
        except (OSError, urllib3.exceptions.HTTPError, websocket.WebSocketException) as error:
            raise self._to_error(error) from None
        except BaseException:
            self.sockets.end()
            raise

    def _open(self) -> None:
        url = self._session.url
        raw = open_socket(url, seconds=self._timeouts.connect, sockets=self.sockets)
        self._connected.set()
        raw.settimeout(max(_HANDSHAKE_TIMEOUT, self._timeouts.idle or 0.0))
        self._socket = _BoundedSocket(raw)
        try:
            self._websocket = websocket.create_connection(
                f"ws{url.removeprefix('http')}{self._path}",
                header=[f"Authorization: token {self._session.token}", f"User-Agent: {USER_AGENT}"],
                redirect_limit=0,
                skip_utf8_validation=True,  # it takes 1 s for 3 MB; decoding finds the same errors
                suppress_origin=True,
                socket=self._socket,
            )
        except TooLarge:
            raise TransportError("the response on the kernel's websocket was too large") from None
        except (LookupError, TypeError, ValueError):  # pragma: no cover - older versions only
            raw.close()
            raise websocket.WebSocketException from None
        if self._websocket.getstatus() != 101:  # pragma: no cover - older versions accept redirects
            self.close()
            raise websocket.WebSocketException
        self._websocket.settimeout(_SEND_TIMEOUT)
        self._socket.allowance = _MESSAGE_LIMIT

    def _to_error(self, error: Exception) -> Exception:
        status = getattr(error, "status_code", None)
        if status in (404, 500):
            return KernelDied("the kernel died while it started")
        if status:
            return TransportError(f"the session responded with {status} on the kernel's websocket")
        if isinstance(error, websocket.WebSocketException):
            return TransportError(_NO_CONNECTION)
        reason = to_transport_error(error, url=self._session.url, limit=self._timeouts.connect)
        return TransportError(f"{_NO_CONNECTION}: {reason.message}", untrusted=reason.untrusted)

    def send(self, data: str, deadline: Deadline) -> None:
        with _broken_as_transport_error():
            run_bounded(lambda: self._websocket.send(data), deadline)

    def receive(self) -> str | bytes:
        """Return the next message, ``""`` once the connection is closed."""
        with _broken_as_transport_error():
            while not self.sockets.ended.is_set():
                with suppress(websocket.WebSocketTimeoutException):
                    data = self._websocket.recv()
                    self._socket.allowance = _MESSAGE_LIMIT
                    return data
        return ""

    def close(self) -> None:
        self._websocket.shutdown()
