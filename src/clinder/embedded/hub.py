"""The embedded hub: its port, its thread, its start and its end."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from threading import Thread

from clinder.errors import UsageError
from clinder.session import EMBEDDED_PATH

HOST = "127.0.0.1"
CLOSE = 10.0  # seconds; stopping a server takes less


@dataclass
class Hub:
    """A BinderHub on a loopback port, in its own thread.

    It launches Jupyter Servers that serve ``directory``. Each is a detached process that shuts
    down after ``idle`` seconds without activity: a busy kernel counts as activity, a connection to
    an idle kernel does not. ``port`` 0 means any free port. If ``stop_servers`` is true, the
    servers end with the hub. With a ``token``, the hub needs a login: it is the token of the hub's
    only user, and the servers are behind the hub's own port. ``report`` receives log lines, in the
    hub's thread; they can hold untrusted text but no secret. As in a real hub's configuration,
    ``keepalive`` is the number of seconds of silence before the hub sends a comment, and
    ``launch_timeout`` the time limit for a launch in seconds.

    Raises :class:`~clinder.errors.UsageError` if the extra is not installed or ``directory`` is
    not a directory.
    """

    directory: Path
    _: KW_ONLY
    stop_servers: bool
    port: int = 0
    idle: float = 3600.0
    report: Callable[[str], None] = lambda _: None
    keepalive: float = 25.0
    launch_timeout: float = 60.0
    token: str = field(default="", repr=False)
    url: str = field(init=False, default="")
    """``http://127.0.0.1:PORT/``, once the hub has started."""

    def __post_init__(self) -> None:
        require_extra()
        try:
            self._directory = self.directory.resolve(strict=True)
        except OSError:
            raise UsageError(f"The hub's directory does not exist: {self.directory}") from None
        if not self._directory.is_dir():
            raise UsageError(f"The hub's directory is not a directory: {self.directory}")
        self._thread: Thread | None = None
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    def __enter__(self) -> Hub:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start to listen and to serve. A hub can be started only once.

        Raises :class:`~clinder.errors.UsageError` if the port is in use.
        """
        # Imported here because they need the extra, which __init__ has checked.
        from clinder.embedded import handlers
        from clinder.embedded.account import USER, Account
        from clinder.embedded.handler import State
        from clinder.embedded.servers import Servers

        listening = _listen(self.port)
        self.url = f"http://{HOST}:{listening.getsockname()[1]}/"
        account = Account(self.token) if self.token else None
        base = f"/user/{USER}/" if account else f"{EMBEDDED_PATH}user/"
        servers = Servers(self._directory, self.idle, self.launch_timeout, self.report, base)
        state = State(servers, self.keepalive, self.report, account)
        serving = handlers.serve(state, listening, self._started, stop_servers=self.stop_servers)
        self._thread = Thread(target=asyncio.run, args=(serving,), name="clinder-hub", daemon=True)
        self._thread.start()
        self._started.result(CLOSE)

    def close(self) -> None:
        """End the hub and its builds, within :data:`CLOSE` seconds.

        This stops the servers whose token no client has; with ``stop_servers``, all servers.
        """
        if self._thread is None:
            return
        loop, closing = self._started.result(CLOSE)
        with suppress(RuntimeError):  # already closed
            loop.call_soon_threadsafe(closing.set)
        self._thread.join(CLOSE)


def require_extra() -> None:
    """Raise :class:`~clinder.errors.UsageError` if one of the extra's packages is missing."""
    missing = [name for name, module in _EXTRA.items() if not _installed(module)]
    if missing:
        raise UsageError(
            f"The embedded hub needs packages that are not installed: {', '.join(missing)}.",
            hint='Install them: pip install "clinder[local]"',
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
        if sys.platform == "win32":  # there, SO_REUSEADDR would let others share the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        raise UsageError(
            f"The hub cannot listen on port {port}: {error}.",
            hint="If another program uses it, choose a different port, or 0 for any free port.",
        ) from None
    return listening
