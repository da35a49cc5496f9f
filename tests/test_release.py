"""Releasing a version: the tags, the notes, and the scripts in the workflow."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from changelog import notes
from histories import History

pytestmark = pytest.mark.posix  # the workflow runs on Linux; a shell script stands in for gh

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW: dict[str, Any] = yaml.safe_load(
    (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
)
JOBS: dict[str, Any] = WORKFLOW["jobs"]
TOOLS = ("tools/changelog.py", "tools/release.py")
ZIPAPP = b"PK of clinder"
CHANGELOG = """\
# Changelog

## 2.0.0 (unreleased)

- Not yet.

## 1.2.3 (2026-12-01)

- `clinder start` is quicker.

## 1.2.2 (2026-11-30)

## 1.2.1 (2026-11-29)

- The first.
"""
GH = """\
#!/bin/sh
printf '%s\\n' "$GH_TOKEN" "$@" > "gh-$2"
"""


class Clone(History):
    """A clone of a small repository with a version, a changelog and the tools.

    Its main is the tagged version 1.2.3, and it has a zipapp.
    """

    def __init__(self, path: Path):
        super().__init__(path, "../origin")
        self.environ["GIT_COMMITTER_DATE"] = "2026-12-01T12:00:00+01:00"
        self.git("init", "--quiet", "--bare", "../origin")
        tools = {name: (ROOT / name).read_text("utf-8") for name in TOOLS}
        ignored = "clinder.pyz\n__pycache__/\n"
        self.commit({**tools, "CHANGELOG.md": CHANGELOG, ".gitignore": ignored})
        self.commit_version("1.2.3")
        (path / "clinder.pyz").write_bytes(ZIPAPP)

    def commit_version(self, version: str, branch: str = "main") -> None:
        """Commit a version, and push the commit and its source tag."""
        self.commit({"src/clinder/_version.py": f'__version__ = "{version}"\n'})
        self.git("tag", f"v{version}-source")
        self.git("push", "--quiet", "origin", f"HEAD:{branch}", f"v{version}-source")
        self.git("fetch", "--quiet", "origin")

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.path,
            env={**self.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def release(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        later = {f"GIT_{role}_DATE": "2026-12-24T12:00:00Z" for role in ("AUTHOR", "COMMITTER")}
        return self.run(sys.executable, "tools/release.py", *arguments, **later)

    def origin_tag(self, ref: str) -> str:
        """Return the commit that a tag of the origin points to, or an empty text."""
        return self.git("ls-remote", "origin", f"refs/tags/{ref}").partition("\t")[0]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


# The notes


def test_the_notes_are_the_versions_section_of_the_changelog() -> None:
    assert notes(CHANGELOG, "1.2.1") == "- The first.\n"


def test_the_changelog_starts_with_the_current_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    source = (ROOT / "src" / "clinder" / "_version.py").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\S+) \((?:unreleased|\d{4}-\d{2}-\d{2})\)$", changelog, re.M)

    assert len(headings) == changelog.count("\n## ")
    assert f'__version__ = "{headings[0]}"' in source


# The check before a release


def test_a_tagged_version_on_main_or_on_a_release_branch_is_ready(clone: Clone) -> None:
    on_main = clone.release("check", "v1.2.3-source")
    clone.commit_version("1.2.1", "release-1.2")
    on_branch = clone.release("check", "v1.2.1-source")

    assert (on_main.returncode, on_main.stdout, on_main.stderr) == (0, "1.2.3\n", "")
    assert (on_branch.returncode, on_branch.stdout, on_branch.stderr) == (0, "1.2.1\n", "")


@pytest.mark.parametrize(
    ("version", "branch", "tag", "message"),
    [
        ("1.2.1", "main", "v1.2.4-source", "The tag is v1.2.4-source, but the sources are v1.2.1-"),
        ("1.2.1", "main", "v1.2.1", "The tag is v1.2.1, but the sources are v1.2.1-source."),
        ("2.0.0", "main", "v2.0.0-source", "In CHANGELOG.md, 2.0.0 is dated 'unreleased'."),
        ("1.2.2", "main", "v1.2.2-source", "CHANGELOG.md says nothing about 1.2.2."),
        ("1.2.30", "main", "v1.2.30-source", "has no section `## 1.2.30 (YYYY-MM-DD)`."),
        ("1.2", "main", "v1.2-source", "_version.py has no version with three numbers."),
        ("1.2.3rc1", "main", "v1.2.3rc1-source", "_version.py has no version with three numbers."),
        ("1.2.1", "an-idea", "v1.2.1-source", "is neither on main nor on a release-* branch."),
    ],
)
def test_other_tags_are_not_ready(
    clone: Clone, version: str, branch: str, tag: str, message: str
) -> None:
    clone.commit_version(version, branch)

    result = clone.release("check", tag)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("release: ")
    assert message in result.stderr


# The tags


def test_the_release_tag_is_the_source_plus_the_zipapp(clone: Clone) -> None:
    source = clone.git("rev-parse", "v1.2.3-source")

    commit = clone.release("push", "clinder.pyz").stdout.strip()

    assert clone.origin_tag("v1.2.3") == clone.origin_tag("v1") == commit
    assert clone.origin_tag("v1.2.3-source") == source
    assert clone.git("rev-parse", f"{commit}^@") == source
    assert clone.git("diff", "--name-status", source, commit) == "A\tclinder.pyz"
    assert clone.git("cat-file", "blob", f"{commit}:clinder.pyz") == ZIPAPP.decode()
    assert clone.git("log", "-1", "--format=%an %aI %cI %s", commit) == (
        "github-actions[bot] 2026-12-01T12:00:00+01:00 2026-12-01T12:00:00+01:00 Release v1.2.3"
    )
    assert clone.git("rev-parse", "HEAD") == source
    assert clone.git("status", "--porcelain") == ""


def test_an_interrupted_release_can_be_run_again_but_its_tag_never_moves(clone: Clone) -> None:
    first = clone.release("push", "clinder.pyz")
    again = clone.release("push", "clinder.pyz")
    (clone.path / "clinder.pyz").write_bytes(b"another")
    other = clone.release("push", "clinder.pyz")

    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert other.returncode == 1
    assert other.stderr.endswith("release: `git push` failed; see above. Nothing was pushed.\n")
    assert clone.origin_tag("v1.2.3") == clone.origin_tag("v1") == first.stdout.strip()


@pytest.mark.parametrize(
    ("later", "branch", "moved"),
    [
        ("1.2.10", "main", True),
        ("1.10.0", "main", True),
        ("1.2.1", "release-1.2", False),
        ("2.0.0", "main", False),
    ],
)
def test_a_major_tag_is_the_newest_of_its_versions(
    clone: Clone, later: str, branch: str, moved: bool
) -> None:
    first = clone.release("push", "clinder.pyz").stdout.strip()
    clone.git("fetch", "--quiet", "--tags", "--force", "origin")
    clone.commit_version(later, branch)

    second = clone.release("push", "clinder.pyz").stdout.strip()

    assert clone.origin_tag(f"v{later}") == second
    assert clone.origin_tag("v1") == (second if moved else first)
    assert clone.origin_tag("v2") == (second if later == "2.0.0" else "")


# The workflow


def _run_scripts(
    job: str, clone: Clone, path: Path, expressions: Mapping[str, str]
) -> dict[str, str]:
    """Run a job's scripts as a runner does, and return their outputs.

    ``expressions`` are the values of the expressions in the steps' ``env``.
    """
    output = clone.path.parent / f"{job}-output"
    output.touch()
    for step in JOBS[job]["steps"]:
        variables = {name: expressions[text] for name, text in step.get("env", {}).items()}
        if "run" in step:
            result = clone.run(
                *("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]),
                PATH=f"{path}{os.pathsep}{clone.environ['PATH']}",
                GITHUB_OUTPUT=str(output),
                GITHUB_REF_NAME="v1.2.3-source",
                **variables,
            )
            assert result.returncode == 0, result.stderr
    return dict(line.split("=", 1) for line in output.read_text("utf-8").splitlines())


def test_the_workflow_pushes_the_tags_and_creates_the_release(clone: Clone, tmp_path: Path) -> None:
    """The origin is on this machine, and ``gh`` only records its arguments."""
    (tmp_path / "bin").mkdir()
    gh = tmp_path / "bin" / "gh"
    gh.write_text(GH, encoding="utf-8")
    gh.chmod(0o755)

    outputs = _run_scripts("check", clone, gh.parent, {})
    expressions = {
        "${{ github.token }}": "the-jobs-token",
        "${{ needs.check.outputs.version }}": outputs["version"],
    }
    _run_scripts("github", clone, gh.parent, expressions)

    assert outputs == {"version": "1.2.3"}
    assert clone.origin_tag("v1.2.3") == clone.origin_tag("v1") != ""
    assert (clone.path / "gh-setup-git").read_text("utf-8").split() == [
        *("the-jobs-token", "auth", "setup-git")
    ]
    assert (clone.path / "gh-create").read_text("utf-8").split("\n")[:-1] == [
        *("the-jobs-token", "release", "create", "v1.2.3", "--verify-tag"),
        *("--title", "v1.2.3", "--notes-file", "notes.md", "clinder.pyz", "clinder.pyz.sha256"),
    ]
    assert (clone.path / "notes.md").read_text("utf-8") == "- `clinder start` is quicker.\n"
    assert (clone.path / "clinder.pyz.sha256").read_text("utf-8") == (
        f"{hashlib.sha256(ZIPAPP).hexdigest()}  clinder.pyz\n"
    )


def test_the_workflow_publishes_only_after_testing_and_building() -> None:
    assert JOBS["test"]["needs"] == JOBS["build"]["needs"] == "check"
    assert JOBS["pypi"]["needs"] == ["test", "build"]
    assert "pypi" in JOBS["github"]["needs"]
    assert JOBS["test"]["steps"][-1]["run"] == ".ci/run"


def test_jobs_download_the_artifacts_that_others_upload() -> None:
    steps = [step for job in JOBS.values() for step in job["steps"]]
    names = [step["with"]["name"] for step in steps if "-artifact@" in step.get("uses", "")]

    assert sorted(names) == ["dist", "dist", "zipapp", "zipapp"]


def test_only_the_publishing_jobs_have_write_permissions_and_there_are_no_secrets() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    permissions = {name: job["permissions"] for name, job in JOBS.items()}

    assert permissions == {
        "check": {"contents": "read"},
        "test": {"contents": "read"},
        "build": {"contents": "read"},
        "pypi": {"id-token": "write"},
        "github": {"contents": "write"},
    }
    assert [name for name, job in JOBS.items() if "environment" in job] == ["pypi"]
    assert JOBS["pypi"]["environment"]["name"] == "pypi"
    assert "secrets." not in text
