"""The machine and versions behind the figures, without anything that identifies the machine."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from benchmarks.measure import Bench
from benchmarks.page import ROOT
from e2e.act import ACT


def describe(bench: Bench, today: date) -> Mapping[str, str]:
    """Describe the machine, and the versions of everything that is compared."""
    client = json.loads((ROOT / "benchmarks/npm/package.json").read_text("utf-8"))["dependencies"]
    versions = {name: _version(bench, name) for name in ("clinder", "python", "node", "curl")}
    return {
        "date": today.isoformat(),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        **versions,
        "act": _version(bench, ACT),
        "npm client": ", ".join(f"`{name}` {version}" for name, version in client.items()),
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        match = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        match = None
    return match[1].strip() if match else platform.machine()


def _version(bench: Bench, name: str) -> str:
    output = _output(bench.program(name), "--version", environment=bench.environment)
    match = re.search(r"\d+(?:\.\d+)+\S*", output)
    return match[0] if match else "unknown"


def _commit() -> str:
    """Return the checkout's commit, and whether the sources have uncommitted changes."""
    git = ("git", "-C", str(ROOT))
    commit = _output(*git, "rev-parse", "--short=12", "HEAD").strip()
    changed = _output(*git, "status", "--porcelain", "--", "src")
    return f"{commit or 'unknown'}{' and changes' if changed else ''}"


def _output(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """Return a command's output, or an empty text if it fails."""
    result = subprocess.run(  # noqa: S603 - no shell, and the commands are ours
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return result.stdout if result.returncode == 0 else ""
