"""One test's directory, environment and processes, which are found by a mark."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

import psutil

CLINDER = [sys.executable, "-m", "clinder"]
MARK = "E2E_MARK"
AT_ONCE = 4
"""How many commands run at once. Two processors start more servers no faster."""

_COVERAGE = "COVERAGE_PROCESS_CONFIG"  # set by `make coverage`
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "PYTHONPATH", "VIRTUAL_ENV", _COVERAGE)

_Work = TypeVar("_Work")


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@dataclass(frozen=True)
class Result:
    """A command's exit code and output."""

    code: int
    out: str
    err: str


@dataclass
class World:
    """Runs commands, with ``variables`` and almost nothing of the caller's environment."""

    root: Path
    variables: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    tokens: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder in (self.directory, self.home, self.temporary):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def directory(self) -> Path:
        """The commands' working directory."""
        return self.root / "project"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def temporary(self) -> Path:
        """The directory of temporary files, which must be empty at the end."""
        return self.root / "tmp"

    def environ(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            MARK: self.mark,
            **self.variables,
            **(more or {}),
        }

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a command, its output in pipes unless ``options`` redirect it."""
        settings: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "cwd": self.directory,
            **options,
        }
        settings["env"] = self.environ(settings.get("env"))
        process = subprocess.Popen(command, text=True, **settings)
        self.started.append(process)
        return process

    def clinder(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start clinder in a process group of its own, as a shell without a terminal does."""
        return self.popen([*CLINDER, *arguments], start_new_session=True, **options)

    def finish(
        self, process: subprocess.Popen[str], stdin_text: str | None = None, *, timeout: float = 180
    ) -> Result:
        """Wait for a command to end, and check its messages."""
        try:
            out, err = process.communicate(stdin_text, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"it did not end; its output: {out} {err}") from None
        result = Result(process.returncode, out or "", err or "")
        self.check_messages(result.err)
        return result

    def run(self, *arguments: str, stdin_text: str | None = None, **options: Any) -> Result:
        """Run clinder to its end."""
        if stdin_text is not None:
            options["stdin"] = subprocess.PIPE
        return self.finish(self.clinder(*arguments, **options), stdin_text)

    def together(self, commands: Mapping[str, Sequence[str]]) -> dict[str, Result]:
        """Run clinder several times, a few at once to save time, and return all results."""
        return self._finish_all(commands, lambda arguments: self.clinder(*arguments))

    def sh(self, script: str) -> Result:
        """Run a shell script in which ``$CLINDER`` is clinder."""
        return self.scripts({"": script})[""]

    def scripts(self, scripts: Mapping[str, str]) -> dict[str, Result]:
        """Run shell scripts, a few at once, in which ``$CLINDER`` is clinder."""
        env = {"CLINDER": shlex.join(CLINDER)}
        return self._finish_all(scripts, lambda script: self.popen(["sh", "-c", script], env=env))

    def _finish_all(
        self, works: Mapping[str, _Work], begin: Callable[[_Work], subprocess.Popen[str]]
    ) -> dict[str, Result]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            results = pool.map(lambda work: self.finish(begin(work)), works.values())
            return dict(zip(works, results, strict=True))

    def start(self, *arguments: str) -> dict[str, Any]:
        """Start a session without a warm-up, and return its JSON."""
        result = self.run("start", "--hub", "local", "-o", "json", "--no-warm-up", *arguments)
        assert result.code == 0, result.err
        return self.parse_session(result.out)

    def parse_session(self, text: str) -> dict[str, Any]:
        """Parse a session's JSON. From now on, nothing is allowed to show its token."""
        session: dict[str, Any] = json.loads(text)
        self.tokens.append(session["token"])
        return session

    def check_messages(self, text: str) -> None:
        for noise in ("Exception ignored", "Traceback (most recent call last):", "A bug in"):
            assert noise not in text, text
        self.printed.append(text)

    def processes(self, text: str = "") -> list[psutil.Process]:
        """Return the running processes of this world whose command line contains a text."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(MARK) != self.mark:
                    continue
                command = " ".join(process.cmdline())
                assert not any(token in command for token in self.tokens), command
                if text in command and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def servers(self) -> list[psutil.Process]:
        return self.processes("clinder.embedded.jupyter_process")

    def wait_for_servers(self, count: int) -> None:
        until(lambda: len(self.servers()) == count)

    def kill_servers(self) -> None:
        """Kill the servers, and remove the folders that they can no longer remove."""
        for server in self.servers():
            server.kill()
        until(lambda: not self.servers())
        for folder in self.temporary.glob("clinder-*"):
            shutil.rmtree(folder, ignore_errors=True)  # its starter might remove it, too

    def end(self) -> None:
        """Check that no process runs, no file remains, and no message showed a token."""
        try:
            until(lambda: not self._remains(), 30)
        except AssertionError:
            raise AssertionError(f"these remain: {self._remains()}") from None
        finally:
            self._clean_up()
        for text in self.printed:
            assert not any(token in text for token in self.tokens), text

    def _remains(self) -> list[object]:
        return [*self.processes(), *self.temporary.glob("clinder-*")]

    def _clean_up(self) -> None:
        """Clean up after a failed test, too."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()
        for started in self.started:
            for stream in (started.stdin, started.stdout, started.stderr):
                if stream:
                    stream.close()
            started.wait()


def line_with(stream: IO[str] | None, text: str) -> str:
    """Read lines until one contains a text, and return all lines read."""
    assert stream is not None
    read = ""
    for line in stream:
        read += line
        if text in line:
            return read
    raise AssertionError(f"no line contains {text!r}: {read}")
