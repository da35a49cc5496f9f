"""The action launches an older commit with the same environment, as a workflow sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from answers import Answer, ready
from e2e import action as of
from e2e.action import Use
from e2e.world import World
from histories import History
from hubs import Jupyter, ScriptedHub

pytestmark = pytest.mark.posix  # bash, and node beside it

TOKEN = "s3cret/token+1"
ENVIRONMENT = {"environment.yml": "dependencies: [numpy]\n"}


@pytest.fixture
def hub() -> Iterator[ScriptedHub]:
    with ScriptedHub() as made:
        yield made


def launched(hub: ScriptedHub, spec: str) -> None:
    url = hub.serve("x", Jupyter(TOKEN))
    hub.then(Answer(ready(url, TOKEN, binder_persistent_request=f"v2/{spec}")))


def test_a_forks_pull_request_runs_on_the_image_of_the_repository(
    world: World, action: Path, shared: Path, hub: ScriptedHub
) -> None:
    book = History(world.directory)
    first = book.commit(ENVIRONMENT)
    base = book.commit()
    book.branch("topic", first)
    head = book.commit({"topic.md": "x"})
    book.switch("main")
    merge = book.merge("topic")  # what actions/checkout checks out
    sides = {"head": ("them/fork", head), "base": (of.REPOSITORY, base)}
    payload = {side: {"sha": at, "repo": {"full_name": name}} for side, (name, at) in sides.items()}
    spec = f"gh/{of.REPOSITORY}/{first}"
    launched(hub, spec)
    inputs = {"hub-url": hub.url, "warm-up": "false", "reuse-environment": "true"}
    used = Use(world, action, inputs, secrets=[TOKEN], shared=shared)
    used.variables = {
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": of.event(world, {"pull_request": payload}),
        "GITHUB_SHA": merge,
    }

    ran = used.run()

    assert ran.code == 0, ran.out
    assert [each.path for each in hub.builds] == [f"/build/{spec}"]
    assert used.outputs["spec"] == spec
    assert ran.log.annotations == []
    why = f"Commit {first[:12]} of {of.REPOSITORY} is launched in place of {head[:12]}"
    assert why in ran.said
    assert f"Files on the server are those of {first[:12]}." in ran.said
    assert why in used.summary


def test_a_shallow_checkout_is_a_warning(
    world: World, action: Path, shared: Path, hub: ScriptedHub
) -> None:
    book = History(world.root / "book")
    book.commit(ENVIRONMENT)
    head = book.commit()
    checkout = History(world.directory)
    checkout.git("fetch", "--quiet", "--depth=1", book.path.as_uri(), "main")
    checkout.git("reset", "--quiet", "--hard", "FETCH_HEAD")
    launched(hub, f"gh/{of.REPOSITORY}/{head}")
    inputs = {"hub-url": hub.url, "warm-up": "false", "reuse-environment": "true"}
    used = Use(world, action, inputs, secrets=[TOKEN], shared=shared)
    used.variables = {"GITHUB_SHA": head}

    ran = used.run()

    assert ran.code == 0, ran.out
    assert ran.annotation.name == "warning"
    assert "this clone is shallow" in ran.annotation.data
    assert "actions/checkout run before, with `fetch-depth: 0`" in ran.annotation.data
    assert used.outputs["spec"] == f"gh/{of.REPOSITORY}/{head}"
    assert "this clone is shallow" in used.summary
