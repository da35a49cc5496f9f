"""Every example works: act runs the workflows, and a shell runs the scripts of other platforms.

The hub is the embedded one. Third-party actions and downloaded programs have stand-ins; ``myst``
runs a line of code in the session and writes the output as the page. papermill, Sphinx and Jupyter
are real. A few examples run at once, each in its own repository.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import yaml

from e2e import tools
from e2e.act import CALLER, Workflow
from e2e.world import AT_ONCE, World, line_with

pytestmark = [
    pytest.mark.posix,  # act in host mode, and node beside it
    pytest.mark.timeout(600),  # the last example waits for all others
]

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
TIMEOUT = 200  # seconds
FORK = "0123456789abcdef0123456789abcdef01234567"
PAGE = "import os; print('executed for', os.environ['BINDER_REQUEST'])"
PROGRAMS = {
    "python": 'case "$*" in "-m pip install "*) ;; *) exit 3 ;; esac',  # is installed already
    "pipx": 'test "$1" = run && shift && exec "$@"',
    "myst": """
case " $* " in
  *" --execute "*) page=$(clinder exec -c "$PAGE") || exit 1 ;;
  *) page="not executed" ;;
esac
mkdir -p _build/html && echo "$page" > _build/html/index.html && echo "the page: $page"
""",
}
UPLOADED = 'cat $(ls -d _build/html/index.html executed.ipynb || true) && echo "uploaded"'
STAND_INS = {
    "actions/checkout": "cp CALLER/*.ipynb .",
    "actions/setup-node": ":",
    "actions/setup-python": ":",
    "actions/upload-artifact": UPLOADED,
    "actions/upload-pages-artifact": UPLOADED,
    "actions/deploy-pages": 'echo "page_url=https://org.github.io/caller" >> "$GITHUB_OUTPUT"',
}
HEAD = {"sha": FORK, "ref": "patch", "repo": {"full_name": "someone/caller"}}
EVENTS: dict[str, tuple[str, dict[str, object]]] = {
    "README.md": ("push", {"repository": {"name": "caller"}}),
    "smallest.yml": ("push", {}),
    "pages.yml": ("push", {"repository": {"name": "caller"}}),
    "preview.yml": ("pull_request", {"number": 1, "pull_request": {"number": 1, "head": HEAD}}),
    "still-launches.yml": ("schedule", {}),
    "warm-image.yml": ("push", {}),
    "two-hubs.yml": ("push", {}),
    "papermill.yml": ("schedule", {}),
}
_GITLAB = {
    "GITLAB_CI": "true",
    "CI_PROJECT_URL": "https://gitlab.com/org/caller",
    "CI_COMMIT_SHA": FORK,
}
_READ_THE_DOCS = {
    "READTHEDOCS": "True",
    "READTHEDOCS_GIT_CLONE_URL": "https://github.com/org/caller.git",
    "READTHEDOCS_GIT_COMMIT_HASH": FORK,
    "READTHEDOCS_OUTPUT": "output",
}
PLATFORMS = {
    "gitlab-ci.yml": _GITLAB,
    "gitlab-jupyter.yml": _GITLAB,
    "readthedocs.yaml": _READ_THE_DOCS,
    "readthedocs-sphinx.yaml": _READ_THE_DOCS,
    "netlify.toml": {
        "NETLIFY": "true",
        "REPOSITORY_URL": "https://github.com/org/caller",
        "COMMIT_REF": FORK,
    },
}
DOWN = "with-both-hubs-down"


@dataclass(frozen=True)
class Run:
    """An example that runs in its own folder."""

    folder: Path
    process: subprocess.Popen[str]
    workflow: Workflow | None = None

    def finish(self) -> Run:
        """Wait for its end."""
        self.process.wait(TIMEOUT)
        return self

    def output(self) -> str:
        """Return what its steps printed, if it succeeded."""
        code = self.process.returncode
        text = (self.folder / "output").read_text(encoding="utf-8")
        assert code == 0, text
        if self.workflow is None:
            return text
        return "".join(f"{line}\n" for line in self.workflow.finish(self.process, text).output())


@dataclass(frozen=True)
class Runner:
    """Runs the examples in one world, with the embedded hub at ``hub``."""

    world: World
    action: Path
    hub: str

    def workflow(self, example: str, first: str, then: str) -> Run:
        """Run a workflow, with these URLs in place of the two hubs' in it."""
        workflow = Workflow(
            self.world, self.action, name=example + ("" if then == self.hub else DOWN)
        )
        text = _workflow(example)
        text = text.replace("https://binder.projectpythia.org", first)
        text = text.replace("https://mybinder.org", then)
        for name, ref in set(re.findall(r"uses: (actions/[\w-]+)@(\w+)", text)):
            workflow.stand_ins[f"{name}@{ref}"] = _stand_in(workflow.root, name)
        _write_notebooks(workflow.caller)
        event, payload = EVENTS[example]
        with (workflow.root / "output").open("w") as output:
            process = workflow.begin_workflow(text, event, payload, output)
        return Run(workflow.root, process, workflow)

    def script(self, example: str) -> Run:
        """Run the commands of another platform's file, with that platform's variables."""
        folder = self.world.root / example
        _write_notebooks(folder / "caller")
        with (folder / "output").open("w") as output:
            process = self.world.popen(
                ["bash", "-ec", _script(example)],
                cwd=folder / "caller",
                env={**PLATFORMS[example], "CLINDER_HUB": self.hub},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return Run(folder, process)


def _write_notebooks(folder: Path) -> None:
    """Write what the tools of the examples execute."""
    for name in ("report.ipynb", "notebook.ipynb", "docs/index.ipynb"):
        tools.notebook(folder / name, PAGE)
    settings = 'extensions = ["myst_nb"]\nnb_execution_mode = "force"\n'
    (folder / "docs" / "conf.py").write_text(settings, encoding="utf-8")


def _stand_in(folder: Path, name: str) -> Path:
    target = folder / name
    target.mkdir(parents=True)
    script = STAND_INS[name].replace("CALLER", str(folder / "caller"))
    step = {"id": "it", "shell": "bash", "run": script}
    outputs = {"page_url": {"value": "${{ steps.it.outputs.page_url }}"}}
    manifest = {"name": name, "outputs": outputs, "runs": {"using": "composite", "steps": [step]}}
    (target / "action.yml").write_text(json.dumps(manifest))
    return target


def _workflow(example: str) -> str:
    if example != "README.md":
        return (EXAMPLES / example).read_text(encoding="utf-8")
    readme = (ROOT / example).read_text(encoding="utf-8")
    return readme.partition("```yaml\n")[2].partition("```")[0]


def _script(example: str) -> str:
    text = (EXAMPLES / example).read_text(encoding="utf-8")
    if example == "netlify.toml":
        (command,) = re.findall(r'command = """(.*?)"""', text, re.DOTALL)
        return str(command)
    parsed = yaml.safe_load(text)
    (job,) = (each for name, each in parsed.items() if name in ("site", "notebook", "build"))
    return "\n".join(job.get("script") or job["commands"])


def _with_hub(action: Path, target: Path, hub: str) -> Path:
    """Copy the action, with this hub as the default."""
    shutil.copytree(action, target)
    manifest = target / "action.yml"
    text = manifest.read_text(encoding="utf-8")
    before, name, after = text.partition("\n  hub-url:\n")
    assert name
    after = after.replace('default: ""', f'default: "{hub}"', 1)
    manifest.write_text(before + name + after, encoding="utf-8")
    return target


class _Results(dict[str, Run]):
    """The examples by name, each as soon as it has ended."""

    def __init__(self, work: Mapping[str, Future[Run]]):
        super().__init__()
        self._work = work

    def __missing__(self, name: str) -> Run:
        return self._work[name].result()


@pytest.fixture(scope="module")
def runs(module_world: World, action: Path) -> Iterator[Mapping[str, Run]]:
    """All examples, some of which are still running."""
    serving = module_world.clinder("hub", "--port", "0", "-q")
    hub = line_with(serving.stdout, "http://").strip()
    programs = module_world.root / "programs"
    programs.mkdir()
    for name, script in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh -e\n{script}\n")
        (programs / name).chmod(0o755)
    path = (programs, Path(sys.executable).parent, tools.BIN, os.environ["PATH"])
    module_world.variables |= {"PATH": os.pathsep.join(map(str, path)), "PAGE": PAGE}
    runner = Runner(module_world, _with_hub(action, module_world.root / "action", hub), hub)
    down = f"{hub}none"
    begin: dict[str, Callable[[], Run]] = {
        **{example: partial(runner.workflow, example, down, hub) for example in EVENTS},
        DOWN: partial(runner.workflow, "two-hubs.yml", down, down),
        **{example: partial(runner.script, example) for example in PLATFORMS},
    }
    with ThreadPoolExecutor(AT_ONCE) as pool:
        work = {name: pool.submit(lambda run: run().finish(), run) for name, run in begin.items()}
        yield _Results(work)
    module_world.wait_for_servers(0)
    serving.terminate()
    module_world.finish(serving)


STOPPED = re.compile(r"^The session at \S+ is stopped\.$", re.MULTILINE)
FORKS = f"someone/caller/{FORK}"


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        ("README.md", ["the page: executed for v2/gh/{commit}\n", "uploaded"]),
        ("smallest.yml", ['"default": "python3"']),
        ("pages.yml", ["the page: executed for v2/gh/{commit}\n", "uploaded"]),
        ("preview.yml", [f"the page: executed for v2/gh/{FORKS}\n", "uploaded"]),
        ("still-launches.yml", [f"Requesting gh/{CALLER}/HEAD from"]),
        ("two-hubs.yml", ["the page: executed for v2/gh/{commit}\n"]),
        ("papermill.yml", ["executed for v2/gh/{commit}", "uploaded"]),
    ],
)
def test_a_workflow_uses_a_session_and_stops_it(
    runs: Mapping[str, Run], example: str, expected: list[str]
) -> None:
    output, workflow = runs[example].output(), runs[example].workflow

    assert workflow
    for text in expected:
        assert text.format(commit=f"{CALLER}/{workflow.commit}") in output
    assert len(STOPPED.findall(output)) + output.count("The session is stopped.") == 1


def test_a_workflow_warms_the_image_of_its_commit(runs: Mapping[str, Run]) -> None:
    output, workflow = runs["warm-image.yml"].output(), runs["warm-image.yml"].workflow

    assert workflow
    assert f"Launching gh/{CALLER}/{workflow.commit}, from GitHub Actions (push event)." in output
    assert re.search(
        r"/: launched and stopped after \d+ s, the image was built", output, re.MULTILINE
    )


def test_a_workflow_whose_hubs_are_both_down_does_not_execute_the_page(
    runs: Mapping[str, Run],
) -> None:
    assert "the page: not executed\n" in runs[DOWN].output()


@pytest.mark.parametrize(
    ("example", "launched", "site"),
    [
        ("gitlab-ci.yml", f"gl/org%2Fcaller/{FORK}", "_build/html"),
        ("readthedocs.yaml", f"gh/org/caller/{FORK}", "output/html"),
        ("netlify.toml", f"gh/org/caller/{FORK}", "_build/html"),
    ],
)
def test_a_script_of_another_platform_uses_a_session_and_stops_it(
    runs: Mapping[str, Run], example: str, launched: str, site: str
) -> None:
    output = runs[example].output()

    assert f"the page: executed for v2/{launched}\n" in output
    assert "The session is stopped." in output
    assert (runs[example].folder / "caller" / site / "index.html").is_file()


@pytest.mark.parametrize(
    ("example", "launched", "file"),
    [
        ("gitlab-jupyter.yml", f"gl/org%2Fcaller/{FORK}", "notebook.ipynb"),
        ("readthedocs-sphinx.yaml", f"gh/org/caller/{FORK}", "output/html/index.html"),
    ],
)
def test_a_script_that_starts_local_kernels_uses_a_session_and_stops_it(
    runs: Mapping[str, Run], example: str, launched: str, file: str
) -> None:
    output = runs[example].output()

    text = (runs[example].folder / "caller" / file).read_text(encoding="utf-8")
    assert f"executed for v2/{launched}" in text
    assert "The session is stopped." in output


def test_every_example_is_in_the_index_and_in_a_test() -> None:
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    files = {each.name for each in EXAMPLES.iterdir() if each.is_file()} - {"README.md"}

    assert set(re.findall(r"^\| \[(\S+)\]\(\1\) \|", index, re.MULTILINE)) == files
    tested = EVENTS.keys() | PLATFORMS.keys() | {"pages-cached.yml"}  # in test_cached_pages.py
    assert files - {"hello.py"} == tested - {"README.md"}
