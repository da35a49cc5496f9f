"""Workflows under act, on this machine, without containers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from e2e.world import World

ACT = str(Path(sys.executable).with_name("act"))
ACTION = "org/clinder-action"
CALLER = "org/caller"
_LAST = """
runs:
  using: node24
  main: nothing.js
  post: last.js
"""
_LAST_JS = """
const left = require('fs').readdirSync(process.env.RUNNER_TEMP);
console.log('LEFT ' + left.filter((name) => name.startsWith('clinder-')).join(' ') + '.');
"""


@dataclass(frozen=True)
class Said:
    """A line of a job's log; ``raw`` is what a step wrote, else it is act's own."""

    job: str
    text: str
    raw: bool
    command: str = ""
    data: str = ""


@dataclass(frozen=True)
class Ended:
    """A workflow that has run."""

    code: int
    lines: list[Said]
    out: str

    def said(self, job: str = "") -> list[str]:
        """What the steps wrote."""
        return [each.text for each in self.lines if each.raw and each.job.endswith(job)]

    def with_(self, words: str, job: str = "") -> list[str]:
        return [each for each in self.said(job) if words in each]

    def commands(self, *names: str) -> list[str]:
        """What the commands of such names hold."""
        return [each.data for each in self.lines if each.command in names]


@dataclass
class Workflow:
    """A repository that uses the action, and act to run its only workflow."""

    world: World
    action: Path
    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    stand_ins: dict[str, Path] = field(default_factory=dict)
    """Where act finds what a workflow uses, ``OWNER/REPO@REF``."""
    name: str = "act"
    """What tells it from others of the same world."""

    def __post_init__(self) -> None:
        self.root = self.world.root / self.name
        self.caller = self.root / "caller"
        self.released = self.root / "action"
        shutil.copytree(self.action, self.released)
        manifest = self.released / "action.yml"
        text = manifest.read_text(encoding="utf-8")
        assert text.count("uses: $/post") == 1
        # act 0.2.89 does not know $/ (nektos/act#6189).
        manifest.write_text(text.replace("uses: $/post", f"uses: {ACTION}/post@v1"))
        last = self.released / "last"
        last.mkdir()
        (last / "action.yml").write_text(f"name: last{_LAST}")
        (last / "nothing.js").write_text("")
        (last / "last.js").write_text(_LAST_JS)

    def start(
        self, jobs: str, event: str = "push", payload: Mapping[str, Any] | None = None
    ) -> subprocess.Popen[str]:
        """Begin to run jobs, as YAML has them."""
        return self.start_workflow(f"on: {event}\njobs:\n{jobs}", event, payload)

    def start_workflow(
        self,
        workflow: str,
        event: str = "push",
        payload: Mapping[str, Any] | None = None,
        output: int | TextIO = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Begin to run a whole workflow."""
        self._commit(workflow)
        command = [
            *(ACT, event, "--json", "-C", str(self.caller), "-W", ".github/workflows/t.yml"),
            *("-P", "ubuntu-latest=-self-hosted", "--action-cache-path", str(self.root / "cache")),
            *("--no-cache-server", "--use-new-action-cache"),
            *("--local-repository", f"{ACTION}@v1={self.released}"),
        ]
        for used, folder in self.stand_ins.items():
            command += ["--local-repository", f"{used}={folder}"]
        for name, value in self.variables.items():
            command += ["--var", f"{name}={value}"]
        for name, value in self.secrets.items():
            command += ["-s", f"{name}={value}"]
        if payload is not None:
            path = self.root / "event.json"
            path.write_text(json.dumps(payload), encoding="utf-8")
            command += ["-e", str(path)]
        env = {"XDG_CACHE_HOME": str(self.root / "xdg")}
        return self.world.popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)

    def ended(self, process: subprocess.Popen[str], read: str = "") -> Ended:
        """Wait for the end, of whose output some was read before."""
        result = self.world.finish(process)
        out = read + result.out
        return Ended(
            result.code, [_said(line) for line in out.splitlines() if line[:1] == "{"], out
        )

    def run(
        self, jobs: str, event: str = "push", payload: Mapping[str, Any] | None = None
    ) -> Ended:
        return self.ended(self.start(jobs, event, payload))

    @property
    def commit(self) -> str:
        return self._git("rev-parse", "HEAD").strip()

    def _commit(self, workflow: str) -> None:
        path = self.caller / ".github" / "workflows" / "t.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(workflow, encoding="utf-8")
        if not (self.caller / ".git").exists():
            self._git("init", "-q", "-b", "main")
            self._git("remote", "add", "origin", f"https://github.com/{CALLER}")
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", "a commit")

    def _git(self, *arguments: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(
            ["git", *who, *arguments], cwd=self.caller, check=True, capture_output=True, text=True
        ).stdout


def _said(line: str) -> Said:
    told = json.loads(line)
    return Said(
        str(told.get("job", "")).strip(),
        str(told.get("msg", "")).rstrip("\n"),
        bool(told.get("raw_output")),
        str(told.get("command", "")),
        str(told.get("arg", "")),
    )


def job(name: str, *steps: str, more: str = "") -> str:
    """Return a job of steps, each YAML that begins with its first key."""
    written = "".join(
        "      - " + step.strip().replace("\n", "\n        ") + "\n" for step in steps
    )
    return f"  {name}:\n    runs-on: ubuntu-latest\n{more}    steps:\n{written}"


def binder(step_id: str = "binder", *, more: str = "", **inputs: str) -> str:
    """Return the step that uses the action."""
    given = {"hub-url": "${{ vars.HUB }}", "warm-up": "false"}
    given |= {name.replace("_", "-"): value for name, value in inputs.items()}
    lines = [f"  {name}: {json.dumps(value)}" for name, value in given.items()]
    return "\n".join(
        [f"uses: {ACTION}@v1", f"id: {step_id}", *([more] if more else []), "with:", *lines]
    )


LAST = f"uses: {ACTION}/last@v1"
"""A step whose post step is the job's last, and says what is left of the action."""
