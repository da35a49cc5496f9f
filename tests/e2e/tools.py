"""Tools that execute notebooks, and notebooks that print what only the session knows.

``make test`` installs the tools from PyPI into environments of their own. No tool has the packages
that the notebooks import: those are the session's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BIN = Path(sys.prefix) / "tools" / "bin"
OLDEST = Path(sys.prefix) / "tools-oldest" / "bin"
REQUEST = "import os\nprint('on', os.environ['BINDER_REQUEST'], 'in', os.getcwd())"
"""Code that prints the spec that the hub launched, which only the server knows."""


def notebook(path: Path, *cells: str, kernelspec: str = "python3") -> Path:
    """Write a notebook with these cells."""
    code: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"cell{number}",
            "source": cell,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        for number, cell in enumerate(cells)
    ]
    spec = {"name": kernelspec, "display_name": "Any", "language": "python"}
    content = {
        "cells": code,
        "metadata": {"kernelspec": spec},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def printed(path: Path) -> str:
    """Return what an executed notebook's cells printed."""
    cells: Sequence[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [each for cell in cells for each in cell.get("outputs", ())]
    return "".join("".join(each.get("text", "")) for each in outputs)
