"""The action's steps where the runner, or what the job left of it, is not as it should be."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import runner
from answers import Answer, ready
from e2e.action import Use, built
from e2e.world import Result, World
from hubs import Jupyter, ScriptedHub

pytestmark = pytest.mark.posix  # bash, and node beside it

TOKEN = "s3cret"
UNREGISTERED = "The step that stops the session was not registered."


@pytest.fixture
def hub() -> Iterator[ScriptedHub]:
    with ScriptedHub() as made:
        url = made.serve("x", Jupyter(TOKEN))
        made.then(Answer(ready(url, TOKEN)))
        yield made


@pytest.fixture
def use(world: World, action: Path, shared: Path, hub: ScriptedHub) -> Use:
    inputs = {"hub-url": hub.url, "repo": "org/repo", "warm-up": "false"}
    return Use(world, action, inputs, secrets=[TOKEN], shared=shared)


def step(world: World, action: Path, name: str, **variables: str) -> tuple[Result, runner.Command]:
    """Run a step with these variables only; return its end and its one annotation."""
    script = action / "src" / "clinder" / "action" / "__main__.py"
    ran = world.finish(world.popen(["python3", "-I", "-S", str(script), name], env=variables))
    assert ran.err == ""
    (annotation,) = runner.read(ran.out).annotations
    return ran, annotation


@pytest.mark.parametrize(
    ("name", "goes_on", "kind", "code"),
    [("start", "", "error", 1), ("start", "False", "warning", 0), ("stop", "", "warning", 1)],
)
def test_a_step_that_was_not_registered(
    world: World, action: Path, *, name: str, goes_on: str, kind: str, code: int
) -> None:
    ran, annotation = step(world, action, name, CLINDER_INPUT_FAIL_ON_ERROR=goes_on)

    assert (ran.code, annotation.name, annotation.data) == (code, kind, UNREGISTERED)


@pytest.mark.parametrize(("name", "kind", "code"), [("start", "error", 2), ("stop", "warning", 0)])
def test_a_folder_that_is_gone(
    world: World, action: Path, shared: Path, *, name: str, kind: str, code: int
) -> None:
    gone = {"CLINDER_SHARED": str(shared), "CLINDER_FOLDER": str(world.root / "gone")}

    ran, annotation = step(world, action, name, **gone)

    assert (ran.code, annotation.name) == (code, kind)
    assert UNREGISTERED in annotation.data


def test_a_file_of_the_action_that_is_gone(world: World, tmp_path: Path) -> None:
    action = built(tmp_path / "broken", zipapp=False)
    (action / "src" / "clinder" / "action" / "bootstrap.py").unlink()

    ran, annotation = step(world, action, "start")

    assert (ran.code, annotation.name) == (1, "error")
    assert annotation.data.startswith("This runner does not work as it should: ")
    assert "bootstrap.py" in annotation.data


def test_a_bug_is_one_annotation_that_says_where(world: World, tmp_path: Path) -> None:
    action = built(tmp_path / "broken", zipapp=False)
    bug = (
        "class ProvisioningFailed(Exception): ...\n"
        "def provide(*_):\n    raise LookupError('s3cret')\n"
    )
    (action / "src" / "clinder" / "action" / "bootstrap.py").write_text(bug)

    ran, annotation = step(world, action, "start", CLINDER_SHARED=str(tmp_path))

    assert (ran.code, annotation.name) == (70, "error")
    assert annotation.data.startswith("A bug in clinder: LookupError at bootstrap.py:3 in provide.")
    assert "s3cret" not in ran.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_packages_are_fetched(
    world: World, tmp_path: Path, number: signal.Signals
) -> None:
    use = Use(world, built(tmp_path / "clone", zipapp=False), {})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        use.variables = {"PIP_INDEX_URL": index, "PIP_CONFIG_FILE": os.devnull}
        process = use.start()
        silent.accept()[0].close()  # pip asks
        process.send_signal(number)
        ran = use.ended(process, "")

    assert ran.code == 128 + number
    assert ran.log.annotations == []
    assert not [*Path(use.folders["shared"]).iterdir()]
    assert "No session was left to stop." in use.post().said


@pytest.mark.parametrize("summary", ["", "/nonexistent/summary"])
def test_a_runner_without_a_summary(use: Use, summary: str) -> None:
    use.variables = {"GITHUB_STEP_SUMMARY": summary}

    ran = use.run()

    assert (ran.code, ran.log.annotations) == (0, [])
    assert use.outputs["started"] == "true"
    assert use.summary == ""
    assert ("The job's summary cannot be written: No such file" in ran.said) is bool(summary)


def test_a_session_file_that_cannot_be_read_is_warned_of_and_the_others_are_stopped(
    use: Use, hub: ScriptedHub
) -> None:
    use.started()
    (Path(use.folders["folder"]) / "session-1.json").write_text("no JSON")

    post = use.post()

    assert post.annotation.name == "warning"
    assert post.annotation.data.startswith("A session may still run until its hub culls it: ")
    assert len(hub.calls("POST", "api/shutdown")) == 1
