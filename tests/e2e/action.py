"""The action as a runner has it, and one use of it in a job, step by step."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import runner
from e2e.world import World

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "org/repo"
SHA = "0123456789abcdef0123456789abcdef01234567"
START = textwrap.dedent(
    re.search(r"^      run: \|\n((?:        .*\n)+)", (ROOT / "action.yml").read_text(), re.M)[1]  # type: ignore[index]
)


def built(target: Path, *, zipapp: bool = True) -> Path:
    """Copy the action as a release has it, or as a clone does."""
    target.mkdir(parents=True)
    for name in ("action.yml", "post", "src"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, target / name)
    for cache in target.rglob("__pycache__"):
        shutil.rmtree(cache)
    if zipapp:
        builder = [sys.executable, str(ROOT / "tools" / "build_zipapp.py")]
        subprocess.run([*builder, str(target / "clinder.pyz")], check=True, timeout=100)
    return target


@dataclass(frozen=True)
class Ran:
    """A step that has ended: its code, its stdout, and what the runner makes of that."""

    code: int
    out: str
    log: runner.Log

    @property
    def said(self) -> str:
        return "\n".join(self.log.shown)

    @property
    def annotation(self) -> runner.Command:
        """The only annotation."""
        (found,) = self.log.annotations
        assert found.properties == {"title": "clinder"}
        return found


@dataclass
class Use:
    """One use of the action: ``guard``, ``start`` and, at the end of the job, ``post``."""

    world: World
    action: Path
    inputs: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    shared: Path | None = None  # packages that were made before, which saves a second
    state: dict[str, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.files = self.world.root / f"commands-{uuid.uuid4().hex}"
        self.files.mkdir()
        self.guard()

    def guard(self) -> None:
        ran = self._ran(self._popen(["node", str(self.action / "post" / "main.js")], {}))
        assert (ran.code, ran.out) == (0, "")
        self.state = self.values("GITHUB_STATE")
        self.folders = self.values("GITHUB_OUTPUT")
        if self.shared:
            self.folders["shared"] = self.state["clinder_shared"] = str(self.shared)
        (self.files / "GITHUB_OUTPUT").write_text("")

    def start(self) -> subprocess.Popen[str]:
        """Begin the start step, as the runner does."""
        inputs = {
            f"CLINDER_INPUT_{name.upper().replace('-', '_')}": value
            for name, value in self.inputs.items()
        }
        folders = {f"CLINDER_{name.upper()}": value for name, value in self.folders.items()}
        bash = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", START]
        return self._popen(bash, {"GITHUB_ACTION_PATH": str(self.action), **folders, **inputs})

    def started(self) -> Ran:
        """Run the start step to its end."""
        return self._ran(self.start())

    def ended(self, process: subprocess.Popen[str], read: str) -> Ran:
        """Wait for the start step to end, of whose output some was read before."""
        return self._ran(process, read)

    def post(self, **variables: str) -> Ran:
        """Run the post step, after which nothing of this use may be left."""
        state = {f"STATE_{name}": value for name, value in self.state.items()}
        ran = self._ran(
            self._popen(["node", str(self.action / "post" / "post.js")], {**state, **variables})
        )
        assert ran.code == 0, "it never turns a job red"
        assert not Path(self.state["clinder_folder"]).exists()
        return ran

    def run(self) -> Ran:
        """Run the whole use, and return its start step."""
        ran = self.started()
        self.post()
        return ran

    @property
    def outputs(self) -> dict[str, str]:
        return self.values("GITHUB_OUTPUT")

    @property
    def exported(self) -> dict[str, str]:
        return self.values("GITHUB_ENV")

    @property
    def summary(self) -> str:
        return (self.files / "GITHUB_STEP_SUMMARY").read_text(encoding="utf-8")

    def values(self, variable: str) -> dict[str, str]:
        """Read a file of names and values as the runner does, heredocs only."""
        found = {}
        lines = iter((self.files / variable).read_text(encoding="utf-8").splitlines())
        for line in lines:
            name, _, end = line.partition("<<")
            value = []
            for each in lines:
                if each == end:
                    break
                value.append(each)
            found[name] = "\n".join(value)
        return found

    def _popen(self, command: list[str], variables: Mapping[str, str]) -> subprocess.Popen[str]:
        commands = ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_STATE", "GITHUB_STEP_SUMMARY")
        for name in commands:
            (self.files / name).touch()
        job = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_SHA": SHA,
            "GITHUB_EVENT_NAME": "push",
            "GITHUB_JOB": "job",
            "RUNNER_TEMP": str(self.world.temporary),
            **{name: str(self.files / name) for name in commands},
        }
        return self.world.popen(command, env={**job, **self.variables, **variables})

    def _ran(self, process: subprocess.Popen[str], read: str = "") -> Ran:
        result = self.world.finish(process)
        assert result.err == "", "all goes to stdout"
        out = read + result.out
        log = runner.read(out, *self.secrets)
        assert log.leaked == []
        assert log.stopped == "", "commands are processed again"
        assert len(log.of("group")) == len(log.of("endgroup"))
        return Ran(result.code, out, log)


def event(world: World, payload: Any) -> str:
    """Write the payload of an event and return its path."""
    path = world.root / "event.json"
    path.write_text(json.dumps(payload), encoding="utf-8")
    return str(path)
