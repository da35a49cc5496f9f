"""What environment files refer to: other files, the repository itself, and what can change."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pytest

from clinder.checkout.addresses import Own
from clinder.checkout.buildpacks import needs_source
from clinder.checkout.surroundings import Surroundings

LOCAL = "might refer to files of the repository"
READS = "might read the repository"
CONDA = "name: book\nchannels:\n  - conda-forge\ndependencies:\n  - numpy\n"
OWN = Own(frozenset({"org/repo"}), frozenset({"my-package"}))


@dataclass
class Texts:
    """The other files of a commit."""

    texts: Mapping[str, str]

    def text(self, path: str) -> str | None:
        return self.texts.get(path)

    def has(self, path: str) -> bool:
        return path in self.texts


def around(
    others: Mapping[str, str] | None = None, *, folder: str = "", root: Collection[str] = ()
) -> Surroundings:
    """Return surroundings with other files, by path, and other names in the root."""
    names = {path.partition("/")[0] for path in others or {}}
    return Surroundings(Texts(others or {}), OWN, frozenset({*names, *root}), folder)


def check(
    files: Mapping[str, str], others: Mapping[str, str] | None = None, root: Collection[str] = ()
) -> tuple[str, set[str]]:
    """Return why environment files need the repository, and the files that belong with them.

    Names with a folder are in ``binder/``.
    """
    folder = "binder" if any("/" in name for name in files) else ""
    surroundings = around({**files, **(others or {})}, folder=folder, root=root)
    texts = {name.removeprefix("binder/"): text for name, text in files.items()}
    reason = needs_source(texts, at_root=not folder, surroundings=surroundings)
    return reason, {*surroundings.copied, *(path for path, _ in surroundings.followed)}


# Files that environment files name


@pytest.mark.parametrize(
    ("files", "others"),
    [
        ({"requirements.txt": "-r more.txt\n-c sub/limits.txt\n"}, ("more.txt", "sub/limits.txt")),
        ({"requirements.txt": "--requirement=more.txt"}, ("more.txt",)),
        ({"binder/requirements.txt": "-r ../more.txt"}, ("more.txt",)),
        ({"environment.yml": f"{CONDA}  - pip:\n    - -r sub/more.in\n"}, ("sub/more.in",)),
        ({"binder/environment.yml": f"{CONDA}  - pip: ['-r../more.in']\n"}, ("more.in",)),
        ({"postBuild": "pip install -r more.txt -c limits.txt"}, ("more.txt", "limits.txt")),
        ({"postBuild": "python -m pip install --requirement more.txt"}, ("more.txt",)),
        ({"binder/postBuild": "mamba env update -n base --file other/env.yml"}, ("other/env.yml",)),
        ({"binder/start": 'source binder/env.sh\nexec "$@"'}, ("binder/env.sh",)),
        ({"binder/start": "bash binder/x.sh && sh ./binder/y"}, ("binder/x.sh", "binder/y")),
        ({"binder/postBuild": "./binder/x.sh"}, ("binder/x.sh",)),
        ({"binder/postBuild": "Rscript binder/x.R"}, ("binder/x.R",)),
        ({"postBuild": "cp -v config.json ~/.jupyter/\n"}, ("config.json",)),
        ({"Dockerfile": "FROM a\nCOPY --chown=x a.yml b/c.yml /srv/\n"}, ("a.yml", "b/c.yml")),
    ],
)
def test_files_that_are_named_belong_to_the_environment(
    files: dict[str, str], others: tuple[str, ...]
) -> None:
    assert check(files, dict.fromkeys(others, "")) == ("", set(others))
    assert check(files)[0] != ""


def test_a_file_that_is_named_is_checked_like_its_kind() -> None:
    files = {"requirements.txt": "-r sub/a.txt\n"}
    others = {"sub/a.txt": "numpy\n-r b.txt\n", "sub/b.txt": "-e .\n"}

    assert check(files, others)[0] == (
        "requirements.txt reads sub/a.txt, which reads sub/b.txt, which has the line `-e .`,"
        f" which {LOCAL}"
    )


def test_files_that_name_each_other_are_read_once() -> None:
    others = {"a.txt": "-r b.txt\n-r requirements.txt\n", "b.txt": "-r a.txt\n"}

    reason, named = check({"requirements.txt": "-r a.txt\n-r b.txt\n"}, others)

    assert (reason, named) == ("", {"a.txt", "b.txt", "requirements.txt"})


@pytest.mark.parametrize(
    "name", ["/srv/a.txt", "../a.txt", "sub/../../a.txt", "'a b.txt'", "${X}/a.txt", "~/a.txt", "."]
)
def test_a_name_that_is_no_plain_path_in_the_repository_is_not_followed(name: str) -> None:
    others = dict.fromkeys(("a.txt", "srv/a.txt", "/srv/a.txt", "../a.txt", "a b.txt"), "")

    assert LOCAL in check({"requirements.txt": f"-r {name}\n"}, others)[0]


def test_only_so_many_files_are_followed() -> None:
    many = {f"{number}.txt": "" for number in range(21)}
    lines = "".join(f"-r {name}\n" for name in many)

    assert check({"requirements.txt": lines.removesuffix("-r 20.txt\n")}, many)[0] == ""
    assert "`-r 20.txt`" in check({"requirements.txt": lines}, many)[0]
    big = dict.fromkeys(("a.txt", "b.txt", "c.txt"), "x --hash=0\n" * 10_000)
    assert "`-r c.txt`" in check({"requirements.txt": "-r a.txt\n-r b.txt\n-r c.txt\n"}, big)[0]


# Scripts


@pytest.mark.parametrize(
    "script",
    [
        'mkdir -p ~/.jupyter/lab\nmv binder/x ~/.jupyter/lab/\nexec "$@"\n',
        "cp -r binder/folder ${HOME}\n",
        "ln -s binder/x $NB_PYTHON_PREFIX/etc/\nchmod +x binder/x",
        'sed -i -e "s|URL|${JUPYTERHUB_BASE_URL}proxy/8787|g" binder/x\n',
        "sed -i 's/a/b/' binder/x .binder/../binder/y",
        "jupyter lab workspaces import binder/x.json --NotebookApp.base_url=u/${JUPYTERHUB_USER}\n",
        "cp binder/x binder/y\npip install numpy\n",
    ],
)
def test_a_script_can_copy_and_edit_what_is_in_the_folder(script: str) -> None:
    for file in ("binder/postBuild", "binder/start"):
        assert check({file: script}) == ("", set())


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("cp data/x /srv", "runs `cp data/x /srv`"),
        ("cp -r data binder/", "runs `cp -r data binder/`"),
        ("cp -t /srv binder/x", "runs `cp -t /srv binder/x`"),
        ("sed -i 's/a/b/e' binder/x", "runs `sed"),
        ("sed -i 's/a/b/w data/x' binder/x", "runs `sed"),
        ("sed -i 'r data/x' binder/x", "runs `sed"),
        ("source binder/x $DATA", "runs `source"),
        ("cp $DATA binder/x", "runs `cp"),
        ("cp $HOME/x binder/x", "runs `cp"),
        ("cp binder/* /srv", "runs `cp"),
        ("cp {data,binder}/x /srv", "runs `cp"),
        ("cp binder/x /srv | tee x", "runs `cp"),
        ("cp binder/x ~/.condarc\nconda install numpy", "runs `conda install numpy` after `cp bin"),
        ("source binder/copy.sh\npip install numpy", "runs `pip install numpy` after `cp a b`"),
        ("cp binder/x ~/.bashrc; bash binder/x", "runs `bash binder/x` after `cp binder/x ~/.ba"),
    ],
)
def test_a_script_that_might_read_more_needs_the_repository(script: str, reason: str) -> None:
    others = {"binder/x": "echo", "binder/copy.sh": "cp a b\n", "a": ""}

    result, _ = check({"binder/postBuild": f"{script}\n"}, others)

    assert result.startswith(f"postBuild {reason}")


def test_what_postbuild_copies_does_not_concern_start() -> None:
    scripts = {"binder/postBuild": "cp binder/x ~/\n", "binder/start": "jupyter lab clean\n"}

    assert check(scripts)[0] == ""


def test_a_script_that_another_one_runs_is_checked() -> None:
    reason, _ = check({"binder/start": ". binder/env.sh"}, {"binder/env.sh": "make\n"})

    assert reason == f"start reads binder/env.sh, which runs `make`, which {READS}"


@pytest.mark.parametrize("package", ["drawio", "drawio@1.0", "@org/drawio"])
def test_a_labextension_that_is_a_folder_needs_the_repository(package: str) -> None:
    script = {"postBuild": f"jupyter labextension install {package}\n"}

    assert check(script)[0] == ""
    assert check(script, root={"drawio", "@org"})[0].startswith("postBuild runs `jupyter")


@pytest.mark.parametrize(
    ("others", "root"), [({"code/__init__.py": ""}, ()), ({}, ("random.py",)), ({}, ("pip.py",))]
)
def test_python_finds_modules_in_the_current_folder_first(
    others: dict[str, str], root: tuple[str, ...]
) -> None:
    script = {"postBuild": "python -m pip install numpy\n"}

    assert check(script, {"code/x.py": ""}, ("setup.cfg", "conf.py"))[0] == ""
    assert check(script, others, root)[0].startswith("postBuild runs `python -m pip")
    assert check({"postBuild": "pip install numpy\n"}, others, root)[0] == ""


# The repository itself


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("requirements.txt", "numpy\nrepo @ git+https://github.com/Org/Repo@main\n"),
        ("requirements.txt", "-c https://raw.githubusercontent.com/org/repo/main/limits.txt\n"),
        ("environment.yml", f"{CONDA}  - pip:\n    - git+https://github.com/org/repo.git\n"),
        ("Pipfile", '[packages]\nrepo = {git = "https://github.com/org/repo.git"}\n'),
        ("Dockerfile", "FROM ghcr.io/org/repo:latest\n"),
        ("Dockerfile", "FROM a\nRUN git clone https://github.com/org/repo && make\n"),
        ("default.nix", '{ src = fetchGit "https://github.com/org/repo"; }'),
        ("Project.toml", '[sources]\nX = {url = "https://github.com/org/repo"}\n'),
        ("postBuild", "pip install git+https://github.com/org/repo\n"),
    ],
)
def test_an_address_of_the_repository_itself_needs_the_repository(file: str, text: str) -> None:
    reason, _ = check({file: text})

    assert reason.startswith(f"{file} has the line `")
    assert reason.endswith("`, which refers to this repository itself")
    assert check({file: re.sub("(?i)org/repo", "org/other", text)})[0] == ""


def test_an_address_of_the_repository_in_a_followed_file_counts() -> None:
    others = {"more.txt": "git+https://github.com/org/repo\n"}

    reason, _ = check({"requirements.txt": "-r more.txt\n"}, others)

    assert reason.startswith("requirements.txt reads more.txt, which has the line `git+https://")


def test_the_addresses_in_a_packages_metadata_are_not_inputs_of_the_build() -> None:
    urls = '[project]\nurls = {Source = "https://github.com/org/repo"}\n'

    assert check({"pyproject.toml": urls, "requirements.txt": "numpy\n"})[0] == ""


@pytest.mark.parametrize(
    ("file", "text", "package", "option"),
    [
        ("requirements.txt", "--pre\nMy_Package>=2\n", "My_Package>=2", "--pre"),
        ("requirements.txt", "my.package>=2.0rc1\n", "my.package>=2.0rc1", "my.package>=2.0rc1"),
        (
            "requirements.txt",
            "-i https://test.pypi.org/simple\nmy-package\n",
            "my-package",
            "-i https://test.pypi.org/simple",
        ),
        ("postBuild", "pip install --pre my-package[all]\n", "my-package[all]", "--pre"),
        (
            "environment.yml",
            "channels: [conda-forge, me/label/dev]\ndependencies: [my-package>=2]\n",
            "my-package>=2",
            "the channel me/label/dev",
        ),
        (
            "environment.yml",
            "channels: [conda-forge]\ndependencies: [me::my-package]\n",
            "me::my-package",
            "the channel me",
        ),
        ("postBuild", "conda install -c me my-package\n", "my-package", "the channel me"),
    ],
)
def test_the_repositorys_own_package_from_elsewhere_than_its_releases_needs_the_repository(
    file: str, text: str, package: str, option: str
) -> None:
    assert check({file: text})[0] == (
        f"the build installs `{package}`, which this repository publishes, with `{option}`"
    )
    other = re.sub(r"(?i)my[._-]package", "other", text)
    assert check({file: other})[0] == ""


def test_the_repositorys_own_r_package_from_elsewhere_than_cran_needs_the_repository() -> None:
    files = {"runtime.txt": "r-2024-01-01"}
    script = 'install.packages("my.package", repos = c("https://{}"))\n'

    for host in ("cloud.r-project.org", "packagemanager.posit.co/cran/latest"):
        assert check({**files, "install.R": script.format(host)})[0] == ""
    assert check({**files, "install.R": script.format("me.r-universe.dev")})[0] == (
        "the build installs `my.package`, which this repository publishes,"
        " with `https://me.r-universe.dev`"
    )


@pytest.mark.parametrize(
    "files",
    [
        {"requirements.txt": "my-package\n"},
        {"requirements.txt": "my-package==2.0\nnumpy>=2.0rc1\n"},
        {"requirements.txt": "my-package\n-i https://pypi.org/simple\n"},
        {"environment.yml": "channels: [conda-forge, defaults]\ndependencies: [my-package>=2]\n"},
        {"environment.yml": "name: my-package\nchannels: [me]\ndependencies: [numpy]\n"},
        {"environment.yml": CONDA + "  - pip: [--pre, a]\n  - my-package\n"},
    ],
)
def test_releases_of_the_repositorys_own_package_are_like_other_packages(
    files: dict[str, str],
) -> None:
    assert check(files)[0] == ""


# Settings of tools


@pytest.mark.parametrize(
    ("files", "setting", "subject"),
    [
        ({"postBuild": "true"}, ".condarc", "postBuild"),
        ({"postBuild": "true"}, "jupyter_server_config.py", "postBuild"),
        ({"postBuild": "true"}, ".Rprofile", "postBuild"),
        ({"requirements.txt": "-r more.txt"}, ".config", "the build"),
        ({"environment.yml": CONDA + "  - pip: ['-r more.txt']\n"}, ".local", "the build"),
        ({"Project.toml": "[deps]\n"}, ".gitconfig", "the build"),
        ({"default.nix": "{}"}, ".nixpkgs", "the build"),
        ({"Pipfile": "[packages]\n"}, ".netrc", "the build"),
        ({"runtime.txt": "r-2024-01-01", "install.R": ""}, ".R", "the build"),
    ],
)
def test_settings_at_the_root_matter_to_steps_that_run_in_the_repository(
    files: dict[str, str], setting: str, subject: str
) -> None:
    others = {"more.txt": ""}

    assert check(files, others)[0] == ""
    assert check(files, others, {setting})[0] == (
        f"{subject} might read its settings from {setting}"
    )


@pytest.mark.parametrize(
    ("files", "setting"),
    [
        ({"environment.yml": CONDA}, ".condarc"),
        ({"requirements.txt": "numpy\n"}, ".config"),
        ({"runtime.txt": "r-2024-01-01", "install.R": ""}, ".Rprofile"),
        ({"Dockerfile": "FROM a\n", "postBuild": "true"}, ".condarc"),
    ],
)
def test_settings_at_the_root_do_not_matter_to_steps_that_run_before_the_copy(
    files: dict[str, str], setting: str
) -> None:
    assert check(files, root={setting})[0] == ""


# What the tools of other buildpacks look for


WORKSPACE = '[workspace]\nprojects = ["docs", "./binder"]\n'


def test_a_julia_workspace_belongs_to_the_environment_of_its_projects() -> None:
    others = {
        "Project.toml": f"[deps]\n{WORKSPACE}",
        "Manifest-v1.12.toml": "[deps]\n",
        "docs/Project.toml": "[deps]\n",
    }

    assert check({"binder/Project.toml": "[deps]\n"}, others) == ("", set(others))


@pytest.mark.parametrize(
    "base", ["[deps]\n", '[workspace]\nprojects = ["docs"]\n', 'projects = ["binder"]\n']
)
def test_a_julia_project_outside_of_a_workspace_stands_alone(base: str) -> None:
    assert check({"binder/Project.toml": "[deps]\n"}, {"Project.toml": base}) == ("", set())


@pytest.mark.parametrize(
    "others",
    [
        {"Project.toml": f'uuid = "0-1"\n{WORKSPACE}'},
        {"Project.toml": WORKSPACE, "docs/Project.toml": 'uuid = "0-1"\n'},
        {"Project.toml": WORKSPACE, "Manifest.toml": '[[deps.X]]\npath = "."\n'},
    ],
)
def test_a_workspace_with_a_package_of_the_repository_needs_it(others: dict[str, str]) -> None:
    reason, _ = check({"binder/Project.toml": '[deps]\nX = "0-1"\n'}, others)

    assert reason.startswith("Project.toml ")
    assert LOCAL in reason


def test_a_program_that_selects_julia_artifacts_needs_the_repository() -> None:
    files = {"Project.toml": "[deps]\n", "Artifacts.toml": "[x]\n"}

    assert check(files)[0] == ""
    reason, _ = check(files, {".pkg/select_artifacts.jl": ""})
    assert reason == f"Artifacts.toml needs .pkg/select_artifacts.jl, which {READS}"


def test_pipenv_looks_for_a_missing_pipfile_in_the_parent_folders() -> None:
    lock = {"binder/Pipfile.lock": "{}"}

    assert "no Pipfile beside it" in check(lock, {"Pipfile": ""})[0]
    assert check({**lock, "binder/Pipfile": "[packages]\n"})[0] == ""


@pytest.mark.parametrize(
    "image", ["pangeo/pangeo-notebook-onbuild:2019.09.21", "pangeo/base-image"]
)
def test_an_image_that_is_known_for_its_onbuild_needs_the_repository(image: str) -> None:
    assert check({"Dockerfile": f"FROM {image}\n"})[0].startswith("Dockerfile has the line `FROM ")


# What can change although no file does


@pytest.mark.parametrize(
    ("file", "text", "packages"),
    [
        ("requirements.txt", "a\nb==1.0\nc==1.*\nd>=1\ne===1\n", {"a", "c", "d"}),
        (
            "environment.yml",
            "dependencies: [a, b=1.0, c==1.0, d>=1, e=1.0=py_0, f=1.*, x::g, {pip: [h]}]\n",
            {"a", "d", "f", "g", "h", "pip"},
        ),
        ("postBuild", "pip install a b==1\nconda install c d=1.0\n", {"a", "c"}),
    ],
)
def test_packages_without_an_exact_version_are_noted(
    file: str, text: str, packages: set[str]
) -> None:
    surroundings = around()

    assert needs_source({file: text}, at_root=True, surroundings=surroundings) == ""
    assert surroundings.packages == packages


def test_addresses_are_noted_once_in_their_order() -> None:
    surroundings = around({"more.txt": "git+https://example.org/b\ngit+https://example.org/a\n"})
    text = "git+https://example.org/a\n-r more.txt\n"

    needs_source({"requirements.txt": text}, at_root=True, surroundings=surroundings)

    assert list(surroundings.addresses) == [
        "git+https://example.org/a",
        "git+https://example.org/b",
    ]
