"""A soak test: many concurrent sessions on the embedded hub, with random faults and signals.

    python tests/soak.py --sessions 200 --at-once 8

Each session is a separate clinder process (``start`` and ``stop``, or ``run``), which might receive
SIGINT or SIGTERM at a random time. Connections to the hub are reset, cut, stalled or answered 503
at random. In the end, no Jupyter Server whose token clinder received must be running. It takes
some minutes, and runs only on POSIX.
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
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from e2e.world import World
from proxies import Relay

SESSION_URL = re.compile(r"The session is at (\S+)")
FAULTS = ("none", "none", "none", "reset", "cut", "stall", "503")
LAUNCH = ("--timeout", "180", "--idle-timeout", "20", "--readiness-timeout", "60")


class UnreliableProxy(Relay):
    """A proxy in front of the hub. Each connection has a random fault at a random byte."""

    def __init__(self, to: str, rng: random.Random):
        super().__init__(to)
        self._rng = rng
        self.faults: Counter[str] = Counter()

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
            while data := hub.recv(64):
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


@dataclass
class Soak:
    """What all sessions share, and their outcomes."""

    world: World
    hub: str
    rng: random.Random
    codes: Counter[str] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)
    urls: set[str] = field(default_factory=set)
    unexpected: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def session(self, number: int) -> None:
        """Run one session, and end it as a user would; record an unexpected outcome."""
        try:
            self._session(number)
        except AssertionError as error:
            message = str(error)
            if "Traceback" in message and "clinder" not in message:
                self.codes["during Python's start"] += 1
            else:
                self.unexpected.append(message)

    def _session(self, number: int) -> None:
        file = self.world.directory / f"session-{number}.json"
        launch = ["--hub", self.hub, "--session-file", str(file), *LAUNCH]
        if number % 2:
            code, output = self._clinder(["run", "org/repo", *launch, "--", "sleep", "0.5"])
        else:
            code, output = self._clinder(["start", "org/repo", *launch])
        self.codes[f"{code}"] += 1
        self.urls.update(SESSION_URL.findall(output))
        if file.exists():
            result = self.world.run("stop", "--session-file", str(file))
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

    def running(self) -> list[str]:
        """The URLs of the servers that are still running, among those whose token was received."""
        return sorted(url for url in self.urls if _listens(url))


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
            with ThreadPoolExecutor(options.at_once) as pool:
                list(pool.map(soak.session, range(options.sessions)))
            running = soak.running()
        print(f"sessions: {options.sessions}, {options.at_once} at a time, seed {options.seed}")
        print(f"seconds:  {time.monotonic() - start:.0f}, slowest process {soak.slowest:.1f}")
        print(f"exits:    {_format_counts(soak.codes)}")
        print(f"signals:  {_format_counts(soak.signals)}")
        print(f"faults:   {_format_counts(proxy.faults)}")
        print(f"tokens:   {len(soak.urls)} received, {len(running)} of their servers still running")
        print(f"unexpected: {len(soak.unexpected)}", *soak.unexpected, sep="\n")
        hub.send_signal(signal.SIGINT)
        world.finish(hub)
    return 1 if running or soak.unexpected else 0


def _format_counts(counter: Counter[str]) -> str:
    return ", ".join(f"{key}: {count}" for key, count in sorted(counter.items()))


if __name__ == "__main__":
    sys.exit(main())
