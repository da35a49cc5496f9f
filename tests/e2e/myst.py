"""MyST and Jupyter Book, small books for them, and the outputs in the sites that they build.

``make test`` installs both from PyPI into their own environment. The tests need no network: a
site's template is part of the book, and MyST's check for a newer version goes to a closed port.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

BIN = Path(sys.prefix) / "myst" / "bin"
MYST = str(BIN / "myst")
JUPYTER = str(BIN / "jupyter")
NOWHERE = "http://127.0.0.1:9"
OFFLINE = {"API_URL": NOWHERE, "npm_config_registry": NOWHERE}

BOOK = """
version: 1
project:
  title: A book
site:
  template: ./theme
"""
THEME = """
jtex: v1
build:
  install: "true"
  render: cp -r ../_build/site/content/. "$BUILD_DIRECTORY"
"""
"""A template that renders a site as its pages' content, so that ``--html`` works."""
PAGE = """---
title: A page
kernelspec:
  name: python3
  display_name: Python 3
---
"""
REQUEST = "import os\nprint('on', os.environ['BINDER_REQUEST'])"
"""Code that prints what only the server knows: the spec that the hub launched."""


def page(*cells: str) -> str:
    """Return a page with these cells."""
    return PAGE + "".join(f"\n```{{code-cell}} python3\n{cell}\n```\n" for cell in cells)


def theme(folder: Path) -> None:
    """Put the template beside a book's ``myst.yml``."""
    (folder / "theme").mkdir(parents=True)
    (folder / "theme" / "template.yml").write_text(THEME, encoding="utf-8")


def book(folder: Path, pages: Mapping[str, str]) -> Path:
    """Write a book with these pages, by path."""
    theme(folder)
    for name, text in {"myst.yml": BOOK, **pages}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def outputs(content: Path, name: str) -> list[dict[str, Any]]:
    """Return the outputs of a page's cells in a site; ``content`` is the site's folder."""
    tree = json.loads((content / f"{name}.json").read_text(encoding="utf-8"))
    return list(_iter_outputs(tree["mdast"]))


def _iter_outputs(node: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if "jupyter_data" in node:
        yield node["jupyter_data"]
    for child in node.get("children", ()):
        yield from _iter_outputs(child)


def printed(content: Path, name: str) -> str:
    """Return what a page's cells printed."""
    return "".join(each["text"] for each in outputs(content, name) if "text" in each)
