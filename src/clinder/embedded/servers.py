"""The Jupyter Servers that a hub launches. Each is a detached process with its own token."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
import string
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from clinder.bridge.settings import without_bridges

HANDED_OVER = "handed-over"  # this file tells a server's process that a client has its token
POLL = 0.02  # seconds between two checks of a file or a process
TERMINATE = 3.0  # time limit, in seconds, for a server to shut down
KILL = 2.0  # time limit, in seconds, for the system to end a killed server

_KERNELSPECS = {
    "JUPYTER_DATA_DIR",
    "JUPYTER_PATH",
    "JUPYTER_PLATFORM_DIRS",
    "JUPYTER_PREFER_ENV_PATH",
}  # the kernelspecs are part of the environment
_NOT_INHERITED = ("BINDER_", "CLINDER_", "JPY_", "JUPYTER")


class _Ended(Exception):
    """The server's process ended."""


class NotLaunched(Exception):
    """A server did not start. ``log`` is its last output; ``late`` means that time ran out."""

    def __init__(self, log: list[str], *, late: bool):
        super().__init__("The Jupyter Server did not start.")
        self.log = log
        self.late = late


@dataclass
class Server:
    """A Jupyter Server in its own process.

    ``folder`` is private to the server and is removed when the server ends. ``handed_over`` means
    that a client has the token. ``url`` is the server's own, whose ``path`` ends in a slash; it is
    empty until the port is known. ``options`` are those of the launch, as JupyterHub shows them.
    """

    name: str
    path: str
    token: str = field(repr=False)
    folder: Path
    process: subprocess.Popen[bytes]
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    url: str = ""
    ready: bool = False
    handed_over: bool = False

    def hand_over(self) -> None:
        """Record, for the server's process too, that a client has the token from now on."""
        self.handed_over = True
        with suppress(FileNotFoundError):  # the server has ended already
            (self.folder / HANDED_OVER).touch()

    @property
    def runs(self) -> bool:
        """Whether the process is still running."""
        return self.process.poll() is None


@dataclass
class Servers:
    """All servers of one hub, for use in one event loop.

    A server shuts down after ``idle`` seconds without activity. ``timeout`` is the time limit for
    a launch, in seconds. ``report`` receives a line of text for each step. A server's path begins
    with ``base``.
    """

    directory: Path
    idle: float
    timeout: float
    report: Callable[[str], None]
    base: str
    _all: list[Server] = field(init=False, default_factory=list)

    @property
    def running(self) -> int:
        """The number of servers that are running."""
        return len(self.all)

    @property
    def all(self) -> list[Server]:
        """The servers that are running or starting."""
        return [server for server in self._all if server.runs]

    def find(self, name: str) -> Server | None:
        """Return the server with this name, unless it has ended."""
        return next((server for server in self.all if server.name == name), None)

    async def launch(
        self, name: str, variables: Mapping[str, str], options: Mapping[str, str]
    ) -> Server:
        """Return a new server that is ready, with these variables in its environment.

        Raises :class:`NotLaunched`. If this or a cancellation is raised, the process has ended and
        its folder is gone.
        """
        self._all = self.all
        path = f"{self.base}{name}/"
        folder = Path(tempfile.mkdtemp(prefix="clinder-"))
        try:
            token = prepare(folder, path, self.directory, self.idle)
            with os.fdopen(_create_private(folder / "log"), "a+b") as log:
                process = _start(folder, variables, log)
                server = Server(name, path, token, folder, process, options)
                await self._wait_for_launch(server, log)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise NotLaunched([f"The server cannot be started: {error}"], late=False) from None
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return server

    async def _wait_for_launch(self, server: Server, log: IO[bytes]) -> None:
        """Wait until the server is ready. If it is not ready in time, stop it."""
        try:
            self._all.append(server)
            _reap_in_background(server)
            self.report(f"{server.name}: process {server.process.pid} started")
            await asyncio.wait_for(self._wait_until_ready(server), self.timeout)
        except asyncio.TimeoutError:
            await self.stop(server)
            raise NotLaunched(_last_lines(log), late=True) from None
        except _Ended:
            raise NotLaunched(_last_lines(log), late=False) from None
        except BaseException:
            await self.stop(server)
            raise
        server.ready = True
        self.report(f"{server.name}: server ready at {server.url}")

    async def _wait_until_ready(self, server: Server) -> None:
        server.url = f"http://127.0.0.1:{await self._wait_for_port(server)}{server.path}"
        client = AsyncHTTPClient(force_instance=True)
        try:
            while server.runs:
                try:
                    await client.fetch(
                        server.url + "api/status",
                        headers={"Authorization": f"token {server.token}"},
                        follow_redirects=False,
                    )
                except (OSError, HTTPClientError):
                    await asyncio.sleep(POLL)
                else:
                    return
        finally:
            client.close()
        raise _Ended

    async def _wait_for_port(self, server: Server) -> str:
        while server.runs:
            with suppress(FileNotFoundError):
                return (server.folder / "port").read_text(encoding="ascii")
            await asyncio.sleep(POLL)
        raise _Ended

    async def stop(self, server: Server) -> None:
        """End the server within :data:`TERMINATE` + :data:`KILL` seconds, and remove its folder."""
        if server.runs:
            self.report(f"{server.name}: stopping")
        for end, seconds in ((server.process.terminate, TERMINATE), (server.process.kill, KILL)):
            if server.runs:
                end()
            for _ in range(round(seconds / POLL)):
                if not server.runs:
                    break
                await asyncio.sleep(POLL)
        shutil.rmtree(server.folder, ignore_errors=True)

    async def close(self, *, all_of_them: bool) -> None:
        """Stop all servers, or only those whose token no client has."""
        to_stop = [one for one in self._all if one.runs and (all_of_them or not one.handed_over)]
        await asyncio.gather(*map(self.stop, to_stop))


def name_for(repo_url: str) -> str:
    """Return a name for a server of this repository, like BinderHub's ``launcher.py``.

    Unlike BinderHub's, this name has only characters that need no escaping in a URL.
    """
    path = repo_url if "://" not in repo_url else urlsplit(repo_url).path
    prefix = re.sub(r"[^a-z0-9._-]+", "-", path.strip("/").lower()).removesuffix(".git")
    if len(prefix) > 32:
        prefix = f"{prefix[:15]}-{prefix[-15:]}"
    letters = string.ascii_lowercase + string.digits
    return f"{prefix}-{''.join(secrets.choice(letters) for _ in range(8))}"


def prepare(folder: Path, path: str, directory: Path, idle: float) -> str:
    """Write a server's token and settings into its folder (mode 0600), and return the token."""
    token = secrets.token_urlsafe(16)
    settings = {
        "base_url": path,
        "root_dir": str(directory),
        "idle": idle,
        "starter": os.getpid(),
        "allow_root": hasattr(os, "geteuid") and os.geteuid() == 0,
    }
    for file, text in (("token", token), ("settings.json", json.dumps(settings))):
        with os.fdopen(_create_private(folder / file), "w", encoding="utf-8") as new:
            new.write(text)
    return token


def server_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's environment without Jupyter's, clinder's and a hub's variables."""
    inherited = {
        name: value
        for name, value in environ.items()
        if name in _KERNELSPECS or not name.upper().startswith(_NOT_INHERITED)
    }
    if jupyter_path := inherited.get("JUPYTER_PATH"):
        inherited["JUPYTER_PATH"] = without_bridges(jupyter_path)
    return inherited


def _create_private(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)


def _start(folder: Path, variables: Mapping[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the process in its own session, out of reach of the terminal's signals."""
    token_file = {"JUPYTER_TOKEN_FILE": str(folder / "token")}
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return subprocess.Popen(  # noqa: S603 - this Python, with a path of our own
        [sys.executable, "-m", "clinder.embedded.jupyter_process", str(folder)],
        cwd=folder,  # first on the import path, so it must not hold other modules
        env={**server_environ(os.environ), **variables, **token_file},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        creationflags=flags,
    )


def _reap_in_background(server: Server) -> None:
    """Leave no zombie when the process ends, and no folder if it was killed."""

    def reap() -> None:
        server.process.wait()
        shutil.rmtree(server.folder, ignore_errors=True)

    name = f"clinder-reap-{server.process.pid}"
    threading.Thread(target=reap, name=name, daemon=True).start()


def _last_lines(log: IO[bytes], count: int = 20) -> list[str]:
    log.seek(0)
    return log.read().decode(errors="replace").splitlines()[-count:]
