"""Which commit's image is reused, in real git histories."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from answers import Answer, ready
from clinder._deadline import Deadline
from clinder.checkout.age_limit import AgeLimit
from clinder.checkout.checkout import Checkout
from clinder.checkout.environment import environment_hash, read_environment
from clinder.checkout.git import Git
from clinder.checkout.reuse import Choice, choose_commit
from clinder.checkout.tree import Tree
from clinder.cli.main import main
from clinder.errors import UsageError
from clinder.launch.options import LaunchOptions
from clinder.launch.request import Resolution, resolve
from clinder.repository import Repository
from histories import History
from hubs import Jupyter, ScriptedHub

TOKEN = "s3cret-token"
UNKNOWN = "1f" * 20
ENVIRONMENT = {"environment.yml": "dependencies: [numpy]\n"}
OTHER = {"environment.yml": "dependencies: [scipy]\n"}
BINDER = {"binder/environment.yml": "dependencies: []\n"}
Files = Mapping[str, "str | None"]

pytestmark = pytest.mark.usefixtures("_no_threads_left")


@pytest.fixture
def book(tmp_path: Path) -> History:
    return History(tmp_path / "book")


def choose(history: History, commit: str = "", *, folder: str = "", force: bool = False) -> Choice:
    checkout = Checkout(Repository("gh", "org/repo", commit or history.head), "a test")
    return choose_commit(checkout, history.path / folder, history.environ, force=force)


def reused(history: History, commit: str = "") -> str:
    """Return the commit that is launched instead of the requested one."""
    choice = choose(history, commit)
    assert not choice.refused, choice.reason
    return choice.launched.ref


def refusal(history: History) -> str:
    """Return why the newest commit is launched as requested."""
    choice = choose(history)
    assert choice.refused
    assert choice.launched == choice.requested
    assert choice.reason.startswith(f"Commit {history.head[:12]} is launched as requested: ")
    return choice.reason.partition(": ")[2]


# The oldest commit with the same environment files


def test_later_commits_reuse_the_commit_that_introduced_their_environment(book: History) -> None:
    book.commit()
    first = book.commit(ENVIRONMENT)
    commits = [first, *(book.commit() for _ in range(3))]

    assert [reused(book, commit) for commit in commits] == [first] * 4


def test_the_reason_names_both_commits_and_the_environment(book: History) -> None:
    first = book.commit({**ENVIRONMENT, "apt.txt": "", "runtime.txt": "", "start": "exec $@"})
    second = book.commit()
    last = book.commit()

    assert choose(book, first).reason == (
        f"Commit {first[:12]} is launched as requested: it is the first with its environment"
        " (apt.txt, environment.yml, runtime.txt and more)."
    )
    assert f"instead of {second[:12]}, which is 1 commit newer and" in choose(book, second).reason
    assert choose(book, last).reason == (
        f"Commit {first[:12]} is launched instead of {last[:12]}, which is 2 commits newer and has"
        " the same environment (apt.txt, environment.yml, runtime.txt and more)."
        f" The server has the files of {first[:12]}."
    )


def test_a_reverted_environment_does_not_reuse_a_commit_before_the_change(book: History) -> None:
    book.commit(ENVIRONMENT)
    book.commit(OTHER)
    reverted = book.commit(ENVIRONMENT)
    book.commit()

    assert reused(book) == reverted


@pytest.mark.parametrize(
    ("before", "change"),
    [
        (ENVIRONMENT, {"apt.txt": "git\n"}),
        (ENVIRONMENT, {"environment.yml": None, "apt.txt": "x"}),
        (ENVIRONMENT, {"binder/README.md": "x"}),
        ({**ENVIRONMENT, "binder/README.md": "x"}, {"binder/README.md": None}),
        (BINDER, {"binder/data/list.txt": "x"}),
        ({"Project.toml": "[deps]\n"}, {"Manifest-v1.11.toml": "[deps]\n"}),
    ],
)
def test_a_file_that_is_added_or_removed_changes_the_environment(
    book: History, before: Files, change: Files
) -> None:
    book.commit(before)
    changed = book.commit(change)
    book.commit()

    assert reused(book) == changed


ROOT_FILES = (
    "apt.txt", "Artifacts.toml", "CondaPkg.toml", "default.nix", "DESCRIPTION", "Dockerfile",
    "environment.yaml", "environment.yml", "install.R", "JuliaArtifacts.toml",
    "JuliaLocalPreferences.toml", "JuliaManifest.toml", "JuliaProject.toml",
    "LocalPreferences.toml", "Manifest.toml", "Pipfile", "Pipfile.lock", "postBuild",
    "Project.toml", "pyproject.toml", "REQUIRE", "requirements.txt", "requirements3.txt",
    "runtime.txt", "setup.py", "start", ".containerignore", ".dockerignore", "Manifest-v1.11.toml",
    "JuliaManifest-v1.11.toml",
)  # fmt: skip
SETTINGS = (
    ".bash_profile", ".condarc", ".config/pip/pip.conf", ".gitattributes", ".jupyter/x.json",
    ".local/bin/x", "jupyter_server_config.py",
)  # fmt: skip


@pytest.mark.parametrize("name", ROOT_FILES)
def test_each_file_that_repo2docker_reads_belongs_to_the_environment(
    book: History, name: str
) -> None:
    book.commit({name: "# one\n"})
    changed = book.commit({name: "# other\n"})
    book.commit()

    assert choose(book, force=True).launched.ref == changed


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("environment", [ENVIRONMENT, BINDER])
def test_settings_at_the_root_belong_to_the_environment(
    book: History, name: str, environment: Files
) -> None:
    book.commit(environment)
    added = book.commit({name: "# one\n"})
    book.commit()
    assert reused(book) == added

    removed = book.commit({name: None})
    book.commit()
    assert reused(book) == removed


@pytest.mark.parametrize(
    ("before", "old", "new"),
    [
        ({"environment.yaml": "dependencies: []"}, "environment.yaml", "environment.yml"),
        (BINDER, "binder", ".binder"),
        ({".binder/environment.yml": "dependencies: []\n"}, ".binder", "binder"),
    ],
)
def test_a_renamed_file_or_folder_changes_the_environment(
    book: History, before: Files, old: str, new: str
) -> None:
    book.commit(before)
    book.git("mv", old, new)
    renamed = book.commit_all()
    book.commit()

    assert reused(book) == renamed


@pytest.mark.posix
def test_a_changed_mode_changes_the_environment(book: History) -> None:
    book.commit({**ENVIRONMENT, "postBuild": "true\n"})
    (book.path / "postBuild").chmod(0o755)
    executable = book.commit_all()
    book.commit()

    assert reused(book) == executable


@pytest.mark.parametrize(
    ("before", "later"),
    [
        (ENVIRONMENT, {"start/a.md": "x", "Dockerfile/b.md": "x", "start/b.md": "x"}),
        ({**ENVIRONMENT, "start/a.md": "x", "setup.py/x": "x"}, {"start/a.md": "y"}),
        (ENVIRONMENT, {"postbuild": "x", "Environment.yml": "x", "docs/environment.yml": "x"}),
        (ENVIRONMENT, {"Binder/apt.txt": "x", "environment/a.md": "x"}),
        ({**ENVIRONMENT, "binder": "a file"}, {"a.md": "x"}),
        ({"Manifest-v1.11.toml": "[deps]\n"}, {"Manifest-vogue.md": "x"}),
        (BINDER, {**ENVIRONMENT, "setup.py": "", "postBuild": "make\n", "Dockerfile": "COPY . ."}),
        ({".binder/apt.txt": ""}, {**ENVIRONMENT, "setup.py": ""}),
    ],
)
def test_other_files_do_not_change_the_environment(
    book: History, before: Files, later: Files
) -> None:
    first = book.commit(before)
    for name, text in later.items():
        book.commit({name: text})

    assert reused(book) == first


@pytest.mark.parametrize(("files", "named"), [({"a.md": "x"}, "(no files)"), (BINDER, "(binder/)")])
def test_the_reason_names_no_files_or_the_folder(book: History, files: Files, named: str) -> None:
    first = book.commit(files)
    book.commit()

    assert reused(book) == first
    assert named in choose(book).reason


def test_a_folder_can_have_more_files_than_a_command_has_arguments(book: History) -> None:
    many = {f"binder/{'x' * 240}{number}": "" for number in range(8_800)}  # 2.2 MB of names
    first, second = book.import_commits([many, {**many, "a": ""}])

    assert reused(book, second) == first


def test_in_a_subfolder_the_whole_repository_counts(book: History) -> None:
    first = book.commit({**ENVIRONMENT, "docs/a.md": "x"})
    book.commit({"docs/environment.yml": "x"})
    assert choose(book, folder="docs").launched.ref == first

    book.commit({"environment.yml": None, "setup.py": ""})
    assert "setup.py belongs to a package" in choose(book, folder="docs").reason


def test_a_repository_with_both_folders_is_refused_as_by_repo2docker(book: History) -> None:
    book.commit({"binder/apt.txt": "", ".binder/apt.txt": ""})
    book.commit()

    assert refusal(book) == "it has both binder/ and .binder/, which repo2docker refuses."
    assert choose(book, force=True).refused


@pytest.mark.parametrize("name", ["start", "Dockerfile"])
def test_a_file_that_replaces_a_folder_of_its_name_changes_the_environment(
    book: History, name: str
) -> None:
    book.commit({**ENVIRONMENT, f"{name}/a.md": "x"})
    book.git("rm", "-rq", name)
    changed = book.commit({name: "FROM a\n" if name == "Dockerfile" else "true\n"})
    book.commit()

    assert reused(book) == changed


# Files that environment files name


def test_a_file_that_requirements_include_belongs_to_the_environment(book: History) -> None:
    book.commit({"requirements.txt": "-r sub/more.txt\n", "sub/more.txt": "numpy\n"})
    changed = book.commit({"sub/more.txt": "scipy\n"})
    book.commit({"sub/other.txt": "x"})
    assert reused(book) == changed

    book.commit({"sub/more.txt": "-e .\n"})
    assert refusal(book).startswith(
        "requirements.txt reads sub/more.txt, which has the line `-e .`"
    )


def test_an_older_commit_that_names_other_files_has_another_environment(book: History) -> None:
    workspace = '[workspace]\nprojects = ["binder"]\n'
    book.commit({"Project.toml": workspace, "binder/Project.toml": "[deps]\n"})
    book.commit()
    changed = book.commit({"Project.toml": "[deps]\n"})
    book.commit()
    last = book.commit()

    assert reused(book, last) == changed
    assert reused(book, changed) == changed


def test_an_older_commit_whose_build_might_read_more_has_another_environment(
    book: History,
) -> None:
    script = {"postBuild": "jupyter labextension install drawio\n"}
    book.commit({**script, "drawio/package.json": "{}"})
    book.commit()
    book.commit()
    changed = book.commit({"drawio/package.json": None})
    book.commit()

    assert reused(book) == changed


# Merges


@pytest.mark.parametrize("topic", [[{"topic.md": "x"}], [OTHER, {**ENVIRONMENT, "topic.md": "x"}]])
def test_a_merge_that_does_not_change_the_environment_reuses_it(
    book: History, topic: list[Files]
) -> None:
    first = book.commit(ENVIRONMENT)
    book.branch("topic", first)
    for files in topic:
        book.commit(files)
    book.switch("main")
    book.commit()
    book.merge("topic")

    assert reused(book) == first


def test_a_merge_that_changes_the_environment_is_launched(book: History) -> None:
    first = book.commit(ENVIRONMENT)
    book.branch("topic", first)
    changed = book.commit(OTHER)
    later = book.commit({"topic.md": "x"})
    book.switch("main")
    book.commit()
    merge = book.merge("topic")
    last = book.commit()

    assert reused(book, last) == reused(book, merge) == merge
    assert reused(book, later) == changed


def test_a_branch_reuses_a_commit_from_before_it_began(book: History) -> None:
    first = book.commit(ENVIRONMENT)
    start = book.commit()
    book.commit(OTHER)
    book.branch("topic", start)
    book.commit()

    assert reused(book) == first


# Submodules and links


@pytest.fixture
def other(tmp_path: Path) -> History:
    history = History(tmp_path / "other")
    history.commit({"environment.yml": "dependencies: []\n"})
    return history


def test_a_submodule_outside_of_the_environment_is_ignored(book: History, other: History) -> None:
    first = book.commit(ENVIRONMENT)
    book.git("submodule", "--quiet", "add", str(other.path), "data")
    book.commit_all()

    assert reused(book) == first


@pytest.mark.parametrize("path", ["binder", "binder/more"])
def test_a_submodule_in_the_environment_is_refused(
    book: History, other: History, path: str
) -> None:
    book.git("submodule", "--quiet", "add", str(other.path), path)
    added = book.commit_all()
    book.commit()

    assert refusal(book).startswith(f"{path} is a submodule, whose files are not in this clone.")
    assert choose(book, force=True).launched.ref == added


@pytest.mark.posix
def test_the_target_of_a_link_belongs_to_the_environment(book: History) -> None:
    book.commit(ENVIRONMENT)
    linked = book.link("binder/environment.yml", "../environment.yml")
    book.commit()
    assert reused(book) == linked

    changed = book.commit(OTHER)
    book.commit()
    assert reused(book) == changed

    book.commit({"environment.yml": "dependencies: [{pip: [-e .]}]\n"})
    assert refusal(book).startswith("environment.yml has ")


NOT_FILES = ("../data", "../../outside.yml", "/etc/hosts", "../none.yml", "..", "../index.md/x")


@pytest.mark.posix
@pytest.mark.parametrize(
    ("link", "target"),
    [("binder", "data"), *(("binder/environment.yml", target) for target in NOT_FILES)],
)
def test_a_link_to_anything_but_a_file_of_the_repository_is_refused(
    book: History, link: str, target: str
) -> None:
    book.commit({"data/environment.yml": ""})
    linked = book.link(link, target)
    book.commit()

    assert refusal(book).startswith(f"{link} is a symbolic link, but not to a file of")
    assert choose(book, force=True).launched.ref == linked


# Environments that depend on the rest of the repository


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"pyproject.toml": "[project]\n[build-system]\n"}, "pyproject.toml belongs to a package"),
        ({"requirements.txt": "numpy\n-e .\n"}, "requirements.txt has the line `-e .`"),
        ({"binder/requirements.txt": "-r ../all.txt"}, "requirements.txt has the line `-r ../all"),
        ({"environment.yml": "dependencies:\n- pip:\n  - .\n"}, "environment.yml has the line"),
        ({**ENVIRONMENT, "postBuild": "make\n"}, "postBuild runs `make`"),
        (
            {**ENVIRONMENT, "postBuild": "true\n", ".condarc": ""},
            "postBuild might read its settings from .condarc",
        ),
        (
            {"binder/postBuild": "true\n", ".config/pip/pip.conf": ""},
            "postBuild might read its settings from .config",
        ),
        ({"binder/start": "source env.sh\n"}, "start runs `source env.sh`"),
        ({"Dockerfile": "FROM a\nCOPY . .\n"}, "Dockerfile has the line `COPY . .`"),
        ({"requirements.txt": "#" * 1_000_001}, "requirements.txt is too large to inspect"),
    ],
)
def test_an_environment_with_dependencies_is_refused_unless_forced(
    book: History, files: Files, reason: str
) -> None:
    first = book.commit(files)
    book.commit()

    text = refusal(book)
    assert text.startswith(reason)
    assert text.endswith("To reuse an image anyway, use `force`.")
    forced = choose(book, force=True)
    assert (forced.launched.ref, forced.refused) == (first, False)


REFERENCES = {
    "requirements.txt": "git+https://github.com/{}@main\n",
    "Dockerfile": "FROM ghcr.io/{}:latest\n",
}


@pytest.mark.parametrize(("file", "text"), REFERENCES.items())
@pytest.mark.parametrize("name", ["org/repo", "them/fork", "up/stream"])
def test_an_environment_that_refers_to_the_repository_is_refused_by_every_name(
    book: History, file: str, text: str, name: str
) -> None:
    """The checkout is a fork's pull request to org/repo, in a clone with another remote."""
    book.git("remote", "set-url", "origin", "../elsewhere")
    book.git("remote", "add", "upstream", "git@github.com:up/stream.git")
    first = book.commit({file: text.format("some/other")})
    head = book.commit()
    assert choose_for_fork(book, head, head).launched.ref == first

    base = book.commit({file: text.format(name)})
    head = book.commit()
    choice = choose_for_fork(book, head, base)

    assert (choice.refused, choice.launched.ref) == (True, head)
    line = text.format(name).strip()
    reason = f"{file} has the line `{line}`, which refers to this repository itself. To reuse"
    assert choice.reason.startswith(f"Commit {head[:12]} is launched as requested: {reason}")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", '[project]\nname = "some-name"\n'),
        ("setup.cfg", "[metadata]\nname = Some_Name\n"),
        ("setup.py", "setup(\n    name='some.name',\n)\n"),
        ("DESCRIPTION", "Package: some.name\n"),
        ("index.md", ""),
    ],
)
def test_the_names_of_packages_come_from_their_metadata(
    book: History, file: str, text: str
) -> None:
    book.commit({"binder/requirements.txt": "--pre\nsome-name\n", file: text})
    book.commit()

    assert choose(book).refused is (text != "")


# Incomplete histories


def test_a_shallow_clone_is_refused_with_the_way_to_fetch_all(
    book: History, tmp_path: Path
) -> None:
    book.commit(ENVIRONMENT)
    book.commit()
    shallow = History(tmp_path / "shallow")
    shallow.git("fetch", "--quiet", "--depth=1", book.path.as_uri(), "main")
    shallow.git("reset", "--quiet", "--hard", "FETCH_HEAD")

    assert refusal(shallow).startswith("this clone is shallow. Run `git fetch --unshallow`")
    shallow.environ["GITLAB_CI"] = "true"
    assert "`GIT_DEPTH: 0`" in refusal(shallow)
    shallow.environ["GITHUB_ACTIONS"] = "true"
    assert refusal(shallow).endswith("Run actions/checkout beforehand, with `fetch-depth: 0`.")
    assert choose(shallow, force=True).refused


@pytest.mark.parametrize("filter_", ["blob:none", "tree:0"])
def test_a_partial_clone_is_refused_with_the_way_to_fetch_all(
    book: History, tmp_path: Path, filter_: str
) -> None:
    book.commit(ENVIRONMENT)
    book.commit()
    book.git("config", "uploadpack.allowFilter", "true")
    partial = History(tmp_path / "partial")
    partial.git("remote", "add", "source", book.path.as_uri())
    partial.git("fetch", "--quiet", f"--filter={filter_}", "source", "main")
    partial.git("update-ref", "HEAD", "FETCH_HEAD")

    problem = "this is a partial clone, without some of the files. "
    assert refusal(partial) == f"{problem}Clone without `--filter`."
    partial.environ["GITHUB_ACTIONS"] = "true"
    advice = "Remove `filter` and `sparse-checkout` from actions/checkout."
    assert refusal(partial) == problem + advice


def test_a_damaged_file_is_refused_and_not_read_as_empty(book: History) -> None:
    book.commit({"requirements.txt": "-e .\n"})
    blob = book.git("rev-parse", "HEAD:requirements.txt")
    damaged = book.path / ".git" / "objects" / blob[:2] / blob[2:]
    content = damaged.read_bytes()
    damaged.chmod(0o644)
    damaged.write_bytes(content[:-3])

    assert refusal(book).startswith("git cannot read this clone: ")


@pytest.mark.parametrize("how", ["graft", "replace"])
def test_parents_that_exist_only_in_this_clone_are_ignored(book: History, how: str) -> None:
    changed = book.commit(OTHER)
    first = book.commit(ENVIRONMENT)
    last = book.commit()
    if how == "graft":
        (book.path / ".git" / "info").mkdir(exist_ok=True)
        (book.path / ".git" / "info" / "grafts").write_text(f"{last} {changed}\n", "utf-8")
    else:
        book.git("replace", "--graft", last, changed)

    assert reused(book, last) == first


def test_a_commit_that_is_not_in_the_clone_is_refused(book: History) -> None:
    book.commit(ENVIRONMENT)

    choice = choose(book, UNKNOWN)

    assert choice.refused
    assert choice.launched.ref == UNKNOWN
    assert "it is not in this clone. Run `git fetch" in choice.reason


def test_a_folder_without_a_clone_is_refused(book: History, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    book.environ |= {"GIT_CEILING_DIRECTORIES": str(tmp_path), "GITHUB_ACTIONS": "true"}

    reason = choose(book, UNKNOWN, folder="../plain").reason

    assert "there is no clone, so no history. Run actions/checkout beforehand" in reason


def test_a_git_that_is_missing_or_fails_is_refused_with_its_message(
    book: History, tmp_path: Path
) -> None:
    book.commit(ENVIRONMENT)
    book.environ["GIT_TEST_ASSUME_DIFFERENT_OWNER"] = "1"
    failing = choose(book, UNKNOWN).reason
    book.environ["PATH"] = str(tmp_path)
    missing = choose(book, UNKNOWN).reason

    assert "git cannot read this clone: fatal: detected dubious ownership" in failing
    assert "\n" not in failing
    assert "git could not be run" in missing


# A hash of the environment


def hash_of(book: History, commit: str) -> str:
    tree = Tree(Git(book.path, book.environ), commit)
    return environment_hash(tree, read_environment(tree))


def test_the_hash_is_the_same_exactly_for_the_same_environment(book: History) -> None:
    first = book.commit(ENVIRONMENT)
    second = book.commit()
    changed = book.commit({**ENVIRONMENT, "apt.txt": "git\n"})
    reverted = book.commit({"apt.txt": None})

    assert hash_of(book, first) == hash_of(book, second) == hash_of(book, reverted)
    assert hash_of(book, first) != hash_of(book, changed)


def test_the_hash_is_that_of_all_files_if_the_environment_might_depend_on_them(
    book: History,
) -> None:
    first = book.commit({"postBuild": "make\n"})
    second = book.commit()

    assert hash_of(book, first) != hash_of(book, second)


def run_hash(
    book: History, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    code = main(["environment-hash", "--directory", str(book.path), *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_writes_the_hash_of_the_commit_that_is_checked_out(
    book: History, capsys: pytest.CaptureFixture[str]
) -> None:
    first = book.commit(ENVIRONMENT)
    head = book.commit({**ENVIRONMENT, "apt.txt": "git\n"})

    assert run_hash(book, capsys) == (0, f"{hash_of(book, head)}\n", "")
    assert run_hash(book, capsys, "--ref", first) == (0, f"{hash_of(book, first)}\n", "")
    code, out, err = run_hash(book, capsys, "-o", "json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "hash": hash_of(book, head),
        "commit": head,
        "files": ["apt.txt", "environment.yml"],
        "reason": "",
    }


def test_the_command_warns_if_each_commit_has_another_hash(
    book: History, capsys: pytest.CaptureFixture[str]
) -> None:
    head = book.commit({"postBuild": "make\n"})

    code, out, err = run_hash(book, capsys)

    assert (code, out) == (0, f"{hash_of(book, head)}\n")
    assert err.startswith("clinder: Warning: The hash is that of all files, because the image")


def test_an_environment_that_refers_to_the_repository_itself_is_noticed(
    book: History, capsys: pytest.CaptureFixture[str]
) -> None:
    """The names of the clone's remotes are known."""
    book.commit({"requirements.txt": "git+https://github.com/org/repo.git\n"})

    assert "The hash is that of all files" in run_hash(book, capsys)[2]


@pytest.mark.parametrize(
    ("files", "arguments", "message"),
    [
        (None, (), "This clone has no commit yet."),
        (ENVIRONMENT, ("--ref", "nowhere"), "This clone does not have 'nowhere'."),
        (ENVIRONMENT, ("--ref", ""), "--ref is empty."),
        (
            {"binder/environment.yml": "", ".binder/environment.yml": ""},
            (),
            "it has both binder/ and .binder/, which repo2docker refuses.",
        ),
    ],
)
def test_a_commit_without_a_hash_is_a_usage_error(
    book: History,
    capsys: pytest.CaptureFixture[str],
    files: Files | None,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    if files:
        book.commit(files)

    code, out, err = run_hash(book, capsys, *arguments)

    assert (code, out) == (2, "")
    assert message in err


def test_outside_of_a_clone_there_is_no_hash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["environment-hash", "--directory", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "This directory is not a git checkout." in message
    assert "Run clinder in a clone of the repository, or name its --directory." in message


# The age of a commit


def choose_since(book: History, since: str, now: str) -> Choice:
    seconds = datetime.fromisoformat(f"{now}T00:00+00:00").timestamp()
    checkout = Checkout(Repository("gh", "org/repo", book.head), "a test")
    return choose_commit(
        checkout, book.path, book.environ, since=AgeLimit(since), now=lambda: seconds
    )


def test_a_commit_that_is_too_old_is_not_reused(book: History) -> None:
    old = book.commit(ENVIRONMENT, date="2026-01-01")
    new = book.commit(date="2026-03-01")
    last = book.commit(date="2026-03-02")

    assert choose_since(book, "2026-01-01", "2026-03-02").launched.ref == old
    assert choose_since(book, "90d", "2026-03-02").launched.ref == old
    choice = choose_since(book, "2026-02-01", "2026-03-02")
    assert choice == replace(choose_since(book, "4w", "2026-03-02"), reason=choice.reason)
    assert choice.launched.ref == new
    assert choice.reason == (
        f"Commit {new[:12]} is launched instead of {last[:12]}, which is 1 commit newer and has the"
        " same environment (environment.yml). 1 older commit with that environment is not reused"
        f" because of the age limit 2026-02-01. The server has the files of {new[:12]}."
    )


@pytest.mark.parametrize(("since", "now"), [("2026-04-01", "2026-05-01"), ("90d", "2027-01-01")])
def test_the_requested_commit_is_launched_however_old_it_is(
    book: History, since: str, now: str
) -> None:
    book.commit(ENVIRONMENT, date="2026-01-01")
    book.commit(date="2026-01-02")
    last = book.commit(date="2026-03-02")

    choice = choose_since(book, since, now)

    assert (choice.refused, choice.launched.ref) == (False, last)
    assert choice.reason == (
        f"Commit {last[:12]} is launched as requested: 2 older commits with that environment are"
        f" not reused because of the age limit {since}."
    )


# What can change although no file does


def test_the_inputs_that_move_are_listed_once(book: History) -> None:
    text = "".join(f"git+https://x:secret@example.org/{name}\n" for name in "abcdef")
    first = book.commit({"requirements.txt": f"{text}numpy\nscipy\n", "apt.txt": "git\n"})
    assert choose(book).note == ""
    book.commit()

    assert choose(book).note == (
        f"These inputs of the build can change although no file does. The image of {first[:12]} has"
        " them as they were when the hub built it: git+https://example.org/a,"
        " git+https://example.org/b, git+https://example.org/c, git+https://example.org/d,"
        " git+https://example.org/e and 3 more."
    )


def test_an_environment_in_which_everything_is_fixed_has_no_such_note(book: History) -> None:
    book.commit({"requirements.txt": "numpy==2.0\n"})
    book.commit()

    assert choose(book).note == ""


# A fork's pull request


def choose_for_fork(book: History, head: str, base: str) -> Choice:
    """Choose for a pull request from them/fork, whose target is org/repo."""
    target = Repository("gh", "org/repo", base)
    checkout = Checkout(Repository("gh", "them/fork", head), "a test", base=target)
    return choose_commit(checkout, book.path, book.environ)


def test_a_forks_commit_reuses_the_target_repositorys_image(book: History) -> None:
    first = book.commit(ENVIRONMENT)
    start = book.commit()
    base = book.commit()
    book.branch("topic", start)
    head = book.commit({"topic.md": "x"})
    book.switch("main")
    book.merge("topic")  # what GitHub checks out

    choice = choose_for_fork(book, head, base)

    assert choice.requested == Repository("gh", "them/fork", head)
    assert choice.launched == Repository("gh", "org/repo", first)
    assert f"Commit {first[:12]} of org/repo is launched instead of {head[:12]}" in choice.reason


def test_a_fork_with_its_own_environment_is_launched_from_the_fork(book: History) -> None:
    base = book.commit(ENVIRONMENT)
    book.branch("topic", base)
    changed = book.commit(OTHER)
    head = book.commit()

    assert choose_for_fork(book, head, base).launched == Repository("gh", "them/fork", changed)


def test_a_pull_request_without_a_known_base_stays_in_its_fork(book: History) -> None:
    first = book.commit(ENVIRONMENT)
    head = book.commit()

    assert choose_for_fork(book, head, UNKNOWN).launched == Repository("gh", "them/fork", first)


# As part of a request


def resolve_in(history: History, text: str = "", *hubs: str, **more: Any) -> Resolution:
    more = {"reuse_environment": True, **more}
    options = LaunchOptions(text, hubs, directory=history.path, **more)
    return resolve(options, Deadline(60), history.environ)


def test_the_request_is_for_the_reused_commit(book: History) -> None:
    first = book.commit(ENVIRONMENT)
    last = book.commit()
    book.mark_pushed()

    resolution = resolve_in(book)

    assert resolution.request.repository == Repository("gh", "org/repo", first)
    assert resolution.request.choice == choose(book)
    requested, reason, note = resolution.notes
    assert requested == f"Requested: gh/org/repo/{last}, from this checkout's origin and HEAD."
    assert f"Commit {first[:12]} is launched instead of {last[:12]}" in reason
    assert note.endswith("when the hub built it: 1 package without an exact version.")
    assert resolution.warnings == ()


@pytest.mark.parametrize(
    ("hubs", "more", "warning"),
    [
        ((), {"reuse_environment": False}, None),
        (("local",), {}, "No image is reused because the embedded hub builds none."),
        (
            (),
            {"build_token": "b.u1ld-t0ken"},
            "No image is reused because the build token is for the requested commit only.",
        ),
    ],
)
def test_without_the_option_or_a_build_the_request_is_for_the_commit(
    book: History, hubs: tuple[str, ...], more: dict[str, Any], warning: str | None
) -> None:
    book.commit(ENVIRONMENT)
    last = book.commit()
    book.mark_pushed()

    resolution = resolve_in(book, "", *hubs, **more)

    assert resolution.request.repository.ref == last
    assert resolution.request.choice is None
    assert resolution.warnings == ((warning,) if warning else ())


def test_a_refusal_is_a_warning_unless_forced(book: History) -> None:
    first = book.commit({"setup.py": ""})
    last = book.commit()
    book.mark_pushed()

    resolution = resolve_in(book)
    assert resolution.request.repository.ref == last
    assert resolution.warnings == (choose(book).reason,)

    assert resolve_in(book, reuse_environment="force").request.repository.ref == first


def test_the_request_takes_the_age_of_commits_into_account(book: History) -> None:
    book.commit(ENVIRONMENT, date="2025-01-01")
    new = book.commit(date="2026-01-01")
    book.mark_pushed()

    resolution = resolve_in(book, reuse_environment_since="2025-02-01")

    assert resolution.request.repository.ref == new


def test_the_clones_own_repository_and_commit_can_be_given(book: History) -> None:
    first = book.commit(ENVIRONMENT)
    last = book.commit()

    for text, ref in ((f"Org/Repo@{last}", ""), ("https://github.com/org/repo", last), ("", last)):
        assert resolve_in(book, text, ref=ref).request.repository.ref == first


@pytest.mark.parametrize(
    ("text", "more", "message", "hint"),
    [
        (f"other/repo@{UNKNOWN}", {}, "this is a clone of org/repo", "Omit --reuse-environment"),
        (f"gl/org%2Frepo/{UNKNOWN}", {}, "this is a clone of org/repo", "Omit --reuse-environment"),
        ("", {"ref": "main"}, "requires a commit, but main is not one", "--ref"),
        ("org/repo", {}, "requires a commit, but HEAD is not one", "--ref"),
        ("org/repo", {"ref": "v1.0"}, "requires a commit, but v1.0 is not one", "--ref"),
        ("", {"reuse_environment": "yes"}, "must be True, False or `force`", ""),
        ("", {"reuse_environment_since": "1y"}, "'1y' is neither a date nor an age", "90d or 12w"),
        (
            "",
            {"reuse_environment": False, "reuse_environment_since": "90d"},
            "limits --reuse-environment, which is not given",
            "Give both, or omit",
        ),
    ],
)
def test_another_repository_a_branch_or_another_value_is_an_error(
    book: History, text: str, more: dict[str, Any], message: str, hint: str
) -> None:
    book.commit(ENVIRONMENT)
    book.mark_pushed()

    with pytest.raises(UsageError) as caught:
        resolve_in(book, text, **more)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_repository_without_a_clone_is_an_error(book: History, tmp_path: Path) -> None:
    environ = {**book.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path)}
    options = LaunchOptions(f"org/repo@{UNKNOWN}", reuse_environment=True, directory=tmp_path)

    with pytest.raises(UsageError, match=r"requires a clone of the repository.* not a git checko"):
        resolve(options, Deadline(60), environ)


# On the command line


@pytest.fixture
def hub() -> Iterator[ScriptedHub]:
    with ScriptedHub() as scripted:
        yield scripted


def start(
    hub: ScriptedHub, book: History, monkeypatch: pytest.MonkeyPatch, commit: str, *options: str
) -> int:
    """Run ``clinder start`` in the clone, on a hub that reports that it launches ``commit``."""
    url = hub.serve("new", Jupyter(TOKEN))
    persistent = f"v2/gh/org/repo/{commit}"
    hub.then(Answer(ready(url, TOKEN, binder_persistent_request=persistent)))
    monkeypatch.chdir(book.path)
    for name, value in book.environ.items():
        monkeypatch.setenv(name, value)
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "READTHEDOCS", "NETLIFY"):
        monkeypatch.delenv(name, raising=False)
    return main(["start", *options, "--hub", hub.url, "--no-warm-up", "-o", "json"])


Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "option",
    ["--reuse-environment", "--reuse-environment=force", "--reuse-environment-since=2026-01-01"],
)
def test_the_log_and_the_json_contain_the_reused_commit_and_the_reason(
    hub: ScriptedHub,
    book: History,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Capture,
    option: str,
) -> None:
    first = book.commit(ENVIRONMENT)
    last = book.commit()
    book.mark_pushed()

    code = start(hub, book, monkeypatch, first, "--reuse-environment", option)

    out, err = capfd.readouterr()
    assert code == 0, err
    assert [request.path for request in hub.builds] == [f"/build/gh/org/repo/{first}"]
    session = json.loads(out)
    assert session["spec"] == session["persistent_spec"] == f"gh/org/repo/{first}"
    assert session["asked_spec"] == f"gh/org/repo/{last}"
    assert session["reuse"].startswith(f"Commit {first[:12]} is launched instead of {last[:12]}")
    assert session["reuse"].endswith(f"The server has the files of {first[:12]}.")
    assert f"clinder: {session['reuse']}\n" in err
    assert err.count("These inputs of the build can change although no file does.") == 1


def test_a_hub_that_launches_the_requested_commit_instead_of_the_older_is_an_error(
    hub: ScriptedHub, book: History, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    first = book.commit(ENVIRONMENT)
    last = book.commit()
    book.mark_pushed()

    code = start(hub, book, monkeypatch, last, "--reuse-environment")

    assert code == 3
    assert f"The hub launched {last}, not {first}." in capfd.readouterr().err


def test_a_refusal_is_in_the_log_and_in_the_json(
    hub: ScriptedHub, book: History, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    book.commit({"setup.py": ""})
    last = book.commit()
    book.mark_pushed()

    code = start(hub, book, monkeypatch, last, "--reuse-environment", "-q")

    out, err = capfd.readouterr()
    assert code == 0, err
    session = json.loads(out)
    assert session["spec"] == session["asked_spec"] == f"gh/org/repo/{last}"
    assert "setup.py belongs to a package" in session["reuse"]
    assert err == f"clinder: Warning: {session['reuse']}\n"


def test_an_option_that_swallows_the_repository_is_an_error(capfd: Capture) -> None:
    code = main(["start", "--reuse-environment", "org/repo"])

    err = capfd.readouterr().err
    assert code == 2
    assert "--reuse-environment accepts `force` or no value, not 'org/repo'." in err
    assert "Put REPOSITORY before --reuse-environment." in err
