"""What people install: the sdist, the wheel, and what the package index shows of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import clinder

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
FOLDERS = {".ci", ".github", "benchmarks", "docs", "examples", "post", "src", "tests", "tools"}
FILES = {
    *(".gitattributes", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CONTRIBUTING.md"),
    *("LICENSE", "Makefile", "PKG-INFO", "README.md", "RELEASING.md", "SECURITY.md", "action.yml"),
    "pyproject.toml",
}
MADE = {"__pycache__", "_build", ".ipynb_checkpoints", "node_modules"}
LONG_AGO = 1_000_000_000.0  # the mtime, in seconds since 1970, of the sources of a second build


@dataclass(frozen=True)
class Dist:
    """What one build has made."""

    sdist: Path
    wheel: Path

    @property
    def metadata(self) -> Message:
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
            return HeaderParser().parsestr(archive.read(name).decode())


def _run(command: Sequence[str | Path], folder: Path, umask: int = -1, **variables: str) -> str:
    """Run a command and return what it says, which is shown where it fails."""
    ran = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        umask=umask,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def _build(source: Path, target: Path, umask: int = -1, **variables: str) -> Dist:
    """Build as ``make dist`` does: the sdist from the sources, the wheel from the sdist."""
    builder = [sys.executable, "-m", "build", "--no-isolation"]
    target.mkdir()
    _run([*builder, "--outdir", target, source], target, umask, **variables)
    (sdist,), (wheel,) = target.glob("*.tar.gz"), target.glob("*.whl")
    return Dist(sdist, wheel)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Dist:
    """The sdist and the wheel of this checkout, built once, which takes some three seconds."""
    return _build(ROOT, tmp_path_factory.mktemp("packaging") / "dist")


@pytest.fixture(scope="module")
def unpacked(dist: Dist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the sdist, as somebody has them who unpacks it."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(dist.sdist) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"clinder-{clinder.__version__}"


@pytest.fixture(scope="module")
def installed(dist: Dist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment that has the wheel, and what it depends on."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "venv", with_pip=False)
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python")]
    _run([*pip, "install", "--quiet", "--disable-pip-version-check", dist.wheel], folder)
    _run([*pip, "check"], folder)
    return programs


# What is in them


def test_the_same_sources_give_the_same_bytes(dist: Dist, unpacked: Path, tmp_path: Path) -> None:
    """Whenever, wherever and as whoever they are built; so the sdist has lost nothing, too."""
    for file in unpacked.rglob("*"):
        os.utime(file, (LONG_AGO, LONG_AGO))
    umask = -1 if os.name == "nt" else 0o077
    variables = {"LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}

    again = _build(unpacked, tmp_path / "again", umask, **variables)

    assert again.sdist.read_bytes() == dist.sdist.read_bytes()
    assert again.wheel.read_bytes() == dist.wheel.read_bytes()


def test_the_time_of_the_build_is_the_one_that_is_given(unpacked: Path, tmp_path: Path) -> None:
    dist = _build(unpacked, tmp_path / "dated", SOURCE_DATE_EPOCH=f"{LONG_AGO:.0f}")

    with tarfile.open(dist.sdist) as sdist, zipfile.ZipFile(dist.wheel) as wheel:
        assert {each.mtime for each in sdist} == {LONG_AGO}
        assert {each.date_time[:3] for each in wheel.infolist()} == {(2001, 9, 9)}


def test_the_sdist_is_the_repository_with_all_that_the_tests_read(unpacked: Path) -> None:
    there = {
        file.relative_to(ROOT)
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and not MADE & set(file.relative_to(ROOT).parts)
    }

    assert {path.name for path in unpacked.iterdir()} == FOLDERS | FILES
    assert {path for path in there if not (unpacked / path).is_file()} == set()


def test_the_wheel_holds_clinder_without_the_actions_surface(dist: Dist) -> None:
    package = ROOT / "src" / "clinder"
    sources = {path.relative_to(package.parent).as_posix() for path in package.rglob("*.py")}

    with zipfile.ZipFile(dist.wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert "clinder/py.typed" in names
    assert names == {
        "clinder/py.typed",
        *(name for name in sources if not name.startswith("clinder/action/")),
    }


# What the index shows


def test_twine_would_upload_them(dist: Dist) -> None:
    twine = [sys.executable, "-m", "twine", "--no-color", "check", "--strict"]

    said = _run([*twine, dist.sdist, dist.wheel], ROOT, PYTHONIOENCODING="utf-8")

    assert said.count("PASSED") == 2


def test_every_link_of_the_description_leads_somewhere(dist: Dist) -> None:
    """The index's page is not beside the files that the README's links name."""
    version = re.escape(clinder.__version__)
    ours = re.compile(rf"https://github\.com/org/clinder-action/blob/v{version}/(.*)")

    links = re.findall(r"\]\(([^)]+)\)", str(dist.metadata.get_payload()))

    files = [ours.fullmatch(link) for link in links]
    assert {found[1] for found in files if found} >= {"docs/index.md", "CHANGELOG.md", "LICENSE"}
    assert not [found[1] for found in files if found and not (ROOT / found[1]).exists()]
    assert not [link for link in links if not link.startswith("https://")]


def test_what_it_says_of_itself(dist: Dist) -> None:
    said = dist.metadata

    assert (said["Name"], said["Version"]) == ("clinder", clinder.__version__)
    assert (said["License-Expression"], said["License-File"]) == ("BSD-3-Clause", "LICENSE")
    assert said.get_all("Provides-Extra") == ["local"]
    assert not [each for each in said.get_all("Requires-Dist", []) if "toolkit" in each]
    assert {each.split(", ")[0] for each in said.get_all("Project-URL", [])} == {
        *("Documentation", "Source", "Issues", "Changelog")
    }


def test_the_pythons_that_it_names_are_those_that_ci_tests(dist: Dist) -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    matrix = re.search(r"python: \[(.*)\]", workflow)
    assert matrix
    tested = set(re.findall(r"3\.\d+", matrix[1]))

    named = re.findall(r"Python :: (3\.\d+)", str(dist.metadata.get_all("Classifier")))

    assert set(named) == tested
    assert all(SpecifierSet(dist.metadata["Requires-Python"]).contains(each) for each in tested)
    assert "3.9" not in SpecifierSet(dist.metadata["Requires-Python"])


def test_what_builds_it_here_is_what_builds_it_elsewhere() -> None:
    requires = re.search(r"^requires = \[(.*)\]$", PYPROJECT, re.MULTILINE)
    dist = re.search(r"^dist = \[.*\n((?: .*\n)+)\]$", PYPROJECT, re.MULTILINE)
    assert requires
    assert dist

    assert set(re.findall(r'"(.+?)"', requires[1])) <= set(re.findall(r'"(.+?)"', dist[1]))


# Installed


def test_its_command_tells_its_version(installed: Path, tmp_path: Path) -> None:
    said = _run([installed / "clinder", "--version"], tmp_path)

    assert said == f"clinder {clinder.__version__}\n"


def test_its_command_has_help(installed: Path, tmp_path: Path) -> None:
    said = _run([installed / "clinder", "start", "--help"], tmp_path)

    assert said.startswith("Usage: clinder start [OPTIONS] [REPOSITORY]\n")


def test_python_imports_all_of_it(installed: Path, tmp_path: Path) -> None:
    """What is declared suffices: each module imports, but for those of the extra ``local``."""
    imports_all = """
import importlib, pkgutil, clinder
found = [each.name for each in pkgutil.walk_packages(clinder.__path__, "clinder.")]
for name in found:
    if not name.startswith("clinder.embedded.") and name != "clinder.__main__":
        importlib.import_module(name)
print(clinder.__version__, len(found) > 30, "clinder.action" in found)
"""
    said = _run([installed / "python", "-I", "-c", imports_all], tmp_path)

    assert said == f"{clinder.__version__} True False\n"


# Where it is made


@pytest.mark.posix
def test_make_builds_and_checks_them_as_these_tests_do() -> None:
    said = _run(["make", "--dry-run", "--no-print-directory", "dist", "zipapp"], ROOT)

    assert "python -m build --no-isolation --outdir dist\n" in said
    assert "twine check --strict dist/*\n" in said
    assert "python tools/build_zipapp.py clinder.pyz\n" in said


def test_before_a_commit_the_versions_run_that_pyproject_names() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    used = re.findall(r"additional_dependencies: \[(.*)\]", hooks)

    pins = {pin for each in used for pin in re.findall(r'"(.+?)"', each)}

    assert len(used) == hooks.count("- id: ")
    assert len(pins) >= 4
    assert not [pin for pin in pins if f'"{pin}"' not in PYPROJECT]
