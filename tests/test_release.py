"""Releasing a version: the tags, the notes, and the scripts in the workflow."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from changelog import notes

pytestmark = pytest.mark.posix  # the workflow runs on Linux; a shell script stands in for gh

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW: dict[str, Any] = yaml.safe_load(
    (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
)
JOBS: dict[str, Any] = WORKFLOW["jobs"]
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
IDENTITY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (
        ("NAME", "Somebody"),
        ("EMAIL", "somebody@example.org"),
        ("DATE", "2026-12-01T12:00:00+01:00"),
    )
}


@dataclass(frozen=True)
class Clone:
    """A clone of a small repository with a version, a changelog and the tools."""

    folder: Path

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, **IDENTITY, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def git(self, *arguments: str) -> str:
        result = self.run("git", *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def release(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        later = {f"GIT_{role}_DATE": "2026-12-24T12:00:00Z" for role in ("AUTHOR", "COMMITTER")}
        return self.run(sys.executable, "tools/release.py", *arguments, **later)

    def commit(self, version: str, branch: str = "main") -> None:
        """Commit a version, and push the commit and its source tag."""
        source = self.folder / "src" / "clinder" / "_version.py"
        source.write_text(f'__version__ = "{version}"\n', encoding="utf-8")
        self.git("commit", "--quiet", "--allow-empty", "--all", "--message", version)
        self.git("tag", f"v{version}-source")
        self.git("push", "--quiet", "origin", f"HEAD:{branch}", f"v{version}-source")
        self.git("fetch", "--quiet", "origin")

    def origin_tag(self, ref: str) -> str:
        """Return the commit that a tag of the origin points to, or an empty text."""
        return self.git("ls-remote", "origin", f"refs/tags/{ref}").partition("\t")[0]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clone, whose main is the tagged version 1.2.3, and its origin."""
    template = tmp_path_factory.mktemp("template")
    folder = template / "clone"
    for name in ("changelog.py", "release.py"):
        (folder / "tools").mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tools" / name, folder / "tools" / name)
    (folder / "src" / "clinder").mkdir(parents=True)
    (folder / "src" / "clinder" / "_version.py").touch()
    (folder / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    (folder / ".gitignore").write_text("clinder.pyz\n__pycache__/\n", encoding="utf-8")
    clone = Clone(folder)
    clone.git("init", "--quiet", "--initial-branch=main")
    clone.git("init", "--quiet", "--bare", "../origin")
    clone.git("remote", "add", "origin", "../origin")
    clone.git("add", ".")
    clone.commit("1.2.3")
    return template


@pytest.fixture
def clone(template: Path, tmp_path: Path) -> Clone:
    """A fresh copy of the clone, with a zipapp."""
    shutil.copytree(template, tmp_path / "here")
    clone = Clone(tmp_path / "here" / "clone")
    (clone.folder / "clinder.pyz").write_bytes(ZIPAPP)
    return clone


# The notes


def test_the_notes_are_the_versions_section_of_the_changelog() -> None:
    assert notes(CHANGELOG, "1.2.3") == "- `clinder start` is quicker.\n"
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
    clone.commit("1.2.1", "release-1.2")
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
    clone.commit(version, branch)

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
    (clone.folder / "clinder.pyz").write_bytes(b"another")
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
    clone.commit(later, branch)

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
    output = clone.folder.parent / f"{job}-output"
    output.touch()
    for step in JOBS[job]["steps"]:
        variables = {name: expressions[text] for name, text in step.get("env", {}).items()}
        if "run" in step:
            result = clone.run(
                *("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]),
                PATH=f"{path}{os.pathsep}{os.environ['PATH']}",
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
    assert (clone.folder / "gh-setup-git").read_text("utf-8").split() == [
        *("the-jobs-token", "auth", "setup-git")
    ]
    assert (clone.folder / "gh-create").read_text("utf-8").split("\n")[:-1] == [
        *("the-jobs-token", "release", "create", "v1.2.3", "--verify-tag"),
        *("--title", "v1.2.3", "--notes-file", "notes.md", "clinder.pyz", "clinder.pyz.sha256"),
    ]
    assert (clone.folder / "notes.md").read_text("utf-8") == "- `clinder start` is quicker.\n"
    assert (clone.folder / "clinder.pyz.sha256").read_text("utf-8") == (
        f"{hashlib.sha256(ZIPAPP).hexdigest()}  clinder.pyz\n"
    )


def test_the_workflow_publishes_only_after_testing_and_building() -> None:
    needs = {name: job.get("needs", []) for name, job in JOBS.items()}

    assert needs == {
        "check": [],
        "test": "check",
        "build": "check",
        "pypi": ["test", "build"],
        "github": ["check", "pypi"],
    }
    assert [step["run"] for step in JOBS["build"]["steps"] if "run" in step] == ["make dist zipapp"]
    assert [step["run"] for step in JOBS["test"]["steps"] if "run" in step] == [".ci/run"]


def test_jobs_download_the_artifacts_that_others_upload() -> None:
    uploads, downloads = (
        {
            step["with"]["name"]
            for job in JOBS.values()
            for step in job["steps"]
            if step.get("uses", "").startswith(f"actions/{direction}-artifact@")
        }
        for direction in ("upload", "download")
    )

    assert uploads == downloads == {"dist", "zipapp"}


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


def test_only_a_source_tag_starts_the_workflow() -> None:
    triggers = {str(name): value for name, value in WORKFLOW.items()}["True"]  # YAML reads `on` so

    assert triggers == {"push": {"tags": ["v*-source"]}}
