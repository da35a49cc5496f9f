"""Whether a build needs only the environment files, or the rest of the repository, too."""

from __future__ import annotations

import pytest

from clinder.checkout.buildpacks import needs_source

PACKAGE = "belongs to a package that the build installs"
LOCAL = "might refer to files of the repository"
READS = "might read the repository"


def reason(**files: str) -> str:
    """Return why files at the root, with ``__`` for a dot in their names, need the repository."""
    return needs_source(by_name(files), at_root=True)


def in_binder(**files: str) -> str:
    """Return the same for files in ``binder/``."""
    return needs_source(by_name(files), at_root=False)


def by_name(files: dict[str, str]) -> dict[str, str]:
    return {name.replace("__", "."): text for name, text in files.items()}


# requirements.txt, as pip reads it.


@pytest.mark.parametrize(
    "text",
    [
        "",
        "numpy\n\n# -e .\nscipy>=1.2,<2  # not ./this\n",
        "numpy == 1.26.* ; python_version < '3.12'\n",
        "dask[array, distributed]~=2024.1\n",
        "x @ https://example.org/x-1.0-py3-none-any.whl\n",
        "x @ https://example.org/x.zip ; python_version < '3.12' --hash=sha256:0a\n",
        "https://example.org/x.zip#egg=x\n",
        "git+https://github.com/org/x@main\n",
        "-e git+ssh://git@github.com/org/x#egg=x\n",
        "--find-links https://example.org/wheels\n--pre\n--no-binary :all:\n",
        "-i https://pypi.example.org/simple\n",
        "-r https://example.org/requirements.txt\n",
        "numpy==1.26 \\\n  --hash=sha256:0a \\\n  --hash=sha256:1b\n",
        "\ufeffnumpy\r\nscipy\r\n",
    ],
)
def test_requirements_by_name_or_url_do_not_need_the_repository(text: str) -> None:
    assert reason(requirements__txt=text) == ""


@pytest.mark.parametrize(
    "line",
    [
        ".", "-e .", "-e.", "--editable=.", ".[docs]", "./sub", "../other", "sub/package", "/srv/x",
        "-e src", "file:///srv/x", "x @ file:///home/jovyan", "x @ ./here", "x.whl", "x-1.0.tar.gz",
        "-r other.txt", "-rother.txt", "--requirement other.txt", "-c constraints.txt",
        "--constraint=constraints.txt", "-f wheels", "--find-links ./wheels", "git+file:///srv/x",
        "git://../x", "${HOME}/x", "-i file:///srv/index", "--unknown-option x", "num\\\npy/.",
        "kubernetes>=4.*", "x>=0.3.0<0.4.0",
    ],
)  # fmt: skip
def test_requirements_that_might_be_files_need_the_repository(line: str) -> None:
    result = reason(requirements__txt=f"numpy\n{line}\n")

    assert result.startswith("requirements.txt has the line `")
    assert result.endswith(LOCAL)


# environment.yml


CONDA = """\
name: book
channels:
  - conda-forge
  - conda-forge/label/old
dependencies:
  - python=3.11.*
  - numpy >=1.2,<2
  - conda-forge::xarray
  - pip
"""


@pytest.mark.parametrize(
    "pip",
    [
        "",
        "  - pip:\n    - a\n    - 'b>=1'\n    # - -e .\n    - git+https://github.com/org/x\n",
        "  - pip:\n      - a\n  - zlib\nprefix: /opt/conda/envs/book\n",
        '  - pip: [a, "b==1.0"]\n',
        "  - {pip: [a]}\n",
        "  - pip:\n    - --extra-index-url https://example.org/simple\n    - a\n",
    ],
)
def test_a_conda_environment_of_names_does_not_need_the_repository(pip: str) -> None:
    assert reason(environment__yml=CONDA + pip) == ""
    assert reason(environment__yaml=CONDA + pip) == ""


@pytest.mark.parametrize(
    "text",
    [
        "  - pip:\n    - -e .\n",
        "  - pip:\n    - '-e .'\n",
        "  - pip:\n    - a\n    - -r requirements.txt\n",
        "  - pip:\n    - >-\n      a\n",
        "  - pip: ['-e .']\n",
        "  - pip: &others\n    - a\n",
        "  - pip: *others\n",
        "  - ./local.tar.bz2\n",
        "  - local.conda\n",
        "  - /srv/local.conda\n",
        "channels: [./channel]\n",
        "channels:\n  - file:///srv/channel\n",
    ],
)
def test_a_conda_environment_that_might_name_files_needs_the_repository(text: str) -> None:
    assert reason(environment__yml=CONDA + text).startswith("environment.yml has ")


# A package


@pytest.mark.parametrize(
    ("files", "file"),
    [
        ({"setup__py": ""}, "setup.py"),
        ({"requirements__txt": "numpy", "setup__py": ""}, "setup.py"),
        ({"pyproject__toml": "[build-system]\n[project]\nname='x'\n"}, "pyproject.toml"),
        ({"pyproject__toml": "[ project ]\n['build-system']\n"}, "pyproject.toml"),
        ({"DESCRIPTION": "Package: x\n"}, "DESCRIPTION"),
        ({"DESCRIPTION": "", "environment__yml": CONDA}, "DESCRIPTION"),
        ({"Project__toml": "[deps]\n", "setup__py": ""}, "setup.py"),
    ],
)
def test_a_package_that_the_build_installs_needs_the_repository(
    files: dict[str, str], file: str
) -> None:
    assert reason(**files) == f"{file} {PACKAGE}"


@pytest.mark.parametrize(
    "files",
    [
        {"environment__yml": CONDA, "setup__py": "", "requirements__txt": "-e ."},
        {"environment__yml": CONDA, "pyproject__toml": "[build-system]\n[project]\n"},
        {"Pipfile": "[packages]\nnumpy = '*'\n", "setup__py": "", "requirements__txt": "."},
        {"default__nix": "with import <nixpkgs> {}; []", "setup__py": ""},
        {"pyproject__toml": "[tool.ruff]\nline-length = 100\n"},
        {"pyproject__toml": "[project]\nrequires-python = '>=3.11'\n"},
        {"Dockerfile": "FROM debian\n", "postBuild": "make", "setup__py": ""},
    ],
)
def test_files_that_the_buildpack_ignores_do_not_matter(files: dict[str, str]) -> None:
    assert reason(**files) == ""


def test_a_package_beside_a_binder_folder_is_not_installed() -> None:
    files = {"setup__py": "", "DESCRIPTION": "", "pyproject__toml": "[project]\n[build-system]\n"}

    assert in_binder(requirements__txt="numpy", **files) == ""


def test_a_runtime_selects_the_buildpack_of_its_language() -> None:
    files = {"Pipfile": "", "requirements__txt": "-e ."}

    assert reason(**files) == ""
    assert LOCAL in reason(runtime__txt="r-4.1-2024-01-01\n", **files)
    assert LOCAL in reason(runtime__txt="julia-1.10\n", **files)


# Pipfile, Julia, R, Nix


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("Pipfile", "[packages]\nx = {path = '.', editable = true}\n"),
        ("Pipfile", "[packages]\nx = {file = \"./x.whl\"}\n"),
        ("Pipfile", "[[source]]\nurl = 'file:///srv/index'\n"),
        ("Pipfile__lock", '{"default": {"x": {"editable": true, "path": "."}}}'),
        ("Manifest__toml", '[[deps.X]]\npath = "dev/X"\nuuid = "0"\n'),
        ("Manifest-v1__11__toml", '[[deps.X]]\npath = "dev/X"\n'),
        ("Project__toml", '[deps]\nX = "0"\n[sources]\nX = {path = "dev/X"}\n'),
        ("install__R", "install.packages('x.tar.gz')\n"),
        ("install__R", 'install.packages("x", repos = NULL)\n'),
        ("install__R", 'remotes::install_github("./x")\n'),
    ],
)  # fmt: skip
def test_paths_need_the_repository(file: str, text: str) -> None:
    others = {"Pipfile__lock": {"Pipfile": ""}, "install__R": {"runtime__txt": "r-2024-01-01"}}
    julia = {"Project__toml": "[deps]\n"} if file.startswith("Manifest") else {}

    assert reason(**{**others.get(file, {}), **julia, file: text}).endswith(LOCAL)


def test_a_julia_package_needs_the_repository() -> None:
    result = reason(Project__toml='name = "X"\nuuid = "0"\n[deps]\n')

    assert result == "Project.toml belongs to a package that the build precompiles"


R = """\
#!/usr/bin/env Rscript
# source("setup.R")
options(repos = c(CRAN = "https://cran.example.org"))
if (!require("ggplot2")) install.packages(c("ggplot2", "dplyr"))
remotes::install_github("tidyverse/tidyr@v1.0")
BiocManager::install("limma")
"""


@pytest.mark.parametrize(
    "files",
    [
        {"Pipfile": "[packages]\nx = {git = 'https://example.org/x', editable = true}\n"},
        {"Pipfile__lock": '{"default": {"x": {"file": "https://example.org/x.whl"}}}'},
        {"runtime__txt": "r-2024-01-01", "install__R": R},
        {"Project__toml": '[deps]\nX = "0"\n', "Manifest__toml": '[[deps.X]]\nuuid = "0"\n'},
    ],
)
def test_packages_by_name_or_url_do_not_need_the_repository(files: dict[str, str]) -> None:
    assert reason(**files) == ""


@pytest.mark.parametrize(
    "line",
    [
        'source("R/setup.R")', "devtools::install()", "remotes::install_local()",
        "renv::restore()", 'x <- "#"; readLines("x")', 'system("make")', "`source`('x')",
    ],
)  # fmt: skip
def test_an_r_script_that_calls_anything_else_needs_the_repository(line: str) -> None:
    result = reason(runtime__txt="r-2024-01-01", install__R=R + line)

    assert result.startswith("install.R calls `")
    assert result.endswith(READS)


@pytest.mark.parametrize(
    ("text", "needs_files"),
    [
        ("with import <nixpkgs> {}; mkShell { buildInputs = [ python3 ]; }\n", False),
        ("import (fetchTarball https://example.org/nixpkgs.tar.gz) {} // {}\n", False),
        ("# ./comment\n{}\n", False),
        ("/* ../comment */ {}\n", True),
        ("import ./nix {}\n", True),
        ("{ src = ./.; }\n", True),
        ("{ src = sub/folder; }\n", True),
        ('{ x = "${../x}"; }\n', True),
    ],
)
def test_nix_needs_the_repository_only_if_it_names_paths(text: str, needs_files: bool) -> None:
    assert (reason(default__nix=text) != "") is needs_files


# Dockerfile


@pytest.mark.parametrize(
    "text",
    [
        "FROM quay.io/jupyter/scipy-notebook:2024-01-01\n",
        "# syntax=docker/dockerfile:1\nFROM a AS b\nFROM c\nCOPY --from=b /x /y\n",
        "FROM a\n# COPY . .\nRUN pip install \\\n  # COPY\n  numpy\nENV X=COPY\n",
        "FROM a\nRUN --mount=type=cache,target=/root/.cache pip install numpy\n",
    ],
)
def test_a_dockerfile_that_copies_nothing_does_not_need_the_repository(text: str) -> None:
    assert reason(Dockerfile=text) == ""


@pytest.mark.parametrize(
    "line",
    [
        "COPY . /home/jovyan", "copy\tenvironment.yml /tmp/", "ADD x /x", "ONBUILD COPY . .",
        "RUN --mount=type=bind,target=/x make", "RUN --mount=target=/x make", "COPY \\\n . .",
        "RUN \\\n\n --mount=type=bind,target=/x make",
        "RUN --mount=type=cache,target=/c --mount=type=bind,target=/x make", "# syntax=mine/own",
        "# escape=`",
    ],
)  # fmt: skip
def test_a_dockerfile_that_might_copy_needs_the_repository(line: str) -> None:
    assert reason(Dockerfile=f"{line}\nFROM a\n{line}\n").startswith("Dockerfile has ")


# postBuild and start


SCRIPT = """\
#!/bin/bash
set -euo pipefail   # as it should be

echo "Installing"
export LANG=C.UTF-8
python -m pip install --no-cache-dir numpy 'scipy>=1' && pip install git+https://example.org/x
conda install --yes -c conda-forge xarray>=2023.1
jupyter labextension install @jupyter-widgets/jupyterlab-manager --no-build
jupyter lab build --minimize=False; jupyter serverextension enable --py nbgitpuller --sys-prefix
jupyter labextension install jupyterlab-drawio dask-labextension@5.1 @jupyterlab/x@^2.0
jupyter contrib nbextension install --user
jupyter nbextension install --sys-prefix --py ipyleaflet
jupyter nbextension enable python-markdown/main
export DASK_DISTRIBUTED__DASHBOARD__LINK="${JUPYTERHUB_SERVICE_PREFIX}proxy/{port}/status"
export X="$JUPYTERHUB_BASE_URL/x"
jupyter nbextensions_configurator enable --user && mkdir -p ~/.jupyter/lab "$HOME/x" ${CONDA_DIR}
exec "$@"
"""


@pytest.mark.parametrize("file", ["postBuild", "start"])
def test_a_script_of_known_commands_does_not_need_the_repository(file: str) -> None:
    assert reason(environment__yml=CONDA, **{file: SCRIPT}) == ""
    assert in_binder(**{file: SCRIPT}) == ""


@pytest.mark.parametrize("file", ["postBuild", "start"])
@pytest.mark.parametrize(
    "line",
    [
        "python setup.py install", "make", "pip install .", "pip install -e src", "pip install x/",
        "pip install -r requirements.txt", "pip install $(cat names)", "cp -r data /srv", "./run",
        "pip install numpy && make", "true; make", "pip install numpy & make", "pip install ~/x",
        "source env.sh", "export PYTHONPATH=src", "export X=./y", 'export X="${HOME}/y"',
        'export X="$JUPYTERHUB_X"y', "export X=${JUPYTERHUB_X}", 'export X="${PWD}/y"',
        "export X=`cat x`",
        "if true; then",
        "conda install x.tar.bz2", "conda install --file names", "conda env update -f more.yml",
        "jupyter labextension install ./folder", "jupyter labextension install folder/x",
        "jupyter-lab", "jupyter nbextension install folder", "jupyter lab workspaces import x",
        "python -m build", "python x.py", "Rscript x.R", "bash", "bash x.sh arguments", ". x",
        "sed -i -e 's/a/b/' x", "sed s/a/b/ binder/x", "cp x /srv", "wget https://example.org",
        "echo $(cat x)", "echo 'a # b' && make", "pip install \\\n  .", "pip install 'x",
    ],
)  # fmt: skip
def test_a_script_with_any_other_command_needs_the_repository(file: str, line: str) -> None:
    result = reason(environment__yml=CONDA, **{file: f"{SCRIPT}{line}\n"})

    assert result.startswith(f"{file} runs `")
    assert result.endswith(READS)


def test_a_script_in_another_language_needs_the_repository() -> None:
    result = reason(postBuild="#!/usr/bin/env python3\nprint()\n")

    assert result == f"postBuild is a program (`#!/usr/bin/env python3`), which {READS}"


def test_a_long_line_is_shown_in_part() -> None:
    result = reason(requirements__txt="./" + "x" * 500)

    assert result.startswith(f"requirements.txt has the line `./{'x' * 77}…`, ")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("postBuild", "# pip install foo \\\npython setup.py develop\n"),
        ("postBuild", "pip install numpy #x \\\nmake\n"),
        ("postBuild", "#!/bin/bash setup.sh\ntrue\n"),
        ("postBuild", "export PIP_CONSTRAINT=constraints.txt\npip install numpy\n"),
        ("postBuild", "BASH_ENV=x\n"),
        ("postBuild", "npm_config_x=y\n"),
        ("postBuild", "jupyter labextension build my_ext\n"),
        ("postBuild", "jupyter lab build --config build_config.py\n"),
        ("requirements__txt", "# old: \\\n-e .\n"),
        ("environment__yml", f"{CONDA}? pip\n: - -r requirements.txt\n"),
        ("environment__yml", f"channels: [~/chan]\n{CONDA}"),
        ("Pipfile", "[packages]\nx = {git = '../x'}\n"),
        ("Project__toml", '[workspace]\nprojects = ["docs"]\n'),
        ("Project__toml", 'manifest = "other/Manifest.toml"\n[deps]\n'),
        ("Project__toml", '"uuid" = "0"\n[deps]\n'),
        ("Project__toml", '[deps]\n[sources]\nX = {"path" = "dev/X"}\n'),
        ("default__nix", "cp $out/* x\nsrc = ./.;\ncp */y\n"),
    ],
)
def test_text_that_another_reader_might_read_differently_needs_the_repository(
    file: str, text: str
) -> None:
    assert reason(**{file: text}) != ""
