"""One kernel's websocket: wait until the kernel is ready, and run code on it.

The messages are JSON, in version 5.3 of the Jupyter messaging protocol.
"""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import urllib3

from clinder._deadline import Deadline, no_op, run_bounded
from clinder._version import USER_AGENT
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire import kernel_messages, websocket
from clinder.wire.duplex import Duplex
from clinder.wire.http_connection import Sockets, open_socket
from clinder.wire.http_errors import TransportError, to_transport_error
from clinder.wire.kernel_envelope import Protocol, make_message
from clinder.wire.kernel_messages import KernelError, Output

_TICK = 0.1
_HANDSHAKE_TIMEOUT = 150.0
"""A server opens the websocket only once the kernel responds, for which it waits two minutes."""
_MESSAGE_LIMIT = 64 * 1024 * 1024
_QUEUED_MESSAGES = 4
"""The reader pauses while this many messages wait to be processed."""

_NO_CONNECTION = "no connection to the kernel's websocket"
_BROKEN = "the connection to the kernel broke"
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
        self.language = ""
        """The name of the kernel's language, once it is ready."""
        self._session_id = uuid.uuid4().hex
        self._poll = poll
        path = f"api/kernels/{quote(kernel_id, safe='')}/channels?session_id={self._session_id}"
        self._connection = _Connection(session, path, timeouts or Timeouts())
        self._connection.open(deadline, poll)
        self._queue: queue.Queue[str | bytes | BaseException | None] = queue.Queue(_QUEUED_MESSAGES)
        threading.Thread(target=self._read, name="clinder-kernel", daemon=True).start()

    def __enter__(self) -> KernelChannel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the websocket; the kernel keeps running."""
        self._connection.sockets.end()  # wakes the reader, which closes the socket

    def wait_until_ready(self, deadline: Deadline) -> None:
        """Return once the kernel has answered a ``kernel_info_request``. Sets :attr:`language`.

        Raises :class:`KernelDied`, :class:`~clinder.wire.http_errors.TransportError`.
        """
        request_id = self._send("kernel_info_request", {}, deadline)
        for message in self._messages(deadline, self._poll):
            if kernel_messages.is_reply(message, request_id, "kernel_info_reply"):
                self.language = kernel_messages.language(message)
                return
            if kernel_messages.state(message) in _DEAD:
                raise KernelDied("the kernel died while it started")

    def execute_silently(self, code: str, deadline: Deadline) -> str:
        """Run code that is not in the kernel's history, and drop its output.

        Returns the name of the exception that it raised, or ``""``. Raises :class:`KernelDied`,
        :class:`~clinder.wire.http_errors.TransportError`.
        """
        content = {"code": code, "silent": True, "store_history": False, "allow_stdin": False}
        request_id = self._send("execute_request", content, deadline)
        for message in self._messages(deadline):
            if kernel_messages.state(message) in _DEAD:
                raise KernelDied("the kernel died while it was set up")
            if kernel_messages.is_reply(message, request_id, "execute_reply"):
                return kernel_messages.failure(message)
        raise AssertionError("messages end with an error")  # pragma: no cover

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
        message = make_message(
            Protocol.JSON,
            "shell",
            message_type,
            content,
            message_id=message_id,
            sender=self._session_id,
        )
        self._connection.send(message.data, deadline)
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
            if data is None:
                raise TransportError("the session closed the connection to the kernel")
            if isinstance(data, str):  # binary messages carry widgets' buffers
                yield kernel_messages.parse(data)

    def _read(self) -> None:
        """Feed the queue, in a thread, because reading a whole message has no time limit."""
        try:
            while (data := self._connection.receive()) is not None:
                self._put(data)
            self._put(None)
        except BaseException as error:  # noqa: BLE001 - not hidden: the caller raises it
            self._put(error)
        finally:
            self._connection.close()

    def _put(self, item: str | bytes | BaseException | None) -> None:
        while not self._connection.sockets.ended.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=_TICK)
                return


class _Connection:
    """A websocket with limits, which any thread can end with its ``sockets``."""

    _websocket: websocket.WebSocket
    _messages: Iterator[str | bytes]

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
        except (OSError, urllib3.exceptions.HTTPError) as error:
            reason = to_transport_error(error, url=self._session.url, limit=connect)
            message = f"{_NO_CONNECTION}: {reason.message}"
            raise TransportError(message, untrusted=reason.untrusted) from None
        except BaseException:
            self.sockets.end()
            raise

    def _open(self) -> None:
        session = self._session
        raw = open_socket(session.url, seconds=self._timeouts.connect, sockets=self.sockets)
        self._connected.set()
        try:
            self._websocket = websocket.connect(
                Duplex(raw, self.sockets),
                session.url + self._path,
                headers=[
                    ("Authorization", f"token {session.access_token}"),
                    ("User-Agent", USER_AGENT),
                ],
                seconds=max(_HANDSHAKE_TIMEOUT, self._timeouts.idle or 0.0),
            )
        except (websocket.Broken, websocket.Refused) as error:
            raw.close()
            raise _to_error(error) from None
        self._messages = _join_pieces(self._websocket)

    def send(self, data: str | bytes, deadline: Deadline) -> None:
        try:
            run_bounded(lambda: self._websocket.send(data), deadline)
        except websocket.Broken:
            raise TransportError(_BROKEN) from None

    def receive(self) -> str | bytes | None:
        """Return the next message, ``None`` once the connection is closed."""
        try:
            return next(self._messages, None)
        except websocket.InvalidText:
            raise kernel_messages.MalformedMessage from None
        except websocket.Broken:
            raise TransportError(_BROKEN) from None

    def close(self) -> None:
        self._websocket.stream.close()


def _to_error(error: websocket.Broken | websocket.Refused) -> Exception:
    if isinstance(error, websocket.HeadTooLarge):
        return TransportError("the response on the kernel's websocket was too large")
    if isinstance(error, websocket.Broken):
        return TransportError(_NO_CONNECTION)
    if error.status in (404, 500):
        return KernelDied("the kernel died while it started")
    if 300 <= error.status < 400:
        return TransportError(_NO_CONNECTION)
    return TransportError(f"the session responded with {error.status} on the kernel's websocket")


def _join_pieces(channel: websocket.WebSocket) -> Iterator[str | bytes]:
    """Yield whole messages. Raises :class:`TooLarge`."""
    parts: list[str | bytes] = []
    size = 0
    for piece in channel.pieces():
        parts.append(piece.data)
        size += _count_bytes(piece.data)
        if size > _MESSAGE_LIMIT:
            raise TooLarge("a message was too large")
        if piece.final:
            yield websocket.join(parts)
            parts, size = [], 0


def _count_bytes(data: str | bytes) -> int:
    return len(data.encode() if isinstance(data, str) and not data.isascii() else data)
