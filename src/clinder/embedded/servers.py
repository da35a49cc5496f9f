"""The Jupyter Servers that a hub launches: each a detached process with a token of its own."""

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

HANDED_OVER = "handed-over"  # the file by which a server's process knows that it is
POLL = 0.02  # seconds between two looks at a file or a process
TERMINATE = 3.0  # seconds that a server has to end in good order
KILL = 2.0  # seconds that the system has to end it

_KERNELSPECS = {
    "JUPYTER_DATA_DIR",
    "JUPYTER_PATH",
    "JUPYTER_PLATFORM_DIRS",
    "JUPYTER_PREFER_ENV_PATH",
}  # where kernelspecs are looked for, which is part of the environment
_NOT_INHERITED = ("BINDER_", "CLINDER_", "JPY_", "JUPYTER")


class _Ended(Exception):
    """The process of a server ended."""


class NotLaunched(Exception):
    """A server did not come up. ``log`` is the last it said, ``late`` if it ran out of time."""

    def __init__(self, log: list[str], *, late: bool):
        super().__init__("The Jupyter Server did not come up.")
        self.log = log
        self.late = late


@dataclass
class Server:
    """A Jupyter Server in a process of its own.

    ``folder`` is private to it, and gone when it is. ``wanted`` tells that somebody holds its
    token. ``url`` ends in a slash and is known once it has been launched.
    """

    name: str
    token: str = field(repr=False)
    folder: Path
    process: subprocess.Popen[bytes]
    url: str = ""
    handed_over: bool = False

    def hand_over(self) -> None:
        """Note that somebody holds the token from now on, for the process too."""
        self.handed_over = True
        with suppress(FileNotFoundError):  # it has ended, and its folder with it
            (self.folder / HANDED_OVER).touch()

    @property
    def runs(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None


@dataclass
class Servers:
    """All servers of one hub; they are of one event loop.

    ``idle`` is the time in seconds without activity after which a server ends by itself,
    ``timeout`` the time that a launch may take. ``report`` takes a line for each thing that
    happens.
    """

    directory: Path
    idle: float
    timeout: float
    report: Callable[[str], None]
    _all: list[Server] = field(init=False, default_factory=list)

    @property
    def running(self) -> int:
        """How many servers run."""
        return sum(server.runs for server in self._all)

    async def launch(self, name: str, variables: Mapping[str, str]) -> Server:
        """Return a new server that answers, with these variables in its environment.

        If this is cancelled the server is stopped. Raises :class:`NotLaunched`.
        """
        self._all = [server for server in self._all if server.runs]
        folder, token = prepare(name, self.directory, self.idle)
        with os.fdopen(_private(folder / "log"), "a+b") as log:
            server = Server(name, token, folder, _start(folder, variables, log))
            self._all.append(server)
            self.report(f"{name}: process {server.process.pid} started")
            try:
                await asyncio.wait_for(self._answers(server), self.timeout)
            except asyncio.TimeoutError:
                await self.stop(server)
                raise NotLaunched(_last_lines(log), late=True) from None
            except _Ended:
                raise NotLaunched(_last_lines(log), late=False) from None
            except BaseException:
                await self.stop(server)
                raise
        self.report(f"{name}: server ready at {server.url}")
        return server

    async def _answers(self, server: Server) -> None:
        """Wait until the server answers to its token. Raises :class:`_Ended` if it ends."""
        server.url = f"http://127.0.0.1:{await self._port(server)}/user/{server.name}/"
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

    async def _port(self, server: Server) -> str:
        while server.runs:
            with suppress(FileNotFoundError):
                return (server.folder / "port").read_text(encoding="ascii")
            await asyncio.sleep(POLL)
        raise _Ended

    async def stop(self, server: Server) -> None:
        """End the server: ask it, then make it. Takes :data:`TERMINATE` + :data:`KILL` at most."""
        if server.runs:
            self.report(f"{server.name}: stopping")
        for end, patience in ((server.process.terminate, TERMINATE), (server.process.kill, KILL)):
            if server.runs:
                end()
            for _ in range(round(patience / POLL)):
                if not server.runs:
                    break
                await asyncio.sleep(POLL)
        shutil.rmtree(server.folder, ignore_errors=True)

    async def close(self, *, all_of_them: bool) -> None:
        """Stop all servers, or only those whose token nobody holds."""
        doomed = [each for each in self._all if each.runs and (all_of_them or not each.handed_over)]
        await asyncio.gather(*map(self.stop, doomed))


def name_for(repo_url: str) -> str:
    """Return a name for a server of this repository, as ``launcher.py`` makes it.

    Other than there, only characters that a URL need not escape.
    """
    path = repo_url if "://" not in repo_url else urlsplit(repo_url).path
    prefix = re.sub(r"[^a-z0-9._-]+", "-", path.strip("/").lower()).removesuffix(".git")
    if len(prefix) > 32:
        prefix = f"{prefix[:15]}-{prefix[-15:]}"
    letters = string.ascii_lowercase + string.digits
    return f"{prefix}-{''.join(secrets.choice(letters) for _ in range(8))}"


def prepare(name: str, directory: Path, idle: float) -> tuple[Path, str]:
    """Make a server's private folder (0700) and its token, and put what it needs there (0600)."""
    folder = Path(tempfile.mkdtemp(prefix="clinder-"))
    token = secrets.token_urlsafe(16)
    settings = {
        "base_url": f"/user/{name}/",
        "root_dir": str(directory),
        "idle": idle,
        "starter": os.getpid(),
        "allow_root": hasattr(os, "geteuid") and os.geteuid() == 0,
    }
    for file, text in (("token", token), ("settings.json", json.dumps(settings))):
        with os.fdopen(_private(folder / file), "w", encoding="utf-8") as new:
            new.write(text)
    return folder, token


def server_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's environment without what would change the server, or is not for it."""
    return {
        name: value
        for name, value in environ.items()
        if name in _KERNELSPECS or not name.upper().startswith(_NOT_INHERITED)
    }


def _private(path: Path) -> int:
    """Return the descriptor of a new file that only this user can read."""
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)


def _start(folder: Path, variables: Mapping[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the process in a session of its own, and see to it that it is reaped."""
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    process = subprocess.Popen(  # noqa: S603 - this Python, with a path of our own
        [sys.executable, "-m", "clinder.embedded.jupyter_process", str(folder)],
        cwd=folder,  # first on the import path, where no module may be found by accident
        env={
            **server_environ(os.environ),
            **variables,
            "JUPYTER_TOKEN_FILE": str(folder / "token"),
        },
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        creationflags=flags,
    )

    def reap() -> None:
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)  # left by one that was killed

    threading.Thread(target=reap, name=f"clinder-reap-{process.pid}", daemon=True).start()
    return process


def _last_lines(log: IO[bytes], count: int = 20) -> list[str]:
    log.seek(0)
    return log.read().decode(errors="replace").splitlines()[-count:]
