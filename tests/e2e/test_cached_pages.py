"""The example that keeps MyST's outputs between jobs: a push of text contacts no hub.

act runs the workflow with the real MyST. The other actions have stand-ins; the one for
actions/cache restores and saves a folder by its key, as the real one does.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clinder.gateway.closing import NOT_NEEDED
from e2e.act import CALLER, Workflow, WorkflowResult
from e2e.myst import MYST, OFFLINE, REQUEST, book, page, printed
from e2e.world import World, line_with
from hubs import ScriptedHub

pytestmark = pytest.mark.posix  # act in host mode, and node beside it

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "pages-cached.yml"
PAYLOAD = {"repository": {"name": "caller"}}
PROGRAMS = {
    "python": 'case "$*" in "-m pip install "*) ;; *) exit 3 ;; esac',
    "pipx": 'test "$1" = run && shift && exec "$@"',
    "myst": f'exec {MYST} "$@"',
}
CACHE = """
const fs = require('fs');
const path = require('path');
const store = STORE;
const folder = process.env.INPUT_PATH;
const key = process.env.INPUT_KEY;
const prefix = process.env.INPUT_PREFIX;
"""
RESTORE = """
const saved = fs.readdirSync(store);
const fits = saved.includes(key) ? key : saved.find((name) => name.startsWith(prefix));
if (fits) fs.cpSync(path.join(store, fits), folder, { recursive: true });
console.log(`KEY ${key}`);
console.log(fits ? 'RESTORED' : 'NOT IN THE CACHE');
"""
SAVE = "fs.cpSync(folder, path.join(store, key), { recursive: true });"


def composite(folder: Path, script: str) -> Path:
    """Write an action that runs a script, with its input ``path`` in ``$FILES``."""
    folder.mkdir(parents=True)
    files = {"FILES": "${{ inputs.path }}"}
    step = {"id": "it", "shell": "bash", "run": script, "env": files}
    manifest = {
        "name": folder.name,
        "inputs": {"path": {"default": ""}},
        "outputs": {"page_url": {"value": "${{ steps.it.outputs.page_url }}"}},
        "runs": {"using": "composite", "steps": [step]},
    }
    (folder / "action.yml").write_text(json.dumps(manifest))
    return folder


def cache(folder: Path) -> Path:
    """Write an action that does what actions/cache does, on this machine."""
    store = folder / "store"
    store.mkdir(parents=True)
    script = CACHE.replace("STORE", json.dumps(str(store)))
    (folder / "restore.js").write_text(script + RESTORE)
    (folder / "save.js").write_text(script + SAVE)
    inputs = {name: {"default": ""} for name in ("path", "key", "prefix")}
    runs = {"using": "node24", "main": "restore.js", "post": "save.js"}
    manifest = {"name": "cache", "inputs": inputs, "runs": runs}
    (folder / "action.yml").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def repository(world: World, action: Path) -> Workflow:
    """A repository with a site, in which the example runs."""
    programs = world.root / "programs"
    programs.mkdir()
    for name, script in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh -e\n{script}\n")
        (programs / name).chmod(0o755)
    path = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
    world.variables |= {"PATH": os.pathsep.join(path), **OFFLINE}
    workflow = Workflow(world, action)
    book(workflow.caller, {"index.md": page(REQUEST), "b.md": page("print(6 * 7)")})
    (workflow.caller / "environment.yml").write_text("dependencies: [python=3.12]\n")
    (workflow.caller / ".gitignore").write_text("_build\n")
    scripts = {
        "checkout": f"cp -r {workflow.caller}/. . 2>/dev/null || true; git clean -ffdxq",
        "setup-node": ":",
        "setup-python": ":",
        "upload-pages-artifact": f'rm -rf {world.root}/site && cp -r "$FILES" {world.root}/site',
        "deploy-pages": 'echo "page_url=https://org.github.io/caller" >> "$GITHUB_OUTPUT"',
    }
    for name, ref in re.findall(r"uses: actions/([\w-]+)@(\w+)", EXAMPLE.read_text("utf-8")):
        folder = world.root / "actions" / name
        made = cache(folder) if name == "cache" else composite(folder, scripts[name])
        workflow.stand_ins[f"actions/{name}@{ref}"] = made
    return workflow


@pytest.fixture
def hub(world: World) -> Iterator[str]:
    serving = world.clinder("hub", "--port", "0", "-q")
    yield line_with(serving.stdout, "http://").strip()
    world.wait_for_servers(0)
    serving.terminate()
    world.finish(serving)


def push(repository: Workflow, hub: str) -> WorkflowResult:
    """Commit everything, and run the example with this hub."""
    text = EXAMPLE.read_text(encoding="utf-8")
    assert text.count("lazy: true") == 1
    text = text.replace("lazy: true", f"hub-url: {hub}\n          lazy: true")
    text = text.replace("restore-keys:", "prefix:")  # act sometimes loses an input with a hyphen
    result = repository.finish(repository.begin_workflow(text, "push", PAYLOAD))
    assert result.code == 0, result.out
    return result


def test_a_push_of_text_contacts_no_hub_and_its_pages_have_their_outputs(
    repository: Workflow, hub: str
) -> None:
    site = repository.world.root / "site"
    first = push(repository, hub)
    commit = repository.commit
    assert first.output_with("NOT IN THE CACHE")
    assert first.sessions_stopped == 1
    assert printed(site, "index") == f"on v2/gh/{CALLER}/{commit}\n"

    text = repository.caller / "b.md"
    text.write_text(text.read_text(encoding="utf-8") + "\nMore text.\n", encoding="utf-8")
    with ScriptedHub() as other:
        second = push(repository, other.url)
        assert other.requests == []

    assert second.output_with("RESTORED")
    assert second.output_with(NOT_NEEDED)
    assert repository.commit != commit
    assert printed(site, "index") == f"on v2/gh/{CALLER}/{commit}\n"
    assert printed(site, "b") == "42\n"
    assert "More text." in (site / "b.json").read_text(encoding="utf-8")
    assert _environment(first) == _environment(second)


def _environment(result: WorkflowResult) -> str:
    """Return the part of the cache's key that comes from the environment."""
    (key,) = result.output_with("KEY ")
    return key.split("-")[1]
