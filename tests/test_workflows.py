"""The validators of workflows, actions and scripts have nothing to say of ours."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.posix  # the validators are installed for Linux and macOS

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
NO_WORKFLOWS = ("gitlab-ci.yml",)


def _found(*patterns: str) -> list[str]:
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    return sorted(
        path.relative_to(ROOT).as_posix() for path in found if path.name not in NO_WORKFLOWS
    )


ACTIONS = ["action.yml", "post/action.yml"]
OWN = _found(".github/workflows/*.yml")
EXAMPLES = _found("examples/*.yml")
SCHEMAS = [
    ("github-actions", ACTIONS),
    ("github-workflows", [*OWN, *EXAMPLES]),
    ("dependabot", [".github/dependabot.yml"]),
    ("gitlab-ci", ["examples/gitlab-ci.yml"]),
    ("readthedocs", ["examples/readthedocs.yaml"]),
]


def _says(command: str | Path, *arguments: str) -> str:
    """Run a validator in the project's root; return what it says of it, nothing if it is well."""
    ran = subprocess.run(
        [command, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    return "" if ran.returncode == 0 else ran.stdout or f"exit code {ran.returncode}"


def test_there_is_something_to_validate() -> None:
    assert len(OWN) >= 3
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize(("schema", "files"), SCHEMAS, ids=[name for name, _ in SCHEMAS])
def test_the_schema_is_kept(schema: str, files: Sequence[str]) -> None:
    says = _says(BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)

    assert says == ""


def test_actionlint_with_shellcheck() -> None:
    shellcheck = f"-shellcheck={BIN / 'shellcheck'}"

    assert _says(BIN / "actionlint", "-no-color", shellcheck, *OWN, *EXAMPLES) == ""


def test_zizmor_at_its_most_pedantic() -> None:
    """What it finds and is meant so is explained in ``.github/zizmor.yml``."""
    options = ("--offline", "--quiet", "--persona=pedantic", "--config=.github/zizmor.yml")

    assert (
        _says(BIN / "zizmor", *options, *(f"./{each}" for each in ACTIONS), *OWN, *EXAMPLES) == ""
    )


@pytest.mark.parametrize("script", [*_found("src/**/*.sh"), ".ci/run"])
def test_shellcheck(script: str) -> None:
    assert _says(BIN / "shellcheck", script) == ""


@pytest.mark.parametrize("script", _found("post/*.js"))
def test_node_can_read_it(script: str) -> None:
    assert _says("node", "--check", script) == ""


def _used(file: str) -> list[str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return re.findall(r"^\s*(?:- )?uses: (.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("file", [*OWN, *EXAMPLES])
def test_an_action_of_others_is_pinned_to_a_commit_with_its_version_beside_it(file: str) -> None:
    ours = ("./", "$/", "org/clinder-action@")

    for used in _used(file):
        pinned = re.fullmatch(r"[\w-]+(/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used)
        assert pinned or used.startswith(ours), used


def test_everywhere_the_same_version_of_an_action_is_used() -> None:
    used = {each for file in (*OWN, *EXAMPLES) for each in _used(file) if "@" in each}

    assert len({each.split("@")[0] for each in used}) == len(used)


@pytest.mark.parametrize("file", [*OWN, *EXAMPLES])
def test_nothing_is_permitted_that_a_job_does_not_name(file: str) -> None:
    workflow = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))

    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
