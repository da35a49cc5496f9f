"""How a version is released: the tags, the notes, and the very scripts of the workflow."""

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

pytestmark = pytest.mark.posix  # it runs on Linux: bash, and a gh that is a script

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
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (
        ("NAME", "Somebody"),
        ("EMAIL", "somebody@example.org"),
        ("DATE", "2026-12-01T12:00:00+01:00"),
    )
}


@dataclass(frozen=True)
class Clone:
    """A clone of a small repository with clinder's version, its changelog and the tools."""

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
        ran = self.run("git", *arguments)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def release(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        later = {f"GIT_{role}_DATE": "2026-12-24T12:00:00Z" for role in ("AUTHOR", "COMMITTER")}
        return self.run(sys.executable, "tools/release.py", *arguments, **later)

    def at(self, version: str, branch: str = "main") -> None:
        """Commit a version on a branch, and push both the commit and the tag that starts it all."""
        source = self.folder / "src" / "clinder" / "_version.py"
        source.write_text(f'__version__ = "{version}"\n', encoding="utf-8")
        self.git("commit", "--quiet", "--allow-empty", "--all", "--message", version)
        self.git("tag", f"v{version}-source")
        self.git("push", "--quiet", "origin", f"HEAD:{branch}", f"v{version}-source")
        self.git("fetch", "--quiet", "origin")

    def pushed(self, ref: str) -> str:
        """Return the commit that the origin has under a tag, or nothing."""
        return self.git("ls-remote", "origin", f"refs/tags/{ref}").partition("\t")[0]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a clone, whose main is version 1.2.3, tagged, and of its origin."""
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
    clone.at("1.2.3")
    return template


@pytest.fixture
def clone(template: Path, tmp_path: Path) -> Clone:
    """A clone of its own, whose zipapp was built."""
    shutil.copytree(template, tmp_path / "here")
    clone = Clone(tmp_path / "here" / "clone")
    (clone.folder / "clinder.pyz").write_bytes(ZIPAPP)
    return clone


def _notes(clone: Clone, version: str) -> subprocess.CompletedProcess[str]:
    return clone.run(sys.executable, "tools/changelog.py", version)


# The notes


@pytest.mark.parametrize(
    ("version", "notes"),
    [("1.2.3", "- `clinder start` is quicker.\n"), ("1.2.1", "- The first.\n")],
)
def test_the_notes_are_the_changelogs_section(clone: Clone, version: str, notes: str) -> None:
    ran = _notes(clone, version)

    assert (ran.returncode, ran.stdout) == (0, notes)


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("2.0.0", "changelog: CHANGELOG.md says that 2.0.0 is 'unreleased'. Write the day"),
        ("1.2.2", "changelog: CHANGELOG.md says nothing of 1.2.2."),
        ("1.2", "changelog: CHANGELOG.md has no section `## 1.2 (YYYY-MM-DD)`."),
        ("1.2.30", "changelog: CHANGELOG.md has no section `## 1.2.30 (YYYY-MM-DD)`."),
    ],
)
def test_what_is_not_written_up_is_not_released(clone: Clone, version: str, says: str) -> None:
    ran = _notes(clone, version)

    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(says)


def test_the_changelog_has_this_version_at_its_top() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    source = (ROOT / "src" / "clinder" / "_version.py").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\S+) \((?:unreleased|\d{4}-\d{2}-\d{2})\)$", changelog, re.M)

    assert len(headings) == changelog.count("\n## ")
    assert f'__version__ = "{headings[0]}"' in source


def test_outside_of_a_repository_it_says_what_is_missing(clone: Clone, tmp_path: Path) -> None:
    script = str(clone.folder / "tools" / "changelog.py")

    ran = Clone(tmp_path).run(sys.executable, script, "1.2.3")

    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("changelog: ")
    assert "No such file or directory: 'CHANGELOG.md'" in ran.stderr


# Is it ready?


def test_a_tag_on_main_with_its_version_and_its_notes_is_ready(clone: Clone) -> None:
    ran = clone.release("check", "v1.2.3-source")

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "1.2.3\n", "")


@pytest.mark.parametrize("tag", ["v1.2.4-source", "v1.2.3", "1.2.3-source"])
def test_a_tag_of_another_version_is_not_ready(clone: Clone, tag: str) -> None:
    ran = clone.release("check", tag)

    assert ran.returncode == 1
    assert ran.stderr == f"release: The tag is {tag}, but the sources are v1.2.3-source.\n"


def test_a_version_whose_notes_have_no_day_is_not_ready(clone: Clone) -> None:
    clone.at("2.0.0")

    ran = clone.release("check", "v2.0.0-source")

    assert ran.returncode == 1
    assert "release: CHANGELOG.md says that 2.0.0 is 'unreleased'." in ran.stderr


@pytest.mark.parametrize("version", ["1.2", "1.2.3rc1", "1.2.3.4"])
def test_a_version_has_three_numbers(clone: Clone, version: str) -> None:
    clone.at(version)

    ran = clone.release("check", f"v{version}-source")

    assert ran.returncode == 1
    assert "has no version of three numbers" in ran.stderr


@pytest.mark.parametrize(("branch", "code"), [("somebodys-idea", 1), ("release-1.2", 0)])
def test_only_what_was_reviewed_is_released(clone: Clone, branch: str, code: int) -> None:
    clone.at("1.2.1", branch)

    ran = clone.release("check", "v1.2.1-source")

    assert ran.returncode == code
    assert ("is not on main, nor on a branch release-*" in ran.stderr) is bool(code)


# The tags


def test_the_released_tag_is_the_source_and_the_zipapp(clone: Clone) -> None:
    source = clone.git("rev-parse", "v1.2.3-source")

    commit = clone.release("push", "clinder.pyz").stdout.strip()

    assert clone.pushed("v1.2.3") == clone.pushed("v1") == commit
    assert clone.pushed("v1.2.3-source") == source
    assert clone.git("rev-parse", f"{commit}^@") == source
    assert clone.git("diff", "--name-status", source, commit) == "A\tclinder.pyz"
    assert clone.git("cat-file", "blob", f"{commit}:clinder.pyz") == ZIPAPP.decode()
    assert clone.git("log", "-1", "--format=%an %aI %cI %s", commit) == (
        "github-actions[bot] 2026-12-01T12:00:00+01:00 2026-12-01T12:00:00+01:00 Release v1.2.3"
    )


def test_neither_the_branch_nor_the_files_are_touched(clone: Clone) -> None:
    clone.release("push", "clinder.pyz")

    assert clone.git("rev-parse", "HEAD") == clone.git("rev-parse", "v1.2.3-source")
    assert clone.git("status", "--porcelain") == ""


def test_a_release_that_broke_off_can_be_run_again(clone: Clone) -> None:
    first = clone.release("push", "clinder.pyz")

    again = clone.release("push", "clinder.pyz")

    assert again.returncode == 0
    assert again.stdout == first.stdout


def test_a_released_tag_never_moves_and_then_nothing_does(clone: Clone) -> None:
    commit = clone.release("push", "clinder.pyz").stdout.strip()
    (clone.folder / "clinder.pyz").write_bytes(b"another")

    again = clone.release("push", "clinder.pyz")

    assert again.returncode == 1
    assert again.stderr.endswith("release: `git push` failed, see above. Nothing was pushed.\n")
    assert clone.pushed("v1.2.3") == clone.pushed("v1") == commit


@pytest.mark.parametrize(
    ("later", "branch", "moved"),
    [("1.2.10", "main", True), ("1.10.0", "main", True), ("1.2.1", "release-1.2", False)],
)
def test_v1_is_the_newest(clone: Clone, later: str, branch: str, moved: bool) -> None:
    first = clone.release("push", "clinder.pyz").stdout.strip()
    clone.git("fetch", "--quiet", "--tags", "--force", "origin")
    clone.at(later, branch)

    second = clone.release("push", "clinder.pyz").stdout.strip()

    assert clone.pushed(f"v{later}") == second
    assert clone.pushed("v1") == (second if moved else first)


def test_each_major_version_has_its_own_newest(clone: Clone) -> None:
    first = clone.release("push", "clinder.pyz").stdout.strip()
    clone.at("2.0.0")

    second = clone.release("push", "clinder.pyz").stdout.strip()

    assert (clone.pushed("v1"), clone.pushed("v2")) == (first, second)
    clone.git("fetch", "--quiet", "--tags", "--force", "origin")
    clone.at("1.2.4", "release-1.2")

    third = clone.release("push", "clinder.pyz").stdout.strip()

    assert (clone.pushed("v1"), clone.pushed("v2")) == (third, second)


# The workflow


def _scripts(job: str, clone: Clone, path: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Run a job's own scripts as a runner does; return what the job's steps gave as outputs.

    ``given`` is what stands for the expressions in their environment.
    """
    output = clone.folder.parent / f"{job}-output"
    output.touch()
    for step in JOBS[job]["steps"]:
        variables = {name: given[text] for name, text in step.get("env", {}).items()}
        if "run" in step:
            ran = clone.run(
                *("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]),
                PATH=f"{path}{os.pathsep}{os.environ['PATH']}",
                GITHUB_OUTPUT=str(output),
                GITHUB_REF_NAME="v1.2.3-source",
                **variables,
            )
            assert ran.returncode == 0, ran.stderr
    return dict(line.split("=", 1) for line in output.read_text("utf-8").splitlines())


def test_a_dry_run_of_all_that_the_workflow_does_in_the_repository(
    clone: Clone, tmp_path: Path
) -> None:
    """With an origin of this machine, and a ``gh`` that only notes what it is asked."""
    (tmp_path / "bin").mkdir()
    gh = tmp_path / "bin" / "gh"
    gh.write_text(GH, encoding="utf-8")
    gh.chmod(0o755)

    outputs = _scripts("check", clone, gh.parent, {})
    given = {
        "${{ github.token }}": "the-jobs-token",
        "${{ needs.check.outputs.version }}": outputs["version"],
    }
    _scripts("github", clone, gh.parent, given)

    assert outputs == {"version": "1.2.3"}
    assert clone.pushed("v1.2.3") == clone.pushed("v1") != ""
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


def test_what_one_job_hands_on_is_what_another_takes() -> None:
    """The files from a job of their own, where nothing is installed that only tests need."""
    handed, taken = (
        {
            (step["with"]["name"], step["with"].get("path", "."))
            for job in JOBS.values()
            for step in job["steps"]
            if step.get("uses", "").startswith(f"actions/{action}@")
        }
        for action in ("upload-artifact", "download-artifact")
    )

    assert handed == {("dist", "dist/"), ("zipapp", "clinder.pyz")}
    assert taken == {("dist", "dist/"), ("zipapp", ".")}
    assert [step["run"] for step in JOBS["build"]["steps"] if "run" in step] == ["make dist zipapp"]
    assert [step["run"] for step in JOBS["test"]["steps"] if "run" in step] == [".ci/run"]


def test_nothing_is_published_before_all_is_tested_and_built() -> None:
    needs = {name: job.get("needs", []) for name, job in JOBS.items()}

    assert needs == {
        "check": [],
        "test": "check",
        "build": "check",
        "pypi": ["test", "build"],
        "github": ["check", "pypi"],
    }


def test_each_job_may_do_what_it_must_and_nothing_else() -> None:
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


def test_it_holds_no_secret() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    publish = JOBS["pypi"]["steps"][-1]

    assert "secrets." not in text
    assert publish["uses"].startswith("pypa/gh-action-pypi-publish@")
    assert publish["with"] == {"attestations": True}


def test_it_starts_by_a_tag_that_it_does_not_push_itself() -> None:
    starts = {str(name): value for name, value in WORKFLOW.items()}["True"]  # YAML's name for `on`

    assert starts == {"push": {"tags": ["v*-source"]}}


# What people write to us


@pytest.mark.parametrize(
    ("schema", "files"),
    [("github-issue-config", ["config"]), ("github-issue-forms", ["bug", "wish"])],
)
def test_the_schema_of_issue_templates_is_kept(schema: str, files: list[str]) -> None:
    checker = Path(sys.executable).parent / "check-jsonschema"
    ran = subprocess.run(
        [
            *(checker, "--builtin-schema", f"vendor.{schema}"),
            *(ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml" for name in files),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout


def test_who_reports_a_bug_is_asked_for_the_version_and_the_log() -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text("utf-8"))
    asked = {each["id"]: each for each in form["body"]}

    assert "`clinder --version`" in asked["version"]["attributes"]["description"]
    assert "?token=" in asked["log"]["attributes"]["description"]
    for name in ("version", "log"):
        assert asked[name]["validations"] == {"required": True}
