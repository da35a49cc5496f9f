"""Which commit's image will do: on real histories."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from answers import Answer, ready
from clinder._deadline import Deadline
from clinder.checkout.checkout import Checkout
from clinder.checkout.detection import detect
from clinder.checkout.reuse import Choice, choose_commit
from clinder.cli.main import main
from clinder.errors import UsageError
from clinder.launch.options import LaunchOptions
from clinder.launch.request import Resolution, resolve
from clinder.repository import Repository
from histories import History
from hubs import Jupyter, ScriptedHub

TOKEN = "s3cret-token"
ENVIRONMENT = {"environment.yml": "dependencies: [numpy]\n"}
OTHER = {"environment.yml": "dependencies: [scipy]\n"}

pytestmark = pytest.mark.usefixtures("_no_threads_left")


@pytest.fixture
def book(tmp_path: Path) -> History:
    return History(tmp_path / "book")


def chosen(history: History, commit: str = "", *, force: bool = False) -> Choice:
    repository = Repository("gh", "org/repo", commit or history.head)
    return choose_commit(
        Checkout(repository, "a test"), history.path, history.environment, force=force
    )


def launched(history: History, commit: str = "") -> str:
    """Return the commit that is launched for one, and hold that nothing was refused."""
    made = chosen(history, commit)
    assert not made.refused, made.reason
    return made.launched.ref


def refused(history: History) -> str:
    """Return why the newest commit is launched itself."""
    made = chosen(history)
    assert made.refused
    assert made.launched == made.requested
    assert made.reason.startswith(f"Commit {history.head[:12]} is launched itself: ")
    return made.reason.partition(": ")[2]


# The oldest of the unbroken run.


def test_prose_is_launched_as_the_commit_that_brought_its_environment(book: History) -> None:
    book.commit()
    first = book.commit(ENVIRONMENT)
    commits = [first, *(book.commit() for _ in range(3))]

    assert [launched(book, commit) for commit in commits] == [first] * 4


def test_it_says_which_commit_and_why(book: History) -> None:
    first = book.commit({**ENVIRONMENT, "apt.txt": "", "runtime.txt": "", "start": "exec $@"})
    one = book.commit()
    last = book.commit()

    assert chosen(book, first).reason == (
        f"Commit {first[:12]} is launched itself: it is the first with its environment"
        " (apt.txt, environment.yml, runtime.txt and more)."
    )
    assert f"in place of {one[:12]}, which is 1 commit newer and" in chosen(book, one).reason
    assert chosen(book, last).reason == (
        f"Commit {first[:12]} is launched in place of {last[:12]}, which is 2 commits newer and has"
        " the same environment (apt.txt, environment.yml, runtime.txt and more)."
        f" Files on the server are those of {first[:12]}."
    )


def test_a_run_ends_where_the_environment_changed_though_that_is_reverted(book: History) -> None:
    book.commit(ENVIRONMENT)
    book.commit()
    book.commit(OTHER)
    book.commit()
    reverted = book.commit(ENVIRONMENT)
    book.commit()

    assert launched(book) == reverted


@pytest.mark.parametrize("more", [{"apt.txt": "git\n"}, {"environment.yml": None, "apt.txt": "x"}])
def test_a_file_that_comes_or_goes_ends_a_run(
    book: History, more: Mapping[str, str | None]
) -> None:
    book.commit(ENVIRONMENT)
    changed = book.commit(more)
    book.commit()

    assert launched(book) == changed


def test_a_renamed_file_ends_a_run(book: History) -> None:
    book.commit({"environment.yaml": ENVIRONMENT["environment.yml"]})
    book.git("mv", "environment.yaml", "environment.yml")
    renamed = book.recorded()
    book.commit()

    assert launched(book) == renamed


def test_renamed_prose_does_not_end_a_run(book: History) -> None:
    first = book.commit({**ENVIRONMENT, "docs/a.md": "x"})
    book.git("mv", "docs", "environment")
    book.recorded()

    assert launched(book) == first


@pytest.mark.posix
def test_a_mode_that_changes_ends_a_run(book: History) -> None:
    book.commit({**ENVIRONMENT, "postBuild": "true\n"})
    (book.path / "postBuild").chmod(0o755)
    executable = book.recorded()
    book.commit()

    assert launched(book) == executable


def test_names_are_as_repo2docker_writes_them(book: History) -> None:
    first = book.commit(ENVIRONMENT)
    for other in ("postbuild", "Environment.yml", "docs/environment.yml", "Binder/apt.txt"):
        book.commit({other: "x"})

    assert launched(book) == first


def test_versioned_manifests_of_julia_are_environment_files(book: History) -> None:
    book.commit({"Project.toml": "[deps]\n"})
    locked = book.commit({"Manifest-v1.11.toml": "[deps]\n"})
    book.commit({"Manifest-vogue.md": "x"})

    assert launched(book) == locked


def test_with_no_environment_files_at_all_any_image_will_do(book: History) -> None:
    first = book.commit()
    book.commit()

    assert launched(book) == first
    assert "(no files)" in chosen(book).reason


def test_the_history_of_a_sub_folder_is_the_whole_one(book: History) -> None:
    first = book.commit({**ENVIRONMENT, "docs/a.md": "x"})
    last = book.commit({"docs/environment.yml": "x"})
    found = Checkout(Repository("gh", "org/repo", last), "a test")

    assert choose_commit(found, book.path / "docs", book.environment).launched.ref == first


def test_a_sub_folder_is_built_from_the_root(book: History) -> None:
    last = book.commit({"setup.py": "", "docs/environment.yml": "dependencies: []\n"})
    found = Checkout(Repository("gh", "org/repo", last), "a test")

    assert (
        "setup.py is that of a package"
        in choose_commit(found, book.path / "docs", book.environment).reason
    )


ROOT_FILES = (
    "apt.txt", "default.nix", "DESCRIPTION", "Dockerfile", "environment.yaml", "environment.yml",
    "install.R", "JuliaManifest.toml", "JuliaProject.toml", "LocalPreferences.toml",
    "Manifest.toml", "Pipfile", "Pipfile.lock", "postBuild", "Project.toml", "pyproject.toml",
    "REQUIRE", "requirements.txt", "requirements3.txt", "runtime.txt", "setup.py", "start",
    ".containerignore", ".dockerignore", "Manifest-v1.11.toml", "JuliaManifest-v1.11.toml",
)  # fmt: skip


@pytest.mark.parametrize("name", ROOT_FILES)
def test_each_file_that_repo2docker_reads_at_the_root_ends_a_run(book: History, name: str) -> None:
    book.commit({name: "# one\n"})
    changed = book.commit({name: "# other\n"})
    book.commit()

    assert chosen(book, force=True).launched.ref == changed


# binder/ and .binder/


@pytest.mark.parametrize("folder", ["binder", ".binder"])
def test_where_there_is_a_folder_only_its_files_count(book: History, folder: str) -> None:
    first = book.commit({f"{folder}/environment.yml": "dependencies: []\n"})
    book.commit(ENVIRONMENT)
    book.commit({"setup.py": "", "postBuild": "make\n", "Dockerfile": "COPY . .\n"})

    assert launched(book) == first
    assert f"({folder}/)" in chosen(book).reason


def test_all_of_the_folder_counts(book: History) -> None:
    book.commit({"binder/environment.yml": "dependencies: []\n"})
    changed = book.commit({"binder/data/list.txt": "x"})
    book.commit()

    assert launched(book) == changed


@pytest.mark.parametrize(("old", "new"), [("binder", ".binder"), (".binder", "binder")])
def test_a_folder_that_is_moved_ends_a_run(book: History, old: str, new: str) -> None:
    book.commit({f"{old}/environment.yml": "dependencies: []\n"})
    book.git("mv", old, new)
    moved = book.recorded()
    book.commit()

    assert launched(book) == moved


def test_a_folder_that_comes_or_goes_ends_a_run(book: History) -> None:
    book.commit(ENVIRONMENT)
    comes = book.commit({"binder/README.md": "x"})
    book.commit()
    assert launched(book) == comes

    goes = book.commit({"binder/README.md": None})
    book.commit()
    assert launched(book) == goes


def test_a_file_named_binder_is_no_folder(book: History) -> None:
    first = book.commit({**ENVIRONMENT, "binder": "x"})
    book.commit()

    assert launched(book) == first


def test_both_folders_are_what_repo2docker_refuses(book: History) -> None:
    book.commit({"binder/apt.txt": "", ".binder/apt.txt": ""})
    book.commit()

    assert refused(book) == "it has both binder/ and .binder/, which repo2docker refuses."
    assert chosen(book, force=True).refused


# Merges


def test_a_merge_of_prose_does_not_end_a_run(book: History) -> None:
    first = book.commit(ENVIRONMENT)
    book.branch("topic", first)
    book.commit({"topic.md": "x"})
    book.switch("main")
    book.commit()
    book.merge("topic")

    assert launched(book) == first


def test_what_a_merge_brings_changed_with_the_merge(book: History) -> None:
    first = book.commit(ENVIRONMENT)
    book.branch("topic", first)
    changed = book.commit(OTHER)
    later = book.commit({"topic.md": "x"})
    book.switch("main")
    book.commit()
    merge = book.merge("topic")
    last = book.commit()

    assert launched(book, last) == launched(book, merge) == merge
    assert launched(book, later) == changed


def test_what_a_merged_branch_did_and_undid_does_not_end_a_run(book: History) -> None:
    first = book.commit(ENVIRONMENT)
    book.branch("topic", first)
    book.commit(OTHER)
    book.commit({**ENVIRONMENT, "topic.md": "x"})
    book.switch("main")
    book.commit()
    book.merge("topic")

    assert launched(book) == first


def test_a_branch_shares_the_run_of_where_it_began(book: History) -> None:
    first = book.commit(ENVIRONMENT)
    start = book.commit()
    book.commit(OTHER)
    book.branch("topic", start)
    book.commit()

    assert launched(book) == first


# Submodules and links


@pytest.fixture
def other(tmp_path: Path) -> History:
    history = History(tmp_path / "other")
    history.commit({"environment.yml": "dependencies: []\n"})
    return history


def test_a_submodule_of_the_source_is_no_environment(book: History, other: History) -> None:
    first = book.commit(ENVIRONMENT)
    book.git("submodule", "--quiet", "add", str(other.path), "data")
    book.recorded()

    assert launched(book) == first


@pytest.mark.parametrize("path", ["binder", "binder/more"])
def test_a_submodule_of_the_environment_is_not_looked_into(
    book: History, other: History, path: str
) -> None:
    book.git("submodule", "--quiet", "add", str(other.path), path)
    added = book.recorded()
    book.commit()

    assert refused(book).startswith(f"{path} is a submodule, whose files are not here.")
    assert chosen(book, force=True).launched.ref == added


@pytest.mark.posix
def test_a_link_has_the_environment_of_what_it_leads_to(book: History) -> None:
    book.commit(ENVIRONMENT)
    linked = book.link("binder/environment.yml", "../environment.yml")
    book.commit()
    assert launched(book) == linked

    changed = book.commit(OTHER)
    book.commit()
    assert launched(book) == changed

    book.commit({"environment.yml": "dependencies: [{pip: [-e .]}]\n"})
    assert refused(book).startswith("environment.yml has ")


@pytest.mark.posix
@pytest.mark.parametrize(
    "target", ["../data", "../../outside.yml", "/etc/hosts", "../none.yml", "..", "../index.md/x"]
)
def test_a_link_that_leads_to_no_file_is_refused(book: History, target: str) -> None:
    book.commit({"data/environment.yml": ""})
    linked = book.link("binder/environment.yml", target)
    book.commit()

    assert "binder/environment.yml is a symbolic link to what is no single file" in refused(book)
    assert chosen(book, force=True).launched.ref == linked


@pytest.mark.posix
def test_a_folder_that_is_a_link_is_refused(book: History) -> None:
    book.commit({"docs/environment.yml": ""})
    book.link("binder", "docs")

    assert refused(book).startswith("binder is a symbolic link")


# Where the repository is part of the environment


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"setup.py": ""}, "setup.py is that of a package"),
        ({"pyproject.toml": "[project]\n[build-system]\n"}, "pyproject.toml is that of a package"),
        ({"requirements.txt": "numpy\n-e .\n"}, "requirements.txt has the line `-e .`"),
        ({"binder/requirements.txt": "-r ../all.txt"}, "requirements.txt has the line `-r ../all"),
        ({"environment.yml": "dependencies:\n- pip:\n  - .\n"}, "environment.yml has the line"),
        ({**ENVIRONMENT, "postBuild": "make\n"}, "postBuild runs `make`"),
        ({**ENVIRONMENT, "postBuild": "true\n", ".condarc": ""}, "postBuild runs beside .condarc"),
        (
            {"binder/postBuild": "true\n", ".config/pip/pip.conf": ""},
            "postBuild runs beside .config",
        ),
        ({"binder/start": "source env.sh\n"}, "start runs `source env.sh`"),
        ({"Dockerfile": "FROM a\nCOPY . .\n"}, "Dockerfile has the line `COPY . .`"),
        ({"requirements.txt": "#" * 1_000_001}, "requirements.txt is too large to be looked into"),
    ],
)
def test_it_is_refused_with_the_reason_unless_forced(
    book: History, files: Mapping[str, str | None], reason: str
) -> None:
    first = book.commit(files)
    book.commit()

    why = refused(book)
    assert why.startswith(reason)
    assert why.endswith("Only `force` has another image launched all the same.")
    forced = chosen(book, force=True)
    assert (forced.launched.ref, forced.refused) == (first, False)


# Histories that do not tell


def test_a_shallow_clone_is_told_to_be_whole(book: History, tmp_path: Path) -> None:
    book.commit(ENVIRONMENT)
    book.commit()
    shallow = History(tmp_path / "shallow")
    shallow.git("fetch", "--quiet", "--depth=1", book.path.as_uri(), "main")
    shallow.git("reset", "--quiet", "--hard", "FETCH_HEAD")

    assert refused(shallow).startswith("this clone is shallow, and its history may not tell. Type")
    shallow.environment["GITLAB_CI"] = "true"
    assert "`GIT_DEPTH: 0`" in refused(shallow)
    shallow.environment["GITHUB_ACTIONS"] = "true"
    assert refused(shallow).endswith("Let actions/checkout run before, with `fetch-depth: 0`.")
    assert chosen(shallow, force=True).refused


@pytest.mark.parametrize("kind", ["blob:none", "tree:0"])
def test_a_partial_clone_is_told_to_be_whole(book: History, tmp_path: Path, kind: str) -> None:
    book.commit(ENVIRONMENT)
    book.commit()
    book.git("config", "uploadpack.allowFilter", "true")
    partial = History(tmp_path / "partial")
    partial.git("remote", "add", "source", book.path.as_uri())
    partial.git("fetch", "--quiet", f"--filter={kind}", "source", "main")
    partial.git("update-ref", "HEAD", "FETCH_HEAD")

    told = "this is a partial clone, without the files that would tell. "
    assert refused(partial) == f"{told}Clone without `--filter`."
    partial.environment["GITHUB_ACTIONS"] = "true"
    advice = "Leave out `filter` and `sparse-checkout` of actions/checkout."
    assert refused(partial) == told + advice


def test_a_file_that_cannot_be_read_is_not_taken_for_an_empty_one(book: History) -> None:
    book.commit({"requirements.txt": "-e .\n"})
    stored = book.git("rev-parse", "HEAD:requirements.txt").strip()
    damaged = book.path / ".git" / "objects" / stored[:2] / stored[2:]
    whole = damaged.read_bytes()
    damaged.chmod(0o644)
    damaged.write_bytes(whole[:-3])

    assert refused(book).startswith("git cannot read this clone: ")


@pytest.mark.parametrize("how", ["graft", "replace"])
def test_parents_that_only_this_clone_has_do_not_count(book: History, how: str) -> None:
    changed = book.commit(OTHER)
    first = book.commit(ENVIRONMENT)
    last = book.commit()
    if how == "graft":
        (book.path / ".git" / "info").mkdir(exist_ok=True)
        (book.path / ".git" / "info" / "grafts").write_text(f"{last} {changed}\n", "utf-8")
    else:
        book.git("replace", "--graft", last, changed)

    assert launched(book, last) == first


def test_a_commit_that_is_not_there_is_launched_itself(book: History) -> None:
    book.commit(ENVIRONMENT)

    made = chosen(book, "1f" * 20)

    assert made.refused
    assert made.launched.ref == "1f" * 20
    assert "it is not in this clone. Type `git fetch" in made.reason


def test_a_folder_without_a_clone_is_said(book: History, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    environment = {"PATH": book.environment["PATH"], "GIT_CEILING_DIRECTORIES": str(tmp_path)}
    found = Checkout(Repository("gh", "org/repo", "1f" * 20), "a test")

    why = choose_commit(found, folder, {**environment, "GITHUB_ACTIONS": "true"}).reason

    assert "there is no clone whose history would tell. Let actions/checkout run" in why


def test_a_git_that_is_missing_or_refuses_is_said(book: History, tmp_path: Path) -> None:
    book.commit(ENVIRONMENT)
    book.environment["GIT_TEST_ASSUME_DIFFERENT_OWNER"] = "1"
    found = Checkout(Repository("gh", "org/repo", "1f" * 20), "a test")

    refusing = choose_commit(found, book.path, book.environment)
    missing = choose_commit(found, book.path, {**book.environment, "PATH": str(tmp_path)})

    assert "git cannot read this clone: fatal: detected dubious ownership" in refusing.reason
    assert "\n" not in refusing.reason
    assert "git cannot be run" in missing.reason


# A fork's pull request


def pull_request(
    tmp_path: Path, book: History, head: str, base: str, fork: str = "them/fork"
) -> Checkout:
    def side(name: str, commit: str) -> dict[str, Any]:
        return {"sha": commit, "repo": {"full_name": name}}

    event = {"pull_request": {"head": side(fork, head), "base": side("org/repo", base)}}
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event), encoding="utf-8")
    book.environment |= {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(file),
    }
    return detect(book.path, book.environment)


def test_a_fork_is_launched_as_the_repository_that_has_the_image(
    book: History, tmp_path: Path
) -> None:
    first = book.commit(ENVIRONMENT)
    start = book.commit()
    base = book.commit()
    book.branch("topic", start)
    head = book.commit({"topic.md": "x"})
    book.switch("main")
    book.merge("topic")  # what GitHub checks out

    made = choose_commit(pull_request(tmp_path, book, head, base), book.path, book.environment)

    assert made.requested == Repository("gh", "them/fork", head)
    assert made.launched == Repository("gh", "org/repo", first)
    assert f"Commit {first[:12]} of org/repo is launched in place of {head[:12]}" in made.reason


def test_a_fork_with_an_environment_of_its_own_is_launched_from_the_fork(
    book: History, tmp_path: Path
) -> None:
    base = book.commit(ENVIRONMENT)
    book.branch("topic", base)
    changed = book.commit(OTHER)
    head = book.commit()

    made = choose_commit(pull_request(tmp_path, book, head, base), book.path, book.environment)

    assert made.launched == Repository("gh", "them/fork", changed)


def test_a_base_that_is_not_in_the_clone_leaves_the_fork(book: History, tmp_path: Path) -> None:
    first = book.commit(ENVIRONMENT)
    head = book.commit()

    made = choose_commit(pull_request(tmp_path, book, head, "1f" * 20), book.path, book.environment)

    assert made.launched == Repository("gh", "them/fork", first)


def test_a_pull_request_of_the_repository_itself_stays_there(book: History, tmp_path: Path) -> None:
    first = book.commit(ENVIRONMENT)
    head = book.commit()

    found = pull_request(tmp_path, book, head, first, fork="org/repo")

    assert choose_commit(found, book.path, book.environment).launched == Repository(
        "gh", "org/repo", first
    )


def test_a_forks_merge_request_on_gitlab_too(book: History) -> None:
    first = book.commit(ENVIRONMENT)
    base = book.commit()
    head = book.commit()
    book.environment |= {
        "GITLAB_CI": "true",
        "CI_COMMIT_SHA": head,
        "CI_PROJECT_URL": "https://gitlab.com/them/fork",
        "CI_MERGE_REQUEST_IID": "7",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_URL": "https://gitlab.com/them/fork",
        "CI_MERGE_REQUEST_PROJECT_URL": "https://gitlab.com/group/project",
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": base,
    }

    made = choose_commit(detect(book.path, book.environment), book.path, book.environment)

    assert made.requested == Repository("gl", "them/fork", head)
    assert made.launched == Repository("gl", "group/project", first)


# As part of a request


def typed(history: History, text: str = "", *hubs: str, **more: Any) -> Resolution:
    more = {"reuse_environment": True, **more}
    options = LaunchOptions(text, hubs, directory=history.path, **more)
    return resolve(options, Deadline(60), history.environment)


def test_the_request_is_for_the_commit_that_is_launched(book: History) -> None:
    first = book.commit(ENVIRONMENT)
    last = book.commit()
    book.pushed()

    made = typed(book)

    assert made.request.repository == Repository("gh", "org/repo", first)
    asked, why = made.notes
    assert asked == f"Requested: gh/org/repo/{last}, from this checkout's origin and HEAD."
    assert f"Commit {first[:12]} is launched in place of {last[:12]}" in why
    assert made.warnings == ()
    assert made.request.choice == chosen(book)


def test_without_the_option_it_is_the_commit_itself(book: History) -> None:
    book.commit(ENVIRONMENT)
    last = book.commit()
    book.pushed()

    made = typed(book, reuse_environment=False)

    assert made.request.repository.ref == last
    assert made.request.choice is None


def test_a_refusal_is_a_warning(book: History) -> None:
    first = book.commit({"setup.py": ""})
    last = book.commit()
    book.pushed()

    made = typed(book)
    assert made.request.repository.ref == last
    assert made.warnings == (chosen(book).reason,)

    assert typed(book, reuse_environment="force").request.repository.ref == first


def test_its_own_repository_and_commit_may_be_named(book: History) -> None:
    first = book.commit(ENVIRONMENT)
    last = book.commit()

    for text, ref in ((f"Org/Repo@{last}", ""), ("https://github.com/org/repo", last), ("", last)):
        assert typed(book, text, ref=ref).request.repository.ref == first


@pytest.mark.parametrize("text", ["other/repo@" + "1f" * 20, "gl/org%2Frepo/" + "1f" * 20])
def test_another_repository_is_an_error(book: History, text: str) -> None:
    book.commit(ENVIRONMENT)

    with pytest.raises(UsageError, match="but this is one of org/repo") as caught:
        typed(book, text)
    assert "Omit --reuse-environment" in caught.value.hint


@pytest.mark.parametrize(("text", "ref"), [("", "main"), ("org/repo", ""), ("org/repo", "v1.0")])
def test_a_branch_or_tag_is_an_error(book: History, text: str, ref: str) -> None:
    book.commit(ENVIRONMENT)

    with pytest.raises(UsageError, match=r"requires a commit, but .* is not one") as caught:
        typed(book, text, ref=ref)
    assert "--ref" in caught.value.hint


def test_a_repository_named_outside_of_a_checkout_is_an_error(
    book: History, tmp_path: Path
) -> None:
    environment = {**book.environment, "GIT_CEILING_DIRECTORIES": str(tmp_path)}

    options = LaunchOptions(f"org/repo@{'1f' * 20}", reuse_environment=True, directory=tmp_path)

    with pytest.raises(UsageError, match=r"requires a clone of the repository.* no git checkout"):
        resolve(options, Deadline(60), environment)


def test_the_embedded_hub_builds_nothing(book: History) -> None:
    last = book.commit(ENVIRONMENT)

    made = typed(book, "", "local")

    assert made.request.repository.ref == last
    assert made.warnings == ("No image is reused because the embedded hub builds none.",)


def test_a_build_token_is_for_the_commit_itself(book: History) -> None:
    book.commit(ENVIRONMENT)
    last = book.commit()
    book.pushed()

    made = typed(book, build_token="b.u1ld-t0ken")

    assert made.request.repository.ref == last
    assert "the build token is for the requested commit only" in made.warnings[0]


def test_any_other_value_is_an_error(book: History) -> None:
    book.commit(ENVIRONMENT)
    book.pushed()

    with pytest.raises(UsageError, match="must be True, False or `force`"):
        typed(book, reuse_environment="yes")


# On the command line


@pytest.fixture
def hub() -> Iterator[ScriptedHub]:
    with ScriptedHub() as scripted:
        yield scripted


def started(
    hub: ScriptedHub, book: History, monkeypatch: pytest.MonkeyPatch, commit: str, *options: str
) -> int:
    """Run ``clinder start`` in the checkout, on a hub that says that it launches a commit."""
    url = hub.serve("new", Jupyter(TOKEN))
    persistent = f"v2/gh/org/repo/{commit}"
    hub.then(Answer(ready(url, TOKEN, binder_persistent_request=persistent)))
    monkeypatch.chdir(book.path)
    for name, value in book.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "READTHEDOCS", "NETLIFY"):
        monkeypatch.delenv(name, raising=False)
    return main(["start", *options, "--hub", hub.url, "--no-warm-up", "-o", "json"])


Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("option", ["--reuse-environment", "--reuse-environment=force"])
def test_the_log_and_the_json_say_what_is_launched_and_why(
    hub: ScriptedHub,
    book: History,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Capture,
    option: str,
) -> None:
    first = book.commit(ENVIRONMENT)
    last = book.commit()
    book.pushed()

    code = started(hub, book, monkeypatch, first, option)

    out, err = capfd.readouterr()
    assert code == 0, err
    assert [request.path for request in hub.builds] == [f"/build/gh/org/repo/{first}"]
    told = json.loads(out)
    assert told["spec"] == told["persistent_spec"] == f"gh/org/repo/{first}"
    assert told["asked_spec"] == f"gh/org/repo/{last}"
    assert told["reuse"].startswith(f"Commit {first[:12]} is launched in place of {last[:12]}")
    assert told["reuse"].endswith(f"Files on the server are those of {first[:12]}.")
    assert f"clinder: {told['reuse']}\n" in err


def test_a_hub_that_launches_the_commit_asked_for_and_not_the_older_is_wrong(
    hub: ScriptedHub, book: History, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    first = book.commit(ENVIRONMENT)
    last = book.commit()
    book.pushed()

    code = started(hub, book, monkeypatch, last, "--reuse-environment")

    assert code == 3
    assert f"The hub launched {last}, not {first}." in capfd.readouterr().err


def test_a_refusal_is_in_the_log_and_in_the_json(
    hub: ScriptedHub, book: History, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    book.commit({"setup.py": ""})
    last = book.commit()
    book.pushed()

    code = started(hub, book, monkeypatch, last, "--reuse-environment", "-q")

    out, err = capfd.readouterr()
    assert code == 0, err
    told = json.loads(out)
    assert told["spec"] == told["asked_spec"] == f"gh/org/repo/{last}"
    assert "setup.py is that of a package" in told["reuse"]
    assert err == f"clinder: Warning: {told['reuse']}\n"


def test_an_option_that_swallowed_the_repository_says_so(capfd: Capture) -> None:
    code = main(["start", "--reuse-environment", "org/repo"])

    err = capfd.readouterr().err
    assert code == 2
    assert "--reuse-environment accepts `force` or no value, not 'org/repo'." in err
    assert "Put REPOSITORY before --reuse-environment." in err
