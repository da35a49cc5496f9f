"""One Jupyter Server in its own process: ``python -m clinder.embedded.jupyter_process FOLDER``.

The folder is private to the server. The hub writes ``settings.json`` and the token there. The
server writes its port to the file ``port``, and removes the folder when it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

# Importing this module takes four times as long as everything else here, because it parses a
# grammar. jsonschema does without it; it checks IRIs, which no schema of Jupyter Server contains.
sys.modules.setdefault("rfc3987_syntax", ModuleType("rfc3987_syntax"))

from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback
from tornado.netutil import bind_sockets
from traitlets.config import Config


class PromptWebsocket(ZMQChannelsWebsocketConnection):
    """A kernel's websocket that sends every message at once."""

    def connect(self) -> Any:
        """Connect the websocket, which is open by now, to the kernel."""
        # Otherwise Nagle's algorithm holds a small message back until the client acknowledges
        # the one before, which costs 40 ms per cell on loopback.
        self.websocket_handler.set_nodelay(True)
        return super().connect()


class EmbeddedServer(ServerApp):
    """A Jupyter Server that ignores this user's Jupyter configuration."""

    def __init__(self, *, idle: float, orphaned: Callable[[], bool], **settings: Any):
        super().__init__(**settings)
        self._idle = idle
        self._is_orphaned = orphaned
        self._sockets = bind_sockets(0, self.ip)  # now, so that no other process takes the port
        self.port = self._sockets[0].getsockname()[1]

    def migrate_config(self) -> None:
        """Don't convert configuration files of IPython 3."""

    def load_config_file(self, *_: object, **__: object) -> None:
        """Read no configuration: not the user's, the machine's or the directory's."""

    def write_server_info_file(self) -> None:
        """Write no file, because it would hold the token."""

    def init_signal(self) -> None:
        """Shut down on any signal in :data:`_STOP_SIGNALS`."""
        for name in _STOP_SIGNALS:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda *_: self.stop(from_signal=True))

    def init_shutdown_no_activity(self) -> None:
        """Check for activity often enough for a short ``idle``; Jupyter checks once a minute."""
        seconds = min(60, self._idle / 2)
        self._idle_check = PeriodicCallback(self.shutdown_no_activity, 1000 * seconds)
        self._idle_check.start()
        self._orphan_check = PeriodicCallback(self._stop_if_orphaned, 1000 * _ORPHAN_POLL)
        self._orphan_check.start()

    def _stop_if_orphaned(self) -> None:
        if self._is_orphaned():
            self.stop(from_signal=True)

    def init_httpserver(self) -> None:
        """Serve on the sockets that are already bound."""
        self._http_server = HTTPServer(
            self.web_app, max_body_size=self.max_body_size, max_buffer_size=self.max_buffer_size
        )
        self.io_loop.add_callback(self._http_server.add_sockets, self._sockets)


_ORPHAN_POLL = 0.5  # seconds
_STOP_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")


def is_orphaned(folder: Path, starter: int) -> bool:
    """Return whether the process that started the server ended before a client had the token."""
    if sys.platform == "win32":  # a launcher is the parent, and a parent's id never changes
        return False
    return os.getppid() != starter and not (folder / "handed-over").exists()


def serve(folder: Path) -> None:
    """Run the server that the folder describes until it is shut down or idle for too long."""
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    idle = max(1, round(settings["idle"]))
    kernels = {"cull_idle_timeout": idle, "cull_interval": min(60, idle), "cull_connected": True}
    # The limit protects a network from floods of output, but loopback needs no protection.
    sockets = {"limit_rate": False}
    os.chdir(settings["root_dir"])
    app = EmbeddedServer.instance(
        idle=settings["idle"],
        orphaned=lambda: is_orphaned(folder, settings["starter"]),
        ip="127.0.0.1",
        base_url=settings["base_url"],
        root_dir=settings["root_dir"],
        allow_root=settings["allow_root"],
        shutdown_no_activity_timeout=idle,
        terminals_enabled=False,
        kernel_websocket_connection_class=PromptWebsocket,
        open_browser=False,
        no_browser_open_file=True,
        config_dir=str(folder / "config"),
        data_dir=str(folder / "data"),
        runtime_dir=str(folder / "runtime"),
        config=Config(MappingKernelManager=kernels, ZMQChannelsWebsocketConnection=sockets),
    )
    app.initialize(argv=[], find_extensions=False)
    # Kernels inherit the environment and can read files. The server has read the token by now.
    Path(os.environ.pop("JUPYTER_TOKEN_FILE")).unlink()
    port = folder / "port.new"
    port.write_text(str(app.port), encoding="ascii")
    port.replace(folder / "port")
    app.start()


def main(folder: Path) -> None:
    """Run the server, then remove its folder."""
    for name in _STOP_SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, _: sys.exit(128 + number))
    try:
        serve(folder)
    finally:
        os.chdir(tempfile.gettempdir())  # Windows cannot remove a process's working directory
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
