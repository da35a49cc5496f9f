"""clinder.pyz: one reproducible file with everything that the action needs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import clinder
from clinder.action.bootstrap import ZIPAPP

ROOT = Path(__file__).resolve().parents[1]
BUILDER = ROOT / "tools" / "build_zipapp.py"
WITHOUT_ITS_DEPENDENCIES = "actions-toolkit"


def _build(target: Path, directory: Path, umask: int = 0o022, **variables: str) -> Path:
    subprocess.run(
        [sys.executable, BUILDER, target],
        cwd=directory,
        env={**os.environ, **variables},
        umask=umask,
        timeout=100,
        check=True,
    )
    return target


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zipapp, built once, which takes a second or two and needs the package index."""
    folder = tmp_path_factory.mktemp("zipapp")
    return _build(folder / ZIPAPP, ROOT)


def _python(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_builds_are_reproducible(zipapp: Path, tmp_path: Path) -> None:
    umask = 0o022 if os.name == "nt" else 0o077
    variables = {"LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}

    again = _build(tmp_path / "other.pyz", tmp_path, umask, **variables)

    assert again.read_bytes() == zipapp.read_bytes()


def test_it_prints_its_version_and_refers_to_the_command_line(zipapp: Path) -> None:
    version = _python(zipapp, "--version")
    start = _python(zipapp, "start")

    assert (version.stdout, version.stderr) == (f"clinder {clinder.__version__}\n", "")
    assert start.returncode == 1
    assert "The command line is `uvx clinder`." in start.stderr


def test_it_contains_clinder_and_the_locked_packages(zipapp: Path) -> None:
    with zipfile.ZipFile(zipapp) as archive:
        names = archive.namelist()

    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        *("__main__.py", "actions_toolkit", "certifi", "charset_normalizer", "clinder", "h11"),
        *("idna", "packaging", "requests", "ruamel", "sseclient", "urllib3", "wsproto"),
    }
    assert not [name for name in names if name.endswith((".pyc", ".so", ".pyd", "/RECORD"))]
    assert [name for name in names if "LICENSE" in name.upper()]


def _distributions(zipapp: Path) -> Iterator[tuple[Requirement, list[Requirement]]]:
    """Yield each package as a pin, with its requirements."""
    with zipfile.ZipFile(zipapp) as archive:
        for name in archive.namelist():
            if name.endswith(".dist-info/METADATA"):
                metadata = HeaderParser().parsestr(archive.read(name).decode())
                needs = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
                pin = Requirement(f"{metadata['Name'].replace('_', '-')}=={metadata['Version']}")
                yield pin, [each for each in needs if "extra" not in str(each.marker)]


def test_it_satisfies_the_requirements_of_its_packages(zipapp: Path) -> None:
    packages = list(_distributions(zipapp))
    versions = {pin.name: next(iter(pin.specifier)).version for pin, _ in packages}

    for pin, needs in packages:
        for need in needs:
            if pin.name != WITHOUT_ITS_DEPENDENCIES:
                assert versions[need.name.replace("_", "-")] in need.specifier
    assert WITHOUT_ITS_DEPENDENCIES in versions
