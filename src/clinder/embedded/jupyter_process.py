"""One Jupyter Server in a process of its own: ``python -m clinder.embedded.jupyter_process DIR``.

The folder is private to this server and holds ``settings.json``, written by who starts it, and
the token. It tells its port in a file ``port``, and removes the folder when it ends.
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
from typing import Any

from jupyter_server.serverapp import ServerApp
from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback
from tornado.netutil import bind_sockets
from traitlets.config import Config


class EmbeddedServer(ServerApp):
    """A Jupyter Server that takes nothing from this user's Jupyter configuration."""

    def __init__(self, *, idle: float, orphaned: Callable[[], bool], **settings: Any):
        super().__init__(**settings)
        self._idle = idle
        self._unwanted = orphaned
        self._sockets = bind_sockets(0, self.ip)  # bound once: no other process can take the port
        self.port = self._sockets[0].getsockname()[1]

    def migrate_config(self) -> None:
        """Leave IPython 3's configuration where it is."""

    def load_config_file(self, *_: object, **__: object) -> None:
        """Read no configuration: not the user's, not the machine's, not the directory's."""

    def write_server_info_file(self) -> None:
        """Write none: it would hold the token, and nobody is to find this server by it."""

    def init_signal(self) -> None:
        """End in good order whichever signal asks for it."""
        for name in _ENDINGS:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda *_: self.stop(from_signal=True))

    def init_shutdown_no_activity(self) -> None:
        """Look for activity often enough for a short ``idle``; Jupyter does once a minute."""
        self._watch = PeriodicCallback(self.shutdown_no_activity, 1000 * min(60, self._idle / 2))
        self._watch.start()
        self._look = PeriodicCallback(self._stop_if_orphaned, 1000 * _LOOK)
        self._look.start()

    def _stop_if_orphaned(self) -> None:
        if self._unwanted():
            self.stop(from_signal=True)

    def init_httpserver(self) -> None:
        """Serve on the sockets that are bound already."""
        self._http_server = HTTPServer(
            self.web_app, max_body_size=self.max_body_size, max_buffer_size=self.max_buffer_size
        )
        self.io_loop.add_callback(self._http_server.add_sockets, self._sockets)


_LOOK = 0.5  # seconds between two looks at who started the server
_ENDINGS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")


def is_orphaned(folder: Path, starter: int) -> bool:
    """Return whether whoever started the server is gone and handed its token to nobody."""
    if sys.platform == "win32":  # where a launcher stands between, and a parent's id stays
        return False
    return os.getppid() != starter and not (folder / "handed-over").exists()


def serve(folder: Path) -> None:
    """Run the server that the folder describes until it is shut down, asked to, or idle."""
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    idle = max(1, round(settings["idle"]))
    kernels = {"cull_idle_timeout": idle, "cull_interval": min(60, idle), "cull_connected": True}
    # The limit protects a server's network from its users' output; here there is no network.
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
        open_browser=False,
        no_browser_open_file=True,
        config_dir=str(folder / "config"),
        data_dir=str(folder / "data"),
        runtime_dir=str(folder / "runtime"),
        config=Config(MappingKernelManager=kernels, ZMQChannelsWebsocketConnection=sockets),
    )
    app.initialize(argv=[], find_extensions=False)
    # The token is read by now; kernels inherit the environment and may read files.
    Path(os.environ.pop("JUPYTER_TOKEN_FILE")).unlink()
    port = folder / "port.new"
    port.write_text(str(app.port), encoding="ascii")
    port.replace(folder / "port")
    app.start()


def main(folder: Path) -> None:
    """Serve, and leave nothing behind."""
    for name in _ENDINGS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, _: sys.exit(128 + number))
    try:
        serve(folder)
    finally:
        os.chdir(tempfile.gettempdir())  # some systems keep a folder that a process is in
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
