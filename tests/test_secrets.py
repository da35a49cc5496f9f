"""Whose code a job may give its variables to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clinder.checkout.secrets import require_own_code
from clinder.errors import UsageError
from clinder.repository.parse import parse

BASE, HEAD, OTHER = "b" * 40, "a" * 40, "c" * 40
FORK = {"full_name": "stranger/book"}
OWN = {"full_name": "org/book"}


def environ(tmp_path: Path, event: str, repo: dict[str, str] | None = None) -> dict[str, str]:
    payload: dict[str, Any] = {
        "pull_request": {"head": {"repo": repo, "sha": HEAD}},
        "workflow_run": {"head_repository": repo, "head_sha": HEAD},
    }
    path = tmp_path / "event.json"
    path.write_text(json.dumps(payload if repo else {}))
    return {
        "GITHUB_REPOSITORY": "org/book",
        "GITHUB_SHA": BASE,
        "GITHUB_EVENT_NAME": event,
        "GITHUB_EVENT_PATH": str(path),
    }


ALLOWED = [
    ("push", None, f"org/book@{BASE}"),
    ("push", None, f"Org/Book@{OTHER}"),
    ("pull_request_target", FORK, f"org/book@{BASE}"),
    ("pull_request_target", FORK, "org/book@main"),
    ("pull_request_target", OWN, f"org/book@{HEAD}"),
    ("workflow_run", OWN, f"org/book@{HEAD}"),
    ("workflow_run", FORK, f"org/book@{BASE}"),
]
REFUSED = [
    ("push", None, f"someone/else@{OTHER}", "someone/else"),
    ("pull_request_target", FORK, f"stranger/book@{HEAD}", "stranger/book"),
    ("pull_request_target", FORK, f"org/book@{HEAD}", "stranger/book"),
    ("pull_request_target", FORK, f"org/book@{OTHER}", "stranger/book"),
    ("pull_request_target", FORK, "org/book@pull/7/head", "stranger/book"),
    ("workflow_run", FORK, f"org/book@{HEAD}", "stranger/book"),
    ("workflow_run", None, f"org/book@{HEAD}", "an unknown repository"),
]


@pytest.mark.parametrize(("event", "repo", "launched"), ALLOWED)
def test_a_job_gives_its_variables_to_its_own_code(
    tmp_path: Path, event: str, repo: dict[str, str] | None, launched: str
) -> None:
    require_own_code(parse(launched).repository, environ(tmp_path, event, repo))


@pytest.mark.parametrize(("event", "repo", "launched", "owner"), REFUSED)
def test_a_job_does_not_give_its_variables_to_other_code(
    tmp_path: Path, event: str, repo: dict[str, str] | None, launched: str, owner: str
) -> None:
    variables = environ(tmp_path, event, repo)
    repository = parse(launched).repository
    with pytest.raises(UsageError, match=f"would run the code of {owner}"):
        require_own_code(repository, variables)
    with pytest.raises(UsageError):
        require_own_code(repository, variables, "somebody/unrelated")
    require_own_code(repository, variables, owner.upper())


def test_a_gitlab_job_does_not_give_its_variables_to_other_code() -> None:
    variables = {"CI_PROJECT_PATH": "group/book"}
    require_own_code(parse(f"gl/group%2Fbook/{OTHER}").repository, variables)
    with pytest.raises(UsageError):
        require_own_code(parse(f"gl/stranger%2Fbook/{OTHER}").repository, variables)


def test_a_person_chooses_freely() -> None:
    require_own_code(parse(f"someone/else@{OTHER}").repository, {})
