"""The action as a runner has it, and one use of it in a job, step by step."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

import runner
from e2e.world import World

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "org/repo"
SHA = "0123456789abcdef0123456789abcdef01234567"
MANIFEST = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
(START,) = (step["run"] for step in MANIFEST["runs"]["steps"] if "run" in step)
COMMAND_FILES = ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_STATE", "GITHUB_STEP_SUMMARY")


def copy_action(target: Path, *, zipapp: bool = True) -> Path:
    """Copy the action, with its zipapp as in a release, or without as in a clone."""
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
class StepResult:
    """A step that has ended: its exit code, its stdout, and how the runner reads that."""

    code: int
    out: str
    log: runner.Log

    @property
    def text(self) -> str:
        """The lines that the runner shows."""
        return "\n".join(self.log.shown)

    @property
    def annotation(self) -> runner.Command:
        """The only annotation."""
        (annotation,) = self.log.annotations
        assert annotation.properties == {"title": "clinder"}
        return annotation


@dataclass
class Use:
    """One use of the action: the guard, the start step and, at the end of the job, the post step.

    ``shared`` is a folder that already has the packages, which saves a second.
    """

    world: World
    action: Path
    inputs: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    shared: Path | None = None
    state: dict[str, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.files = self.world.root / f"commands-{uuid.uuid4().hex}"
        self.files.mkdir()
        for name in COMMAND_FILES:
            (self.files / name).touch()
        guard = self.finish(
            self._popen(["node", str(self.action / "post" / "main.js")], self._with)
        )
        assert (guard.code, guard.out) == (0, "")
        self.state = self._read("GITHUB_STATE")
        self.folders = self._read("GITHUB_OUTPUT")
        if self.shared:
            self.folders["shared"] = self.state["clinder_shared"] = str(self.shared)
        (self.files / "GITHUB_OUTPUT").write_text("")

    @property
    def folder(self) -> Path:
        """The private folder of this use."""
        return Path(self.folders["folder"])

    @property
    def _with(self) -> dict[str, str]:
        """The inputs of the guard and of the post step, as the runner passes them."""
        (guard,) = (step for step in MANIFEST["runs"]["steps"] if "uses" in step)
        assert guard["with"] == {"hub-token": "${{ inputs.hub-token }}"}
        return {"INPUT_HUB-TOKEN": self.inputs.get("hub-token", "")}

    def begin(self) -> subprocess.Popen[str]:
        """Begin the start step, as the runner does."""
        inputs = {
            f"CLINDER_INPUT_{name.upper().replace('-', '_')}": value
            for name, value in self.inputs.items()
        }
        folders = {f"CLINDER_{name.upper()}": value for name, value in self.folders.items()}
        bash = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", START]
        return self._popen(bash, {"GITHUB_ACTION_PATH": str(self.action), **folders, **inputs})

    def finish(self, process: subprocess.Popen[str], read: str = "") -> StepResult:
        """Wait for a step to end; ``read`` is the part of its output that was read before."""
        result = self.world.finish(process)
        assert result.err == "", "everything goes to stdout"
        out = read + result.out
        log = runner.read(out, *self.secrets)
        assert log.leaked == []
        assert log.stopped == "", "commands are processed again"
        assert len(log.named("group")) == len(log.named("endgroup"))
        return StepResult(result.code, out, log)

    def start(self) -> StepResult:
        """Run the start step."""
        return self.finish(self.begin())

    def post(self, code: int = 0) -> StepResult:
        """Run the post step, after which nothing of this use remains; a failed cell can fail it."""
        state = {f"STATE_{name}": value for name, value in self.state.items()} | self._with
        result = self.finish(self._popen(["node", str(self.action / "post" / "post.js")], state))
        assert result.code == code
        assert not Path(self.state["clinder_folder"]).exists()
        return result

    def run(self) -> StepResult:
        """Run both steps, and return the result of the start step."""
        result = self.start()
        self.post()
        return result

    @property
    def outputs(self) -> dict[str, str]:
        return self._read("GITHUB_OUTPUT")

    @property
    def exported(self) -> dict[str, str]:
        return self._read("GITHUB_ENV")

    @property
    def summary(self) -> str:
        return (self.files / "GITHUB_STEP_SUMMARY").read_text(encoding="utf-8")

    def _read(self, variable: str) -> dict[str, str]:
        """Read names and values from a command file, like the runner; all values are heredocs."""
        values = {}
        lines = iter((self.files / variable).read_text(encoding="utf-8").splitlines())
        for line in lines:
            name, _, end = line.partition("<<")
            values[name] = "\n".join(iter(lines.__next__, end))
        return values

    def _popen(self, command: list[str], variables: Mapping[str, str]) -> subprocess.Popen[str]:
        job = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_SHA": SHA,
            "GITHUB_EVENT_NAME": "push",
            "GITHUB_JOB": "job",
            "RUNNER_TEMP": str(self.world.temporary),
            **{name: str(self.files / name) for name in COMMAND_FILES},
        }
        return self.world.popen(command, env={**job, **self.variables, **variables})
