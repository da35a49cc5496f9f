"""What repo2docker reads of a repository, and where a build needs more than that.

The names and their precedence are those of repo2docker's own ``buildpacks``. What is not
understood counts as needing the repository: a needless build is better than a stale image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from clinder.checkout import environment_files

FOLDERS = ("binder", ".binder")
"""Where there is one of these, environment files are read there only."""

ROOT = (
    "apt.txt", "default.nix", "DESCRIPTION", "Dockerfile", "environment.yaml", "environment.yml",
    "install.R", "JuliaManifest.toml", "JuliaProject.toml", "LocalPreferences.toml",
    "Manifest.toml", "Pipfile", "Pipfile.lock", "postBuild", "Project.toml", "pyproject.toml",
    "REQUIRE", "requirements.txt", "requirements3.txt", "runtime.txt", "setup.py", "start",
    ".containerignore", ".dockerignore",
)  # fmt: skip
"""The environment files where there is no such folder."""
ROOT_PATTERNS = ("Manifest-v*.toml", "JuliaManifest-v*.toml")

SETTINGS = (
    ".bash_profile", ".bashrc", ".condarc", ".config", ".julia", ".jupyter", ".mambarc", ".npmrc",
    ".pip", ".profile", ".pydistutils.cfg", ".Rprofile", ".yarnrc",
)  # fmt: skip
"""Settings of tools, which a ``postBuild`` meets: the repository is its home."""

_RECIPES: Mapping[str, Callable[[str], str]] = {
    "default.nix": environment_files.nix,
    "DESCRIPTION": environment_files.package,
    "Dockerfile": environment_files.dockerfile,
    "environment.yaml": environment_files.conda,
    "environment.yml": environment_files.conda,
    "install.R": environment_files.r_script,
    "JuliaManifest.toml": environment_files.julia,
    "JuliaProject.toml": environment_files.julia,
    "Manifest.toml": environment_files.julia,
    "Pipfile": environment_files.pipfile,
    "Pipfile.lock": environment_files.pipfile,
    "postBuild": environment_files.script,
    "Project.toml": environment_files.julia,
    "pyproject.toml": environment_files.pyproject,
    "requirements.txt": environment_files.requirements,
    "requirements3.txt": environment_files.requirements,
    "setup.py": environment_files.package,
    "start": environment_files.script,
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
"""In their order: what each is known by, and what it reads that may bring in the repository."""
_ONLY_AT_ROOT = ("setup.py", "pyproject.toml", "DESCRIPTION")


def is_environment_file(name: str) -> bool:
    """Return whether repo2docker reads a file of this name at the root."""
    return name in ROOT or any(fnmatchcase(name, pattern) for pattern in ROOT_PATTERNS)


def is_inspected(name: str) -> bool:
    """Return whether :func:`needs_source` is to know the text of an environment file."""
    return name == "runtime.txt" or _recipe(name) is not None


def _recipe(name: str) -> Callable[[str], str] | None:
    versioned = any(fnmatchcase(name, pattern) for pattern in ROOT_PATTERNS)
    return environment_files.julia if versioned else _RECIPES.get(name)


def needs_source(files: Mapping[str, str], *, at_root: bool) -> str:
    """Return why the build needs more than its files, or ``""`` where it does not.

    ``files`` has the text of each environment file by its name. What the buildpack of this
    repository does not read, like the ``setup.py`` beside an ``environment.yml``, is let be.
    """
    there = {name for name in files if at_root or name not in _ONLY_AT_ROOT}
    reads = _files_read_by(there, files.get("runtime.txt", "").strip())
    for name in sorted(there):
        known = name in reads or (reads[0] in _JULIA and fnmatchcase(name, "*Manifest-v*.toml"))
        recipe = _recipe(name) if known else None
        if recipe and (why := recipe(files[name])):
            return f"{name} {why}"
    return ""


def _files_read_by(there: set[str], runtime: str) -> tuple[str, ...]:
    """Return what the first buildpack that takes such files reads of them."""
    marks = there | ({"r-"} if runtime.startswith("r-") else set())
    if runtime and not runtime.startswith("python-"):
        marks -= {"Pipfile", "Pipfile.lock"}
    return next((reads for names, reads in _BUILDPACKS if marks & names), _PYTHON)
