"""Payloads of GitHub's events: the shapes that a job finds at ``GITHUB_EVENT_PATH``.

They follow the examples in octokit/webhooks, without most of the fields that clinder ignores.
"""

from __future__ import annotations

from typing import Any

HEAD = "1f" * 20
BASE = "2e" * 20
MERGE = "3d" * 20

Payload = dict[str, Any]


def repository(full_name: str) -> Payload:
    owner, _, name = full_name.partition("/")
    return {
        "id": 186853002,
        "name": name,
        "full_name": full_name,
        "private": False,
        "owner": {"login": owner, "type": "Organization"},
        "html_url": f"https://github.com/{full_name}",
        "fork": owner != "org",
        "default_branch": "main",
    }


def pull_request(head: str | None = "org/repo", sha: str = HEAD, base: str = BASE) -> Payload:
    """Of ``pull_request``, ``pull_request_target`` and the two review events.

    ``head`` is ``None`` if the fork was deleted.
    """
    return {
        "action": "synchronize",
        "number": 7,
        "pull_request": {
            "number": 7,
            "state": "open",
            "head": {
                "label": "them:topic",
                "ref": "topic",
                "sha": sha,
                "repo": repository(head) if head else None,
            },
            "base": {
                "label": "org:main",
                "ref": "main",
                "sha": base,
                "repo": repository("org/repo"),
            },
            "merge_commit_sha": MERGE,
            "draft": False,
            "merged": False,
        },
        "before": BASE,
        "after": sha,
        "repository": repository("org/repo"),
    }


def workflow_run(head: str | None = "org/repo", sha: str = HEAD) -> Payload:
    """Of ``workflow_run``. GitHub lists no pull request if the run's commit is in a fork."""
    mentioned = {"id": 186853002, "name": "repo"}
    listed = {
        "number": 7,
        "head": {"ref": "topic", "sha": sha, "repo": mentioned},
        "base": {"ref": "main", "sha": BASE, "repo": mentioned},
    }
    return {
        "action": "completed",
        "workflow": {"name": "trigger-book-build", "path": ".github/workflows/build.yaml"},
        "workflow_run": {
            "event": "pull_request",
            "status": "completed",
            "conclusion": "success",
            "head_branch": "topic",
            "head_sha": sha,
            "head_commit": {"id": sha, "tree_id": "4c" * 20, "message": "x"},
            "head_repository": repository(head) if head else None,
            "pull_requests": [listed] if head == "org/repo" else [],
            "repository": repository("org/repo"),
        },
        "repository": repository("org/repo"),
    }


def merge_group() -> Payload:
    """Of ``merge_group``: the group's commit is the tip of a branch of its own."""
    return {
        "action": "checks_requested",
        "merge_group": {
            "head_sha": MERGE,
            "head_ref": f"refs/heads/gh-readonly-queue/main/pr-7-{BASE}",
            "base_sha": BASE,
            "base_ref": "refs/heads/main",
            "head_commit": {"id": MERGE, "tree_id": "4c" * 20},
        },
        "repository": repository("org/repo"),
    }
