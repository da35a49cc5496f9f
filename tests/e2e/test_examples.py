"""Every example does what it says: workflows under act, the scripts of other platforms in a shell.

The hub is the embedded one. Actions of others and programs that would be downloaded have stand-ins;
``myst`` runs a line on the session, as MyST would, and writes what it printed as the page. All
examples run at once, each in a repository of its own, for most of their time they wait.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from e2e.act import CALLER, Workflow
from e2e.world import World, line_with

pytestmark = pytest.mark.posix  # act in host mode, and node beside it

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SECONDS = 100
FORK = "0123456789abcdef0123456789abcdef01234567"
PAGE = "import os; print('executed for', os.environ['BINDER_REQUEST'])"
PROGRAMS = {
    "python": 'case "$*" in "-m pip install "*) ;; *) exit 3 ;; esac',  # clinder is there already
    "pipx": 'test "$1" = run && shift && exec "$@"',
    "myst": """
case " $* " in
  *" --execute "*) page=$(clinder exec -c "$PAGE") || exit 1 ;;
  *) page="not executed" ;;
esac
mkdir -p _build/html && echo "$page" > _build/html/index.html && echo "the page: $page"
""",
}
UPLOADED = 'test -s _build/html/index.html && echo "uploaded"'
STAND_INS = {
    "actions/checkout": ":",
    "actions/setup-python": ":",
    "actions/upload-artifact": UPLOADED,
    "actions/upload-pages-artifact": UPLOADED,
    "actions/deploy-pages": 'echo "page_url=https://org.github.io/caller" >> "$GITHUB_OUTPUT"',
}
HEAD = {"sha": FORK, "ref": "patch", "repo": {"full_name": "someone/caller"}}
EVENTS: dict[str, tuple[str, dict[str, object]]] = {
    "smallest.yml": ("push", {}),
    "pages.yml": ("push", {"repository": {"name": "caller"}}),
    "preview.yml": ("pull_request", {"number": 1, "pull_request": {"number": 1, "head": HEAD}}),
    "still-launches.yml": ("schedule", {}),
    "warm-image.yml": ("push", {}),
    "two-hubs.yml": ("push", {}),
}
PLATFORMS = {
    "gitlab-ci.yml": {
        "GITLAB_CI": "true",
        "CI_PROJECT_URL": "https://gitlab.com/org/caller",
        "CI_COMMIT_SHA": FORK,
    },
    "readthedocs.yaml": {
        "READTHEDOCS": "True",
        "READTHEDOCS_GIT_CLONE_URL": "https://github.com/org/caller.git",
        "READTHEDOCS_GIT_COMMIT_HASH": FORK,
        "READTHEDOCS_OUTPUT": "output",
    },
    "netlify.toml": {
        "NETLIFY": "true",
        "REPOSITORY_URL": "https://github.com/org/caller",
        "COMMIT_REF": FORK,
    },
}
DOWN = "with-both-hubs-down"


@dataclass(frozen=True)
class Run:
    """An example that is being run in a folder of its own, until it is asked what came of it."""

    folder: Path
    process: subprocess.Popen[str]
    workflow: Workflow | None = None

    def said(self) -> str:
        """Return what its steps printed; it must have ended well."""
        code = self.process.wait(SECONDS)
        text = (self.folder / "output").read_text(encoding="utf-8")
        assert code == 0, text
        if self.workflow is None:
            return text
        return "".join(f"{line}\n" for line in self.workflow.ended(self.process, text).said())

    @property
    def commit(self) -> str:
        assert self.workflow is not None
        return self.workflow.commit


@dataclass(frozen=True)
class Runner:
    """Where examples run, in a world of their own, on a hub of their own."""

    world: World
    action: Path
    hub: str
    """The embedded hub's address."""

    def workflow(self, example: str, first: str, then: str) -> Run:
        """Run a workflow under act; ``first`` and ``then`` are addresses of hubs in it."""
        made = Workflow(self.world, self.action, name=example + ("" if then == self.hub else DOWN))
        text = (EXAMPLES / example).read_text(encoding="utf-8")
        text = text.replace("https://binder.projectpythia.org", first)
        text = text.replace("https://mybinder.org", then)
        for name, ref in set(re.findall(r"uses: (actions/[\w-]+)@(\w+)", text)):
            made.stand_ins[f"{name}@{ref}"] = _stand_in(made.root, name)
        event, payload = EVENTS[example]
        with (made.root / "output").open("w") as output:
            process = made.start_workflow(text, event, payload, output)
        return Run(made.root, process, made)

    def script(self, example: str) -> Run:
        """Run the lines of another platform's file, with that platform's variables."""
        folder = self.world.root / example
        (folder / "caller").mkdir(parents=True)
        with (folder / "output").open("w") as output:
            process = self.world.popen(
                ["bash", "-ec", _script(example)],
                cwd=folder / "caller",
                env={**PLATFORMS[example], "CLINDER_HUB": self.hub},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return Run(folder, process)


def _stand_in(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir(parents=True)
    step = {"id": "it", "shell": "bash", "run": STAND_INS[name]}
    outputs = {"page_url": {"value": "${{ steps.it.outputs.page_url }}"}}
    manifest = {"name": name, "outputs": outputs, "runs": {"using": "composite", "steps": [step]}}
    (made / "action.yml").write_text(json.dumps(manifest))
    return made


def _script(example: str) -> str:
    text = (EXAMPLES / example).read_text(encoding="utf-8")
    if example == "netlify.toml":
        (command,) = re.findall(r'command = """(.*?)"""', text, re.DOTALL)
        return str(command)
    parsed = yaml.safe_load(text)
    lines = parsed["site"]["script"] if "site" in parsed else parsed["build"]["commands"]
    return "\n".join(lines)


def _with_hub(action: Path, target: Path, hub: str) -> Path:
    """Copy the action, with the test's hub by default."""
    shutil.copytree(action, target)
    manifest = target / "action.yml"
    text = manifest.read_text(encoding="utf-8")
    without = '`repo` names.\n    default: ""'
    assert text.count(without) == 1
    manifest.write_text(text.replace(without, f'{without[:-2]}"{hub}"'), encoding="utf-8")
    return target


@pytest.fixture(scope="module")
def runs(module_world: World, action: Path) -> Iterator[dict[str, Run]]:
    """All examples, being run."""
    serving = module_world.clinder("hub", "--port", "0", "-q")
    hub = line_with(serving.stdout, "http://").strip()
    programs = module_world.root / "programs"
    programs.mkdir()
    for name, script in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh -e\n{script}\n")
        (programs / name).chmod(0o755)
    path = (programs, Path(sys.executable).parent, os.environ["PATH"])
    module_world.variables |= {"PATH": os.pathsep.join(map(str, path)), "PAGE": PAGE}
    runner = Runner(module_world, _with_hub(action, module_world.root / "action", hub), hub)
    none = f"{hub}none"
    yield {
        **{example: runner.workflow(example, none, hub) for example in EVENTS},
        DOWN: runner.workflow("two-hubs.yml", none, none),
        **{example: runner.script(example) for example in PLATFORMS},
    }
    module_world.wait_for_servers(0)
    serving.terminate()
    module_world.finish(serving)


STOPPED = re.compile(r"^The session at \S+ is stopped\.$", re.MULTILINE)


def test_smallest(runs: dict[str, Run]) -> None:
    said = runs["smallest.yml"].said()

    assert '"default": "python3"' in said
    assert len(STOPPED.findall(said)) == 1


def test_pages(runs: dict[str, Run]) -> None:
    said = runs["pages.yml"].said()

    assert f"the page: executed for v2/gh/{CALLER}/{runs['pages.yml'].commit}\n" in said
    assert "uploaded" in said
    assert len(STOPPED.findall(said)) == 1


def test_preview_is_of_the_fork(runs: dict[str, Run]) -> None:
    said = runs["preview.yml"].said()

    assert f"the page: executed for v2/gh/someone/caller/{FORK}\n" in said
    assert "uploaded" in said
    assert len(STOPPED.findall(said)) == 1


def test_still_launches(runs: dict[str, Run]) -> None:
    said = runs["still-launches.yml"].said()

    assert f"Requesting gh/{CALLER}/HEAD from " in said
    assert len(STOPPED.findall(said)) == 1


def test_warm_image(runs: dict[str, Run]) -> None:
    said = runs["warm-image.yml"].said()

    assert f"Requesting gh/{CALLER}/{runs['warm-image.yml'].commit} from " in said
    assert len(STOPPED.findall(said)) == 1


def test_the_second_of_two_hubs(runs: dict[str, Run]) -> None:
    said = runs["two-hubs.yml"].said()

    assert f"the page: executed for v2/gh/{CALLER}/{runs['two-hubs.yml'].commit}\n" in said
    assert len(STOPPED.findall(said)) == 1


def test_neither_of_two_hubs(runs: dict[str, Run]) -> None:
    assert "the page: not executed\n" in runs[DOWN].said()


@pytest.mark.parametrize(
    ("example", "launched", "site"),
    [
        ("gitlab-ci.yml", f"gl/org%2Fcaller/{FORK}", "_build/html"),
        ("readthedocs.yaml", f"gh/org/caller/{FORK}", "output/html"),
        ("netlify.toml", f"gh/org/caller/{FORK}", "_build/html"),
    ],
)
def test_another_platform(runs: dict[str, Run], example: str, launched: str, site: str) -> None:
    said = runs[example].said()

    assert f"the page: executed for v2/{launched}\n" in said
    assert "The session is stopped." in said
    assert (runs[example].folder / "caller" / site / "index.html").is_file()


def test_every_example_is_in_the_index_and_in_a_test() -> None:
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    files = {each.name for each in EXAMPLES.iterdir() if each.is_file()} - {"README.md"}

    assert set(re.findall(r"^\| \[(\S+)\]\(\1\) \|", index, re.MULTILINE)) == files
    assert files - {"hello.py"} == EVENTS.keys() | PLATFORMS.keys()
