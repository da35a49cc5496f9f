"""Project Pythia: a cookbook is built like theirs, and our action replaces their own.

The cookbook is the one in ``examples/``. act and the real MyST build it on the embedded hub.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from answers import Answer, ready
from e2e.act import CALLER, NOTHING_REMAINS, Workflow, WorkflowResult
from e2e.myst import MYST, OFFLINE, outputs, printed, theme
from e2e.world import World, line_with
from hubs import Jupyter, ScriptedHub

pytestmark = pytest.mark.posix  # act in host mode, and node beside it

COOKBOOK = Path(__file__).resolve().parents[2] / "examples" / "pythia-cookbook"
HUB = "https://binder.projectpythia.org"
TOKEN = "s3cret/token+1"
BUILD_TOKEN = "build-s3cret"
DROP_IN = """
name: build-book

on:
  push:
  pull_request:

jobs:
  build:
    runs-on: ubuntu-latest
    timeout-minutes: 30
    steps:
      - uses: org/clinder-action/last@v1
      - name: Setup execution environment on a BinderHub
        id: binder
        uses: 2i2c-org/clinder@main
        with:
          hub-url: https://binder.projectpythia.org/
      - name: Use its variables, as MyST does
        run: |
          kernels="${JUPYTER_BASE_URL%/}/api/kernels"
          curl --silent --fail --header "Authorization: token $JUPYTER_TOKEN" "$kernels"
      - name: Use its outputs
        env:
          URL: ${{ steps.binder.outputs.url }}
          TOKEN: ${{ steps.binder.outputs.token }}
        run: |
          echo "GOT $URL $TOKEN"
"""
"""A workflow for Project Pythia's action. Only its first step, which shows what remains, is new."""
OTHER_INPUTS = """
          repo: ProjectPythia/radar-cookbook
          ref: main
          build-token: ${{ secrets.BUILD_TOKEN }}"""
PYTHON = 'case "$*" in "-m pip install "*) ;; *) exec python3 "$@" ;; esac'
CONDA = f"""
echo "conda $*"
bin="$(dirname "$0")/../envs/cookbook/bin"
mkdir -p "$bin"
echo '#!/bin/sh' > "$bin/python"
echo 'exec {sys.executable} "$@" --allow-root --no-browser' >> "$bin/python"
chmod +x "$bin/python"
"""
"""A conda whose environments have a Python that is allowed to run a server as root."""


@pytest.fixture
def workflow(world: World, action: Path) -> Workflow:
    return Workflow(world, action)


@pytest.fixture
def cookbook(world: World, workflow: Workflow) -> Iterator[Workflow]:
    """The example's cookbook in a repository, with the embedded hub as its hub."""
    programs, conda = world.root / "programs", world.root / "conda"
    for program, script in (
        (programs / "python", PYTHON),
        (programs / "myst", f'exec {MYST} "$@"'),
        (conda / "bin" / "conda", CONDA),
    ):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh -e\n{script}\n")
        program.chmod(0o755)
    path = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
    world.variables |= {"PATH": os.pathsep.join(path), "CONDA": str(conda), **OFFLINE}
    shutil.copytree(COOKBOOK, workflow.caller)
    theme(workflow.caller)
    replace(workflow.caller / "myst.yml", "template: book-theme", "template: ./theme")
    serving = world.clinder("hub", "--port", "0")
    build_book = workflow.caller / ".github" / "workflows" / "build-book.yml"
    text = replace(build_book, HUB, line_with(serving.stdout, "http").strip())
    for used in re.findall(r"uses: (actions/[\w-]+@\w+)", text):
        workflow.stand_ins[used] = stand_in(world, used.partition("@")[0])
    yield workflow
    world.wait_for_servers(0)
    serving.terminate()
    world.finish(serving)


def replace(path: Path, old: str, new: str) -> str:
    """Replace a text that occurs once in a file, and return the new content."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def stand_in(world: World, name: str) -> Path:
    """Write an action that only keeps the files that it should upload."""
    folder = world.root / name
    folder.mkdir(parents=True)
    script = f'test -z "$UPLOADED" || cp -r "$UPLOADED" {world.root / "site"}'
    step = {"shell": "bash", "run": script, "env": {"UPLOADED": "${{ inputs.path }}"}}
    manifest = {
        "name": name,
        "inputs": {"path": {"default": ""}},
        "runs": {"using": "composite", "steps": [step]},
    }
    (folder / "action.yml").write_text(json.dumps(manifest))
    return folder


def build(cookbook: Workflow) -> tuple[WorkflowResult, Path]:
    """Run the cookbook's workflow; return its result and the site."""
    caller = (COOKBOOK / ".github" / "workflows" / "build.yml").read_text(encoding="utf-8")
    result = cookbook.finish(cookbook.begin_workflow(caller))
    assert result.code == 0, result.out
    return result, cookbook.world.root / "site"


def test_a_cookbook_with_the_tag_is_executed_on_the_hub(cookbook: Workflow) -> None:
    result, site = build(cookbook)

    assert printed(site, "index") == f"v2/gh/{CALLER}/{cookbook.commit}\n"
    assert "image/svg+xml" in outputs(site, "means")[-1]["data"]
    assert printed(site, "trend") == "+0.4 °C in ten years\n"
    assert result.sessions_stopped == 1
    assert not result.output_with("conda ")


def test_a_cookbook_without_the_tag_is_executed_in_the_job(cookbook: Workflow) -> None:
    tag = re.search(r"  tags:\n.*\n", (cookbook.caller / "myst.yml").read_text(encoding="utf-8"))
    assert tag
    replace(cookbook.caller / "myst.yml", tag[0], "")
    result, site = build(cookbook)

    assert printed(site, "index") == "not on a BinderHub\n"
    assert printed(site, "trend") == "+0.4 °C in ten years\n"
    (conda,) = result.output_with("conda ")
    assert conda.endswith("--name cookbook --file binder/environment.yml")
    assert not result.output_with("Requesting ")


@pytest.mark.parametrize(
    ("inputs", "requested"),
    [
        ("", f"gh/{CALLER}/COMMIT"),
        (OTHER_INPUTS, f"gh/ProjectPythia/radar-cookbook/main?build_token={BUILD_TOKEN}"),
    ],
    ids=["current commit", "repository in the inputs"],
)
def test_a_workflow_for_project_pythias_action_passes_with_ours(
    workflow: Workflow, inputs: str, requested: str
) -> None:
    """Only the hub's URL in it is changed."""
    workflow.stand_ins["2i2c-org/clinder@main"] = workflow.released
    workflow.secrets["BUILD_TOKEN"] = BUILD_TOKEN
    with ScriptedHub() as hub:
        url = hub.serve("a", Jupyter(TOKEN))

        def launched() -> Answer:
            spec = hub.builds[0].path.partition("?")[0].removeprefix("/build/")
            return Answer(ready(url, TOKEN, binder_persistent_request=f"v2/{spec}"))

        hub.then(launched)
        text = DROP_IN.replace(f"{HUB}/", hub.url + inputs)
        result = workflow.finish(workflow.begin_workflow(text))

    assert result.code == 0, result.out
    expected = requested.replace("COMMIT", workflow.commit)
    assert [each.path for each in hub.builds] == [f"/build/{expected}"]
    assert result.output_with("GOT") == [f"GOT {url} ***"]
    assert TOKEN in result.commands("add-mask")
    assert len(hub.calls("POST", "/user/a/api/shutdown")) == 1
    assert result.remains == NOTHING_REMAINS
