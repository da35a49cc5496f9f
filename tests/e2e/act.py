"""Workflows that act runs on this machine, without containers."""

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
const names = require('fs').readdirSync(process.env.RUNNER_TEMP);
console.log('REMAINS ' + names.filter((name) => name.startsWith('clinder-')).join(' ') + '.');
"""
NOTHING_REMAINS = ["REMAINS ."]


@dataclass(frozen=True)
class LogLine:
    """A line of a job's log. It is ``raw`` if a step wrote it, otherwise it is act's own."""

    job: str
    text: str
    raw: bool
    command: str = ""
    data: str = ""


@dataclass(frozen=True)
class WorkflowResult:
    """A workflow that has ended."""

    code: int
    lines: list[LogLine]
    out: str

    def output(self, job: str = "") -> list[str]:
        """Return the lines that steps wrote."""
        return [each.text for each in self.lines if each.raw and each.job.endswith(job)]

    def output_with(self, text: str, job: str = "") -> list[str]:
        return [each for each in self.output(job) if text in each]

    def commands(self, *names: str) -> list[str]:
        """Return the data of the commands with these names."""
        return [each.data for each in self.lines if each.command in names]

    @property
    def sessions_stopped(self) -> int:
        """How many sessions the action has stopped."""
        return len([each for each in self.output() if each.endswith(" is stopped.")])

    @property
    def remains(self) -> list[str]:
        """What :data:`LAST` has written."""
        return self.output_with("REMAINS ")


@dataclass
class Workflow:
    """A repository that uses the action, and act to run its only workflow.

    ``stand_ins`` maps other actions, ``OWNER/REPO@REF``, to folders. ``name`` tells apart several
    workflows of one world.
    """

    world: World
    action: Path
    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    stand_ins: dict[str, Path] = field(default_factory=dict)
    name: str = "act"

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

    def begin(self, jobs: str) -> subprocess.Popen[str]:
        """Begin to run jobs, which are YAML."""
        return self.begin_workflow(f"on: push\njobs:\n{jobs}")

    def begin_workflow(
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

    def finish(self, process: subprocess.Popen[str], read: str = "") -> WorkflowResult:
        """Wait for the end; ``read`` is the part of the output that was read before."""
        result = self.world.finish(process)
        out = read + result.out
        lines = [_parse_line(line) for line in out.splitlines() if line[:1] == "{"]
        return WorkflowResult(result.code, lines, out)

    def run(self, jobs: str) -> WorkflowResult:
        return self.finish(self.begin(jobs))

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
        author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(
            ["git", *author, *arguments],
            cwd=self.caller,
            check=True,
            capture_output=True,
            text=True,
        ).stdout


def _parse_line(line: str) -> LogLine:
    fields = json.loads(line)
    return LogLine(
        str(fields.get("job", "")).strip(),
        str(fields.get("msg", "")).rstrip("\n"),
        bool(fields.get("raw_output")),
        str(fields.get("command", "")),
        str(fields.get("arg", "")),
    )


def job(name: str, *steps: str, more: str = "") -> str:
    """Return a job with these steps; each is YAML that begins with its first key."""
    lines = "".join("      - " + step.strip().replace("\n", "\n        ") + "\n" for step in steps)
    return f"  {name}:\n    runs-on: ubuntu-latest\n{more}    steps:\n{lines}"


def binder(step_id: str = "binder", *, more: str = "", **inputs: str) -> str:
    """Return the step that uses the action."""
    values = {"hub-url": "${{ vars.HUB }}", "warm-up": "false"}
    values |= {name.replace("_", "-"): value for name, value in inputs.items()}
    lines = [f"  {name}: {json.dumps(value)}" for name, value in values.items()]
    return "\n".join(
        [f"uses: {ACTION}@v1", f"id: {step_id}", *([more] if more else []), "with:", *lines]
    )


LAST = f"uses: {ACTION}/last@v1"
"""A step whose post step is the job's last. It writes what remains of the action."""
