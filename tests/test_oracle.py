"""A commit is reused only if repo2docker would build the same image.

repo2docker renders its own Dockerfile for both commits, in an environment of its own and without
containers; ``make test`` installs it. ``tools/oracle.py`` makes the same comparison on clones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from clinder.checkout.environment import Environment, read_environment
from clinder.checkout.git import Git
from clinder.checkout.tree import NotReusable, Tree
from clinder.repository import Repository
from histories import History
from oracle import Build, Oracle, compare, main

Files = Mapping[str, str]

pytestmark = pytest.mark.posix  # like repo2docker

CONDA = "channels: [conda-forge]\ndependencies:\n- python=3.11\n- numpy\n"
SHELL = "#!/bin/bash\n"
PIPFILE = "[packages]\nnumpy = '*'\n"
JULIA = '[deps]\nX = "0"\n'

STARTS: dict[str, Files] = {
    "nothing": {},
    "requirements": {"requirements.txt": "numpy\n", "runtime.txt": "python-3.11\n"},
    "requirements for two environments": {
        "requirements.txt": "numpy\n",
        "requirements3.txt": "nbgitpuller\n",
        "runtime.txt": "python-2.7\n",
    },
    "requirements that include files": {
        "requirements.txt": "-r more/a.txt\n-c limits.txt\n",
        "more/a.txt": "-r b.txt\n",
        "more/b.txt": "numpy\n",
        "limits.txt": "numpy<3\n",
    },
    "requirements that include the repository": {"requirements.txt": "numpy\n-e .\n"},
    "requirements that include a folder": {"requirements.txt": "./more\n", "more/setup.py": ""},
    "requirements that include this repository's URL": {
        "requirements.txt": "git+https://github.com/org/repo@main\n"
    },
    "a package": {"setup.py": "", "requirements.txt": "numpy\n"},
    "a package with a pyproject.toml": {"pyproject.toml": "[project]\nname='x'\n[build-system]\n"},
    "a pyproject.toml for tools": {
        "requirements.txt": "numpy\n",
        "pyproject.toml": "[project]\nrequires-python = '>=3.11'\n",
    },
    "conda": {"environment.yml": CONDA},
    "conda with pip": {
        "environment.yml": f"{CONDA}- pip:\n  - a\n  - -r more/a.txt\n",
        "more/a.txt": "",
    },
    "conda with R": {"environment.yaml": f"{CONDA}- r-base=4.4\n- r-ggplot2\n"},
    "conda that includes the repository": {"environment.yml": f"{CONDA}- pip: [-e .]\n"},
    "conda beside others": {"environment.yml": CONDA, "setup.py": "", "requirements.txt": "-e .\n"},
    "pipenv": {"Pipfile": PIPFILE, "Pipfile.lock": "{}", "requirements3.txt": "x\n"},
    "pipenv with a path": {"Pipfile": f"{PIPFILE}x = {{path = 'more'}}\n", "more/setup.py": ""},
    "julia": {"Project.toml": JULIA, "Manifest.toml": "[deps]\n", "environment.yml": CONDA},
    "a julia package": {"Project.toml": f'name = "X"\nuuid = "1"\n{JULIA}'},
    "julia with a path": {"JuliaProject.toml": f"{JULIA}[sources]\nX = {{path = 'more'}}\n"},
    "a julia workspace": {
        "Project.toml": f'{JULIA}[workspace]\nprojects = ["binder", "more"]\n',
        "Manifest.toml": "[deps]\n",
        "more/Project.toml": JULIA,
        "binder/Project.toml": JULIA,
    },
    "R": {"runtime.txt": "r-4.4-2024-01-01\n", "install.R": 'install.packages("ggplot2")\n'},
    "R that reads a file": {
        "runtime.txt": "r-4.4-2024-01-01\n",
        "install.R": 'source("more/a.R")\n',
        "more/a.R": "",
    },
    "an R package": {"DESCRIPTION": "Package: x\n"},
    "nix": {"default.nix": "with import <nixpkgs> {}; mkShell { buildInputs = [ python3 ]; }\n"},
    "nix with a path": {"default.nix": "import ./more/a.nix {}\n", "more/a.nix": "{}: {}\n"},
    "a Dockerfile": {"Dockerfile": "FROM python:3.12\nRUN pip install x\n", "start": "make\n"},
    "a Dockerfile that copies files": {
        "Dockerfile": "FROM python:3.12\nCOPY more/a.txt limits.txt /srv/\n",
        "more/a.txt": "numpy\n",
        "limits.txt": "",
    },
    "a Dockerfile that copies everything": {"Dockerfile": "FROM python:3.12\nCOPY . /srv\n"},
    "scripts": {
        "environment.yml": CONDA,
        "apt.txt": "git\n",
        "postBuild": f"{SHELL}pip install -r more/a.txt && jupyter lab build\n",
        "start": f'{SHELL}source more/env.sh\nexec "$@"\n',
        "more/a.txt": "numpy\n",
        "more/env.sh": "export A=b\n",
    },
    "a script that might read anything": {"postBuild": f"{SHELL}make\n", "Makefile": "all:\n"},
    "a script in Python": {"start": "#!/usr/bin/env python3\n"},
    "a script that installs an extension": {
        "postBuild": f"{SHELL}jupyter labextension install more\npython -m pip install numpy\n"
    },
    "a folder": {
        "binder/environment.yml": CONDA,
        "binder/postBuild": f"{SHELL}cp binder/more/x.json ~/.jupyter/\n",
        "binder/start": f"{SHELL}sed -i 's/a/b/' binder/more/x.json\n. binder/env.sh\n",
        "binder/env.sh": "echo\n",
        "binder/more/x.json": "{}",
        "environment.yml": "dependencies: []\n",
    },
    "a folder with requirements of the repository": {
        ".binder/requirements.txt": "-r ../more/a.txt\n",
        "more/a.txt": "numpy\n",
    },
    "a folder that installs the repository": {"binder/postBuild": f"{SHELL}pip install .\n"},
}
"""Files of a commit, which cover every buildpack."""

ADDED: dict[str, str] = {
    "apt.txt": "curl\n",
    "default.nix": "{}",
    "Dockerfile": "FROM debian:12\n",
    "environment.yml": "dependencies: [scipy]\n",
    "LocalPreferences.toml": "",
    "Project.toml": "[deps]\n",
    "pyproject.toml": "[project]\nrequires-python = '>=3.12'\n",
    "requirements.txt": "scipy\n",
    "runtime.txt": "python-3.12\n",
    "setup.py": "# other\n",
    "postBuild": f"{SHELL}true\n",
    "start": f'{SHELL}exec "$@"\n',
    ".dockerignore": "data\n",
    "binder/apt.txt": "curl\n",
    ".condarc": "channels: []\n",
    "jupyter_server_config.py": "",
    "random.py": "",
    "more/package.json": "{}",
    "Makefile": "all: x\n",
    "index.md": "# A book\n",
}
"""Files that the next commit adds or replaces, one at a time."""


CAUTIOUS = {
    "requirements that include a folder",
    "pipenv with a path",
    "julia with a path",
    "nix with a path",
    "a script in Python",
}
"""Builds of which repo2docker might tell more than clinder: clinder launches the commit itself."""


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with Oracle("org/repo") as oracle:
        yield oracle


@pytest.mark.parametrize("name", STARTS)
def test_a_commit_is_reused_only_if_its_image_is_the_same(
    tmp_path: Path, oracle: Oracle, name: str
) -> None:
    """The next commit adds, changes or removes a file."""
    start = STARTS[name]
    changes: dict[str, Mapping[str, str | None]] = {
        f"adds {each}": {each: text} for each, text in ADDED.items()
    }
    changes |= {f"changes {each}": {each: f"{text}# other\n"} for each, text in start.items()}
    changes |= {f"removes {each}": {each: None} for each in start}
    states = [start, *(_change(start, change) for change in changes.values())]
    history = History(tmp_path / "history")

    first, *others = (_environment(history, each) for each in history.import_commits(states))
    built, *builds = (
        _build(tmp_path / f"{number}", files, oracle) for number, files in enumerate(states)
    )

    different = {change: compare(built, each) for change, each in zip(changes, builds, strict=True)}
    reused = {
        change
        for change, each in zip(changes, others, strict=True)
        if first and each and not first.difference(each)
    }
    assert {change: different[change] for change in reused if different[change]} == {}
    is_independent_of_prose = not different["adds index.md"] and name not in CAUTIOUS
    assert ("adds index.md" in reused) is is_independent_of_prose


def _change(files: Files, change: Mapping[str, str | None]) -> Files:
    return {name: text for name, text in {**files, **change}.items() if text is not None}


def _environment(history: History, commit: str) -> Environment | None:
    """Return an environment that could be reused, or ``None`` if it could not."""
    tree = Tree(Git(history.path, history.environ), commit)
    try:
        environment = read_environment(tree, [Repository("gh", "org/repo")])
    except NotReusable:
        return None
    return None if environment.obstacle else environment


def _build(folder: Path, files: Files, oracle: Oracle) -> Build:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return oracle.describe(folder, repr(sorted(files.items())))


def test_the_oracle_sees_a_stale_image(tmp_path: Path, oracle: Oracle) -> None:
    """Otherwise the comparisons would prove nothing."""
    script = {"postBuild": f"{SHELL}python build.py\n", "build.py": "import book\n", "book.py": ""}
    one = _build(tmp_path / "one", script, oracle)
    other = _build(tmp_path / "other", {**script, "book.py": "x"}, oracle)
    third = _build(tmp_path / "third", {**script, "apt.txt": "git\n"}, oracle)

    assert compare(one, one) == []
    assert compare(one, other) == ["."]
    assert compare(one, third)[:2] == ["dockerfile", "."]


def test_the_tool_counts_the_commits_of_a_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    book = History(tmp_path / "book")
    for files in ({"environment.yml": CONDA}, None, None, {"environment.yml": None}):
        book.commit(files)
    book.commit({"setup.py": ""})

    assert main([str(book.path)]) == 0
    assert capfd.readouterr().out == (
        "book: 5 commits: 2 first with their environment, 1 refused, 2 reused and identical,"
        " 0 reused and different\n"
        "    1 times: setup.py belongs to a package that the build installs\n"
    )
