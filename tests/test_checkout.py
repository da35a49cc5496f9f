"""Which repository and commit clinder detects in a CI job and in a git clone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from clinder.checkout.checkout import Checkout
from clinder.checkout.detection import detect, local_repository
from clinder.checkout.git import Git
from clinder.errors import UsageError
from clinder.repository import Repository
from histories import History, write_hanging_git
from payloads import BASE, HEAD, MERGE, merge_group, pull_request, workflow_run

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


EVENTS = ["pull_request", "pull_request_review", "pull_request_review_comment"]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("head", ["org/repo", "them/fork"])
def test_a_pull_request_is_its_head_commit_even_in_a_fork(
    event: str, head: str, tmp_path: Path
) -> None:
    checkout = detect(tmp_path, github(event, pull_request(head), tmp_path))
    assert checkout == Checkout(
        Repository("gh", head, HEAD),
        f"GitHub Actions ({event} event)",
        base=None if head == "org/repo" else Repository("gh", "org/repo", BASE),
    )


def test_pull_request_target_is_the_base_and_never_the_untrusted_head(tmp_path: Path) -> None:
    environ = github("pull_request_target", pull_request("them/fork"), tmp_path, GITHUB_SHA=BASE)
    assert detect(tmp_path, environ).repository == Repository("gh", "org/repo", BASE)


@pytest.mark.parametrize("head", ["org/repo", "them/fork"])
def test_a_workflow_run_is_the_head_of_the_completed_run(head: str, tmp_path: Path) -> None:
    environ = github("workflow_run", workflow_run(head), tmp_path, GITHUB_SHA=BASE)
    assert detect(tmp_path, environ) == Checkout(
        Repository("gh", head, HEAD),
        "GitHub Actions (workflow_run event)",
        base=None if head == "org/repo" else Repository("gh", "org/repo", BASE),
    )


@pytest.mark.parametrize("sha", ["", "main"])
def test_without_a_commit_of_its_own_a_workflow_run_has_no_base(sha: str, tmp_path: Path) -> None:
    environ = github("workflow_run", workflow_run("them/fork"), tmp_path, GITHUB_SHA=sha)
    checkout = detect(tmp_path, environ)
    assert checkout.repository == Repository("gh", "them/fork", HEAD)
    assert checkout.base is None


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("push", {"ref": "refs/heads/main", "after": MERGE, "before": BASE}),
        ("push", {"ref": "refs/tags/v1", "after": MERGE, "base_ref": None}),
        ("push", ""),
        ("schedule", {"schedule": "0 6 * * 1"}),
        ("workflow_dispatch", {"inputs": {"hub": "x"}, "ref": "refs/heads/main"}),
        ("release", {"action": "published", "release": {"target_commitish": "main"}}),
        ("merge_group", merge_group()),
        ("issue_comment", {"action": "created", "issue": {"number": 7, "pull_request": {}}}),
    ],
)
def test_any_other_event_is_the_repository_at_github_sha(
    event: str, payload: Any, tmp_path: Path
) -> None:
    checkout = detect(tmp_path, github(event, payload, tmp_path))
    assert checkout == Checkout(
        Repository("gh", "org/repo", MERGE), f"GitHub Actions ({event} event)"
    )


def test_without_an_event_it_is_the_repository_at_github_sha(tmp_path: Path) -> None:
    environ = github("", {}, tmp_path)
    del environ["GITHUB_EVENT_NAME"]
    checkout = detect(tmp_path, environ)
    assert checkout == Checkout(Repository("gh", "org/repo", MERGE), "GitHub Actions")


@pytest.mark.parametrize(
    ("event", "payload"),
    [("pull_request", pull_request(None)), ("workflow_run", workflow_run(None))],
)
def test_a_deleted_fork_is_an_error_that_names_a_commit_of_the_target(
    event: str, payload: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="the fork was deleted") as caught:
        detect(tmp_path, github(event, payload, tmp_path, GITHUB_SHA=BASE))
    assert "a hub cannot clone it" in caught.value.hint
    assert caught.value.hint.endswith(f": gh/org/repo/{BASE}.")


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
def test_a_malformed_event_falls_back_to_github_sha_with_a_warning(
    payload: str, tmp_path: Path
) -> None:
    checkout = detect(tmp_path, github("pull_request", payload, tmp_path))
    assert checkout.repository == Repository("gh", "org/repo", MERGE)
    (warning,) = checkout.warnings
    assert warning == (
        "The pull_request event has no head commit, so clinder uses GITHUB_SHA. A hub cannot clone"
        " it if it is a pull request's merge commit."
    )


@pytest.mark.parametrize("path", ["", "no/such/file.json", None])
def test_a_missing_event_file_falls_back_to_github_sha_with_a_warning(
    path: str | None, tmp_path: Path
) -> None:
    environ = github("pull_request", "", tmp_path, GITHUB_EVENT_PATH=path or "")
    if path is None:
        del environ["GITHUB_EVENT_PATH"]
    checkout = detect(tmp_path, environ)
    assert checkout.repository.ref == MERGE
    assert "clinder uses GITHUB_SHA" in checkout.warnings[0]


@pytest.mark.parametrize("server", ["", "https://github.com", "https://github.com/"])
def test_the_default_server_is_github_com(server: str, tmp_path: Path) -> None:
    environ = github("push", "", tmp_path, GITHUB_SERVER_URL=server, GITHUB_EVENT_PATH="")
    checkout = detect(tmp_path, environ)
    assert checkout.repository == Repository("gh", "org/repo", MERGE)
    assert checkout.warnings == ()


def test_ref_replaces_the_commit_of_the_job(tmp_path: Path) -> None:
    checkout = detect(tmp_path, github("push", {}, tmp_path), "topic/x")
    assert checkout.repository == Repository("gh", "org/repo", "topic/x")


# GitLab CI


def gitlab(**more: str) -> dict[str, str]:
    return {
        "GITLAB_CI": "true",
        "CI_PROJECT_PATH": "group/sub/project",
        "CI_PROJECT_URL": "https://gitlab.com/group/sub/project",
        "CI_COMMIT_SHA": MERGE,
        **more,
    }


PROJECT = "https://gitlab.com/group/sub/project"
FORK = {
    "CI_MERGE_REQUEST_IID": "7",
    "CI_MERGE_REQUEST_PROJECT_URL": PROJECT,
    "CI_MERGE_REQUEST_SOURCE_PROJECT_URL": "https://gitlab.com/them/fork",
}
SAME = {**FORK, "CI_MERGE_REQUEST_SOURCE_PROJECT_URL": PROJECT}


def test_a_gitlab_pipeline_is_its_project_and_commit(tmp_path: Path) -> None:
    checkout = detect(tmp_path, gitlab())
    assert checkout == Checkout(Repository("gl", "group/sub/project", MERGE), "GitLab CI's commit")


@pytest.mark.parametrize(("sha", "commit"), [("", MERGE), (HEAD, HEAD)])
def test_a_merge_request_is_its_source_project_and_commit(
    sha: str, commit: str, tmp_path: Path
) -> None:
    checkout = detect(tmp_path, gitlab(CI_MERGE_REQUEST_SOURCE_BRANCH_SHA=sha, **FORK))
    assert checkout == Checkout(Repository("gl", "them/fork", commit), "GitLab CI's merge request")


@pytest.mark.parametrize(
    ("variables", "sha", "base"),
    [
        (FORK, BASE, Repository("gl", "group/sub/project", BASE)),
        (FORK, "", None),
        (SAME, BASE, None),
    ],
)
def test_the_base_is_the_target_of_a_forks_merge_request(
    variables: dict[str, str], sha: str, base: Repository | None, tmp_path: Path
) -> None:
    assert detect(tmp_path, gitlab(CI_MERGE_REQUEST_DIFF_BASE_SHA=sha, **variables)).base == base


@pytest.mark.parametrize("platform", ["github", "gitlab"])
def test_a_self_hosted_server_is_a_git_url(platform: str, tmp_path: Path) -> None:
    url = "https://git.example.org/org/repo"
    environ = gitlab(CI_PROJECT_URL=url)
    if platform == "github":
        environ = github("push", {}, tmp_path, GITHUB_SERVER_URL="https://git.example.org")
    assert detect(tmp_path, environ).repository == Repository("git", url, MERGE)


# Read the Docs and Netlify


@pytest.mark.parametrize(
    "url", ["git@github.com:org/repo.git", "https://x-access-token:s3cret@github.com/org/repo"]
)
def test_read_the_docs_and_netlify_name_url_and_commit(url: str, tmp_path: Path) -> None:
    docs = {"READTHEDOCS": "True", "READTHEDOCS_GIT_CLONE_URL": url}
    checkout = detect(tmp_path, {**docs, "READTHEDOCS_GIT_COMMIT_HASH": HEAD})
    assert checkout == Checkout(Repository("gh", "org/repo", HEAD), "the build on Read the Docs")

    checkout = detect(tmp_path, {"NETLIFY": "true", "REPOSITORY_URL": url, "COMMIT_REF": HEAD})
    assert checkout == Checkout(Repository("gh", "org/repo", HEAD), "the build on Netlify")


PLATFORMS = {
    "Read the Docs": {
        "READTHEDOCS": "True",
        "READTHEDOCS_GIT_CLONE_URL": "https://github.com/org/repo",
        "READTHEDOCS_VERSION_TYPE": "external",
    },
    "Netlify": {
        "NETLIFY": "true",
        "REPOSITORY_URL": "https://github.com/org/repo",
        "PULL_REQUEST": "true",
    },
}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_commit_of_a_pull_request_that_no_branch_has_is_a_warning(
    platform: str, tmp_path: Path
) -> None:
    clone = make_clone(tmp_path / "clone")
    main = clone.head
    clone.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    clone.git("switch", "--quiet", "--create", "external-7", "--no-track")
    commit = clone.commit()
    environ = {**clone.environ, **PLATFORMS[platform]}
    environ |= {"READTHEDOCS_GIT_COMMIT_HASH": commit, "COMMIT_REF": commit}

    checkout = detect(clone.path, environ)

    assert checkout.repository == Repository("gh", "org/repo", commit)
    assert checkout.base == Repository("gh", "org/repo", main)
    (warning,) = checkout.warnings
    assert f"If it is a fork, a hub cannot clone commit {commit[:12]} from org/repo." in warning
    assert warning.startswith(platform)

    clone.mark_pushed("origin/topic")
    assert detect(clone.path, environ).warnings == ()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_without_a_clone_a_commit_of_a_pull_request_is_a_warning(
    platform: str, tmp_path: Path
) -> None:
    environ = {**PLATFORMS[platform], "READTHEDOCS_GIT_COMMIT_HASH": HEAD, "COMMIT_REF": HEAD}
    checkout = detect(tmp_path, {**environ, "PATH": os.environ["PATH"]})
    assert checkout.base is None
    assert len(checkout.warnings) == 1


@pytest.mark.parametrize(
    ("platform", "name", "value"),
    [
        ("Read the Docs", "READTHEDOCS_VERSION_TYPE", "branch"),
        ("Read the Docs", "READTHEDOCS_VERSION_TYPE", "tag"),
        ("Netlify", "PULL_REQUEST", "false"),
    ],
)
def test_a_build_of_a_branch_or_tag_needs_no_warning(
    platform: str, name: str, value: str, tmp_path: Path
) -> None:
    environ = {**PLATFORMS[platform], "READTHEDOCS_GIT_COMMIT_HASH": HEAD, "COMMIT_REF": HEAD}
    assert detect(tmp_path, {**environ, name: value}).warnings == ()


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "pull_request"},
            "GitHub Actions did not set GITHUB_REPOSITORY and GITHUB_SHA.",
        ),
        (gitlab(CI_COMMIT_SHA=""), "GitLab CI did not set CI_COMMIT_SHA."),
        ({"NETLIFY": "true"}, "Netlify did not set REPOSITORY_URL and COMMIT_REF."),
    ],
)
def test_a_platform_without_its_variables_is_an_error(
    environ: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        detect(tmp_path, environ)
    assert caught.value.message == message


# git


def make_clone(path: Path, url: str = "https://github.com/org/repo.git") -> History:
    """Return a checkout like after `git clone`: main tracks origin/main, everything is pushed."""
    clone = History(path, url)
    clone.commit()
    clone.mark_pushed()
    clone.git("branch", "--quiet", "--set-upstream-to=origin/main")
    return clone


@pytest.fixture
def clone(tmp_path: Path) -> History:
    return make_clone(tmp_path / "clone")


def test_a_clean_clone_is_origin_at_head(clone: History) -> None:
    folder = clone.path / "docs" / "deep"
    folder.mkdir(parents=True)
    for directory in (clone.path, folder):
        checkout = detect(directory, clone.environ)
        assert checkout == Checkout(
            Repository("gh", "org/repo", clone.head), "this checkout's origin and HEAD"
        )
        assert checkout.repository.is_commit


@pytest.mark.parametrize(("ahead", "commits"), [(1, "1 commit"), (2, "2 commits")])
def test_commits_ahead_of_the_upstream_are_an_error(
    clone: History, ahead: int, commits: str
) -> None:
    for _ in range(ahead):
        clone.commit()
    message = f"not pushed yet: main is {commits} ahead of origin/main"
    with pytest.raises(UsageError, match=message) as caught:
        detect(clone.path, clone.environ)
    assert "git push" in caught.value.hint
    assert "--ref" in caught.value.hint


def test_another_ref_needs_no_push(clone: History) -> None:
    clone.commit()
    (clone.path / "new.md").touch()
    checkout = detect(clone.path, clone.environ, "v1.0")
    assert checkout == Checkout(Repository("gh", "org/repo", "v1.0"), "this checkout's origin")


def test_a_commit_on_another_branch_of_origin_is_pushed(clone: History) -> None:
    clone.commit()
    clone.mark_pushed("origin/topic")
    assert detect(clone.path, clone.environ).warnings == ()


@pytest.mark.parametrize("command", ["reset --quiet --hard", "checkout --quiet --detach"])
def test_an_older_commit_of_origin_is_pushed(clone: History, command: str) -> None:
    first = clone.head
    clone.commit()
    clone.mark_pushed()
    clone.git(*command.split(), first)
    checkout = detect(clone.path, clone.environ)
    assert checkout.repository.ref == first
    assert checkout.warnings == ()


@pytest.mark.parametrize(
    "command",
    [
        "switch --quiet --create topic --no-track",
        "checkout --quiet --detach",
        "update-ref -d refs/remotes/origin/main",
    ],
)
def test_a_commit_on_no_known_branch_of_origin_is_a_warning(clone: History, command: str) -> None:
    clone.git(*command.split())
    clone.commit()
    (warning,) = detect(clone.path, clone.environ).warnings
    assert f"{clone.head[:12]} is not on a known branch of origin." in warning


@pytest.fixture
def topic(clone: History) -> History:
    """A clone whose HEAD is only on a branch of the remote ``fork``, which has no URL yet."""
    clone.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    clone.git("switch", "--quiet", "--create", "topic")
    clone.commit()
    clone.mark_pushed("fork/topic")
    return clone


def test_a_commit_only_on_another_remote_is_launched_from_there(topic: History) -> None:
    topic.git("remote", "add", "fork", "https://github.com/me/repo")
    topic.git("branch", "--quiet", "--set-upstream-to=fork/topic")
    checkout = detect(topic.path, topic.environ)
    assert checkout.repository == Repository("gh", "me/repo", topic.head)
    assert checkout.source == "this checkout's fork and HEAD"
    assert checkout.base == Repository("gh", "org/repo", topic.git("rev-parse", "HEAD^"))
    assert checkout.warnings == ()
    (note,) = checkout.notes
    assert note == (
        f"Commit {topic.head[:12]} is on fork/topic, but not on a known branch of origin, so"
        " clinder launches me/repo instead of org/repo."
    )


@pytest.mark.parametrize("url", ["/srv/mirror", "https://localhost", "ftp://example.org/r.git"])
def test_a_commit_only_on_a_remote_that_hubs_cannot_clone_is_a_warning(
    url: str, topic: History
) -> None:
    topic.git("remote", "add", "fork", url)
    checkout = detect(topic.path, topic.environ)
    assert checkout.repository == Repository("gh", "org/repo", topic.head)
    (warning,) = checkout.warnings
    assert "is not on a known branch of origin" in warning


def test_a_commit_on_a_tag_is_pushed(clone: History) -> None:
    """`git clone --branch v1.0 --depth 1` creates no remote-tracking branch."""
    clone.git("checkout", "--quiet", "--detach")
    clone.commit()
    clone.git("tag", "v1.0")
    clone.git("update-ref", "-d", "refs/remotes/origin/main")
    assert detect(clone.path, clone.environ).warnings == ()


def test_uncommitted_changes_are_a_warning(clone: History) -> None:
    (clone.path / "new.md").touch()
    (clone.path / "staged.md").touch()
    clone.git("add", "staged.md")
    (warning,) = detect(clone.path, clone.environ).warnings
    assert warning == "The hub cannot see 2 uncommitted changes."


@pytest.mark.parametrize(
    ("name", "changes"), [("_build", 0), ("b\u00fccher/_build", 0), ("my_build", 1), ("_built", 1)]
)
def test_mysts_output_is_not_an_uncommitted_change(name: str, changes: int, clone: History) -> None:
    (clone.path / "b\u00fccher").mkdir()
    clone.commit({"b\u00fccher/index.md": "x"})
    clone.mark_pushed()
    (clone.path / name / "html").mkdir(parents=True)
    (clone.path / name / "html" / "index.html").touch()
    assert len(detect(clone.path, clone.environ).warnings) == changes


def test_ignored_files_are_not_uncommitted_changes(clone: History) -> None:
    (clone.path / ".git" / "info" / "exclude").write_text("*.log\n", encoding="utf-8")
    (clone.path / "build.log").touch()
    assert detect(clone.path, clone.environ).warnings == ()


def test_a_shallow_clone_is_enough(clone: History, tmp_path: Path) -> None:
    clone.commit()
    shallow = make_clone(tmp_path / "shallow")
    url = (clone.path / ".git").as_uri()
    shallow.git("fetch", "--quiet", "--depth=1", url, "+main:refs/remotes/origin/main")
    shallow.git("reset", "--quiet", "--hard", "origin/main")
    assert shallow.git("rev-list", "--count", "HEAD") == "1"
    checkout = detect(shallow.path, shallow.environ)
    assert checkout.repository == Repository("gh", "org/repo", clone.head)
    assert checkout.warnings == ()


def test_detection_writes_nothing_to_the_clone(clone: History) -> None:
    clone.commit({"file": "x"})
    clone.mark_pushed()
    os.utime(clone.path / "file", (1, 1))  # git would refresh its index now
    before = (clone.path / ".git" / "index").read_bytes()
    detect(clone.path, clone.environ)
    assert (clone.path / ".git" / "index").read_bytes() == before


@pytest.mark.parametrize(
    ("url", "provider", "name"),
    [
        ("git@github.com:org/repo.git", "gh", "org/repo"),
        ("https://gitlab.com/a/b/c.git", "gl", "a/b/c"),
        ("https://example.org/a/b.git", "git", "https://example.org/a/b.git"),
        ("git://example.org/a/b.git", "git", "git://example.org/a/b.git"),
    ],
)
def test_origin_can_be_any_git_url(url: str, provider: str, name: str, tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone", url)
    checkout = detect(clone.path, clone.environ)
    assert checkout.repository == Repository(provider, name, clone.head)
    assert checkout.notes == checkout.warnings == ()


@pytest.mark.parametrize(
    ("url", "https"),
    [
        ("git@codeberg.org:o/r.git", "https://codeberg.org/o/r.git"),
        ("ssh://git@codeberg.org:22/o/r.git", "https://codeberg.org/o/r.git"),
        ("git@bitbucket.org:o/r.git", "https://bitbucket.org/o/r.git"),
        ("ssh://git@altssh.bitbucket.org:443/o/r.git", "https://bitbucket.org/o/r.git"),
        ("git@git.sr.ht:~o/r", "https://git.sr.ht/~o/r"),
        ("git@ssh.dev.azure.com:v3/o/p/r", "https://dev.azure.com/o/p/_git/r"),
        ("git@hf.co:o/r", "https://huggingface.co/o/r"),
        ("me@git.launchpad.net:~me/r", "https://git.launchpad.net/~me/r"),
        ("git@gitlab.example.org:group/sub/r.git", "https://gitlab.example.org/group/sub/r.git"),
        ("ssh://git@gitlab.example.org:7999/g/r.git", "https://gitlab.example.org/g/r.git"),
        ("git@gitea.com:o/r.git", "https://gitea.com/o/r.git"),
        ("git@lab.gitea.example.org:o/r.git", "https://lab.gitea.example.org/o/r.git"),
    ],
)
def test_an_ssh_origin_becomes_an_https_url_if_its_rule_is_known(
    url: str, https: str, tmp_path: Path
) -> None:
    clone = make_clone(tmp_path / "clone", url)
    checkout = detect(clone.path, clone.environ)
    assert checkout.repository == Repository("git", https, clone.head)
    (note,) = checkout.notes
    assert note.startswith(f"clinder launches {https}, because a public hub has no ssh key")
    assert checkout.warnings == ()
    assert detect(clone.path, clone.environ, "main").repository == Repository("git", https, "main")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("git@example.org:a/b.git", "ssh://git@example.org/a/b.git"),
        ("ssh://git@example.org:22/a/b.git", "ssh://git@example.org:22/a/b.git"),
        ("git@ssh.dev.azure.com:o/r", "ssh://git@ssh.dev.azure.com/o/r"),
        ("git@gitlab:o/r", "ssh://git@gitlab/o/r"),
    ],
)
def test_any_other_ssh_origin_is_a_warning(url: str, name: str, tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone", url)
    checkout = detect(clone.path, clone.environ)
    assert checkout.repository == Repository("git", name, clone.head)
    assert checkout.notes == ()
    (warning,) = checkout.warnings
    assert warning.startswith(f"A public hub has no ssh key to clone {name}.")


def test_the_base_of_a_build_is_an_https_url_too(tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone", "git@codeberg.org:o/r.git")
    clone.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    docs = {**PLATFORMS["Read the Docs"], "READTHEDOCS_GIT_COMMIT_HASH": HEAD}
    docs["READTHEDOCS_GIT_CLONE_URL"] = "git@codeberg.org:o/r.git"
    checkout = detect(clone.path, {**clone.environ, **docs})
    url = "https://codeberg.org/o/r.git"
    assert checkout.repository == Repository("git", url, HEAD)
    assert checkout.base == Repository("git", url, clone.head)


def test_origin_is_rewritten_by_insteadof(clone: History) -> None:
    clone.git("remote", "set-url", "origin", "gh:org/repo")
    clone.git("remote", "set-url", "--push", "origin", "git@example.org:elsewhere.git")
    clone.git("config", "url.https://github.com/.insteadOf", "gh:")
    assert detect(clone.path, clone.environ).repository.name == "org/repo"


@pytest.mark.parametrize(
    "url", ["https://me:p@ss@github.com/org/repo.git", "https://s3cret@example.org/r.git"]
)
def test_a_password_in_origin_is_dropped(url: str, tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone", url)
    clone.git("switch", "--quiet", "--create", "topic", "--no-track")
    clone.commit()
    checkout = detect(clone.path, clone.environ)
    assert checkout.warnings
    for secret in ("p@ss", "ss@", "s3cret", "me:"):
        assert secret not in repr(checkout)
        assert secret not in checkout.repository.spec


@pytest.mark.parametrize("scheme", ["file", "ftp"])
def test_a_password_in_a_refused_origin_is_not_shown(scheme: str, tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone", f"{scheme}://me:s3cret@host/srv/repo.git")
    with pytest.raises(UsageError) as caught:
        detect(clone.path, clone.environ)
    assert "s3cret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    "url", ["/srv/repo.git", "../repo", "a/b:c", "file:///srv/repo.git", "C:\\repo", "c:/r"]
)
def test_an_origin_on_this_machine_is_an_error(url: str, tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone", url)
    with pytest.raises(UsageError, match="on this machine, not on a server") as caught:
        detect(clone.path, clone.environ)
    assert url in caught.value.message
    assert "ORG/REPO" in caught.value.hint


def test_an_origin_without_a_url_is_an_error(clone: History) -> None:
    clone.git("config", "remote.origin.url", "")
    with pytest.raises(UsageError, match="origin") as caught:
        detect(clone.path, clone.environ)
    assert "ORG/REPO" in caught.value.hint


def test_without_origin_the_error_names_the_other_remotes(clone: History) -> None:
    clone.git("remote", "rename", "origin", "upstream")
    clone.git("remote", "add", "fork", "https://me:s3cret@github.com/me/repo")
    with pytest.raises(UsageError, match="no remote named origin, only fork, upstream") as caught:
        detect(clone.path, clone.environ)
    assert "s3cret" not in caught.value.message


def test_without_any_remote_there_is_an_error(clone: History) -> None:
    clone.git("remote", "remove", "origin")
    with pytest.raises(UsageError, match=r"no remote named origin\."):
        detect(clone.path, clone.environ)


def test_a_clone_without_commits_is_an_error(clone: History) -> None:
    clone.git("switch", "--quiet", "--orphan", "new")
    with pytest.raises(UsageError, match="no commit yet") as caught:
        detect(clone.path, clone.environ)
    assert "git commit" in caught.value.hint


def test_a_folder_outside_of_a_checkout_is_an_error_with_examples(
    clone: History, tmp_path: Path
) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    environ = {**clone.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path)}
    for none in (folder, clone.path / ".git"):
        with pytest.raises(UsageError, match="is not a git checkout") as caught:
            detect(none, environ)
        assert "ORG/REPO@REF" in caught.value.hint


def test_a_missing_folder_is_reported_with_gits_message(clone: History) -> None:
    with pytest.raises(UsageError, match="No such file or directory"):
        detect(clone.path / "none", clone.environ)


@pytest.mark.posix
def test_dubious_ownership_is_reported_with_gits_message_and_hint(clone: History) -> None:
    environ = {**clone.environ, "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    with pytest.raises(UsageError, match="dubious ownership") as caught:
        detect(clone.path, environ)
    assert "safe.directory" in caught.value.hint


def test_no_git_command_uses_a_transport(clone: History) -> None:
    """Older versions of git ignore GIT_NO_LAZY_FETCH and fetch what a partial clone lacks."""
    done = Git(clone.path, clone.environ).run("ls-remote", (clone.path / ".git").as_uri())
    assert "transport 'file' not allowed" in done.stderr


@pytest.mark.posix
def test_a_missing_git_is_an_error(clone: History, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="git could not be run") as caught:
        detect(clone.path, {**clone.environ, "PATH": str(tmp_path)})
    assert "ORG/REPO" in caught.value.hint


@pytest.mark.posix
def test_a_hanging_git_is_an_error(clone: History, tmp_path: Path) -> None:
    environ = {**clone.environ, "PATH": str(write_hanging_git(tmp_path).parent)}
    with pytest.raises(UsageError, match=r"git took longer than 0\.1 s"):
        Git(clone.path, environ, seconds=0.1).read("status")


# The directory itself, for the embedded hub


def local_url(path: Path) -> str:
    return path.resolve().as_uri().replace("file://", "file://localhost")


def test_a_local_directory_is_a_repository_at_its_commit(clone: History) -> None:
    clone.git("remote", "remove", "origin")
    clone.commit()
    repository = local_repository(clone.path, clone.environ)
    assert repository == Repository("git", local_url(clone.path), clone.head)
    assert repository.is_commit


def test_a_local_directory_needs_no_git(tmp_path: Path) -> None:
    folder = tmp_path / "a b % ü"
    folder.mkdir()
    repository = local_repository(folder, {"PATH": str(tmp_path)})
    assert repository == Repository("git", local_url(folder), "HEAD")
    assert repository.spec.startswith("git/file%3A%2F%2Flocalhost%2F")
    assert repository.spec.endswith("%2Fa%2520b%2520%2525%2520%25C3%25BC/HEAD")
    assert Repository.from_spec(repository.spec) == repository


def test_a_local_directory_needs_no_commit(clone: History) -> None:
    clone.git("switch", "--quiet", "--orphan", "new")
    assert local_repository(clone.path, clone.environ).ref == "HEAD"


def test_a_relative_directory_becomes_absolute(
    clone: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clone.path)
    assert local_repository(Path("sub/.."), clone.environ).name == local_url(clone.path)


def test_a_directory_that_no_url_can_name_gets_a_placeholder(clone: History) -> None:
    name = "file://localhost/this-directory"
    assert local_repository(Path("/"), {}) == Repository("git", name, "HEAD")
    of_clone = {**clone.environ, "GIT_DIR": str(clone.path / ".git")}
    assert local_repository(Path("/"), of_clone) == Repository("git", name, clone.head)
