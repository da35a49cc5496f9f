"""Read the modes of files in a folder that another process changes at the same time."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path


def modes(folder: Path) -> dict[str, int]:
    """Return the mode of each file in a folder, except files that have just been replaced."""
    found: dict[str, int] = {}
    for each in folder.iterdir():
        with suppress(FileNotFoundError):
            found[each.name] = stat.S_IMODE(each.stat().st_mode)
    return found
