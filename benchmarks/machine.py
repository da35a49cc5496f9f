"""What the figures were taken on, and of: nothing that names the machine itself."""

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


def described(bench: Bench, today: date) -> Mapping[str, str]:
    """Return the machine and the versions of all that is compared, in words."""
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
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()


def _version(bench: Bench, name: str) -> str:
    said = _said(bench.program(name), "--version", environment=bench.environment)
    found = re.search(r"\d+(?:\.\d+)+\S*", said)
    return found[0] if found else "unknown"


def _commit() -> str:
    """Return the checkout's commit, and whether the sources are other than it has them."""
    git = ("git", "-C", str(ROOT))
    commit = _said(*git, "rev-parse", "--short=12", "HEAD").strip()
    changed = _said(*git, "status", "--porcelain", "--", "src")
    return f"{commit or 'unknown'}{' and changes' if changed else ''}"


def _said(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """Return what a command says, nothing where it fails."""
    ran = subprocess.run(  # noqa: S603 - no shell, and the commands are ours
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return ran.stdout if ran.returncode == 0 else ""
