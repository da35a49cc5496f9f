"""The action in whole workflows, run by act."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from answers import Answer, event, ready
from e2e.act import CALLER, LAST, NOTHING_REMAINS, Workflow, binder, job
from e2e.world import CLINDER, World, line_with
from hubs import Jupyter, ScriptedHub

pytestmark = pytest.mark.posix  # act's host mode

TOKEN = "s3cret/token+1"
FORK = "somebody/fork"
HEAD = "c0ffee" * 6 + "abcd"
BASE = "ba5e" * 10


@pytest.fixture
def workflow(world: World, action: Path) -> Workflow:
    return Workflow(world, action)


@pytest.fixture
def hub(workflow: Workflow) -> Iterator[ScriptedHub]:
    """A hub, whose responses a test defines."""
    with ScriptedHub() as hub:
        workflow.variables["HUB"] = hub.url
        yield hub


def session(hub: ScriptedHub, name: str, spec: str = "gh/org/repo/HEAD") -> Answer:
    url = hub.serve(name, Jupyter(TOKEN))
    return Answer(
        event(phase="building", message="Step 1\n")
        + event(phase="launching", message="Launching server...\n")
        + ready(url, TOKEN, binder_persistent_request=f"v2/{spec}")
    )


def stopped(hub: ScriptedHub) -> list[str]:
    """Return the names of the sessions that were shut down, in order."""
    return [each.path.split("/")[2] for each in hub.calls("POST", "/api/shutdown")]


def files_with(token: str, root: Path) -> list[Path]:
    files = [each for each in root.rglob("*") if each.is_file() and not each.is_symlink()]
    return [each for each in files if token.encode() in each.read_bytes()]


def test_later_steps_use_two_real_sessions_which_are_stopped(
    world: World, workflow: Workflow
) -> None:
    """Each has its first kernel warmed up, and the job wipes its workspace."""
    clinder = " ".join(CLINDER)
    embedded = world.popen([*CLINDER, "hub", "--port", "0"])
    workflow.variables["HUB"] = line_with(embedded.stdout, "http").strip()
    result = workflow.run(
        job(
            "t",
            LAST,
            binder("a", warm_up=""),
            binder("b", warm_up="python3", repo="org/other", ref="main"),
            f"""run: |
  echo "GOT $JUPYTER_BASE_URL ${{{{ steps.a.outputs.spec }}}} ${{{{ steps.b.outputs.spec }}}}"
  echo "IS ${{{{ steps.b.outputs.url }}}} ${{{{ steps.b.outputs.started }}}}"
  {clinder} exec -c 'print(6 * 7)'
  echo "MASKED $JUPYTER_TOKEN ${{{{ steps.a.outputs.token }}}}"
  find "$GITHUB_WORKSPACE" -mindepth 1 -delete""",
        )
    )

    assert result.code == 0, result.out
    (got,), (url,) = result.output_with("GOT "), result.output_with("IS ")
    assert got.split()[2:] == [f"gh/{CALLER}/{workflow.commit}", "gh/org/other/main"]
    assert url == f"IS {got.split()[1]} true"
    assert "42" in result.output()
    assert result.output_with("MASKED") == ["MASKED *** ***"]
    assert result.sessions_stopped == 2
    assert result.remains == NOTHING_REMAINS
    world.wait_for_servers(0)
    assert len(set(result.commands("add-mask"))) == 2
    for token in result.commands("add-mask"):
        assert files_with(token, world.root) == []
    embedded.terminate()
    world.finish(embedded)


def test_sessions_are_stopped_if_a_later_step_fails(workflow: Workflow, hub: ScriptedHub) -> None:
    hub.then(session(hub, "a"), session(hub, "b"))
    uses = [binder(name, repo="org/repo") for name in ("a", "b")]
    result = workflow.run(job("t", LAST, *uses, "run: exit 3", "run: echo NEVER"))

    assert result.code != 0
    assert result.output_with("NEVER") == []
    assert stopped(hub) == ["b", "a"], "last in, first out"
    assert result.remains == NOTHING_REMAINS


def test_a_second_use_that_fails_fails_the_job_and_leaves_nothing(
    workflow: Workflow, hub: ScriptedHub
) -> None:
    """The hub launches a different commit than the second use requests."""
    hub.then(session(hub, "a"), session(hub, "b", f"gh/org/repo/{'f' * 40}"))
    uses = [LAST, binder("a", repo="org/repo"), binder("b", repo="org/repo", ref="e" * 40)]
    result = workflow.run(job("t", *uses, "run: echo NEVER"))

    assert result.code != 0
    assert result.output_with("NEVER") == []
    (error,) = result.commands("error")
    assert error.startswith("The hub launched ")
    assert sorted(stopped(hub)) == ["a", "b"]
    assert result.remains == NOTHING_REMAINS
    assert files_with(TOKEN, workflow.world.root) == []


def test_a_job_can_continue_without_a_session_or_skip_the_step(
    workflow: Workflow, hub: ScriptedHub
) -> None:
    """One job each for a hub that refuses, is full or is down, and three other jobs."""
    refuses, full = ScriptedHub(), ScriptedHub()
    message = "Too many users on this BinderHub! Try again soon.\n"
    full.then(*[Answer(event(phase="failed", message=message))] * 9)
    refuses.then(*[Answer(event(phase="failed", message="Sorry, x is not allowed to launch"))] * 9)
    hub.then(session(hub, "a"), session(hub, "b"))
    down = ScriptedHub()
    workflow.variables |= {"REFUSES": refuses.url, "FULL": full.url, "DOWN": down.url}
    with down:
        pass
    print_result = (
        'run: echo "GOT ${{ steps.binder.outputs.started }}'
        ' [${{ steps.binder.outputs.url }}] [$JUPYTER_BASE_URL]"'
    )
    inputs = {"repo": "org/repo", "timeout": "3"}

    def continuing(name: str) -> str:
        url = f"${{{{ vars.{name.upper()} }}}}"
        return job(name, binder(**inputs, hub_url=url, fail_on_error="false"), print_result)

    matrix = "    strategy:\n      matrix:\n        n: [1, 2]\n"
    with refuses, full:
        result = workflow.run(
            continuing("refuses")
            + continuing("full")
            + continuing("down")
            + job("never", binder(more="if: false"), print_result)
            + job(
                "fails",
                binder(more="continue-on-error: true", **inputs, hub_url="${{ vars.REFUSES }}"),
                print_result,
            )
            + job("matrix", binder(**{**inputs, "timeout": "60"}), print_result, more=matrix)
        )

    assert result.code == 0, result.out
    for name in ("refuses", "full", "down", "fails"):
        assert result.output_with("GOT", name) == ["GOT false [] []"], name
    assert result.output_with("GOT", "never") == ["GOT  [] []"]
    assert len(result.commands("warning")) == 3
    assert len(result.commands("error")) == 1
    started = sorted(line for line in result.output_with("GOT") if "true" in line)
    urls = [f"{hub.origin}/user/{name}/" for name in ("a", "b")]
    assert started == [f"GOT true [{each}] [{each}]" for each in sorted(urls)]
    assert sorted(stopped(hub)) == ["a", "b"]


def repository(name: str) -> dict[str, Any]:
    return {"full_name": name, "private": False, "fork": name == FORK, "default_branch": "main"}


def pull_request(head: str) -> dict[str, Any]:
    return {
        "action": "synchronize",
        "number": 7,
        "repository": repository(CALLER),
        "pull_request": {
            "number": 7,
            "head": {"ref": "topic", "sha": HEAD, "repo": repository(head)},
            "base": {"ref": "main", "sha": BASE, "repo": repository(CALLER)},
        },
    }


WORKFLOW_RUN = {"head_branch": "topic", "head_sha": HEAD, "head_repository": repository(FORK)}
EVENTS: Mapping[str, tuple[str, dict[str, Any], str]] = {
    "fork": ("pull_request", pull_request(FORK), f"{FORK}/{HEAD}"),
    "own": ("pull_request", pull_request(CALLER), f"{CALLER}/{HEAD}"),
    "target": ("pull_request_target", pull_request(FORK), f"{CALLER}/{BASE}"),
    "run": (
        "workflow_run",
        {"action": "completed", "repository": repository(CALLER), "workflow_run": WORKFLOW_RUN},
        f"{FORK}/{HEAD}",
    ),
    "tag": ("push", {"ref": "refs/tags/v1", "repository": repository(CALLER)}, f"{CALLER}/SHA"),
    "schedule": ("schedule", {"schedule": "0 4 * * 1"}, f"{CALLER}/SHA"),
    "dispatch": ("workflow_dispatch", {"inputs": {}, "ref": "refs/heads/main"}, f"{CALLER}/SHA"),
}


@pytest.mark.parametrize(("kind", "payload", "launched"), EVENTS.values(), ids=EVENTS)
def test_the_commit_of_the_event_is_launched(
    workflow: Workflow, hub: ScriptedHub, kind: str, payload: dict[str, Any], launched: str
) -> None:
    """The job needs no checkout: GitHub's event has everything."""
    message = "Could not resolve ref for x. Double check."
    hub.then(Answer(event(phase="failed", message=message)))
    result = workflow.run(job("t", binder(), "run: echo NEVER"), kind, payload)

    assert result.code != 0
    spec = f"gh/{launched}".replace("SHA", workflow.commit)
    assert [each.path for each in hub.builds] == [f"/build/{spec}"]
    (error,) = result.commands("error")
    assert f"To launch it by hand: {hub.url}v2/{spec}" in error
    assert ("the fork" in error) == (FORK in launched)


def test_commands_in_foreign_text_have_no_effect(workflow: Workflow, hub: ScriptedHub) -> None:
    """In the hub's log, and in an input of several lines that the log quotes."""
    hostile = [
        *("::error::x", "::set-output name=url::evil", "  ::add-mask::word", "::group::x"),
        *("##[error]x", "a\r::error::x", "::stop-commands::pause", "::set-env name=EVIL::x"),
    ]
    log = b"".join(event(phase="building", message=f"{each}\n") for each in hostile)
    url = hub.serve("a", Jupyter(TOKEN))
    hub.then(Answer(log + ready(url, TOKEN)))
    value = "$(touch EVIL)`touch EVIL`'\";touch EVIL\n::error::x\nurl=evil\nurl<<E\nevil\nE\n"
    print_result = 'run: echo "GOT ${{ steps.binder.outputs.url }} $EVIL"; ls'
    hostile_use = binder("odd", repo=value, fail_on_error="false")
    result = workflow.run(job("t", binder(repo="org/repo"), hostile_use, print_result))

    assert result.code == 0, result.out
    assert result.output_with("GOT") == [f"GOT {url} "]
    assert result.output_with("EVIL") == [], "neither a variable nor a file"
    assert not {"x", "evil"} & set(result.commands("error", "set-env", "set-output", "group"))
    assert len(result.commands("warning")) == 1
    assert result.commands("add-mask")[0] == TOKEN


def test_the_post_step_stops_the_session_of_a_cancelled_job(
    workflow: Workflow, hub: ScriptedHub
) -> None:
    """act kills the step. A real runner first sends signals, which other tests cover."""
    hub.then(session(hub, "a"))
    process = workflow.begin(job("t", LAST, binder(repo="org/repo"), "run: echo UP; sleep 60"))
    read = line_with(process.stdout, '"msg":"UP')
    process.send_signal(signal.SIGINT)
    result = workflow.finish(process, read)

    assert result.code != 0
    assert stopped(hub) == ["a"]
    assert result.remains == NOTHING_REMAINS
