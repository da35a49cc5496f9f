"""The sdist, the wheel, and the description on the package index."""

from __future__ import annotations

import json
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
NOT_SOURCES = {"__pycache__", "_build", ".ipynb_checkpoints", "node_modules"}
LONG_AGO = 1_000_000_000.0  # a modification time, in seconds since 1970


@dataclass(frozen=True)
class Dist:
    """The files that a build created."""

    sdist: Path
    wheel: Path

    @property
    def metadata(self) -> Message:
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
            return HeaderParser().parsestr(archive.read(name).decode())


def _run(command: Sequence[str | Path], folder: Path, umask: int = -1, **variables: str) -> str:
    """Run a command and return its output, which is shown if it fails."""
    result = subprocess.run(
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
    assert result.returncode == 0, result.stdout
    return result.stdout


def _build(source: Path, target: Path, umask: int = -1, **variables: str) -> Dist:
    """Build like ``make dist``: the sdist from the sources, the wheel from the sdist."""
    builder = [sys.executable, "-m", "build", "--no-isolation"]
    target.mkdir()
    _run([*builder, "--outdir", target, source], target, umask, **variables)
    (sdist,), (wheel,) = target.glob("*.tar.gz"), target.glob("*.whl")
    return Dist(sdist, wheel)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Dist:
    """The sdist and the wheel of this checkout, built once, which takes about three seconds."""
    return _build(ROOT, tmp_path_factory.mktemp("packaging") / "dist")


@pytest.fixture(scope="module")
def unpacked(dist: Dist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked sdist."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(dist.sdist) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"clinder-{clinder.__version__}"


@pytest.fixture(scope="module")
def installed(dist: Dist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with the wheel and its dependencies."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "venv", with_pip=False)
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python")]
    _run([*pip, "install", "--quiet", "--disable-pip-version-check", dist.wheel], folder)
    _run([*pip, "check"], folder)
    return programs


# Contents


def test_the_same_sources_give_the_same_bytes(dist: Dist, unpacked: Path, tmp_path: Path) -> None:
    """The second build is from the sdist, so this also shows that the sdist is complete."""
    for file in unpacked.rglob("*"):
        os.utime(file, (LONG_AGO, LONG_AGO))
    umask = -1 if os.name == "nt" else 0o077
    variables = {"LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}

    again = _build(unpacked, tmp_path / "again", umask, **variables)

    assert again.sdist.read_bytes() == dist.sdist.read_bytes()
    assert again.wheel.read_bytes() == dist.wheel.read_bytes()


def test_the_sdist_contains_everything_the_tests_read(unpacked: Path) -> None:
    sources = {
        file.relative_to(ROOT)
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and not NOT_SOURCES & set(file.relative_to(ROOT).parts)
    }

    assert {path.name for path in unpacked.iterdir()} == FOLDERS | FILES
    assert {path for path in sources if not (unpacked / path).is_file()} == set()


def test_the_wheel_contains_the_package_without_the_action(dist: Dist) -> None:
    package = ROOT / "src" / "clinder"
    sources = {path.relative_to(package.parent).as_posix() for path in package.rglob("*.py")}

    with zipfile.ZipFile(dist.wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert "clinder/py.typed" in names
    assert names == {
        "clinder/py.typed",
        *(name for name in sources if not name.startswith("clinder/action/")),
    }


# The package index


def test_the_links_in_the_description_lead_somewhere(dist: Dist) -> None:
    """On the index, the README's relative links would not work."""
    version = re.escape(clinder.__version__)
    ours = re.compile(rf"https://github\.com/org/clinder-action/blob/v{version}/(.*)")

    links = re.findall(r"\]\(([^)]+)\)", str(dist.metadata.get_payload()))

    files = {match[1].partition("#")[0] for link in links if (match := ours.fullmatch(link))}
    assert files >= {"docs/index.md", "CHANGELOG.md", "LICENSE"}
    assert not [file for file in files if not (ROOT / file).exists()]
    assert not [link for link in links if not link.startswith("https://")]
    picture = f"https://raw.githubusercontent.com/org/clinder-action/v{clinder.__version__}/"
    assert f"{picture}docs/session.svg" in links


def test_the_classifiers_name_the_python_versions_that_ci_tests(dist: Dist) -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    matrix = re.search(r"python: \[(.*)\]", workflow)
    assert matrix
    tested = set(re.findall(r"3\.\d+", matrix[1]))

    named = re.findall(r"Python :: (3\.\d+)", str(dist.metadata.get_all("Classifier")))

    assert set(named) == tested
    assert all(SpecifierSet(dist.metadata["Requires-Python"]).contains(each) for each in tested)
    assert "3.9" not in SpecifierSet(dist.metadata["Requires-Python"])


# Installed


def test_the_command_runs(installed: Path, tmp_path: Path) -> None:
    version = _run([installed / "clinder", "--version"], tmp_path)
    help_text = _run([installed / "clinder", "start", "--help"], tmp_path)

    assert version == f"clinder {clinder.__version__}\n"
    assert help_text.startswith("Usage: clinder start [OPTIONS] [REPOSITORY]\n")


def test_every_module_can_be_imported(installed: Path, tmp_path: Path) -> None:
    """The declared dependencies suffice, except for the extra ``local`` and a tool's bridge."""
    script = """
import importlib, pkgutil, clinder
names = [each.name for each in pkgutil.walk_packages(clinder.__path__, "clinder.")]
for name in names:
    own = ("clinder.embedded.", "clinder.bridge.relay", "clinder.bridge.sockets")
    if not name.startswith(own) and name != "clinder.__main__":
        importlib.import_module(name)
print(clinder.__version__, len(names) > 30, "clinder.action" in names)
"""
    output = _run([installed / "python", "-I", "-c", script], tmp_path)

    assert output == f"{clinder.__version__} True False\n"


BRIDGE = """
import pathlib, sys
from clinder.bridge.kernelspecs import write_kernelspecs
url, specs = "http://127.0.0.1:9/", {"kernelspecs": {"python3": {"spec": {}}}}
folder = pathlib.Path(sys.argv[1])
write_kernelspecs(folder, specs, url=url, token="t", top=folder, local=())
"""


def test_a_tool_in_another_environment_starts_the_wheel_s_bridge(
    installed: Path, tmp_path: Path
) -> None:
    """It needs the other environment's pyzmq, and ends because there is no gateway."""
    _run([installed / "python", "-I", "-c", BRIDGE, tmp_path], tmp_path)
    spec = json.loads((tmp_path / "kernels" / "python3" / "kernel.json").read_text())
    connection = {f"{name}_port": 0 for name in ("hb", "iopub", "shell", "control", "stdin")}
    (tmp_path / "connection.json").write_text(json.dumps({**connection, "ip": "127.0.0.1"}))
    _, program, *arguments, _ = spec["argv"]

    ended = subprocess.run(
        [sys.executable, program, *arguments, "connection.json"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        timeout=100,
        check=False,
    )

    assert Path(program).is_relative_to(installed.parent)
    assert ended.returncode == 1
    assert "clinder: clinder's gateway does not respond: " in ended.stderr


# pre-commit


def test_pre_commit_uses_the_versions_of_pyproject() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    used = re.findall(r"additional_dependencies: \[(.*)\]", hooks)

    pins = {pin for each in used for pin in re.findall(r'"(.+?)"', each)}

    assert len(used) == hooks.count("- id: ")
    assert len(pins) >= 4
    assert not [pin for pin in pins if f'"{pin}"' not in PYPROJECT]
