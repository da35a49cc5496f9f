"""The modes of files that a process replaces meanwhile, as the gateway does with its report."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path


def modes(folder: Path) -> dict[str, int]:
    """Return the mode of each file in a folder, without those that are gone by then."""
    found: dict[str, int] = {}
    for each in folder.iterdir():
        with suppress(FileNotFoundError):
            found[each.name] = stat.S_IMODE(each.stat().st_mode)
    return found
