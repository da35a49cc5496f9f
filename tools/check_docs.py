"""Check that MyST builds docs/ without a warning: ``make docs`` runs this with a session.

``python tools/check_docs.py MYST``. With a session in the environment MyST also executes the pages.
The site's theme would have to be downloaded, so the check uses an empty one; the workflow that
publishes the site uses the real one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

DOCS = Path(__file__).resolve().parents[1] / "docs"
_NOWHERE = "http://127.0.0.1:9"
_OFFLINE = {"API_URL": _NOWHERE, "npm_config_registry": _NOWHERE}
"""MyST looks for a newer version there; nothing listens, so it needs no network."""


def main(myst: str) -> None:
    """Build a copy of the documentation; exit with MyST's output if it fails or warns."""
    if not shutil.which(myst):
        sys.exit(f"{myst} is not installed: run `make docs`.")
    with tempfile.TemporaryDirectory(prefix="docs-") as folder:
        copy = Path(folder, "docs")
        shutil.copytree(DOCS, copy, ignore=shutil.ignore_patterns("_build"))
        _use_empty_theme(copy)
        execute = ["--execute"] if os.environ.get("JUPYTER_BASE_URL") else []
        result = subprocess.run(  # noqa: S603 - no shell, and the program is the Makefile's
            [myst, "build", "--site", "--strict", "--ci", *execute],
            cwd=copy,
            env={**os.environ, **_OFFLINE},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            check=False,
        )
    if result.returncode or "⚠" in result.stdout or "⛔" in result.stdout:
        sys.exit(result.stdout)


def _use_empty_theme(copy: Path) -> None:
    settings = yaml.safe_load((copy / "myst.yml").read_text("utf-8"))
    settings["site"] = {"template": "./theme"}
    (copy / "theme").mkdir()
    (copy / "theme" / "template.yml").write_text("jtex: v1\n", encoding="utf-8")
    (copy / "myst.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
