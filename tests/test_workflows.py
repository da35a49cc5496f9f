"""The validators of workflows, actions and scripts have nothing to say of ours."""

from __future__ import annotations

import re
import shutil
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
COOKBOOK = _found("examples/pythia-cookbook/.github/workflows/*.yml")
EXAMPLES = [*_found("examples/*.yml"), *COOKBOOK]
SCHEMAS = [
    ("github-actions", ACTIONS),
    ("github-workflows", [*OWN, *EXAMPLES]),
    ("dependabot", [".github/dependabot.yml"]),
    ("gitlab-ci", ["examples/gitlab-ci.yml"]),
    ("readthedocs", ["examples/readthedocs.yaml"]),
]


def _says(command: str | Path, *arguments: str, root: Path = ROOT) -> str:
    """Run a validator in a project's root; return what it says of it, nothing if it is well."""
    ran = subprocess.run(
        [command, *arguments],
        cwd=root,
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


ACTIONLINT = (BIN / "actionlint", "-no-color", f"-shellcheck={BIN / 'shellcheck'}")


def test_actionlint_with_shellcheck() -> None:
    files = [*OWN, *(each for each in EXAMPLES if each not in COOKBOOK)]

    assert _says(*ACTIONLINT, *files) == ""


def test_actionlint_of_the_cookbook_as_a_repository_of_its_own(tmp_path: Path) -> None:
    """There one of its workflows finds the other."""
    root = tmp_path / "cookbook"
    shutil.copytree(ROOT / "examples" / "pythia-cookbook", root)
    (root / ".git").mkdir()

    assert len([*root.glob(".github/workflows/*.yml")]) == len(COOKBOOK) == 2
    assert _says(*ACTIONLINT, root=root) == ""


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
        assert "uses" in job or job["timeout-minutes"] <= 60  # a workflow that is used has its own
