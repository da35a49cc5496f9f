"""Build clinder.pyz, one file with clinder and the action's locked packages: ``make zipapp``.

The same sources and the same lock always give the same bytes: the file contains no times, owners or
modes, its order is fixed, and the installer's notes about the installation are removed.

It is only for the action. With click and rich, for the command line, it would be 2.7 MB instead of
1.0 MB, and each job would take twice as long to unpack it.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

from clinder.action.bootstrap import fill_from_index

ROOT = Path(__file__).resolve().parents[1]
_INSTALLER_FILES = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json")
_MAIN = '''\
"""Runs on ``python clinder.pyz``: this file is for the GitHub Action."""

import sys

from clinder import __version__

if sys.argv[1:] != ["--version"]:
    sys.exit("This file is for clinder's GitHub Action. The command line is `uvx clinder`.")
print(f"clinder {__version__}")
'''


def main(target: Path) -> None:
    """Write the file, completely or not at all."""
    with tempfile.TemporaryDirectory(prefix="zipapp-") as folder:
        packages = Path(folder, "packages")
        packages.mkdir()
        fill_from_index(packages, ROOT)
        Path(packages, "__main__.py").write_text(_MAIN, encoding="utf-8", newline="\n")
        new = target.with_name(f"{target.name}.new")
        with zipfile.ZipFile(new, "w") as archive:
            for file in _files(packages):
                archive.writestr(_entry(file.relative_to(packages)), file.read_bytes())
        new.replace(target)


def _files(packages: Path) -> list[Path]:
    files = [each for each in packages.rglob("*") if each.is_file()]
    kept = [each for each in files if each.name not in _INSTALLER_FILES and each.suffix != ".pyc"]
    return sorted(kept, key=lambda each: each.relative_to(packages).as_posix())


def _entry(name: Path) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name.as_posix())  # dated 1980-01-01, the earliest in a zip file
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix, so that the modes below apply
    entry.external_attr = 0o644 << 16
    return entry


if __name__ == "__main__":
    main(Path(sys.argv[1]))
