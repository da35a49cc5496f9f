"""The command of one ``clinder run``: tools that run on its session, and tools that end badly.

``python tool_session.py PLAN SESSION_FILE RESULTS``: the plan names the tools' commands; the
session file, which has the server's own token, belongs to the session.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

TIMEOUT = 120.0
Result = dict[str, Any]


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


class Server:
    """The session's server, as its hub sees it: without clinder's gateway."""

    def __init__(self, session_file: str):
        session = json.loads(Path(session_file).read_text(encoding="utf-8"))
        self._url, self._token = session["url"], session["token"]

    def request(self, path: str, method: str = "GET") -> Any:
        headers = {"Authorization": f"token {self._token}"}
        request = urllib.request.Request(f"{self._url}{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return json.loads(response.read() or "null")

    def kernels(self) -> list[str]:
        return [each["id"] for each in self.request("api/kernels")]

    def delete_kernel(self, page: str) -> None:
        """Delete a page's kernel, as a hub does that culls kernels."""
        sessions = self.request("api/sessions")
        (kernel,) = [each["kernel"]["id"] for each in sessions if page in each["path"]]
        self.request(f"api/kernels/{kernel}", "DELETE")

    def kill(self) -> None:
        """Kill the server's process."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if "clinder.embedded.jupyter_process" in process.cmdline():
                    is_own = process.environ().get("E2E_MARK") == os.environ["E2E_MARK"]
                    process.kill() if is_own else None


def is_running(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def run(command: list[str]) -> Result:
    """Run a tool to its end."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    return {"code": ended.returncode, "out": ended.stdout, "err": ended.stderr}


def end(execute: list[str], folder: Path, act: Callable[[dict[str, int]], None]) -> Result:
    """Execute a notebook and, while its cell runs, do something to these processes.

    Returns the tool's exit code and messages once the bridge has ended.
    """
    tool = subprocess.Popen(execute, cwd=folder, stderr=subprocess.PIPE, text=True)
    until(lambda: (folder / "running").exists() or tool.poll() is not None)
    assert tool.poll() is None, tool.communicate()
    children = psutil.Process(tool.pid).children(recursive=True)
    (bridge,) = [each for each in children if "bridge" in " ".join(each.cmdline())]
    kernel = int((folder / "running").read_text(encoding="utf-8"))
    act({"tool": tool.pid, "bridge": bridge.pid, "kernel": kernel})
    _, err = tool.communicate(timeout=TIMEOUT)
    psutil.wait_procs([bridge], TIMEOUT)
    until(lambda: not is_running(kernel))
    return {"code": tool.returncode, "out": "", "err": err}


def main(plan_file: str, session_file: str, results_file: str) -> None:
    """Run everything, two tools at a time."""
    plan = json.loads(Path(plan_file).read_text(encoding="utf-8"))
    server = Server(session_file)

    def ending(folder: str, act: Callable[[dict[str, int]], None]) -> Result:
        return end(plan["execute"], Path(folder), act)

    def kill(folder: str) -> Result:
        which, name = folder.split("-")
        return ending(folder, lambda pids: os.kill(pids[which], getattr(signal, name)))

    with ThreadPoolExecutor() as one, ThreadPoolExecutor(2) as two:
        # It takes a while until the gateway notices, so this begins first.
        deleted = one.submit(ending, "deleted", lambda _: server.delete_kernel("deleted"))
        running = {name: two.submit(run, command) for name, command in plan["tools"].items()}
        running |= {folder: two.submit(kill, folder) for folder in plan["killed"]}
        results: dict[str, Result] = {name: each.result() for name, each in running.items()}
        results["deleted"] = deleted.result()
    until(lambda: not server.kernels())
    results["server"] = ending("server", lambda _: server.kill())
    Path(results_file).write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
