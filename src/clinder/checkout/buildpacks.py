"""Which files repo2docker reads, and whether a build needs more of the repository than these.

The names and their precedence are those of repo2docker's own ``buildpacks``. A file that is not
understood counts as needing the repository, because a needless build is better than a stale image.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase

from clinder.checkout import environment_files
from clinder.checkout.requirements import check_requirements
from clinder.checkout.scripts import check_script
from clinder.checkout.surroundings import Check, Place, Surroundings

FOLDERS = ("binder", ".binder")
"""If one of these exists, repo2docker reads environment files from it only."""

ROOT = (
    "apt.txt", "Artifacts.toml", "CondaPkg.toml", "default.nix", "DESCRIPTION", "Dockerfile",
    "environment.yaml", "environment.yml", "install.R", "JuliaArtifacts.toml",
    "JuliaLocalPreferences.toml", "JuliaManifest.toml", "JuliaProject.toml",
    "LocalPreferences.toml", "Manifest.toml", "Pipfile", "Pipfile.lock", "postBuild",
    "Project.toml", "pyproject.toml", "REQUIRE", "requirements.txt", "requirements3.txt",
    "runtime.txt", "setup.py", "start", ".containerignore", ".dockerignore",
)  # fmt: skip
"""The environment files if there is no such folder."""
ROOT_PATTERNS = ("Manifest-v*.toml", "JuliaManifest-v*.toml")

SETTINGS = (
    ".bash_login", ".bash_profile", ".bashrc", ".cargo", ".conda", ".condarc", ".config",
    ".curlrc", ".gitconfig", ".ipython", ".julia", ".jupyter", ".local", ".mambarc", ".netrc",
    ".nix-channels", ".nix-defexpr", ".nix-profile", ".nixpkgs", ".npmrc", ".pip", ".profile",
    ".pydistutils.cfg", ".R", ".Renviron", ".Rprofile", ".ssh", ".wgetrc", ".yarnrc",
    ".yarnrc.yml",
)  # fmt: skip
"""Settings at the root that tools read, because the repository is the home directory.

A session also starts with a login shell.
"""
SETTINGS_PATTERNS = ("jupyter_*config.json", "jupyter_*config.py")
"""Settings at the root that Jupyter reads, because the repository is its current folder."""

ATTRIBUTES = ".gitattributes"
"""This file at the root can change how git writes the other files."""

_R_STARTUP = (".Renviron", ".Rprofile")  # repo2docker's own R commands do not read these

_CHECKS: Mapping[str, Check] = {
    "Artifacts.toml": environment_files.check_artifacts,
    "default.nix": environment_files.check_nix,
    "DESCRIPTION": environment_files.check_package,
    "Dockerfile": environment_files.check_dockerfile,
    "environment.yaml": environment_files.check_conda,
    "environment.yml": environment_files.check_conda,
    "install.R": environment_files.check_r_script,
    "JuliaArtifacts.toml": environment_files.check_artifacts,
    "JuliaManifest.toml": environment_files.check_julia,
    "JuliaProject.toml": environment_files.check_julia,
    "Manifest.toml": environment_files.check_julia,
    "Pipfile": environment_files.check_pipfile,
    "Pipfile.lock": environment_files.check_pipfile,
    "postBuild": check_script,
    "Project.toml": environment_files.check_julia,
    "pyproject.toml": environment_files.check_pyproject,
    "requirements.txt": check_requirements,
    "requirements3.txt": check_requirements,
    "setup.py": environment_files.check_package,
    "start": check_script,
}
_CONDA = ("environment.yml", "environment.yaml", "postBuild", "start")
_PYTHON = (*_CONDA, "requirements.txt", "requirements3.txt", "setup.py", "pyproject.toml")
_JULIA = (
    "Project.toml", "JuliaProject.toml", "Manifest.toml", "JuliaManifest.toml", "Artifacts.toml",
    "JuliaArtifacts.toml",
)  # fmt: skip
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
_BUILT_IN_THE_REPOSITORY = ("postBuild", "Project.toml", "JuliaProject.toml", "default.nix",
                            "Pipfile", "Pipfile.lock", "install.R")  # fmt: skip


def is_environment_file(name: str) -> bool:
    """Return whether repo2docker reads a file of this name at the root."""
    return name in ROOT or any(fnmatchcase(name, pattern) for pattern in ROOT_PATTERNS)


def is_setting(name: str) -> bool:
    """Return whether this file or folder at the root can be the settings of a tool."""
    return name in SETTINGS or any(fnmatchcase(name, pattern) for pattern in SETTINGS_PATTERNS)


def is_inspected(name: str) -> bool:
    """Return whether :func:`needs_source` needs the text of an environment file."""
    return name == "runtime.txt" or _check_for(name) is not None


def _check_for(name: str) -> Check | None:
    versioned = any(fnmatchcase(name, pattern) for pattern in ROOT_PATTERNS)
    return environment_files.check_julia if versioned else _CHECKS.get(name)


def needs_source(
    files: Mapping[str, str], *, at_root: bool, surroundings: Surroundings | None = None
) -> str:
    """Return why the build needs more than its files, or ``""`` if it does not.

    ``files`` maps the name of each environment file to its text. Files that the selected buildpack
    ignores, such as the ``setup.py`` beside an ``environment.yml``, are skipped. Files that they
    name are followed in the ``surroundings``.
    """
    around = surroundings or Surroundings()
    names = {name for name in files if at_root or name not in _ONLY_AT_ROOT}
    reads = _files_read_by(names, files.get("runtime.txt", "").strip())
    inspected = []
    for name in sorted(names):
        is_read = name in reads or (reads[0] in _JULIA and fnmatchcase(name, "*Manifest-v*.toml"))
        check = _check_for(name) if is_read else None
        if check:
            inspected.append(name)
            around.settings_copy = ""
            path = f"{around.folder}/{name}" if around.folder else name
            judge = _judge_metadata if name in _ONLY_AT_ROOT else around.judge
            if reason := judge(path, files[name], check):
                return f"{name} {reason}"
    return (
        ("" if at_root else _find_missing_pipfile(inspected))
        or _find_settings(inspected, around)
        or around.find_own_release()
    )


def _judge_metadata(path: str, text: str, check: Check) -> str:
    """Check a file that describes a package; the build does not use the addresses in it."""
    return check(text, Place(path))


def _files_read_by(names: Collection[str], runtime: str) -> tuple[str, ...]:
    """Return the files to inspect for the first buildpack that these files select."""
    names = {*names, *(("r-",) if runtime.startswith("r-") else ())}
    if runtime and not runtime.startswith("python-"):
        names -= {"Pipfile", "Pipfile.lock"}
    return next((reads for selected_by, reads in _BUILDPACKS if selected_by & names), _PYTHON)


def _find_missing_pipfile(inspected: Collection[str]) -> str:
    """Report a lock file alone: pipenv then searches for a ``Pipfile`` in the parent folders."""
    if "Pipfile.lock" in inspected and "Pipfile" not in inspected:
        return "Pipfile.lock has no Pipfile beside it, so pipenv looks for one elsewhere"
    return ""


def _find_settings(inspected: Collection[str], around: Surroundings) -> str:
    """Report settings of tools that run when the repository has already been copied.

    repo2docker runs the other steps before that.
    """
    found = sorted(filter(is_setting, around.root))
    if "postBuild" in inspected:
        return f"postBuild might read its settings from {found[0]}" if found else ""
    found = [name for name in found if name not in _R_STARTUP]
    after = around.has_includes or any(name in inspected for name in _BUILT_IN_THE_REPOSITORY)
    return f"the build might read its settings from {found[0]}" if found and after else ""
