"""The action with ``lazy: true``: a later step launches the session, or none does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from answers import Answer, Ending, event, ready
from clinder.gateway.closing import NOT_NEEDED, NOTHING_RAN
from clinder.gateway.report import Report
from e2e.action import REPOSITORY, SHA, Use
from e2e.world import World, until
from faults import BUILDING, LAUNCHING
from hubs import Jupyter, ScriptedHub
from kernels import Kernel

pytestmark = pytest.mark.posix  # bash and node

TOKEN = "s3cret/token+1"
SPEC = f"gh/{REPOSITORY}/{SHA}"
LAUNCHED = {"binder_persistent_request": f"v2/{SPEC}"}
FAILS = BUILDING + event(phase="failed", message="no such package ::error::x\n")
KERNEL = {"path": "a.md", "name": "a.md", "type": "notebook", "kernel": {"name": "python3"}}


@pytest.fixture
def hub() -> Iterator[ScriptedHub]:
    with ScriptedHub() as hub:
        yield hub


@pytest.fixture
def world_and_action(world: World, action: Path, shared: Path) -> tuple[World, Path, Path]:
    return world, action, shared


def make(given: tuple[World, Path, Path], hub: ScriptedHub, **inputs: str) -> Use:
    world, action, shared = given
    named = {name.replace("_", "-"): value for name, value in inputs.items()}
    named = {"hub-url": hub.url, "warm-up": "false", "lazy": "true", **named}
    return Use(world, action, named, secrets=[TOKEN], shared=shared)


def need(used: Use) -> requests.Response:
    """Start a kernel, as MyST does."""
    variables = used.exported
    headers = {"Authorization": f"token {variables['JUPYTER_TOKEN']}"}
    url = f"{variables['JUPYTER_BASE_URL']}api/sessions"
    return requests.post(url, json=KERNEL, headers=headers, timeout=60)


def launchers(world: World) -> list[psutil.Process]:
    return world.processes("__main__.py lazy")


def test_if_no_step_needs_a_kernel_no_hub_is_contacted(
    world_and_action: tuple[World, Path, Path], hub: ScriptedHub
) -> None:
    used = make(world_and_action, hub, build_token="b1ld", kernels="true")
    used.secrets.append("b1ld")

    start = used.start()

    url, token = used.exported["JUPYTER_BASE_URL"], used.exported["JUPYTER_TOKEN"]
    assert start.code == 0, start.out
    assert used.outputs == {
        "url": url,
        "token": token,
        "uri": f"{url}?token={token}",
        "hub": "",
        "spec": SPEC,
        "image": "",
        "report": str(used.folder / "report.json"),
        "started": "true",
    }
    assert f"clinder launches {SPEC} once a step needs a kernel." in start.text
    assert token in start.log.masks
    (process,) = launchers(world_and_action[0])
    assert "b1ld" not in " ".join([*process.cmdline(), *process.environ().values()])
    for each in used.folder.rglob("*.*"):
        assert "b1ld" not in each.read_text(encoding="utf-8", errors="replace")

    post = used.post()

    assert hub.requests == []
    assert (NOT_NEEDED in post.text, NOT_NEEDED in used.summary) == (True, True)
    assert NOTHING_RAN not in post.text + used.summary
    assert launchers(world_and_action[0]) == []


def test_the_first_kernel_launches_the_session_which_the_post_step_stops_and_shows(
    world_and_action: tuple[World, Path, Path], hub: ScriptedHub
) -> None:
    url = hub.serve("x", Jupyter(TOKEN, kernel=Kernel()))
    hub.then(Answer(BUILDING + LAUNCHING + ready(url, TOKEN, image="r.example/i:1", **LAUNCHED)))
    used = make(world_and_action, hub)
    used.start()

    assert need(used).json()["kernel"] == {"id": "k1"}
    assert need(used).status_code == 201

    report = Path(used.outputs["report"])
    until(lambda: '"kernels": [{' in report.read_text(encoding="utf-8"))
    read = Report.from_json(report.read_text(encoding="utf-8"))
    assert read.launch
    assert (read.launch.image, read.launch.skipped) == ("r.example/i:1", False)
    post = used.post()
    assert len(hub.builds) == 1
    assert hub.calls("POST", "/api/shutdown")
    assert "is stopped." in post.text
    assert post.log.masks[0] == TOKEN
    assert [each.data for each in post.log.named("group")] == ["The launch of the session"]
    assert "a log line" in post.text
    assert "### A Jupyter session" in used.summary
    assert "building" in used.summary
    assert TOKEN not in used.summary


@pytest.mark.parametrize("continues", [False, True])
def test_a_failed_launch_fails_the_step_that_needs_it_and_looks_like_an_eager_one(
    world_and_action: tuple[World, Path, Path], hub: ScriptedHub, *, continues: bool
) -> None:
    inputs = {"fail_on_error": "false"} if continues else {}
    hub.then(Answer(FAILS), Answer(FAILS))
    eager = make(world_and_action, hub, lazy="false", **inputs)
    started = eager.start()
    eager.post()
    used = make(world_and_action, hub, **inputs)
    used.start()

    responses = [need(used), need(used)]

    assert [each.status_code for each in responses] == [424, 424]
    assert "There is no session, because its launch failed." in responses[1].json()["message"]
    assert len(hub.builds) == 2, "the eager one, and one for both requests"
    post = used.post(code=0 if continues else 1)
    assert post.annotation == started.annotation
    assert post.annotation.name == ("warning" if continues else "error")
    assert used.summary == eager.summary
    assert NOTHING_RAN not in post.text


def test_the_end_of_the_job_during_the_launch_leaves_nothing_behind(
    world_and_action: tuple[World, Path, Path], hub: ScriptedHub
) -> None:
    hub.then(Answer(BUILDING, ending=Ending.HELD))
    used = make(world_and_action, hub)
    used.start()
    with ThreadPoolExecutor() as pool:
        needed: Future[requests.Response] = pool.submit(need, used)
        build = hub.awaited(ending=f"build/{SPEC}")

        post = used.post()

        assert build.left.wait(60)
        assert needed.exception() is not None or needed.result().status_code == 424
    assert launchers(world_and_action[0]) == []
    assert post.log.annotations == []


def test_a_session_that_appears_when_the_job_ends_is_stopped(
    world_and_action: tuple[World, Path, Path], hub: ScriptedHub
) -> None:
    may_appear = threading.Event()
    url = hub.serve("x", Jupyter(TOKEN))
    hub.then(Answer((LAUNCHING, may_appear, ready(url, TOKEN, **LAUNCHED))))
    used = make(world_and_action, hub)
    used.start()
    with ThreadPoolExecutor() as pool:
        pool.submit(need, used)
        until(lambda: "Launching server" in _log(used))
        ended = pool.submit(used.post)
        until((used.folder / "gateway-end").exists)
        may_appear.set()
        post = ended.result()
    assert hub.calls("POST", "/api/shutdown")
    assert post.log.annotations == []


def _log(used: Use) -> str:
    path = used.folder / "launch.log"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def test_lazy_needs_the_gateway(
    world_and_action: tuple[World, Path, Path], hub: ScriptedHub
) -> None:
    start = make(world_and_action, hub, gateway="false").run()
    assert start.code == 2
    assert "The input lazy needs the gateway: omit `gateway: false`." in start.annotation.data
