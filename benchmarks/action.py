"""How long the action's step takes to send its build request, in jobs that act runs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from answers import Answer, event, ready
from benchmarks.hub import SPEC, TOKEN
from benchmarks.measure import Bench, BenchmarkFailed, Figures, Series, ratio
from benchmarks.report import Comparison, Goal
from e2e.act import Workflow, binder, job
from e2e.action import copy_action
from e2e.world import World
from hubs import Jupyter, ScriptedHub

_NODE, _PYTHON = "node action", "composite action: node, bash, Python"
_FIRST, _SECOND, _PIP = "with the zipapp", "second use in a job", "with pip"
_MARK = 'run: echo "MARK $(date +%s.%N)"'
_BARE = {
    "action.yml": "name: n\ninputs: {hub: {}}\nruns: {using: node24, main: m.js, post: p.js}\n",
    "m.js": f"const hub = process.env.INPUT_HUB; if (hub) fetch(hub + 'build/{SPEC}');",
    "p.js": "",
}
_COMPOSITE = {
    "action.yml": """\
name: composite
inputs: {hub: {}}
runs:
  using: composite
  steps:
    - uses: org/bare@v1
    - shell: bash
      run: exec python3 -I -S "$GITHUB_ACTION_PATH/main.py" "${{ inputs.hub }}"
""",
    "main.py": f"""\
import http.client, sys, urllib.parse
parts = urllib.parse.urlsplit(sys.argv[1])
connection = http.client.HTTPConnection(parts.netloc)
connection.request("GET", "/build/{SPEC}")
connection.getresponse().read()
""",
}
_STAND_INS = {"org/bare": _BARE, "org/composite": _COMPOSITE}


def compare(bench: Bench, runs: int) -> Iterator[Comparison]:
    """Compare three ways to start the action with a node action that only sends a request."""
    with ScriptedHub() as hub, _jobs(bench.folder, hub) as (released, clone):
        rounds = [{**released.measure(), **clone.measure()} for _ in range(runs + 1)][1:]
    series = tuple(Series(name, tuple(one[name] for one in rounds)) for name in rounds[0])
    by_name = {each.name: each for each in series}
    first, node = by_name[_FIRST], by_name[_NODE]
    yield Comparison(
        "The action's start",
        "From the end of the previous step to the build request, in a job that act runs without"
        " containers. The node action only sends that request. The composite action first has a"
        " node action with a post step, like clinder's. With pip, the packages come from the"
        " index.",
        series,
        (
            Goal("with the zipapp", first.median("request"), 1.0, "s"),
            Goal(
                "with the zipapp, relative to the node action",
                ratio(first, node, "request").median,
                2.0,
                "\u00d7",
            ),
        ),
        baselines=(_NODE,),
        compared="request",
    )


class _Job:
    """A job whose steps send build requests. A step that prints the time precedes each."""

    def __init__(self, workflow: Workflow, hub: ScriptedHub, steps: Mapping[str, str]):
        self._workflow = workflow
        self._hub = hub
        self._steps = steps

    def measure(self) -> Mapping[str, Figures]:
        """Run the job and return the time from each step's start to its build request."""
        requested: list[float] = []

        def build() -> Answer:
            requested.append(time.time())
            url = self._hub.serve(f"u{time.monotonic_ns()}", Jupyter(TOKEN))
            building = event(phase="building", message="Step 1\n")
            return Answer(building + ready(url, TOKEN, binder_persistent_request=f"v2/{SPEC}"))

        self._hub.then(*[build] * len(self._steps))
        steps = [part for step in self._steps.values() for part in (_MARK, step)]
        try:
            result = self._workflow.run(job("t", *steps))
        except AssertionError as error:
            raise BenchmarkFailed(f"act: {error}"[-2000:]) from None
        marks = [float(each.split()[1]) for each in result.output_with("MARK ")]
        if result.code or not len(marks) == len(requested) == len(self._steps):
            raise BenchmarkFailed(f"The job failed: {result.out}"[-2000:])
        return {
            name: {"request": arrival - mark}
            for name, mark, arrival in zip(self._steps, marks, requested, strict=True)
        }


@contextmanager
def _jobs(folder: Path, hub: ScriptedHub) -> Iterator[tuple[_Job, _Job]]:
    """Yield a job that uses the released action, and one that uses a clone."""
    stand_ins = {f"{name}@v1": _write(folder, name) for name in _STAND_INS}
    node, composite = (f'uses: {name}\nwith:\n  hub: "{hub.url}"' for name in stand_ins)
    use = {"repo": SPEC}
    uses = {_NODE: node, _PYTHON: composite, _FIRST: binder("a", **use), _SECOND: binder(**use)}
    worlds = [World(folder / name, {"PATH": _path()}) for name in ("released", "clone")]
    try:
        released, clone = (
            Workflow(
                world,
                copy_action(world.root / "v1", zipapp=zipapp),
                {"HUB": hub.url},
                stand_ins=stand_ins,
            )
            for world, zipapp in zip(worlds, (True, False), strict=True)
        )
        yield _Job(released, hub, uses), _Job(clone, hub, {_PIP: binder(**use)})
    finally:
        for world in worlds:
            world.end()


def _write(folder: Path, name: str) -> Path:
    """Write an action's files, and return their folder."""
    target = folder / name
    target.mkdir(parents=True)
    for file, text in _STAND_INS[name].items():
        (target / file).write_text(text, encoding="utf-8")
    return target


def _path() -> str:
    """Return PATH with a real Python first, as on a runner, and not a shim."""
    return os.pathsep.join([f"{sys.base_prefix}/bin", os.environ["PATH"]])
