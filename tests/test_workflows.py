"""Our workflows, actions and scripts pass their validators."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner

pytestmark = pytest.mark.posix  # the validators are installed for Linux and macOS

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
OTHER_SERVICES = ("gitlab-ci.yml", "gitlab-jupyter.yml")


def _files(*patterns: str) -> list[str]:
    paths = [path for pattern in patterns for path in ROOT.glob(pattern)]
    return sorted(
        path.relative_to(ROOT).as_posix() for path in paths if path.name not in OTHER_SERVICES
    )


ACTIONS = ["action.yml", "post/action.yml"]
OWN = _files(".github/workflows/*.yml")
COOKBOOK = _files("examples/pythia-cookbook/.github/workflows/*.yml")
EXAMPLES = [*_files("examples/*.yml"), *COOKBOOK]
SCHEMAS = [
    ("github-actions", ACTIONS),
    ("github-workflows", [*OWN, *EXAMPLES]),
    ("dependabot", [".github/dependabot.yml"]),
    ("github-issue-config", [".github/ISSUE_TEMPLATE/config.yml"]),
    ("github-issue-forms", [".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/wish.yml"]),
    ("gitlab-ci", ["examples/gitlab-ci.yml", "examples/gitlab-jupyter.yml"]),
    ("readthedocs", ["examples/readthedocs.yaml"]),
]


def _complaints(command: str | Path, *arguments: str, root: Path = ROOT) -> str:
    """Run a validator in a project's root, and return its output if it fails."""
    result = subprocess.run(
        [command, *arguments],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    return "" if result.returncode == 0 else result.stdout or f"exit code {result.returncode}"


@pytest.mark.parametrize(("schema", "files"), SCHEMAS, ids=[name for name, _ in SCHEMAS])
def test_files_follow_their_schema(schema: str, files: Sequence[str]) -> None:
    paths = [str(ROOT / file) for file in files]

    result = CliRunner().invoke(check_jsonschema, ["--builtin-schema", f"vendor.{schema}", *paths])

    assert result.exit_code == 0, result.output


ACTIONLINT = (BIN / "actionlint", "-no-color", f"-shellcheck={BIN / 'shellcheck'}")


def test_actionlint_accepts_the_workflows() -> None:
    files = [*OWN, *(each for each in EXAMPLES if each not in COOKBOOK)]

    assert _complaints(*ACTIONLINT, *files) == ""


def test_actionlint_accepts_the_cookbook(tmp_path: Path) -> None:
    """It is checked as a repository of its own, in which one workflow can call the other."""
    root = tmp_path / "cookbook"
    shutil.copytree(ROOT / "examples" / "pythia-cookbook", root)
    (root / ".git").mkdir()

    assert len([*root.glob(".github/workflows/*.yml")]) == len(COOKBOOK) == 2
    assert _complaints(*ACTIONLINT, root=root) == ""


def test_zizmor_accepts_the_workflows_and_actions() -> None:
    """``.github/zizmor.yml`` explains the exceptions."""
    options = ("--offline", "--quiet", "--persona=pedantic", "--config=.github/zizmor.yml")

    actions = [f"./{each}" for each in ACTIONS]
    assert _complaints(BIN / "zizmor", *options, *actions, *OWN, *EXAMPLES) == ""


@pytest.mark.parametrize("script", [*_files("src/**/*.sh"), ".ci/run"])
def test_shellcheck_accepts_the_scripts(script: str) -> None:
    assert _complaints(BIN / "shellcheck", script) == ""


def _actions_used_by(file: str) -> list[str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return re.findall(r"^\s*(?:- )?uses: (.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("file", [*OWN, *EXAMPLES])
def test_third_party_actions_are_pinned_to_a_commit_and_name_its_version(file: str) -> None:
    ours = ("./", "$/", "org/clinder-action@")

    for used in _actions_used_by(file):
        pinned = re.fullmatch(r"[\w-]+(/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used)
        assert pinned or used.startswith(ours), used


def test_all_workflows_share_one_version_of_each_action() -> None:
    used = {each for file in (*OWN, *EXAMPLES) for each in _actions_used_by(file) if "@" in each}

    assert len({each.split("@")[0] for each in used}) == len(used)


@pytest.mark.parametrize("file", [*OWN, *EXAMPLES])
def test_permissions_and_timeouts_are_set_per_job(file: str) -> None:
    workflow = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))

    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert "uses" in job or job["timeout-minutes"] <= 60  # a reusable workflow sets its own
