"""Write requirements.txt of the action from its requirements.in: one pure wheel each, one hash.

``make lock``. pip-compile and uv would resolve the dependencies of actions-toolkit too, and list
the hash of every compiled wheel.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from clinder.action.bootstrap import ONLY_PURE

FOLDER = Path(__file__).resolve().parents[1] / "src" / "clinder" / "action"
_HEADER = "# Written by `make lock` from requirements.in: one pure wheel each, by its hash.\n"


def main() -> None:
    """Ask the package index for the newest versions, and lock them."""
    with tempfile.TemporaryDirectory() as target:
        report = subprocess.run(  # noqa: S603 - no shell, and the arguments are ours
            [
                *(sys.executable, "-I", "-m", "pip", "install", "--dry-run", "--ignore-installed"),
                *("--quiet", "--disable-pip-version-check", "--no-deps", *ONLY_PURE),
                *(f"--target={target}", "--report=-", "--requirement=requirements.in"),
            ],
            cwd=FOLDER,
            stdout=subprocess.PIPE,
            check=True,
        )
    lines = [_line(package) for package in json.loads(report.stdout)["install"]]
    text = _HEADER + "".join(sorted(lines))
    (FOLDER / "requirements.txt").write_text(text, encoding="utf-8", newline="\n")


def _line(package: dict[str, Any]) -> str:
    metadata, archive = package["metadata"], package["download_info"]["archive_info"]
    pin, sha256 = f"{metadata['name']}=={metadata['version']}", archive["hashes"]["sha256"]
    return f"{pin} \\\n    --hash=sha256:{sha256}\n"


if __name__ == "__main__":
    main()
