"""What a CI job and a git checkout say is being worked on."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from clinder.checkout.detection import detect, local_repository
from clinder.checkout.git import Git
from clinder.errors import UsageError
from clinder.repository import Repository

HEAD = "1f" * 20
BASE = "2e" * 20
MERGE = "3d" * 20


# GitHub Actions


def github(event: str, payload: Any, tmp_path: Path, **more: str) -> dict[str, str]:
    path = tmp_path / "event.json"
    path.write_text(payload if isinstance(payload, str) else json.dumps(payload), encoding="utf-8")
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": event,
        "GITHUB_EVENT_PATH": str(path),
        "GITHUB_REPOSITORY": "org/repo",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_SHA": MERGE,
        **more,
    }


def pull_request(head: str | None = "org/repo") -> dict[str, Any]:
    repo = head and {"full_name": head, "name": head.split("/")[1], "fork": head != "org/repo"}
    return {
        "action": "synchronize",
        "number": 7,
        "pull_request": {
            "number": 7,
            "head": {"label": "them:topic", "ref": "topic", "sha": HEAD, "repo": repo},
            "base": {
                "label": "org:main",
                "ref": "main",
                "sha": BASE,
                "repo": {"full_name": "org/repo"},
            },
            "merge_commit_sha": MERGE,
        },
        "repository": {"full_name": "org/repo", "default_branch": "main"},
        "sender": {"login": "them"},
    }


def workflow_run(head: str | None = "org/repo") -> dict[str, Any]:
    return {
        "action": "completed",
        "workflow_run": {
            "id": 30433642,
            "event": "pull_request",
            "head_branch": "topic",
            "head_sha": HEAD,
            "head_repository": head and {"full_name": head},
            "repository": {"full_name": "org/repo"},
            "pull_requests": [],
        },
        "repository": {"full_name": "org/repo"},
    }


@pytest.mark.parametrize(
    "event", ["pull_request", "pull_request_review", "pull_request_review_comment"]
)
@pytest.mark.parametrize("head", ["org/repo", "them/fork"])
def test_a_pull_request_is_its_heads_commit_forks_too(
    event: str, head: str, tmp_path: Path
) -> None:
    found = detect(tmp_path, github(event, pull_request(head), tmp_path))
    assert found.repository == Repository("gh", head, HEAD)
    assert found.source == f"GitHub Actions' event {event}"
    assert found.warnings == ()
    assert found.base == (None if head == "org/repo" else Repository("gh", "org/repo", BASE))


def test_pull_request_target_is_the_base_never_the_foreign_head(tmp_path: Path) -> None:
    environment = github(
        "pull_request_target", pull_request("them/fork"), tmp_path, GITHUB_SHA=BASE
    )
    assert detect(tmp_path, environment).repository == Repository("gh", "org/repo", BASE)


@pytest.mark.parametrize("head", ["org/repo", "them/fork"])
def test_a_workflow_run_is_the_head_of_the_run_that_ended(head: str, tmp_path: Path) -> None:
    found = detect(tmp_path, github("workflow_run", workflow_run(head), tmp_path))
    assert found.repository == Repository("gh", head, HEAD)
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("push", {"ref": "refs/heads/main", "after": MERGE, "before": BASE}),
        ("push", {"ref": "refs/tags/v1", "after": MERGE, "base_ref": None}),
        ("schedule", {"schedule": "0 6 * * 1"}),
        ("workflow_dispatch", {"inputs": {"hub": "x"}, "ref": "refs/heads/main"}),
        ("release", {"action": "published", "release": {"target_commitish": "main"}}),
        ("merge_group", {"action": "checks_requested", "merge_group": {"head_sha": MERGE}}),
        ("issue_comment", {"action": "created", "issue": {"number": 7, "pull_request": {}}}),
    ],
)
def test_any_other_event_is_this_repository_at_its_commit(
    event: str, payload: dict[str, Any], tmp_path: Path
) -> None:
    found = detect(tmp_path, github(event, payload, tmp_path))
    assert found.repository == Repository("gh", "org/repo", MERGE)
    assert found.source == f"GitHub Actions' event {event}"
    assert found.warnings == ()


def test_a_job_that_does_not_name_its_event_is_at_its_commit(tmp_path: Path) -> None:
    environment = github("", {}, tmp_path)
    del environment["GITHUB_EVENT_NAME"]
    found = detect(tmp_path, environment)
    assert found.repository == Repository("gh", "org/repo", MERGE)
    assert found.source == "GitHub Actions' event"


@pytest.mark.parametrize(
    ("event", "payload"),
    [("pull_request", pull_request(None)), ("workflow_run", workflow_run(None))],
)
def test_a_deleted_fork_is_said(event: str, payload: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the fork was deleted") as caught:
        detect(tmp_path, github(event, payload, tmp_path))
    assert HEAD in caught.value.hint


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "{",
        "[]",
        "null",
        '{"pull_request": null}',
        '{"pull_request": {"head": {"sha": "x"}}}',
        '{"pull_request": {"head": {"sha": null, "repo": {"full_name": "org/repo"}}}}',
        '{"pull_request": {"head": {"sha": "", "repo": {"full_name": "org/repo"}}}}',
        '{"pull_request": {"head": {"sha": "1f", "repo": {"full_name": 3}}}}',
        '{"pull_request": {"head": {"sha": "1f", "repo": {"full_name": ""}}}}',
    ],
)
def test_a_broken_event_is_a_warning_and_the_jobs_own_commit(payload: str, tmp_path: Path) -> None:
    found = detect(tmp_path, github("pull_request", payload, tmp_path))
    assert found.repository == Repository("gh", "org/repo", MERGE)
    (warning,) = found.warnings
    assert "GITHUB_SHA is used instead" in warning


@pytest.mark.parametrize("path", ["", "no/such/file.json"])
def test_a_missing_event_is_a_warning_too(path: str, tmp_path: Path) -> None:
    environment = github("pull_request", "", tmp_path, GITHUB_EVENT_PATH=path)
    found = detect(tmp_path, environment)
    assert found.repository.ref == MERGE
    assert found.warnings


def test_an_event_without_a_file_is_a_warning_too(tmp_path: Path) -> None:
    environment = github("pull_request", "", tmp_path)
    del environment["GITHUB_EVENT_PATH"]
    assert "GITHUB_SHA is used instead" in detect(tmp_path, environment).warnings[0]


@pytest.mark.parametrize("server", ["", "https://github.com", "https://github.com/"])
def test_a_server_with_or_without_a_slash_or_none_is_github(server: str, tmp_path: Path) -> None:
    found = detect(tmp_path, github("push", {}, tmp_path, GITHUB_SERVER_URL=server))
    assert found.repository == Repository("gh", "org/repo", MERGE)


def test_a_missing_event_matters_not_where_it_is_not_needed(tmp_path: Path) -> None:
    environment = github("push", "", tmp_path, GITHUB_EVENT_PATH="")
    assert detect(tmp_path, environment).warnings == ()


def test_neither_an_event_nor_a_commit_is_an_error(tmp_path: Path) -> None:
    environment = github("pull_request", "", tmp_path, GITHUB_REPOSITORY="", GITHUB_SHA="")
    with pytest.raises(UsageError, match="GitHub Actions did not set GITHUB_REPOSITORY and"):
        detect(tmp_path, environment)


def test_another_github_is_a_git_url(tmp_path: Path) -> None:
    environment = github("push", {}, tmp_path, GITHUB_SERVER_URL="https://ghe.example.org")
    found = detect(tmp_path, environment).repository
    assert (found.provider, found.ref) == ("git", MERGE)
    assert found.name.startswith("https://ghe.example.org/org/repo")


def test_a_ref_replaces_the_commit(tmp_path: Path) -> None:
    found = detect(tmp_path, github("push", {}, tmp_path), "topic/x")
    assert found.repository == Repository("gh", "org/repo", "topic/x")


# GitLab CI


def gitlab(**more: str) -> dict[str, str]:
    return {
        "GITLAB_CI": "true",
        "CI_PROJECT_PATH": "group/sub/project",
        "CI_PROJECT_URL": "https://gitlab.com/group/sub/project",
        "CI_COMMIT_SHA": MERGE,
        **more,
    }


FORK = {
    "CI_MERGE_REQUEST_IID": "7",
    "CI_MERGE_REQUEST_PROJECT_URL": "https://gitlab.com/group/sub/project",
    "CI_MERGE_REQUEST_SOURCE_PROJECT_URL": "https://gitlab.com/them/fork",
}


def test_gitlab_is_the_pipelines_project_and_commit(tmp_path: Path) -> None:
    found = detect(tmp_path, gitlab())
    assert found.repository == Repository("gl", "group/sub/project", MERGE)
    assert found.source == "GitLab CI's commit"


def test_a_merge_requests_pipeline_is_its_source_project(tmp_path: Path) -> None:
    found = detect(tmp_path, gitlab(CI_MERGE_REQUEST_SOURCE_BRANCH_SHA="", **FORK))
    assert found.repository == Repository("gl", "them/fork", MERGE)
    assert found.source == "GitLab CI's merge request"


def test_a_merged_results_pipeline_is_the_source_branchs_commit(tmp_path: Path) -> None:
    found = detect(tmp_path, gitlab(CI_MERGE_REQUEST_SOURCE_BRANCH_SHA=HEAD, **FORK))
    assert found.repository == Repository("gl", "them/fork", HEAD)


@pytest.mark.parametrize("known", [BASE, ""])
def test_a_forks_merge_request_was_sent_to_what_gitlab_names(known: str, tmp_path: Path) -> None:
    found = detect(tmp_path, gitlab(CI_MERGE_REQUEST_DIFF_BASE_SHA=known, **FORK))
    assert found.base == (Repository("gl", "group/sub/project", BASE) if known else None)


def test_a_merge_request_of_the_same_project_has_no_other_base(tmp_path: Path) -> None:
    same = {**FORK, "CI_MERGE_REQUEST_SOURCE_PROJECT_URL": FORK["CI_MERGE_REQUEST_PROJECT_URL"]}
    assert detect(tmp_path, gitlab(CI_MERGE_REQUEST_DIFF_BASE_SHA=BASE, **same)).base is None


def test_another_gitlab_is_a_git_url(tmp_path: Path) -> None:
    found = detect(tmp_path, gitlab(CI_PROJECT_URL="https://gitlab.example.org/a/b/c")).repository
    assert (found.provider, found.ref) == ("git", MERGE)
    assert found.name.startswith("https://gitlab.example.org/a/b/c")


def test_gitlab_without_its_variables_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"GitLab CI did not set CI_COMMIT_SHA\."):
        detect(tmp_path, gitlab(CI_COMMIT_SHA=""))


# Read the Docs and Netlify


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/org/repo",
        "https://github.com/org/repo.git",
        "git@github.com:org/repo.git",
        "https://x-access-token:s3cret@github.com/org/repo",
    ],
)
def test_read_the_docs_and_netlify_name_url_and_commit(url: str, tmp_path: Path) -> None:
    docs = {"READTHEDOCS": "True", "READTHEDOCS_GIT_CLONE_URL": url}
    found = detect(tmp_path, {**docs, "READTHEDOCS_GIT_COMMIT_HASH": HEAD})
    assert found.repository == Repository("gh", "org/repo", HEAD)
    assert found.source == "the build on Read the Docs"

    found = detect(tmp_path, {"NETLIFY": "true", "REPOSITORY_URL": url, "COMMIT_REF": HEAD})
    assert found.repository == Repository("gh", "org/repo", HEAD)
    assert found.source == "the build on Netlify"


def test_a_platform_without_its_variables_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Netlify did not set REPOSITORY_URL and COMMIT_REF"):
        detect(tmp_path, {"NETLIFY": "true"})


# git


class Clone:
    """A checkout as `git clone` leaves it: main tracks origin/main, one commit, all pushed."""

    def __init__(self, path: Path, url: str = "https://github.com/org/repo.git") -> None:
        self.path = path
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ},
            "HOME": str(path),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CEILING_DIRECTORIES": str(path.parent),
            **{f"GIT_{who}_NAME": "A" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "a@example.org" for who in ("AUTHOR", "COMMITTER")},
        }
        path.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("remote", "add", "origin", url)
        self.commit()
        self.pushed("origin/main")
        self.git("branch", "--quiet", "--set-upstream-to=origin/main")

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.path), *arguments]
        done = subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def commit(self) -> None:
        self.git("commit", "--quiet", "--allow-empty", "--message=more")

    def pushed(self, branch: str, commit: str = "HEAD") -> None:
        self.git("update-ref", f"refs/remotes/{branch}", commit)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


def test_a_clean_clone_is_origin_and_head(clone: Clone) -> None:
    found = detect(clone.path, clone.environment)
    assert found.repository == Repository("gh", "org/repo", clone.head)
    assert found.repository.is_commit
    assert found.source == "this checkout's origin and HEAD"
    assert found.warnings == ()


def test_a_folder_of_the_checkout_will_do(clone: Clone) -> None:
    folder = clone.path / "docs" / "deep"
    folder.mkdir(parents=True)
    assert detect(folder, clone.environment).repository.ref == clone.head


@pytest.mark.parametrize("ahead", [1, 2])
def test_commits_ahead_of_the_upstream_are_an_error(clone: Clone, ahead: int) -> None:
    for _ in range(ahead):
        clone.commit()
    words = "main is 1 commit ahead" if ahead == 1 else "main is 2 commits ahead"
    with pytest.raises(UsageError, match=f"not pushed yet: {words} of origin/main") as caught:
        detect(clone.path, clone.environment)
    assert "git push" in caught.value.hint
    assert "--ref" in caught.value.hint


def test_another_ref_needs_no_push(clone: Clone) -> None:
    clone.commit()
    (clone.path / "new.md").touch()
    found = detect(clone.path, clone.environment, "v1.0")
    assert found.repository == Repository("gh", "org/repo", "v1.0")
    assert found.source == "this checkout's origin"
    assert found.warnings == ()


def test_ahead_of_the_upstream_but_pushed_to_another_branch_is_fine(clone: Clone) -> None:
    clone.commit()
    clone.pushed("origin/topic")
    assert detect(clone.path, clone.environment).warnings == ()


def test_behind_the_upstream_is_fine(clone: Clone) -> None:
    first = clone.head
    clone.commit()
    clone.pushed("origin/main")
    clone.git("reset", "--quiet", "--hard", first)
    found = detect(clone.path, clone.environment)
    assert found.repository.ref == first
    assert found.warnings == ()


def test_a_branch_without_upstream_that_nobody_saw_is_a_warning(clone: Clone) -> None:
    clone.git("switch", "--quiet", "--create", "topic", "--no-track")
    clone.commit()
    (warning,) = detect(clone.path, clone.environment).warnings
    assert f"{clone.head[:12]} was seen on no branch of origin" in warning


def test_an_upstream_that_is_gone_is_a_warning(clone: Clone) -> None:
    clone.git("update-ref", "-d", "refs/remotes/origin/main")
    (warning,) = detect(clone.path, clone.environment).warnings
    assert "was seen on no branch of origin" in warning


def test_a_detached_head_is_fine_where_a_remote_branch_holds_it(clone: Clone) -> None:
    first = clone.head
    clone.commit()
    clone.pushed("origin/main")
    clone.git("checkout", "--quiet", "--detach", first)
    found = detect(clone.path, clone.environment)
    assert found.repository.ref == first
    assert found.warnings == ()


def test_a_detached_head_that_nobody_saw_is_a_warning(clone: Clone) -> None:
    clone.git("checkout", "--quiet", "--detach")
    clone.commit()
    (warning,) = detect(clone.path, clone.environment).warnings
    assert "was seen on no branch of origin" in warning


def test_a_commit_seen_on_another_remote_only_is_a_warning(clone: Clone) -> None:
    clone.git("remote", "add", "fork", "https://github.com/me/repo")
    clone.git("switch", "--quiet", "--create", "topic")
    clone.commit()
    clone.pushed("fork/topic")
    clone.git("branch", "--quiet", "--set-upstream-to=fork/topic")
    found = detect(clone.path, clone.environment)
    assert found.repository == Repository("gh", "org/repo", clone.head)
    (warning,) = found.warnings
    assert "was seen on fork/topic, but on no branch of origin" in warning


def test_uncommitted_changes_are_a_warning(clone: Clone) -> None:
    (clone.path / "new.md").touch()
    (clone.path / "staged.md").touch()
    clone.git("add", "staged.md")
    (warning,) = detect(clone.path, clone.environment).warnings
    assert warning == "Not part of what the hub builds: 2 uncommitted changes."


def test_what_git_ignores_is_no_change(clone: Clone) -> None:
    (clone.path / ".git" / "info" / "exclude").write_text("*.log\n", encoding="utf-8")
    (clone.path / "build.log").touch()
    assert detect(clone.path, clone.environment).warnings == ()


def test_a_shallow_clone_works(clone: Clone, tmp_path: Path) -> None:
    clone.commit()
    shallow = Clone(tmp_path / "shallow")
    url = (clone.path / ".git").as_uri()
    shallow.git("fetch", "--quiet", "--depth=1", url, "+main:refs/remotes/origin/main")
    shallow.git("reset", "--quiet", "--hard", "origin/main")
    assert shallow.git("rev-list", "--count", "HEAD") == "1"
    found = detect(shallow.path, shallow.environment)
    assert found.repository == Repository("gh", "org/repo", clone.head)
    assert found.warnings == ()


def test_nothing_is_written_to_the_checkout(clone: Clone) -> None:
    file = clone.path / "file"
    file.write_text("x", encoding="utf-8")
    clone.git("add", "file")
    clone.commit()
    clone.pushed("origin/main")
    os.utime(file, (1, 1))  # git would refresh its index now
    before = (clone.path / ".git" / "index").read_bytes()
    detect(clone.path, clone.environment)
    assert (clone.path / ".git" / "index").read_bytes() == before


@pytest.mark.parametrize(
    ("url", "provider", "name"),
    [
        ("git@github.com:org/repo.git", "gh", "org/repo"),
        ("ssh://git@github.com/org/repo.git", "gh", "org/repo"),
        ("https://gitlab.com/a/b/c.git", "gl", "a/b/c"),
        ("git@example.org:a/b.git", "git", "ssh://git@example.org/a/b.git"),
        ("ssh://git@example.org:22/a/b.git", "git", "ssh://git@example.org:22/a/b.git"),
    ],
)
def test_any_form_of_origin(url: str, provider: str, name: str, tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone", url)
    found = detect(clone.path, clone.environment).repository
    assert found == Repository(provider, name, clone.head)


def test_origin_is_rewritten_as_git_rewrites_it(clone: Clone) -> None:
    clone.git("remote", "set-url", "origin", "gh:org/repo")
    clone.git("remote", "set-url", "--push", "origin", "git@example.org:elsewhere.git")
    clone.git("config", "url.https://github.com/.insteadOf", "gh:")
    assert detect(clone.path, clone.environment).repository.name == "org/repo"


@pytest.mark.parametrize(
    "url", ["https://me:p@ss@github.com/org/repo.git", "https://s3cret@example.org/r.git"]
)
def test_a_password_in_origin_is_dropped(url: str, tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone", url)
    clone.git("switch", "--quiet", "--create", "topic", "--no-track")
    clone.commit()
    found = detect(clone.path, clone.environment)
    assert found.warnings
    for secret in ("p@ss", "ss@", "s3cret", "me:"):
        assert secret not in repr(found)
        assert secret not in found.repository.spec


@pytest.mark.parametrize("scheme", ["file", "ftp"])
def test_a_password_in_an_origin_that_is_refused_is_dropped(scheme: str, tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone", f"{scheme}://me:s3cret@host/srv/repo.git")
    with pytest.raises(UsageError) as caught:
        detect(clone.path, clone.environment)
    assert "s3cret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    "url", ["/srv/repo.git", "../repo", "a/b:c", "file:///srv/repo.git", "C:\\repo", "c:/r"]
)
def test_an_origin_on_this_machine_is_an_error(url: str, tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone", url)
    with pytest.raises(UsageError, match="on this machine, not on a server") as caught:
        detect(clone.path, clone.environment)
    assert url in caught.value.message
    assert "ORG/REPO" in caught.value.hint


def test_an_origin_with_no_url_is_an_error(clone: Clone) -> None:
    clone.git("config", "remote.origin.url", "")
    with pytest.raises(UsageError, match="origin") as caught:
        detect(clone.path, clone.environment)
    assert "ORG/REPO" in caught.value.hint


def test_no_origin_is_an_error_that_names_the_other_remotes(clone: Clone) -> None:
    clone.git("remote", "rename", "origin", "upstream")
    clone.git("remote", "add", "fork", "https://me:s3cret@github.com/me/repo")
    with pytest.raises(UsageError, match="no remote origin, only fork, upstream") as caught:
        detect(clone.path, clone.environment)
    assert "s3cret" not in caught.value.message


def test_no_remote_at_all_is_an_error(clone: Clone) -> None:
    clone.git("remote", "remove", "origin")
    with pytest.raises(UsageError, match=r"no remote origin\."):
        detect(clone.path, clone.environment)


def test_no_commit_yet_is_an_error(clone: Clone) -> None:
    clone.git("switch", "--quiet", "--orphan", "new")
    with pytest.raises(UsageError, match="no commit yet") as caught:
        detect(clone.path, clone.environment)
    assert "git commit" in caught.value.hint


def test_a_folder_that_is_no_checkout_is_an_error_with_examples(
    clone: Clone, tmp_path: Path
) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    environment = {**clone.environment, "GIT_CEILING_DIRECTORIES": str(tmp_path)}
    for none in (folder, clone.path / ".git"):
        with pytest.raises(UsageError, match="this is no git checkout") as caught:
            detect(none, environment)
        assert "ORG/REPO@REF" in caught.value.hint


def test_a_folder_that_is_not_there_is_told_in_gits_words(clone: Clone) -> None:
    with pytest.raises(UsageError, match="No such file or directory"):
        detect(clone.path / "none", clone.environment)


@pytest.mark.posix
def test_dubious_ownership_is_told_in_gits_words(clone: Clone) -> None:
    environment = {**clone.environment, "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    with pytest.raises(UsageError, match="dubious ownership") as caught:
        detect(clone.path, environment)
    assert "safe.directory" in caught.value.hint


@pytest.mark.posix
def test_git_that_is_missing_is_an_error(clone: Clone, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="git cannot be run") as caught:
        detect(clone.path, {**clone.environment, "PATH": str(tmp_path)})
    assert "ORG/REPO" in caught.value.hint


@pytest.mark.posix
def test_git_that_hangs_is_an_error(clone: Clone, tmp_path: Path) -> None:
    script = tmp_path / "git"
    script.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    script.chmod(0o755)
    environment = {**clone.environment, "PATH": f"{tmp_path}:{clone.environment['PATH']}"}
    with pytest.raises(UsageError, match=r"git took over 0\.1 s"):
        Git(clone.path, environment, seconds=0.1).read("status")


# The directory itself, for the embedded hub


def local(path: Path) -> str:
    return path.resolve().as_uri().replace("file://", "file://localhost")


def test_a_directory_stands_for_itself_at_its_commit(clone: Clone) -> None:
    clone.git("remote", "remove", "origin")
    clone.commit()
    found = local_repository(clone.path, clone.environment)
    assert found == Repository("git", local(clone.path), clone.head)
    assert found.is_commit


def test_a_directory_without_git_stands_for_itself(tmp_path: Path) -> None:
    folder = tmp_path / "a b % ü"
    folder.mkdir()
    found = local_repository(folder, {"PATH": str(tmp_path)})
    assert found == Repository("git", local(folder), "HEAD")
    assert found.spec.startswith("git/file%3A%2F%2Flocalhost%2F")
    assert found.spec.endswith("%2Fa%2520b%2520%2525%2520%25C3%25BC/HEAD")
    assert Repository.from_spec(found.spec) == found


def test_a_directory_without_a_commit_stands_for_itself(clone: Clone) -> None:
    clone.git("switch", "--quiet", "--orphan", "new")
    assert local_repository(clone.path, clone.environment).ref == "HEAD"


def test_a_relative_directory_is_made_absolute(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clone.path)
    assert local_repository(Path("sub/.."), clone.environment).name == local(clone.path)


def test_a_directory_that_no_address_can_name_stands_for_itself_all_the_same(clone: Clone) -> None:
    name = "file://localhost/this-directory"
    assert local_repository(Path("/"), {}) == Repository("git", name, "HEAD")
    of_clone = {**clone.environment, "GIT_DIR": str(clone.path / ".git")}
    assert local_repository(Path("/"), of_clone) == Repository("git", name, clone.head)
