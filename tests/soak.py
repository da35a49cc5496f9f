"""A soak test: many concurrent sessions on the embedded hub, with random faults and signals.

    python tests/soak.py --sessions 200 --at-once 8

Each session is a separate clinder process (``start`` and ``stop``, or ``run``), which might receive
SIGINT or SIGTERM at a random time. ``run`` executes code through its gateway. Connections to the
hub are reset, cut, stalled or answered 503 at random, and those to a session's server are cut or
frozen. Kernels and servers are killed at random. In the end, no Jupyter Server whose token clinder
received must be running, and no clinder. It takes some minutes, and runs only on POSIX.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from e2e.world import CLINDER, World, until
from proxies import Relay

SESSION_URL = re.compile(r"The session is at (\S+)")
FAULTS = ("none", "none", "none", "reset", "cut", "stall", "503")
SERVER_FAULTS = (*["none"] * 6, "cut", "freeze")
SERVER_URL = re.compile(rb"127\.0\.0\.1:(\d{5})")
LONGEST_URL = len("127.0.0.1:65535")
LAUNCH = ("--timeout", "180", "--idle-timeout", "20", "--readiness-timeout", "60")
CODE = {
    "short": "print(6 * 7)",
    "long": "import time\nfor each in range(40): print('x' * 500, flush=True); time.sleep(0.05)",
    "exits": "import os; os._exit(3)",
    "endless": "import time\nwhile True: time.sleep(0.1)",
}
"""What ``run`` executes. Its limit for a cell ends the endless one."""
UNREACHABLE = 6
STOPS = 5


class UnreliableServer(Relay):
    """A proxy in front of a session's server, whose connections are cut or frozen at random."""

    def __init__(self, to: str, rng: random.Random, faults: Counter[str]):
        super().__init__(to)
        self._rng = rng
        self._faults = faults
        self._connection = threading.local()

    def serve(self, connection: socket.socket) -> None:
        fault = self._rng.choice(SERVER_FAULTS)
        self._faults[fault] += 1
        self._connection.freezes = fault == "freeze"
        timer = threading.Timer(self._rng.uniform(0, 4), _shut_down, [connection])
        if fault == "cut":
            timer.start()
        try:
            super().serve(connection)
        except ConnectionRefusedError:
            self._stop_listening()
        finally:
            timer.cancel()

    def _stop_listening(self) -> None:
        """Refuse connections like the server, which is gone."""
        self.listener.shutdown()
        self.listener.socket.close()

    def wait(self) -> None:
        """Freeze once, at a random piece: for a while, or for longer than clinder waits."""
        if self._connection.freezes and self._rng.random() < 0.2:
            self._connection.freezes = False
            time.sleep(self._rng.choice((0.5, 5, 35)))


class UnreliableProxy(Relay):
    """A proxy in front of the hub. Each connection has a random fault at a random byte.

    The servers' addresses in the hub's responses become those of proxies with as many digits.
    """

    def __init__(self, to: str, rng: random.Random):
        super().__init__(to)
        self._rng = rng
        self.faults: Counter[str] = Counter()
        self.server_faults: Counter[str] = Counter()
        self.servers: dict[bytes, UnreliableServer] = {}
        self.stack = ExitStack()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.stack.close()

    def forward(self, connection: socket.socket, first: bytes) -> None:
        fault, at = self._rng.choice(FAULTS), self._rng.randint(0, 2500)
        self.faults[fault] += 1
        if fault == "503":
            connection.sendall(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(self._to) as hub:
            self.open.add(hub)
            hub.sendall(connection.recv(65536))
            passed = 0
            for data in self._with_our_servers(iter(lambda: hub.recv(64), b"")):
                connection.sendall(data)
                passed += len(data)
                if fault != "none" and passed > at:
                    if fault == "stall":
                        time.sleep(self._rng.uniform(0.5, 25))
                        fault = "none"
                        continue
                    if fault == "reset":
                        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return

    def _with_our_servers(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Replace the servers' addresses, also those that are cut by the end of a piece."""
        kept = b""
        for piece in pieces:
            kept = SERVER_URL.sub(self._replace, kept + piece)
            end = kept.rfind(b"\n") + 1 or max(0, len(kept) - LONGEST_URL)
            if end:
                yield kept[:end]
            kept = kept[end:]
        if kept:
            yield kept

    def _replace(self, address: re.Match[bytes]) -> bytes:
        ours = {b"%d" % each.port for each in self.servers.values()}
        if address[1] in ours:
            return address[0]
        if address[1] not in self.servers:
            server = UnreliableServer(
                f"http://127.0.0.1:{int(address[1])}", self._rng, self.server_faults
            )
            self.servers[address[1]] = self.stack.enter_context(server)
        return b"127.0.0.1:%d" % self.servers[address[1]].port

    def real(self, url: str) -> str:
        """Return the URL of a server without the proxy in front of it."""
        for port, server in self.servers.items():
            url = url.replace(f":{server.port}/", f":{port.decode()}/")
        return url


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class Killer:
    """Kills a random kernel now and then, and sometimes a server."""

    def __init__(self, world: World, rng: random.Random):
        self._world = world
        self._rng = rng
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.killed: Counter[str] = Counter()

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._rng.uniform(1, 4)):
            kind = self._rng.choice(("kernel", "kernel", "kernel", "server"))
            found = self._world.processes(
                "ipykernel" if kind == "kernel" else "clinder.embedded.jupyter_process"
            )
            with suppress(psutil.Error):
                if found:
                    self._rng.choice(found).kill()
                    self.killed[kind] += 1


@dataclass
class Soak:
    """What all sessions share, and their outcomes."""

    world: World
    hub: str
    rng: random.Random
    codes: Counter[str] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)
    code: Counter[str] = field(default_factory=Counter)
    urls: set[str] = field(default_factory=set)
    unexpected: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def session(self, number: int) -> None:
        """Run one session, and end it as a user would; record an unexpected outcome."""
        try:
            self._session(number)
        except AssertionError as error:
            message = str(error)
            _, is_traceback, where = message.partition("Traceback")
            if is_traceback and "clinder" not in where.partition("\nclinder: ")[0]:
                self.codes["during Python's start"] += 1
            else:
                self.unexpected.append(message)

    def _session(self, number: int) -> None:
        file = self.world.directory / f"session-{number}.json"
        launch = ["--hub", self.hub, "--session-file", str(file), *LAUNCH]
        if number % 2:
            name = self.rng.choice(sorted(CODE))
            self.code[name] += 1
            execute = [*CLINDER, "exec", "--timeout", "40", "-c", CODE[name]]
            run = ["run", "org/repo", *launch, "--cell-timeout", "3", "--", *execute]
            code, output = self._clinder(run)
        else:
            code, output = self._clinder(["start", "org/repo", *launch])
        self.codes[f"{code}"] += 1
        self.urls.update(SESSION_URL.findall(output))
        if file.exists():
            self._stop(file)

    def _stop(self, file: Path) -> None:
        """Stop a session, again while the connection to its server fails."""
        for _ in range(STOPS):
            result = self.world.run("stop", "--session-file", str(file))
            if result.code != UNREACHABLE:
                break
        assert result.code == 0, result.err

    def _clinder(self, arguments: list[str]) -> tuple[int, str]:
        start = time.monotonic()
        process = self.world.clinder(*arguments)
        name = self.rng.choice(("none", "SIGINT", "SIGTERM"))
        after = self.rng.uniform(0, 15)
        self.signals[name] += 1
        if name != "none":
            with suppress(subprocess.TimeoutExpired):
                process.wait(after)
            if process.poll() is None:
                process.send_signal(getattr(signal, name))
        result = self.world.finish(process)
        self.slowest = max(self.slowest, time.monotonic() - start)
        return result.code, result.err

    def running(self, real: Callable[[str], str]) -> list[str]:
        """The URLs of the servers that are still running, among those whose token was received."""
        return sorted(url for url in map(real, self.urls) if _listens(url))


def _listens(url: str) -> bool:
    port = int(url.partition("127.0.0.1:")[2].partition("/")[0])
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex(("127.0.0.1", port)) == 0


def main() -> int:
    """Run the soak test and print its figures; return 1 if a server is still running."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    rng = random.Random(options.seed)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        hub = world.clinder("hub", "--port", "0", "--quiet")
        assert hub.stdout
        with UnreliableProxy(hub.stdout.readline().strip(), rng) as proxy:
            soak = Soak(world, proxy.origin, rng)
            with Killer(world, rng) as killer, ThreadPoolExecutor(options.at_once) as pool:
                list(pool.map(soak.session, range(options.sessions)))
            running = soak.running(proxy.real)
            remaining = _remaining(world)
        print(f"sessions: {options.sessions}, {options.at_once} at a time, seed {options.seed}")
        print(f"seconds:  {time.monotonic() - start:.0f}, slowest process {soak.slowest:.1f}")
        print(f"exits:    {_format_counts(soak.codes)}")
        print(f"signals:  {_format_counts(soak.signals)}")
        print(f"faults:   {_format_counts(proxy.faults)}")
        print(f"servers:  {_format_counts(proxy.server_faults)}")
        print(f"code:     {_format_counts(soak.code)}")
        print(f"killed:   {_format_counts(killer.killed)}")
        print(f"remaining processes: {len(remaining)}", *remaining, sep="\n")
        print(f"tokens:   {len(soak.urls)} received, {len(running)} of their servers still running")
        print(f"unexpected: {len(soak.unexpected)}", *soak.unexpected, sep="\n")
        hub.send_signal(signal.SIGINT)
        world.finish(hub)
    return 1 if running or remaining or soak.unexpected else 0


def _remaining(world: World) -> list[str]:
    """Return the command lines of clinder's processes that still run after a while.

    A launch that ends before the hub has sent a token can leave a server.
    """

    def commands() -> list[str]:
        found = [" ".join(each.cmdline()) for each in world.processes("-m clinder ")]
        return [each for each in found if " hub --port" not in each]

    with suppress(AssertionError):
        until(lambda: not commands(), 30)
    return commands()


def _format_counts(counter: Counter[str]) -> str:
    return ", ".join(f"{key}: {count}" for key, count in sorted(counter.items()))


if __name__ == "__main__":
    sys.exit(main())
