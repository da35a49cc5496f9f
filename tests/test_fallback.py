"""Which commit of a pull request's target replaces a fork's commit, in real git histories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from clinder.checkout.checkout import Checkout
from clinder.checkout.fallback import find_fallback
from clinder.checkout.reuse import Choice
from clinder.repository import Repository
from histories import History

ENVIRONMENT = {"environment.yml": "dependencies: [numpy]\n"}
OTHER = {"environment.yml": "dependencies: [scipy]\n"}


@dataclass
class Fork:
    """A fork's pull request in a clone of its target; ``base`` is a commit of the target."""

    clone: History
    base: str
    head: str

    def choose(self, environ: Mapping[str, str] | None = None, *, force: bool = False) -> Choice:
        checkout = Checkout(
            Repository("gh", "them/fork", self.head),
            "a test",
            base=Repository("gh", "org/repo", self.base),
        )
        clone = self.clone
        choice = find_fallback(
            checkout, clone.path, {**clone.environ, **(environ or {})}, force=force
        )
        assert choice is not None
        assert choice.requested == checkout.repository
        return choice

    def launched(self) -> Repository:
        choice = self.choose()
        assert not choice.refused, choice.reason
        return choice.launched

    def refusal(self, **more: str) -> str:
        choice = self.choose(more)
        assert choice.refused
        assert choice.launched == choice.requested
        beginning = f"No commit of org/repo is launched instead of {self.head[:12]}: "
        assert choice.reason.startswith(beginning)
        return choice.reason.removeprefix(beginning)

    def shallow(self, path: Path, depth: int) -> Fork:
        """Return what actions/checkout fetches: GitHub's merge commit and ``depth - 1`` before."""
        self.clone.git("switch", "--quiet", "--detach", "main")
        merge = self.clone.merge("topic")
        clone = History(path)
        url = (self.clone.path / ".git").as_uri()
        self.clone.git("update-ref", "refs/pull/7/merge", merge)
        clone.git("fetch", "--quiet", f"--depth={depth}", url, "refs/pull/7/merge")
        clone.git("checkout", "--quiet", "--detach", "FETCH_HEAD")
        return replace(self, clone=clone)


@pytest.fixture
def fork(tmp_path: Path) -> Fork:
    clone = History(tmp_path / "clone")
    base = clone.commit(ENVIRONMENT)
    clone.branch("topic", "main")
    return Fork(clone, base, clone.commit())


def test_a_target_with_the_same_environment_replaces_the_fork(fork: Fork) -> None:
    assert fork.launched() == Repository("gh", "org/repo", fork.base)


def test_the_reason_names_both_commits_and_the_environment(fork: Fork) -> None:
    assert fork.choose().reason == (
        f"The hub cannot launch commit {fork.head[:12]} of them/fork, so clinder launches commit"
        f" {fork.base[:12]} of org/repo, which has the same environment (environment.yml). The"
        f" server has the files of {fork.base[:12]}."
    )


@pytest.mark.parametrize("files", [OTHER, {"postBuild": "true\n"}, {"environment.yml": None}])
def test_a_fork_that_changes_the_environment_is_not_replaced(
    files: dict[str, str | None], fork: Fork
) -> None:
    fork.head = fork.clone.commit(files)
    assert fork.refusal() == f"{next(iter(files))} differs."


def test_a_target_that_changed_its_environment_later_is_launched_where_the_fork_began(
    fork: Fork,
) -> None:
    fork.clone.switch("main")
    began, fork.base = fork.base, fork.clone.commit(OTHER)
    assert fork.launched() == Repository("gh", "org/repo", began)


def test_a_fork_that_has_merged_the_targets_environment_is_replaced(fork: Fork) -> None:
    fork.clone.switch("main")
    fork.base = fork.clone.commit(OTHER)
    fork.clone.switch("topic")
    fork.head = fork.clone.merge("main")
    assert fork.launched().ref == fork.base


def test_a_build_that_reads_other_files_needs_force(fork: Fork) -> None:
    fork.clone.switch("main")
    fork.base = fork.clone.commit({"requirements.txt": "-e .\n", "environment.yml": None})
    fork.clone.switch("topic")
    fork.head = fork.clone.merge("main")
    assert fork.refusal().endswith("To reuse an image anyway, use `force`.")
    assert fork.choose(force=True).launched.ref == fork.base


def test_the_parents_of_githubs_merge_are_enough(fork: Fork, tmp_path: Path) -> None:
    """The event's base can be older than the merge, and absent from a shallow clone."""
    fork.clone.switch("main")
    newest = fork.clone.commit({"about.md": "x"})
    shallow = fork.shallow(tmp_path / "shallow", 2)
    shallow.base = "2e" * 20
    assert shallow.launched() == Repository("gh", "org/repo", newest)


def test_two_unrelated_commits_are_enough(fork: Fork, tmp_path: Path) -> None:
    """A `workflow_run` job fetches the pull request's commit into its clone of the target."""
    source = fork.clone
    source.git("config", "uploadpack.allowAnySHA1InWant", "true")
    fork.clone = History(tmp_path / "shallow")
    for commit in (fork.base, fork.head):
        fork.clone.git("fetch", "--quiet", "--depth=1", (source.path / ".git").as_uri(), commit)
    fork.clone.git("checkout", "--quiet", "--detach", fork.base)
    assert fork.launched() == Repository("gh", "org/repo", fork.base)


def test_githubs_merge_alone_is_not_enough(fork: Fork, tmp_path: Path) -> None:
    shallow = fork.shallow(tmp_path / "shallow", 1)
    advice = "there is no clone with both commits. Run actions/checkout beforehand, with"
    assert shallow.refusal(GITHUB_ACTIONS="true") == f"{advice} `fetch-depth: 0`."


def test_a_folder_without_a_clone_is_not_enough(fork: Fork, tmp_path: Path) -> None:
    fork.clone.path = tmp_path
    refusal = fork.refusal(GIT_CEILING_DIRECTORIES=str(tmp_path.parent), GITLAB_CI="true")
    assert refusal == (
        "there is no clone with both commits. Set the variable `GIT_DEPTH: 0` for this job."
    )


@pytest.mark.posix
def test_a_missing_git_is_not_enough(fork: Fork, tmp_path: Path) -> None:
    assert fork.refusal(PATH=str(tmp_path)).startswith("git could not be run")


@pytest.mark.posix
def test_a_clone_from_an_untrusted_artifact_starts_no_program(fork: Fork, tmp_path: Path) -> None:
    """The artifact of a pull request can contain a clone with any configuration and hooks."""
    marker = tmp_path / "started"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {marker}\n", encoding="utf-8")
    program.chmod(0o755)
    git, names = fork.clone.git, "alternateRefsCommand askPass editor fsmonitor pager sshCommand"
    for name in (*(f"core.{each}" for each in names.split()), "diff.external", "gpg.program"):
        git("config", name, str(program))
    git("config", "core.hooksPath", str(tmp_path))
    git("config", "log.showSignature", "true")
    for name in ("post-index-change", "reference-transaction", "post-checkout"):
        (tmp_path / name).symlink_to(program)
    for number, url in enumerate((f"ext::{program}", "ssh://example.org/r.git")):
        git("config", f"remote.r{number}.url", url)
        git("config", f"remote.r{number}.promisor", "true")
    git("config", "extensions.partialClone", "r0")
    git("config", "core.repositoryFormatVersion", "1")
    git("config", "protocol.allow", "always")
    marker.unlink(missing_ok=True)
    assert fork.launched().ref == fork.base
    fork.base = "2e" * 20  # git would fetch it
    assert "there is no clone with both commits" in fork.refusal()
    assert not marker.exists()


def test_only_a_forks_commit_is_replaced(fork: Fork) -> None:
    repository = Repository("gh", "them/fork", fork.head)
    own = Checkout(repository, "a test")
    branch = replace(own, repository=repository.with_ref("topic"), base=repository)
    for checkout in (own, branch):
        assert find_fallback(checkout, fork.clone.path, fork.clone.environ) is None
