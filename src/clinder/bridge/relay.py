"""Pass messages between a tool's sockets and the session's kernel, until one of them ends."""

from __future__ import annotations

import os
import queue
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import zmq

from clinder.bridge.envelope import Message
from clinder.bridge.quarto import without_chdir
from clinder.bridge.remote import Channel, ChannelClosed, Gateway, RemoteError
from clinder.bridge.settings import Settings
from clinder.bridge.sockets import KernelSockets, Request, reply_to

_POLL = 500  # milliseconds between two checks of whether the tool still runs
_DELETE_TIMEOUT = 1.5
"""Seconds to wait until the kernel is deleted: a Jupyter client kills the bridge after 2.5."""
_LOST_GRACE = 1.0
"""Seconds between the message that the kernel is lost and the bridge's end, so that the tool reads
the message first."""
_MARK = b'"clinder"'
"""In the metadata of a message, a mark of the gateway's."""
_BURST = 200


class Relay:
    """One kernel of the session, for the client of one connection file."""

    def __init__(self, sockets: KernelSockets, settings: Settings, kernelspec: str):
        self._sockets = sockets
        self._settings = settings
        self._kernelspec = kernelspec
        self._gateway = Gateway(settings.url, settings.token)
        self._started: queue.SimpleQueue[tuple[str, str, Channel] | str] = queue.SimpleQueue()
        self._wake, self._waker = socket.socketpair()
        self._waiting: list[Request] = []
        self._identities: dict[str, tuple[bytes, ...]] = {}
        """Who waits for the reply to a request."""
        self._channel: Channel | None = None
        self._session_id = self._kernel_id = ""
        self._awaited = 0
        self._end_at: float | None = None
        self._code = 0

    def run(self) -> int:
        """Relay until the client shuts the kernel down, ends itself, or the kernel is lost.

        Returns the exit code of the bridge's process.
        """
        is_tool_running = tool_watcher()
        poller = zmq.Poller()
        for each in (self._sockets.heartbeat, *self._sockets.requests.values(), self._wake):
            poller.register(each, zmq.POLLIN)
        for signum in (signal.SIGTERM, *_hangup()):
            signal.signal(signum, lambda *_: self._end(0))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a tool interrupts with a message
        threading.Thread(target=self._start, daemon=True).start()
        try:
            while self._end_at is None or time.monotonic() < self._end_at:
                if not is_tool_running():
                    break
                self._register(poller)
                self._handle(dict(poller.poll(self._timeout())))
        except ChannelClosed:
            if self._end_at is None:
                self._fail("The session, or clinder's gateway to it, has ended.")
            time.sleep(self._remaining())  # the tool reads the last message in the grace period
        finally:
            self._delete()
        return self._code

    def _timeout(self) -> int:
        return _POLL if self._end_at is None else min(_POLL, round(1000 * self._remaining()))

    def _remaining(self) -> float:
        """Return the seconds until the bridge ends, 0 if that is not known."""
        return 0.0 if self._end_at is None else max(0.0, self._end_at - time.monotonic())

    def _register(self, poller: zmq.Poller) -> None:
        if self._channel:
            events = zmq.POLLIN | (zmq.POLLOUT if self._channel.has_unsent else 0)
            if events != self._awaited:
                self._awaited = events
                poller.register(self._channel.fileno(), events)

    def _handle(self, ready: dict[object, int]) -> None:
        if self._sockets.heartbeat in ready:
            self._sockets.answer_heartbeat()
        if self._wake.fileno() in ready:
            self._wake.recv(4096)
            self._connect()
        for name, each in self._sockets.requests.items():
            if each in ready:
                self._receive(name, each)
        if self._channel and (state := ready.get(self._channel.fileno(), 0)):
            if state & zmq.POLLOUT:
                self._channel.flush()
            if state & ~zmq.POLLOUT:
                self._pass_on(self._channel)

    def _start(self) -> None:
        """Start the kernel, in a thread, because this can take minutes."""
        try:
            folder = self._folder()
            name = _notebook()
            path = f"{folder}{name}-{uuid.uuid4().hex[:8]}.ipynb"  # a server has one kernel a path
            session_id, kernel_id = self._gateway.start_kernel(self._kernelspec, path, name)
            channel = self._gateway.open_channel(kernel_id, uuid.uuid4().hex)
            self._started.put((session_id, kernel_id, channel))
        except RemoteError as error:
            self._started.put(str(error))
        with suppress(OSError):
            self._waker.send(b"s")

    def _folder(self) -> str:
        """Return the working directory relative to the checkout's top, with slashes."""
        try:
            relative = Path.cwd().resolve().relative_to(Path(self._settings.top).resolve())
        except (OSError, ValueError):
            _say(
                f"The kernel runs in the top folder of the session, because {_cwd()} is not in"
                f" {self._settings.top}."
            )
            return ""
        return "".join(f"{part}/" for part in relative.parts)

    def _connect(self) -> None:
        with suppress(queue.Empty):
            started = self._started.get_nowait()
            if isinstance(started, str):
                self._fail(started)
                return
            self._session_id, self._kernel_id, self._channel = started
            waiting, self._waiting = self._waiting, []
            for request in waiting:
                self._forward(request, self._channel)
            self._pass_on(self._channel)  # what arrived with the response to the handshake

    def _receive(self, name: str, opened: zmq.Socket[bytes]) -> None:
        for _ in range(_BURST):
            if not opened.poll(0):
                return
            if (request := self._sockets.receive(name)) is None:
                continue
            kind = request.message.header.get("msg_type")
            if kind == "shutdown_request" and name != "stdin":
                self._shut_down(request)
            elif kind == "interrupt_request" and name == "control":
                self._interrupt(request)
            elif self._channel:
                self._forward(request, self._channel)
            else:
                self._waiting.append(request)

    def _forward(self, request: Request, channel: Channel) -> None:
        self._remember(request)
        channel.send(without_chdir(request.message))

    def _remember(self, request: Request) -> None:
        header = request.message.header
        if str(header.get("msg_type")).endswith("_request"):  # other messages have no reply
            self._identities[str(header.get("msg_id"))] = request.identities

    def _pass_on(self, channel: Channel) -> None:
        """Deliver what has arrived. Raises :class:`ChannelClosed` once nothing more can arrive."""
        for message in channel.receive():
            self._deliver(message)
        if channel.is_closed:
            raise ChannelClosed

    def _deliver(self, message: Message) -> None:
        """Pass a kernel's message to the client."""
        if message.channel == "iopub":
            self._sockets.publish(message)
        elif message.channel in self._sockets.requests:
            request_id = str(message.parent.get("msg_id"))
            identities = self._identities.get(request_id)
            if identities is not None:
                self._sockets.send(message, identities)
            if message.channel != "stdin":  # what a cell asks for comes before its reply
                self._identities.pop(request_id, None)
        mark = message.metadata.get("clinder") if _MARK in message.parts[2] else None
        if isinstance(mark, dict) and mark.get("lost") and self._end_at is None:
            reason = message.content.get("evalue") or "The session's kernel is lost."
            self._fail(str(reason), grace=_LOST_GRACE)

    def _shut_down(self, request: Request) -> None:
        restart = bool(request.message.content.get("restart"))
        reply = reply_to(request.message, {"status": "ok", "restart": restart})
        self._sockets.publish(reply)
        self._sockets.send(reply, request.identities)
        self._end(0)

    def _interrupt(self, request: Request) -> None:
        if self._kernel_id:
            arguments = (self._kernel_id,)
            threading.Thread(target=self._gateway.interrupt, args=arguments, daemon=True).start()
        self._sockets.send(reply_to(request.message, {"status": "ok"}), request.identities)

    def _end(self, code: int, *, grace: float = 0.0) -> None:
        self._code = code
        self._end_at = time.monotonic() + grace
        with suppress(OSError):
            self._waker.send(b"e")

    def _fail(self, reason: str, *, grace: float = 0.0) -> None:
        _say(reason)
        self._end(1, grace=grace)

    def _delete(self) -> None:
        """Delete the kernel, even if it is still starting."""
        self._gateway.cancel()
        if self._channel is None:
            with suppress(queue.Empty):
                started = self._started.get(timeout=_DELETE_TIMEOUT)
                if not isinstance(started, str):
                    self._session_id, _, self._channel = started
        if self._session_id:
            self._gateway.delete(self._session_id, timeout=_DELETE_TIMEOUT)
        if self._channel:
            self._channel.close()


def tool_watcher() -> Callable[[], bool]:
    """Return a function that returns whether the tool that started this process still runs."""
    if sys.platform == "win32":
        return _windows_watcher(int(os.environ.get("JPY_PARENT_PID") or 0))
    starter = os.getppid()
    return lambda: os.getppid() == starter


def _hangup() -> tuple[signal.Signals, ...]:
    return (signal.SIGHUP,) if sys.platform != "win32" else ()


def _notebook() -> str:
    """Return the name of the notebook that the tool executes, or another name for its kernel."""
    if session := os.environ.get("JPY_SESSION_NAME"):  # a Jupyter Server sets it
        return name_kernel((session,))
    with suppress(OSError):  # only Linux has this file
        text = Path(f"/proc/{os.getppid()}/cmdline").read_text("utf-8", "replace")
        return name_kernel(text.split("\0"))
    return name_kernel(())


def name_kernel(arguments: Sequence[str]) -> str:
    """Return a name for a tool's kernel, from the arguments of the tool's process.

    If the tool executes several notebooks, nothing tells which of them the kernel is for; so the
    name is the tool's own.
    """
    tool = Path(arguments[1]).stem if len(arguments) > 1 else ""
    notebooks = [each for each in arguments if each.endswith(".ipynb") and each[0] != "-"]
    if tool == "papermill":
        notebooks = notebooks[:1]  # the second is the output
    name = Path(notebooks[0]).stem if len(notebooks) == 1 else tool
    return name[:100] if name and name[0] != "-" else "kernel"


def _cwd() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return "the working directory"


def _say(message: str) -> None:
    """Write a message to the tool's standard error: a kernel has no other way to explain itself."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"clinder: {message}\n")
        sys.stderr.flush()


def _windows_watcher(handle: int) -> Callable[[], bool]:
    """Return whether the process of a handle runs; a Jupyter client passes on its own."""
    if sys.platform != "win32" or not handle:
        return lambda: True
    import ctypes

    timeout = 0x102  # WAIT_TIMEOUT
    return lambda: bool(ctypes.windll.kernel32.WaitForSingleObject(handle, 0) == timeout)
