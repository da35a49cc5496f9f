"""Makes clinder and its dependencies importable without changing the user's Python.

Runs before anything is installed: standard library only, Python 3.10 or newer, ``python -I -S``.

The packages go into one private folder of the job, which the first use of the action creates and
later uses share. A release contains them as a zipapp. It is unpacked, so that later steps find the
byte code of earlier steps: importing takes 0.2 s from a folder but 0.5 s from the zipapp, and
unpacking takes 0.1 s. A branch or commit has no zipapp, so pip installs the locked packages from
the package index. Index, proxy and certificates are those of the user's pip configuration; its
other settings have no effect. pip checks every file against its hash.
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
_TIMEOUT = 180.0  # seconds; pip gives up much earlier on an index that does not respond

ONLY_PURE = (
    "--only-binary=:all:",
    "--platform=any",
    "--implementation=py",
    "--abi=none",
    "--python-version=3.10",
)
"""These options make pip choose wheels that work on every platform, with Python 3.10 or newer."""

_CONNECTION = re.compile(r"PIP_.*(INDEX|LINKS|HOST|CERT|TLS|PROXY|CONFIG|TIMEOUT|KEYRING|NETRC)")
"""The pip variables that configure how to reach the index, not what to install or where."""

_HINT = "A release of this action contains its packages and needs no package index."


class ProvisioningFailed(Exception):
    """The packages cannot be installed on this machine. The message is for people."""


def provide(action_root: Path, folder: Path) -> None:
    """Make ``clinder`` and its dependencies importable, ahead of all other packages.

    ``action_root`` holds the action; ``folder`` exists and is private to the job. Raises
    :class:`ProvisioningFailed`. Whatever is raised, no partial installation remains.
    """
    try:
        packages = _install_once(action_root, folder)
    except (OSError, zipfile.BadZipFile) as error:
        message = f"clinder's packages cannot be written to {folder}: {error}"
        raise ProvisioningFailed(message) from error
    sys.path.insert(0, str(packages))


def fill_from_index(target: Path, action_root: Path) -> None:
    """Install the locked packages and clinder into an empty folder.

    Raises :class:`ProvisioningFailed`.
    """
    _install(action_root / REQUIREMENTS, target)
    for source in _sources(action_root):
        copy = target / source.relative_to(action_root / "src")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)


def _install_once(action_root: Path, folder: Path) -> Path:
    """Return the folder of this version's packages. A rename makes it appear only when complete."""
    packages = folder / f"clinder-packages-{_digest(action_root)}"
    if packages.is_dir():
        return packages
    staging = Path(tempfile.mkdtemp(prefix="clinder-", dir=folder))
    try:
        target = staging / "packages"
        target.mkdir(mode=0o700)
        _fill(target, action_root)
        try:
            target.rename(packages)
        except OSError:
            if not packages.is_dir():  # otherwise a concurrent step was faster
                raise
        return packages
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fill(target: Path, action_root: Path) -> None:
    zipapp = action_root / ZIPAPP
    if zipapp.is_file():
        with zipfile.ZipFile(zipapp) as archive:
            archive.extractall(target)
    else:
        fill_from_index(target, action_root)


def _digest(action_root: Path) -> str:
    """Return a digest that differs between versions of the action, which one job can mix."""
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


def _install(requirements: Path, target: Path) -> None:
    command = (
        *(sys.executable, "-I", "-m", "pip", "install"),
        *("--quiet", "--disable-pip-version-check", "--no-input", "--no-cache-dir"),
        *("--no-user", "--no-deps", "--no-compile", "--require-hashes", *ONLY_PURE),
        *("--retries=2", f"--target={target}", f"--requirement={requirements}"),
    )
    try:
        pip = subprocess.run(  # noqa: S603 - no shell, and the arguments are ours
            command,
            cwd=target,
            env=_pip_environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProvisioningFailed(
            f"pip took more than {_TIMEOUT:.0f} s to install clinder's packages. {_HINT}"
        ) from None
    if "No module named pip" in pip.stdout:
        raise ProvisioningFailed(
            f"{sys.executable} has no pip. Add actions/setup-python before this step, install "
            "python3-pip, or use a release of this action, which needs no installer."
        )
    if pip.returncode != 0:
        cause = _find_cause(pip.stdout)
        raise ProvisioningFailed(f"pip cannot install clinder's packages: {cause} {_HINT}")
    for unwanted in ("bin", "tests"):  # scripts; the tests of actions-toolkit
        shutil.rmtree(target / unwanted, ignore_errors=True)


def _pip_environ() -> dict[str, str]:
    """Return this environment without pip's settings for other work, such as constraints.

    pip also reads its configuration file, but only ``require-virtualenv`` there has to be undone.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PIP_") or _CONNECTION.match(name)
    }
    return {**kept, "PIP_REQUIRE_VIRTUALENV": "0"}


def _find_cause(output: str) -> str:
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    for line in lines:
        _, broken, cause = line.partition("connection broken by ")
        if broken:
            return f"the package index cannot be reached, {cause}."[:600]
    at = next((at for at, line in enumerate(lines) if line.lower().startswith("error:")), -1)
    return " ".join(lines[at:])[:600] or "pip did not report a cause."
