"""The executable of the command that ``clinder run`` starts, and what it needs to run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from clinder.errors import UsageError

_PACKAGES = {
    "jb": "jupyter-book",
    "jupyter-book": "jupyter-book",
    "jupyter-execute": "nbclient",
    "jupyter-nbconvert": "nbconvert",
    "myst": "mystmd",
    "papermill": "papermill",
    "sphinx-build": "sphinx",
}
_ALLOW_NODEENV = "MYSTMD_ALLOW_NODEENV"


def find_executable(name: str) -> str:
    """Return the path of a command. Raises :class:`~clinder.errors.UsageError` if there is none.

    On Windows it can be ``myst.cmd``, which would not start as ``myst``.
    """
    path = shutil.which(name)
    if path is None:
        package = _PACKAGES.get(name)
        install = f"Install it with `pip install {package}`" if package else "Check its spelling"
        raise UsageError(
            f"The command {name!r} does not exist or is not executable.",
            hint=f"{install}, or write the path of the executable.",
        )
    return path


def require_node(name: str, environ: Mapping[str, str]) -> None:
    """Raise :class:`~clinder.errors.UsageError` if a command is MyST and Node.js is missing.

    MyST's Python package looks for ``node`` on PATH, then for the one that it has installed into
    its own folder. Otherwise it asks whether to install one, unless MYSTMD_ALLOW_NODEENV says so
    (``mystmd_py/nodeenv.py`` of mystmd 1.11).
    """
    if Path(name).stem != "myst" or shutil.which("node", path=environ.get("PATH")):
        return
    if environ.get(_ALLOW_NODEENV) or _myst_folder(environ).is_dir():
        return
    raise UsageError(
        "MyST needs Node.js, and `node` is not on PATH.",
        hint="Install Node.js 20 or newer (https://nodejs.org), or set MYSTMD_ALLOW_NODEENV=1 to "
        "let MyST install it.",
    )


def _myst_folder(environ: Mapping[str, str]) -> Path:
    """Return where MyST installs Node.js, which is ``platformdirs.user_data_path("myst")``."""
    home = Path(environ.get("HOME") or "~").expanduser()
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "myst"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "myst"
    return Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "myst"
