"""The settings of a bridge: a file in its kernelspecs' folder, which only its owner can read."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = "clinder-bridge.json"


@dataclass(frozen=True)
class Settings:
    """The gateway's URL and token, and the checkout's top folder on this machine.

    ``libraries`` are the folders from which a bridge imports clinder, the first, and wsproto.
    """

    url: str
    token: str = field(repr=False)
    top: str
    libraries: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write the file, readable by its owner only."""
        path = folder / FILE
        path.touch(0o600, exist_ok=False)
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def without_bridges(jupyter_path: str) -> str:
    """Return a ``JUPYTER_PATH`` without the folders of bridges' kernelspecs.

    A server that inherited them would offer bridges as its own kernels.
    """
    folders = jupyter_path.split(os.pathsep)
    return os.pathsep.join(each for each in folders if not Path(each, FILE).is_file())
