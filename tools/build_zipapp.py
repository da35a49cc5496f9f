"""Build clinder.pyz: clinder and the action's locked packages in one file. ``make zipapp``.

The same sources and the same lock give the same bytes, wherever and whenever it is built: no times,
no owners, no modes, a fixed order, and none of what an installer notes about where it installed.

It is the action's, not the command line's: with click and rich it has 2.4 MB instead of 0.65, and
unpacking it, which the action does once a job, takes twice as long.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

from clinder.action.bootstrap import fill_from_index

ROOT = Path(__file__).resolve().parents[1]
_INSTALLERS_NOTES = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json", "uv_cache.json")
_MAIN = '''\
"""What answers ``python clinder.pyz``: this file is for the GitHub Action."""

import sys

from clinder import __version__

if sys.argv[1:] != ["--version"]:
    sys.exit("This file is for clinder's GitHub Action. The command line is `uvx clinder`.")
print(f"clinder {__version__}")
'''


def main(target: Path) -> None:
    """Write the file, whole or not at all."""
    with tempfile.TemporaryDirectory(prefix="zipapp-") as folder:
        packages = Path(folder, "packages")
        packages.mkdir()
        fill_from_index(packages, ROOT)
        Path(packages, "__main__.py").write_text(_MAIN, encoding="utf-8", newline="\n")
        made = target.with_name(f"{target.name}.new")
        with zipfile.ZipFile(made, "w") as archive:
            for file in _files(packages):
                archive.writestr(_entry(file.relative_to(packages)), file.read_bytes())
        made.replace(target)


def _files(packages: Path) -> list[Path]:
    found = [each for each in packages.rglob("*") if each.is_file()]
    kept = [each for each in found if each.name not in _INSTALLERS_NOTES and each.suffix != ".pyc"]
    return sorted(kept, key=lambda each: each.relative_to(packages).as_posix())


def _entry(name: Path) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name.as_posix())  # of 1980-01-01, the first day that a zip file knows
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix: the modes are these
    entry.external_attr = 0o644 << 16
    return entry


if __name__ == "__main__":
    main(Path(sys.argv[1]))
