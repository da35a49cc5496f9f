"""The action launches an older commit with the same environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from answers import Answer, ready
from e2e.action import REPOSITORY, Use, write_event
from e2e.world import World
from histories import History
from hubs import Jupyter, ScriptedHub

pytestmark = pytest.mark.posix  # bash and node

TOKEN = "s3cret/token+1"
ENVIRONMENT = {"environment.yml": "dependencies: [numpy]\n"}
MakeUse = Callable[[str], Use]


@pytest.fixture
def hub() -> Iterator[ScriptedHub]:
    with ScriptedHub() as hub:
        yield hub


@pytest.fixture
def use(world: World, action: Path, shared: Path, hub: ScriptedHub) -> MakeUse:
    """A function that registers a use of the action, for which the hub launches a spec."""

    def make(spec: str) -> Use:
        url = hub.serve("x", Jupyter(TOKEN))
        hub.then(Answer(ready(url, TOKEN, binder_persistent_request=f"v2/{spec}")))
        inputs = {"hub-url": hub.url, "warm-up": "false", "reuse-environment": "true"}
        return Use(world, action, inputs, secrets=[TOKEN], shared=shared)

    return make


def test_a_pull_request_from_a_fork_reuses_the_image_of_the_repository(
    world: World, use: MakeUse, hub: ScriptedHub
) -> None:
    book = History(world.directory)
    first = book.commit(ENVIRONMENT)
    base = book.commit()
    book.branch("topic", first)
    head = book.commit({"topic.md": "x"})
    book.switch("main")
    merge = book.merge("topic")  # the commit that actions/checkout checks out
    sides = {"head": ("them/fork", head), "base": (REPOSITORY, base)}
    payload = {side: {"sha": at, "repo": {"full_name": name}} for side, (name, at) in sides.items()}
    spec = f"gh/{REPOSITORY}/{first}"
    used = use(spec)
    used.variables = {
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": write_event(world, {"pull_request": payload}),
        "GITHUB_SHA": merge,
    }

    start = used.run()

    assert start.code == 0, start.out
    assert [each.path for each in hub.builds] == [f"/build/{spec}"]
    assert used.outputs["spec"] == spec
    assert start.log.annotations == []
    reason = f"Commit {first[:12]} of {REPOSITORY} is launched instead of {head[:12]}"
    assert reason in start.text
    assert f"The server has the files of {first[:12]}." in start.text
    assert reason in used.summary


def test_a_shallow_checkout_is_a_warning(world: World, use: MakeUse) -> None:
    book = History(world.root / "book")
    book.commit(ENVIRONMENT)
    head = book.commit()
    checkout = History(world.directory)
    checkout.git("fetch", "--quiet", "--depth=1", book.path.as_uri(), "main")
    checkout.git("reset", "--quiet", "--hard", "FETCH_HEAD")
    used = use(f"gh/{REPOSITORY}/{head}")
    used.variables = {"GITHUB_SHA": head}

    start = used.run()

    assert start.code == 0, start.out
    assert start.annotation.name == "warning"
    assert "this clone is shallow" in start.annotation.data
    assert "Run actions/checkout beforehand, with `fetch-depth: 0`" in start.annotation.data
    assert used.outputs["spec"] == f"gh/{REPOSITORY}/{head}"
    assert "this clone is shallow" in used.summary
