"""Makes clinder and what it needs importable, without touching anything of the user's Python.

Runs before anything is installed: standard library only, any Python from 3.10, ``python -I -S``.

All is put into one private folder of the job, made by the first use and found by the next: from
the release's zipapp, which is unpacked, so that the byte code of one step serves the later ones
(importing takes 0.2 s from a folder, 0.5 s from the zipapp itself, and unpacking 0.1 s); or else
from the package index, by an installer that this machine has:

1. ``pip`` of this Python: every hosted runner, every ``python`` image, most self-hosted ones.
2. ``uv`` on PATH: Pythons that uv has made, which have no pip.
3. the pip of a throw-away ``venv``: Pythons with ensurepip but no pip. It is last because it takes
   ten seconds.

A Debian ``python3`` with none of these is told what to add. The index, proxy and certificates are
those that the user's own configuration and environment name; what else that says of where and how
to install does not matter here. Each file is checked against its hash.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ZIPAPP = "clinder.pyz"
REQUIREMENTS = "src/clinder/action/requirements.txt"
_SECONDS = 180.0  # for one installer; it gives up on an index that does not answer long before

ONLY_PURE = (
    "--only-binary=:all:",
    "--platform=any",
    "--implementation=py",
    "--abi=none",
    "--python-version=3.10",
)
"""What makes pip choose wheels that every Python from 3.10 on every platform can use."""

_CONNECTS = re.compile(r"(PIP|UV)_.*(INDEX|LINKS|HOST|CERT|TLS|PROXY|CONFIG|TIMEOUT|KEYRING|NETRC)")
"""An installer's variables that say how to reach the index, not what to do with what it has."""

_HINT = "A release of this action has what it needs in it, and asks no package index."


class ProvisioningFailed(Exception):
    """What clinder needs cannot be had on this machine. The text is for people."""


class _Absent(Exception):
    """The installer is not on this machine."""


def provide(action_root: Path, folder: Path) -> None:
    """Make ``clinder`` importable, with its dependencies, in front of all other packages.

    ``action_root`` holds the action, ``folder`` is private to the job and exists. Raises
    :class:`ProvisioningFailed`; whatever is raised, nothing half made is left.
    """
    try:
        packages = _install_once(action_root, folder)
    except (OSError, zipfile.BadZipFile) as error:
        raise ProvisioningFailed(
            f"clinder's own packages cannot be put into {folder}: {error}"
        ) from error
    sys.path.insert(0, str(packages))


def fill_from_index(made: Path, action_root: Path) -> None:
    """Put the locked packages and clinder into an empty folder.

    Raises :class:`ProvisioningFailed`.
    """
    _install(action_root / REQUIREMENTS, made)
    for source in _sources(action_root):
        copy = made / source.relative_to(action_root / "src")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)


def _install_once(action_root: Path, folder: Path) -> Path:
    """Return the folder for these very packages: a rename makes it appear whole or not at all."""
    packages = folder / f"clinder-packages-{_digest(action_root)}"
    if packages.is_dir():
        return packages
    staging = Path(tempfile.mkdtemp(prefix="clinder-", dir=folder))
    try:
        made = staging / "packages"
        made.mkdir(mode=0o700)
        _fill(made, action_root)
        try:
            made.rename(packages)
        except OSError:
            if not packages.is_dir():  # else another step at the same time was first
                raise
        return packages
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fill(made: Path, action_root: Path) -> None:
    zipapp = action_root / ZIPAPP
    if zipapp.is_file():
        with zipfile.ZipFile(zipapp) as archive:
            archive.extractall(made)
    else:
        fill_from_index(made, action_root)


def _install(requirements: Path, target: Path) -> None:
    for installer in (_with_pip, _with_uv, _with_venv):
        try:
            installer(requirements, target)
        except _Absent:
            continue
        for unwanted in ("bin", "tests"):  # scripts; the tests of actions-toolkit
            shutil.rmtree(target / unwanted, ignore_errors=True)
        return
    raise ProvisioningFailed(
        f"{sys.executable} has no pip, and there is no uv. "
        "Add actions/setup-python before this step, or install python3-pip on this machine."
    )


def _digest(action_root: Path) -> str:
    """Return what tells one version of the action from another in the same job."""
    zipapp = action_root / ZIPAPP
    if zipapp.is_file():
        return hashlib.sha256(zipapp.read_bytes()).hexdigest()[:16]
    digest = hashlib.sha256((action_root / REQUIREMENTS).read_bytes())
    for source in _sources(action_root):
        digest.update(source.relative_to(action_root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _sources(action_root: Path) -> Iterator[Path]:
    yield from sorted((action_root / "src" / "clinder").rglob("*.py"))


def _with_pip(requirements: Path, target: Path, python: str = sys.executable) -> None:
    _run(
        "pip",
        [python, "-I", "-m", "pip", "install"],
        *("--quiet", "--disable-pip-version-check", "--no-input", "--no-cache-dir"),
        *("--no-user", "--no-deps", "--no-compile", "--require-hashes", *ONLY_PURE),
        *("--retries=2", f"--target={target}", f"--requirement={requirements}"),
        folder=target,
        absent="No module named pip",
    )


def _with_uv(requirements: Path, target: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        raise _Absent
    _run(
        "uv",
        [uv, "pip", "install"],
        *("--quiet", "--no-progress", "--no-cache", "--no-deps", "--require-hashes"),
        *("--only-binary=:all:", f"--python={sys.executable}", f"--target={target}"),
        f"--requirement={requirements}",
        folder=target,
    )


def _with_venv(requirements: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="venv-", dir=target.parent) as venv:
        _run(
            "venv",
            [sys.executable, "-I", "-m", "venv", venv],
            folder=target,
            absent="ensurepip",
        )
        python = next(path for path in Path(venv).glob("*/python*") if path.stem == "python")
        _with_pip(requirements, target, str(python))


def _run(name: str, command: list[str], *arguments: str, folder: Path, absent: str = "") -> None:
    """Run an installer in a folder; ``absent`` is what it says where it does not exist."""
    try:
        ran = subprocess.run(  # noqa: S603 - no shell, and the arguments are ours
            [*command, *arguments],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProvisioningFailed(
            f"{name} took over {_SECONDS:.0f} s to install what clinder needs. {_HINT}"
        ) from None
    if ran.returncode == 0:
        return
    if absent and absent in ran.stdout:
        raise _Absent
    raise ProvisioningFailed(
        f"{name} cannot install what clinder needs: {_cause(ran.stdout)} {_HINT}"
    )


def _environment() -> dict[str, str]:
    """Return this environment without an installer's settings, such as constraints for a project.

    A configuration file is left to it; its line for virtual environments is all that needs undoing.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "UV_")) or _CONNECTS.match(name)
    }
    return {**kept, "PIP_REQUIRE_VIRTUALENV": "0"}


def _cause(said: str) -> str:
    """Return the cause in an installer's words, on one line."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    for line in lines:
        _, broken, cause = line.partition("connection broken by ")
        if broken:
            return f"the package index cannot be reached, {cause}."[:600]
    at = next((at for at, line in enumerate(lines) if line.lower().startswith("error:")), -1)
    return " ".join(lines[at:])[:600] or "it did not say why."
