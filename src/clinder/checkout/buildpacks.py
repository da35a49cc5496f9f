"""Which files repo2docker reads, and whether a build needs more of the repository than these.

The names and their precedence are those of repo2docker's own ``buildpacks``. A file that is not
understood counts as needing the repository, because a needless build is better than a stale image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from clinder.checkout import environment_files

FOLDERS = ("binder", ".binder")
"""If one of these exists, repo2docker reads environment files from it only."""

ROOT = (
    "apt.txt", "default.nix", "DESCRIPTION", "Dockerfile", "environment.yaml", "environment.yml",
    "install.R", "JuliaManifest.toml", "JuliaProject.toml", "LocalPreferences.toml",
    "Manifest.toml", "Pipfile", "Pipfile.lock", "postBuild", "Project.toml", "pyproject.toml",
    "REQUIRE", "requirements.txt", "requirements3.txt", "runtime.txt", "setup.py", "start",
    ".containerignore", ".dockerignore",
)  # fmt: skip
"""The environment files if there is no such folder."""
ROOT_PATTERNS = ("Manifest-v*.toml", "JuliaManifest-v*.toml")

SETTINGS = (
    ".bash_profile", ".bashrc", ".condarc", ".config", ".julia", ".jupyter", ".mambarc", ".npmrc",
    ".pip", ".profile", ".pydistutils.cfg", ".Rprofile", ".yarnrc",
)  # fmt: skip
"""Settings of tools, which affect a ``postBuild`` because the repository is its home directory."""

_CHECKS: Mapping[str, Callable[[str], str]] = {
    "default.nix": environment_files.check_nix,
    "DESCRIPTION": environment_files.check_package,
    "Dockerfile": environment_files.check_dockerfile,
    "environment.yaml": environment_files.check_conda,
    "environment.yml": environment_files.check_conda,
    "install.R": environment_files.check_r_script,
    "JuliaManifest.toml": environment_files.check_julia,
    "JuliaProject.toml": environment_files.check_julia,
    "Manifest.toml": environment_files.check_julia,
    "Pipfile": environment_files.check_pipfile,
    "Pipfile.lock": environment_files.check_pipfile,
    "postBuild": environment_files.check_script,
    "Project.toml": environment_files.check_julia,
    "pyproject.toml": environment_files.check_pyproject,
    "requirements.txt": environment_files.check_requirements,
    "requirements3.txt": environment_files.check_requirements,
    "setup.py": environment_files.check_package,
    "start": environment_files.check_script,
}
_CONDA = ("environment.yml", "environment.yaml", "postBuild", "start")
_PYTHON = (*_CONDA, "requirements.txt", "requirements3.txt", "setup.py", "pyproject.toml")
_JULIA = ("Project.toml", "JuliaProject.toml", "Manifest.toml", "JuliaManifest.toml")
_BUILDPACKS: tuple[tuple[set[str], tuple[str, ...]], ...] = (
    ({"Dockerfile"}, ("Dockerfile",)),
    ({"Project.toml", "JuliaProject.toml"}, (*_JULIA, *_PYTHON)),
    ({"default.nix"}, ("default.nix", "postBuild", "start")),
    ({"DESCRIPTION", "r-"}, ("install.R", "DESCRIPTION", *_PYTHON)),
    (set(_CONDA[:2]), _CONDA),
    ({"Pipfile", "Pipfile.lock"}, ("Pipfile", "Pipfile.lock", "requirements3.txt", *_CONDA[2:])),
)
"""In repo2docker's order: the files that select a buildpack, and which of its files to inspect."""
_ONLY_AT_ROOT = ("setup.py", "pyproject.toml", "DESCRIPTION")


def is_environment_file(name: str) -> bool:
    """Return whether repo2docker reads a file of this name at the root."""
    return name in ROOT or any(fnmatchcase(name, pattern) for pattern in ROOT_PATTERNS)


def is_inspected(name: str) -> bool:
    """Return whether :func:`needs_source` needs the text of an environment file."""
    return name == "runtime.txt" or _check_for(name) is not None


def _check_for(name: str) -> Callable[[str], str] | None:
    versioned = any(fnmatchcase(name, pattern) for pattern in ROOT_PATTERNS)
    return environment_files.check_julia if versioned else _CHECKS.get(name)


def needs_source(files: Mapping[str, str], *, at_root: bool) -> str:
    """Return why the build needs more than its files, or ``""`` if it does not.

    ``files`` maps the name of each environment file to its text. Files that the selected buildpack
    ignores, such as the ``setup.py`` beside an ``environment.yml``, are skipped.
    """
    names = {name for name in files if at_root or name not in _ONLY_AT_ROOT}
    reads = _files_read_by(names, files.get("runtime.txt", "").strip())
    for name in sorted(names):
        is_read = name in reads or (reads[0] in _JULIA and fnmatchcase(name, "*Manifest-v*.toml"))
        check = _check_for(name) if is_read else None
        if check and (reason := check(files[name])):
            return f"{name} {reason}"
    return ""


def _files_read_by(names: set[str], runtime: str) -> tuple[str, ...]:
    """Return the files to inspect for the first buildpack that these files select."""
    names = names | ({"r-"} if runtime.startswith("r-") else set())
    if runtime and not runtime.startswith("python-"):
        names -= {"Pipfile", "Pipfile.lock"}
    return next((reads for selected_by, reads in _BUILDPACKS if selected_by & names), _PYTHON)
