"""One kernel's websocket: is it ready, and what does code print on it.

The messages are those of the Jupyter messaging protocol 5.3, in JSON.
"""

from __future__ import annotations

import json
import queue
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import urllib3
import websocket

from clinder._deadline import Deadline, no_op, run_bounded
from clinder._version import USER_AGENT
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire import kernel_messages
from clinder.wire.http_connection import open_socket
from clinder.wire.http_errors import TransportError, to_transport_error
from clinder.wire.kernel_messages import KernelError, Output

_TICK = 0.1
_HANDSHAKE = 150.0
"""Seconds that a websocket may take to open: a server waits up to two minutes for its kernel."""
_SEND_TIMEOUT = 60.0
"""Seconds that the peer may take no more of what is sent; also keeps the socket non-blocking,
without which one thread's TLS read shuts out another's write (python/cpython#137583)."""
_MESSAGE_LIMIT = 64 * 1024 * 1024
_HEAD_LIMIT = 256 * 1024
_MESSAGES = 4
"""How many messages wait to be taken before no more are read."""

_DEAD = ("restarting", "dead")


class KernelDied(Exception):
    """The kernel ended by itself; ``what`` says how that was seen."""

    def __init__(self, what: str):
        super().__init__(what)
        self.message = what


class TooLarge(TransportError):
    """A message that is larger than any that is taken."""


class Kernel:
    """The websocket of a kernel that runs on a session. Close it, or use it as a context.

    ``connect`` is in seconds, for the connection that carries it. ``watch`` is called again and
    again until the kernel is ready: what it raises ends the wait.
    Raises :class:`KernelDied` where the server knows no such kernel, or none that starts, and
    :class:`~clinder.wire.http.TransportError`.
    """

    def __init__(
        self,
        session: Session,
        kernel_id: str,
        *,
        deadline: Deadline,
        connect: float = Timeouts.connect,
        watch: Callable[[], None] = no_op,
    ):
        self._conversation = uuid.uuid4().hex
        self._watch = watch
        handshake = _Handshake(
            session,
            f"api/kernels/{quote(kernel_id, safe='')}/channels?session_id={self._conversation}",
            seconds=min(_HANDSHAKE, deadline.remaining()),
            connect=connect,
        )
        self._socket = _connect(handshake, session.url, deadline, watch)
        self._socket.settimeout(_SEND_TIMEOUT)
        self._wire = self._socket.sock
        self._queue: queue.Queue[str | bytes | BaseException] = queue.Queue(_MESSAGES)
        self._ended = threading.Event()
        threading.Thread(target=self._read, name="clinder-kernel", daemon=True).start()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the websocket; the kernel runs on."""
        self._ended.set()
        if self._wire is not None:
            with suppress(OSError):  # wakes the reader, which closes the socket
                self._wire.shutdown(socket.SHUT_RDWR)

    def wait_until_ready(self, deadline: Deadline) -> None:
        """Return once the kernel has answered a ``kernel_info_request``.

        Raises :class:`KernelDied`, :class:`~clinder.wire.http.TransportError`.
        """
        request = self._send("kernel_info_request", {}, deadline)
        for message in self._messages(deadline, self._watch):
            if kernel_messages.is_reply(message, request, "kernel_info_reply"):
                return
            if kernel_messages.state(message) in _DEAD:
                raise KernelDied("the kernel died while it started")

    def execute(self, code: str, deadline: Deadline) -> Iterator[Output | KernelError]:
        """Run code and yield what it prints, at last what it raised, if it did.

        Raises :class:`KernelDied`, :class:`~clinder.wire.http.TransportError`.
        """
        request = self._send(
            "execute_request",
            {"code": code, "silent": False, "store_history": False, "allow_stdin": False},
            deadline,
        )
        idle = replied = False
        for message in self._messages(deadline):
            if kernel_messages.state(message) in _DEAD:
                raise KernelDied("the kernel died while it ran the code")
            if kernel_messages.parent_id(message) != request:
                continue
            if (output := kernel_messages.output(message)) is not None:
                yield output
            idle = idle or kernel_messages.state(message) == "idle"
            replied = replied or kernel_messages.is_reply(message, request, "execute_reply")
            if idle and replied:
                return

    def _send(self, kind: str, content: Mapping[str, object], deadline: Deadline) -> str:
        identity = uuid.uuid4().hex
        header = {
            "msg_id": identity,
            "msg_type": kind,
            "session": self._conversation,
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
        data = json.dumps(message)
        try:
            run_bounded(lambda: self._socket.send(data), deadline)
        except (OSError, websocket.WebSocketException):
            raise TransportError("the connection to the kernel broke") from None
        return identity

    def _messages(
        self, deadline: Deadline, watch: Callable[[], None] = no_op
    ) -> Iterator[Mapping[str, Any]]:
        while True:
            deadline.raise_if_expired()
            watch()
            try:
                data = self._queue.get(timeout=min(_TICK, deadline.remaining()))
            except queue.Empty:
                continue
            if isinstance(data, (OSError, websocket.WebSocketException)):
                raise TransportError("the connection to the kernel broke") from None
            if isinstance(data, BaseException):
                raise data
            if not data:
                raise TransportError("the session closed the connection to the kernel")
            if isinstance(data, str):  # binary frames carry widgets' buffers
                yield kernel_messages.parse(data)

    def _read(self) -> None:
        """Feed the queue, in a thread of its own: no read of a whole message can be bounded."""
        try:
            while not self._ended.is_set():
                with suppress(websocket.WebSocketTimeoutException):
                    data = self._socket.recv()
                    self._put(data)
                    if not data:
                        return
        except BaseException as error:  # noqa: BLE001 - not hidden: the caller raises it
            self._put(error)
        finally:
            self._socket.shutdown()

    def _put(self, item: str | bytes | BaseException) -> None:
        while not self._ended.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=_TICK)
                return


class _Bounded(websocket.WebSocket):
    """A websocket that gives up on a message that is too large, before it is whole."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self._left = _MESSAGE_LIMIT
        self._receive = self.frame_buffer.recv
        self.frame_buffer.recv = self._receive_bounded

    def recv(self) -> str | bytes:
        try:
            message = super().recv()
        except UnicodeDecodeError:
            raise kernel_messages.MalformedMessage from None
        self._left = _MESSAGE_LIMIT
        return message

    def recv_frame(self) -> Any:
        left = self._left
        frame = self.frame_buffer.recv_frame()
        if frame.opcode >= websocket.ABNF.OPCODE_CLOSE:
            self._left = left  # pings between the frames of a message are no part of it
        return frame

    def _receive_bounded(self, size: int) -> bytes:
        piece = self._receive(size)
        self._left -= len(piece)
        if self._left < 0:
            raise TooLarge("a message was too large")
        return piece


class _Head:
    """A socket from which no more can be read than the head of an answer is long."""

    def __init__(self, opened: socket.socket):
        self._opened = opened
        self._left = _HEAD_LIMIT

    def recv(self, size: int) -> bytes:
        if self._left <= 0:
            raise TransportError("the answer on the kernel's websocket was too large")
        piece = self._opened.recv(min(size, self._left))
        self._left -= len(piece)
        return piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)


class _Handshake:
    """The opening of a websocket, as work for a thread; ended at any moment by its socket."""

    def __init__(self, session: Session, path: str, *, seconds: float, connect: float):
        self._session = session
        self._path = path
        self._seconds = seconds
        self._connect = connect
        self._sockets: list[socket.socket] = []
        self._ended = threading.Event()

    def __call__(self) -> websocket.WebSocket:
        url = self._session.url
        opened = open_socket(
            url, seconds=min(self._connect, self._seconds), on_socket=self._on_socket
        )
        opened.settimeout(self._seconds)
        try:
            made = websocket.create_connection(
                f"ws{url.removeprefix('http')}{self._path}",
                header=[f"Authorization: token {self._session.token}", f"User-Agent: {USER_AGENT}"],
                class_=_Bounded,
                redirect_limit=0,
                skip_utf8_validation=True,  # it takes a second for 3 MB; decoding finds the same
                suppress_origin=True,
                socket=_Head(opened),
            )
        # Older versions' words for an answer that is none.
        except (LookupError, TypeError, ValueError):  # pragma: no cover - the newest has its own
            opened.close()
            raise websocket.WebSocketException from None
        made.sock = opened
        # To older versions a redirect is none of its errors.
        if made.getstatus() != 101:  # pragma: no cover - it is to the newest
            made.shutdown()
            raise websocket.WebSocketException
        return made

    def _on_socket(self, opened: socket.socket) -> None:
        self._sockets.append(opened)
        if self._ended.is_set():
            self.end()

    def end(self) -> None:
        """End it, wherever it is."""
        self._ended.set()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _connect(
    handshake: _Handshake, url: str, deadline: Deadline, watch: Callable[[], None]
) -> websocket.WebSocket:
    try:
        return run_bounded(handshake, deadline, watch)
    except (OSError, urllib3.exceptions.HTTPError, websocket.WebSocketException) as error:
        status = getattr(error, "status_code", None)
        if status in (404, 500):
            raise KernelDied("the kernel died while it started") from None
        if status:
            what = f"the session answered {status} on the kernel's websocket"
        else:
            what = "no connection to the kernel's websocket"
        if isinstance(error, websocket.WebSocketException):
            raise TransportError(what) from None
        why = to_transport_error(error, connected=False, answered=False, url=url)
        raise TransportError(f"{what}: {why.message}", untrusted=why.untrusted) from None
    except BaseException:
        handshake.end()
        raise
