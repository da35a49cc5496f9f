"""The embedded hub: its port, its thread, its beginning and its end."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from clinder.errors import UsageError

HOST = "127.0.0.1"
CLOSE = 10.0  # seconds; longer than servers take to be ended


def _no_report(_line: str) -> None:
    """Report to nobody."""


class Hub:
    """A BinderHub on a loopback port, in a thread of its own.

    It launches Jupyter Servers in ``directory``, each in a detached process that ends by itself
    after ``idle`` seconds without activity; a busy kernel is activity, a connection to an idle one
    is none. ``port`` 0 is any free one. ``stop_servers`` says whether they end with the hub.
    ``report`` takes lines that tell what happens; it is called in the hub's thread, and the lines
    hold foreign text but no secret. ``keepalive`` (seconds of silence before a comment) and
    ``launch_timeout`` (seconds) are those of a real hub's configuration.

    Raises :class:`~clinder.errors.UsageError` where the extra is not installed or ``directory``
    is none.
    """

    url: str = ""
    """``http://127.0.0.1:PORT/``, once it has started."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        stop_servers: bool,
        idle: float = 3600.0,
        report: Callable[[str], None] = _no_report,
        keepalive: float = 25.0,
        launch_timeout: float = 60.0,
    ):
        require_extra()
        try:
            self._directory = directory.resolve(strict=True)
        except OSError:
            raise UsageError(f"The hub's directory does not exist: {directory}") from None
        if not self._directory.is_dir():
            raise UsageError(f"The hub's directory is none: {directory}")
        self._port = port
        self._stop_servers = stop_servers
        self._idle = idle
        self._report = report
        self._keepalive = keepalive
        self._launch_timeout = launch_timeout
        self._thread: threading.Thread | None = None
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    def __enter__(self) -> Hub:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Listen, and answer from now on. A hub starts once.

        Raises :class:`~clinder.errors.UsageError` if the port is taken.
        """
        # These need the extra, which is known to be there by now.
        from clinder.embedded import handlers
        from clinder.embedded.servers import Servers

        listening = _listen(self._port)
        self.url = f"http://{HOST}:{listening.getsockname()[1]}/"
        state = handlers.State(
            Servers(self._directory, self._idle, self._launch_timeout, self._report),
            self._keepalive,
            self._report,
        )
        serving = handlers.serve(state, listening, self._started, stop_servers=self._stop_servers)
        self._thread = threading.Thread(
            target=asyncio.run, args=(serving,), name="clinder-hub", daemon=True
        )
        self._thread.start()
        self._started.result(CLOSE)

    def close(self) -> None:
        """End the hub, its builds, and servers that nobody holds; with ``stop_servers``, all.

        Takes :data:`CLOSE` seconds at most.
        """
        if self._thread is None:
            return
        loop, closing = self._started.result(CLOSE)
        with suppress(RuntimeError):  # closed before
            loop.call_soon_threadsafe(closing.set)
        self._thread.join(CLOSE)


def require_extra() -> None:
    """Raise :class:`~clinder.errors.UsageError` unless Jupyter Server and ipykernel are there."""
    missing = [name for name, module in _EXTRA.items() if not _installed(module)]
    if missing:
        raise UsageError(
            f"The embedded hub needs {' and '.join(missing)}, not installed here.",
            hint='Install what it needs: pip install "clinder[local]"',
        )


_EXTRA = {"jupyter-server": "jupyter_server", "tornado": "tornado", "ipykernel": "ipykernel"}


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setblocking(False)
    try:
        if sys.platform == "win32":  # where SO_REUSEADDR would share it
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        raise UsageError(
            f"The hub cannot listen on port {port}: {error}.",
            hint="Another program may use the port: name another one, or 0 for any free one.",
        ) from None
    return listening
