"""The folder by which a gateway in a process of its own and other programs find each other.

It is readable by this user only. It has the gateway's settings, with the session's token; its
address, as long as it listens; the request to end; its log and its report.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

SETTINGS = "gateway-settings.json"
READY = "gateway.json"
END = "gateway-end"
LOG = "gateway.log"
_REPORT = "report.json"


@dataclass(frozen=True)
class Handed:
    """How programs find the gateway: the variables, and its token among them."""

    pid: int
    url: str
    token: str = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)


def read_handed(folder: Path) -> Handed | None:
    """Return how programs find the gateway of a folder, ``None`` if it does not listen."""
    with suppress(OSError, ValueError, TypeError):
        return Handed(**json.loads((folder / READY).read_text(encoding="utf-8")))
    return None


def report_path(folder: Path) -> Path:
    """Return the path of the report, which is always complete, and renewed every 2 s."""
    return folder / _REPORT


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, completely or not at all."""
    new = path.with_name(f"{path.name}.new")
    with open_private(new) as file:
        file.write(text.encode())
    new.replace(path)


def open_private(path: Path) -> IO[bytes]:
    """Create a file that only this user can read, or empty it."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
