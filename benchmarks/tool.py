"""Runs code on a kernel of this machine, with Jupyter's own client, as papermill and others do.

python tool.py start 0          starts a kernel, and waits until it responds
python tool.py cells NUMBER     runs NUMBER small cells, one after the other
python tool.py output BYTES     runs one cell that displays BYTES bytes of text

The kernelspec is ``python3``; JUPYTER_PATH decides whether it starts a bridge. Prints the seconds.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from jupyter_client.manager import KernelManager

_TIMEOUT = 120


def main(task: str, number: int) -> None:
    """Run the task and print how long it took."""
    start = time.perf_counter()
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client: Any = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=_TIMEOUT)
    length = 0

    def hear(message: dict[str, Any]) -> None:
        nonlocal length
        length += len(message["content"].get("data", {}).get("text/plain", ""))

    def run(code: str) -> None:
        reply = client.execute_interactive(code, output_hook=hear, timeout=_TIMEOUT)
        if reply["content"]["status"] != "ok":
            raise SystemExit("a cell failed")

    if task != "start":
        run("from IPython.display import display")
        start = time.perf_counter()
    if task == "cells":
        for each in range(number):
            run(f"print({each})")
    elif task == "output":
        run(f"display({{'text/plain': 'x' * {number}}}, raw=True)")
    seconds = time.perf_counter() - start
    if task == "output" and length < number:
        raise SystemExit("output is missing")
    client.stop_channels()
    manager.shutdown_kernel()
    sys.stdout.write(f"seconds: {seconds}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
