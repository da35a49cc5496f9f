"""A soak: many sessions at once on the embedded hub, with random faults and random signals.

    python tests/soak.py --sessions 200 --at-once 8

Each session is a clinder of its own (``start`` and ``stop``, or ``run``), which may be sent SIGINT
or SIGTERM at a random time; the way to the hub resets, cuts, stalls or fails at random. At the end
no Jupyter Server whose token clinder received may run. Takes some minutes; POSIX only.
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

KNOWN = re.compile(r"The session is at (\S+)")
FAULTS = ("none", "none", "none", "reset", "cut", "stall", "503")
LAUNCH = ("--timeout", "180", "--idle-timeout", "20", "--readiness-timeout", "60")


class Unreliable(Relay):
    """The way to the hub. Each connection has a fault by lot, somewhere in the answer."""

    def __init__(self, to: str, dice: random.Random):
        super().__init__(to)
        self._dice = dice
        self.faults: Counter[str] = Counter()

    def pass_on(self, connection: socket.socket, first: bytes) -> None:
        fault, at = self._dice.choice(FAULTS), self._dice.randint(0, 2500)
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
                        time.sleep(self._dice.uniform(0.5, 25))
                        fault = "none"
                        continue
                    if fault == "reset":
                        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return


@dataclass
class Soak:
    """What all sessions share, and what became of them."""

    world: World
    hub: str
    dice: random.Random
    codes: Counter[str] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)
    known: set[str] = field(default_factory=set)
    odd: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def session(self, number: int) -> None:
        """Have one session, and end it as a user would; keep what should not have happened."""
        try:
            self._session(number)
        except AssertionError as error:
            words = str(error)
            if "Traceback" in words and "clinder" not in words:
                self.codes["before it began"] += 1  # a signal met Python's own start
            else:
                self.odd.append(words)

    def _session(self, number: int) -> None:
        file = self.world.directory / f"session-{number}.json"
        launch = ["--hub", self.hub, "--session-file", str(file), *LAUNCH]
        if number % 2:
            code, words = self._clinder(["run", "org/repo", *launch, "--", "sleep", "0.5"])
        else:
            code, words = self._clinder(["start", "org/repo", *launch])
        self.codes[f"{code}"] += 1
        self.known.update(KNOWN.findall(words))
        if file.exists():  # handed out, or left with the line to type
            done = self.world.run("stop", "--session-file", str(file))
            assert done.code == 0, done.err

    def _clinder(self, arguments: list[str]) -> tuple[int, str]:
        began = time.monotonic()
        process = self.world.clinder(*arguments)
        name = self.dice.choice(("none", "SIGINT", "SIGTERM"))
        after = self.dice.uniform(0, 15)
        self.signals[name] += 1
        if name != "none":
            with suppress(subprocess.TimeoutExpired):
                process.wait(after)
            if process.poll() is None:
                process.send_signal(getattr(signal, name))
        result = self.world.finish(process)
        self.slowest = max(self.slowest, time.monotonic() - began)
        return result.code, result.err

    def left(self) -> list[str]:
        """The addresses of the servers that run, whose token was received."""
        addresses = {url for url in self.known if _listens(url)}
        return sorted(addresses)


def _listens(url: str) -> bool:
    port = int(url.partition("127.0.0.1:")[2].partition("/")[0])
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex(("127.0.0.1", port)) == 0


def main() -> int:
    """Run the soak and print its figures; 1 where a server is left."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    dice = random.Random(given.seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        hub = world.clinder("hub", "--port", "0", "--quiet")
        assert hub.stdout
        with Unreliable(hub.stdout.readline().strip(), dice) as way:
            soak = Soak(world, way.origin, dice)
            with ThreadPoolExecutor(given.at_once) as pool:
                list(pool.map(soak.session, range(given.sessions)))
            left = soak.left()
        print(f"sessions: {given.sessions}, {given.at_once} at a time, seed {given.seed}")
        print(f"seconds:  {time.monotonic() - began:.0f}, the slowest clinder {soak.slowest:.1f}")
        print(f"exits:    {_counted(soak.codes)}")
        print(f"signals:  {_counted(soak.signals)}")
        print(f"faults:   {_counted(way.faults)}")
        print(f"tokens:   {len(soak.known)} received, {len(left)} of their servers left")
        print(f"odd:      {len(soak.odd)}", *soak.odd, sep="\n")
        hub.send_signal(signal.SIGINT)
        world.finish(hub)
    return 1 if left or soak.odd else 0


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{key}: {count}" for key, count in sorted(counter.items()))


if __name__ == "__main__":
    sys.exit(main())
