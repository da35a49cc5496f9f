"""``clinder warm``: several hubs at the same time, one line per hub, and nothing left running."""

from __future__ import annotations

import io
import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from accounts import USER_TOKEN, Users
from answers import Answer, Ending, Part, event, json_page, page, ready
from clinder._deadline import Deadline
from clinder.cli.main import main
from clinder.events import Event, WarningIssued
from clinder.launch.options import LOCAL
from clinder.launch.warm import find_members
from clinder.timeouts import Timeouts
from clock import Clock
from e2e.world import World, line_with
from hubs import Jupyter, ScriptedHub

TOKEN = "s3cret-token"
BUILDING = event(phase="building", message="a log line\n")
LAUNCHING = event(phase="launching", message="Launching server...\n")
FAILED = event(phase="failed", message="Build failed\n")
API_ONLY = {"/": page(404), "/versions": json_page(200, {"binderhub": "1.0"})}
BUILT = event(phase="ready", imageName="image:tag", message="Done! Image built\n")

Capture = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("_no_threads_left")


@pytest.fixture
def hubs() -> Iterator[list[ScriptedHub]]:
    """Six hubs, of which a test uses as many as it needs."""
    with ExitStack() as stack:
        yield [stack.enter_context(ScriptedHub()) for _ in range(6)]


def launchable(hub: ScriptedHub, *before: Part, server: Jupyter | None = None) -> None:
    """Let the hub's next launch succeed after these parts of its response."""
    url = hub.serve("x", server or Jupyter(TOKEN))
    hub.then(Answer((BUILDING, *before, ready(url, TOKEN, image="image:tag"))))


def arguments(*hubs: ScriptedHub) -> list[str]:
    return ["warm", "o/r", *(each for hub in hubs for each in ("--hub", hub.url))]


def shutdowns(*hubs: ScriptedHub) -> list[int]:
    return [len(hub.calls("POST", "api/shutdown")) for hub in hubs]


def read_json(text: str) -> dict[str, dict[str, Any]]:
    """Return the lines by hub."""
    return {each["hub"]: each for each in map(json.loads, text.splitlines())}


def test_each_hub_launches_and_stops_a_session_and_has_a_line(
    hubs: list[ScriptedHub], capfd: Capture
) -> None:
    one, other, *_ = hubs
    for hub in (one, other):
        launchable(hub)
    assert main([*arguments(one, other), "-o", "json"]) == 0
    assert shutdowns(one, other) == [1, 1]
    out, err = capfd.readouterr()
    lines = read_json(out)
    assert set(lines) == {one.url, other.url}
    line = lines[one.url]
    assert line["phases"].keys() == {"building", "readiness"}
    assert [each["outcome"] for each in line["attempts"]] == ["ready"]
    for varying in ("phases", "attempts", "seconds"):
        del line[varying]
    assert line == {
        "hub": one.url,
        "spec": "gh/o/r/HEAD",
        "exit_code": 0,
        "launched": True,
        "image": "image:tag",
        "image_found": False,
    }
    assert TOKEN not in out + err


def test_the_exit_code_is_the_highest_one_and_each_failure_is_explained(
    hubs: list[ScriptedHub], capfd: Capture
) -> None:
    works, fails, refuses, *_ = hubs
    launchable(works)
    fails.then(Answer(BUILDING + FAILED))
    refuses.then(Answer(event(phase="failed", message="Could not resolve ref for gh:o/r/HEAD")))
    assert main([*arguments(works, fails, refuses), "-q"]) == 4
    assert shutdowns(works) == [1]
    out, err = capfd.readouterr()
    lines = dict(line.split(": ", 1) for line in out.splitlines())
    assert lines[works.url].startswith("launched and stopped after ")
    assert lines[works.url].endswith(" s, the image was built")
    assert lines[fails.url].startswith("exit code 4 after ")
    assert lines[fails.url].endswith(
        " s: The image could not be built: a command of the build failed."
    )
    assert lines[refuses.url].startswith("exit code 3 after ")
    for hub in (fails, refuses):
        assert f"\n  hub:        {hub.url}\n" in err
    assert "clinder: The image could not be built: a command of the build failed.\n" in err


def test_a_failure_in_json_names_the_error(hubs: list[ScriptedHub], capfd: Capture) -> None:
    hubs[0].then(Answer(BUILDING + FAILED))
    assert main([*arguments(hubs[0]), "-o", "json", "-q"]) == 4
    (line,) = read_json(capfd.readouterr().out).values()
    assert (line["error"], line["exit_code"]) == ("BuildFailed", 4)
    assert (line["cause"], line["log_line"]) == ("environment", "Build failed")
    assert line["message"] == "The image could not be built: a command of the build failed."


def test_four_hubs_build_at_the_same_time_and_the_others_afterwards(
    hubs: list[ScriptedHub],
) -> None:
    fifth, sixth = hubs[4:]
    is_early: list[bool] = []

    def wait_for_others() -> None:
        with fifth.changed:
            is_early.append(fifth.changed.wait_for(lambda: fifth.builds, timeout=0.5) != [])

    together = threading.Barrier(4, action=wait_for_others, timeout=60)

    def fail_together() -> Answer:
        together.wait()
        return Answer(BUILDING + FAILED)

    for hub in hubs:
        hub.then(Answer(BUILDING + FAILED) if hub in (fifth, sixth) else fail_together)
    assert main([*arguments(*hubs), "-q"]) == 4
    assert is_early == [False]
    assert [len(hub.builds) for hub in hubs] == [1] * 6


def federation(hub: ScriptedHub, *members: ScriptedHub) -> None:
    listed = {f"member-{n}": {"url": each.url} for n, each in enumerate(members)}
    hub.pages["/active_hosts"] = json_page(200, {"active_hosts": listed})


def test_all_members_of_a_federation_are_warmed_once(
    hubs: list[ScriptedHub], capfd: Capture
) -> None:
    gateway, one, other, lone, *_ = hubs
    federation(gateway, one, other)
    for hub in (one, other, lone):
        launchable(hub)
    assert main([*arguments(gateway, one, lone), "--all-members", "-o", "json"]) == 0
    assert set(read_json(capfd.readouterr().out)) == {one.url, other.url, lone.url}
    assert [len(hub.builds) for hub in (gateway, one, other, lone)] == [0, 1, 1, 1]


def test_a_federation_that_does_not_list_its_members_is_warmed_as_one_hub(
    hubs: list[ScriptedHub],
) -> None:
    hub, clock = hubs[0], Clock()
    hub.pages["/active_hosts"] = page(503)
    observed: list[Event] = []
    deadline = Deadline(60, now=clock.now, pause=clock.pause)
    assert find_members([hub.url, LOCAL], Timeouts(), deadline, observed.append) == (hub.url, LOCAL)
    assert len(hub.calls("GET", "/active_hosts")) == 3
    reason = "The hub did not list its members: status 503."
    assert observed == [WarningIssued(f"{hub.url} is treated as one hub. {reason}")]


def test_only_the_first_hub_gets_tokens(
    hubs: list[ScriptedHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINDER_BUILD_TOKEN", "a-build-token")
    monkeypatch.setenv("CLINDER_HUB_TOKEN", USER_TOKEN)
    users = Users(hubs[0])
    hubs[0].then(users.launch())
    launchable(hubs[1])
    assert main(arguments(*hubs[:2])) == 0
    assert not users.active
    headers = [hub.builds[0].headers.get("authorization") for hub in hubs[:2]]
    assert headers == [f"token {USER_TOKEN}", None]
    assert [hub.builds[0].path.partition("?")[2] for hub in hubs[:2]] == [
        "build_token=a-build-token",
        "",
    ]


@pytest.mark.parametrize(("before", "found"), [(b"", True), (BUILDING, False)])
def test_a_hub_in_api_only_mode_builds_without_launching(
    before: bytes, *, found: bool, hubs: list[ScriptedHub], capfd: Capture
) -> None:
    hub = hubs[0]
    hub.pages.update(API_ONLY)
    hub.then(Answer(before + BUILT))
    assert main([*arguments(hub), "-o", "json"]) == 0
    (line,) = read_json(capfd.readouterr().out).values()
    assert (line["launched"], line["image"], line["image_found"]) == (False, "image:tag", found)
    assert [each["outcome"] for each in line["attempts"]] == ["built"]
    assert [each.path for each in hub.builds] == ["/build/gh/o/r/HEAD?build_only=true"]


def test_a_server_that_an_api_only_hub_launches_anyway_is_stopped(hubs: list[ScriptedHub]) -> None:
    hub = hubs[0]
    hub.pages.update(API_ONLY)
    launchable(hub)
    assert main(arguments(hub)) == 0
    assert shutdowns(hub) == [1]


def test_a_session_that_does_not_stop_is_kept_in_a_file(
    hubs: list[ScriptedHub], capfd: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    launchable(hubs[0], server=Jupyter(TOKEN, stays=True))
    launchable(hubs[1])
    assert main([*arguments(*hubs[:2]), "--stop-timeout", "0.3"]) == 9
    out, err = capfd.readouterr()
    assert f"{hubs[1].url}: launched and stopped after" in out
    assert "might still be running" in err
    (path,) = tmp_path.glob("clinder-*/session.json")
    assert f"Stop the session with: clinder stop --session-file {path}\n" in err
    assert json.loads(path.read_text("utf-8"))["token"] == TOKEN


def test_lines_begin_with_the_hub_and_log_lines_are_shown_on_request(
    hubs: list[ScriptedHub], capfd: Capture
) -> None:
    names = [hub.origin.removeprefix("http://") for hub in hubs[:2]]
    for options, shown in (([], 0), (["-v"], 1)):
        for hub in hubs[:2]:
            launchable(hub)
        assert main([*arguments(*hubs[:2]), *options]) == 0
        err = capfd.readouterr().err
        for name, hub in zip(names, hubs, strict=False):
            assert f"clinder: {name}: Requesting gh/o/r/HEAD from {hub.url}\n" in err
            assert err.count(f"{name} | a log line\n") == shown


def test_a_lost_stdout_ends_every_launch_and_stops_every_session(
    hubs: list[ScriptedHub], capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails, launches, builds, *_ = hubs
    launchable(launches)
    builds.then(Answer(BUILDING, ending=Ending.HELD))

    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    def fail_after_the_others_started() -> Answer:
        launches.awaited("GET", "api/status")
        builds.awaited("GET", "/build/gh/o/r/HEAD")
        return Answer(BUILDING + FAILED)

    fails.then(fail_after_the_others_started)
    monkeypatch.setattr(sys, "stdout", Closed())
    assert main([*arguments(fails, launches, builds), "--timeout", "30"]) == 74
    monkeypatch.undo()
    err = capfd.readouterr().err
    assert "clinder: The output could not be written: Broken pipe." in err
    assert "did not finish" not in err
    assert shutdowns(launches) == [1]


@pytest.mark.posix
def test_an_interrupt_stops_every_session_and_ends_every_build(
    world: World, hubs: list[ScriptedHub]
) -> None:
    launches, builds, *_ = hubs
    interrupted = threading.Event()
    launchable(launches, LAUNCHING, interrupted)
    builds.then(Answer(BUILDING, ending=Ending.HELD))
    process = world.clinder(*arguments(launches, builds), "-v")
    name = launches.origin.removeprefix("http://")
    line_with(process.stderr, f"{name} | Launching server...")
    builds.awaited("GET", "/build/gh/o/r/HEAD")
    process.send_signal(signal.SIGINT)
    interrupted.set()
    result = world.finish(process)
    assert result.code == 130
    assert result.err.splitlines()[-1] == "clinder: Cancelled by SIGINT."
    assert {line.partition(" after")[0] for line in result.out.splitlines()} == {
        f"{hub.url}: exit code 130" for hub in (launches, builds)
    }
    assert shutdowns(launches) == [1]
