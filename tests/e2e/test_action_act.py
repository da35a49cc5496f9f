"""The action in whole workflows, under act."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from answers import Answer, event, ready
from e2e.act import CALLER, LAST, Workflow, binder, job
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
    """A hub without a build request, to be told what to answer."""
    with ScriptedHub() as made:
        workflow.variables["HUB"] = made.url
        yield made


@pytest.fixture
def embedded(world: World, workflow: Workflow) -> Iterator[str]:
    """The embedded hub, and the URL that it says."""
    process = world.popen([*CLINDER, "hub", "--port", "0"])
    url = line_with(process.stdout, "http").strip()
    workflow.variables["HUB"] = url
    yield url
    process.terminate()
    world.finish(process)


def session(hub: ScriptedHub, name: str, spec: str = "gh/org/repo/HEAD") -> Answer:
    url = hub.serve(name, Jupyter(TOKEN))
    return Answer(
        event(phase="building", message="Step 1\n")
        + event(phase="launching", message="Launching server...\n")
        + ready(url, TOKEN, binder_persistent_request=f"v2/{spec}")
    )


def stopped(hub: ScriptedHub) -> list[str]:
    """The names of the sessions that were told to shut down, in order."""
    return [each.path.split("/")[2] for each in hub.calls("POST", "/api/shutdown")]


def files_with(token: str, root: Path) -> list[Path]:
    files = [each for each in root.rglob("*") if each.is_file() and not each.is_symlink()]
    return [each for each in files if token.encode() in each.read_bytes()]


def test_real_sessions_are_used_by_later_steps_and_stopped(
    world: World, workflow: Workflow, embedded: str
) -> None:
    """Two of them, each with its first kernel warmed, in a job that wipes its workspace."""
    clinder = " ".join(CLINDER)
    ended = workflow.run(
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

    assert ended.code == 0, ended.out
    (got,), (url,) = ended.with_("GOT "), ended.with_("IS ")
    assert got.split()[2:] == [f"gh/{CALLER}/{workflow.commit}", "gh/org/other/main"]
    assert url == f"IS {got.split()[1]} true"
    assert "42" in ended.said()
    assert ended.with_("MASKED") == ["MASKED *** ***"]
    assert len([each for each in ended.said() if each.endswith(" is stopped.")]) == 2
    assert ended.with_("LEFT") == ["LEFT ."]
    world.wait_for_servers(0)
    assert len(set(ended.commands("add-mask"))) == 2
    for token in ended.commands("add-mask"):
        assert files_with(token, world.root) == []


def test_both_sessions_are_stopped_where_a_later_step_fails(
    workflow: Workflow, hub: ScriptedHub
) -> None:
    hub.then(session(hub, "a"), session(hub, "b"))
    again = {"repo": "org/repo"}
    use = [LAST, binder("a", **again), binder("b", **again)]
    ended = workflow.run(job("t", *use, "run: exit 3", "run: echo NEVER"))

    assert ended.code != 0
    assert ended.with_("NEVER") == []
    assert stopped(hub) == ["b", "a"], "last in, first out"
    assert ended.with_("LEFT") == ["LEFT ."]


def test_a_start_that_fails_half_way_fails_the_job_and_leaves_nothing(
    workflow: Workflow, hub: ScriptedHub
) -> None:
    """The second of two uses is given another commit than it asked for."""
    hub.then(session(hub, "a"), session(hub, "b", f"gh/org/repo/{'f' * 40}"))
    uses = [LAST, binder("a", repo="org/repo"), binder("b", repo="org/repo", ref="e" * 40)]
    ended = workflow.run(job("t", *uses, "run: echo NEVER"))

    assert ended.code != 0
    assert ended.with_("NEVER") == []
    (error,) = ended.commands("error")
    assert error.startswith("The hub launched ")
    assert sorted(stopped(hub)) == ["a", "b"]
    assert ended.with_("LEFT") == ["LEFT ."]
    assert files_with(TOKEN, workflow.world.root) == []


def test_a_job_may_go_on_without_a_session_or_never_ask_for_one(
    workflow: Workflow, hub: ScriptedHub
) -> None:
    """A hub that refuses, one that is full, one that is down: one job each; and three others."""
    refuses, full = ScriptedHub(), ScriptedHub()
    words = "Too many users on this BinderHub! Try again soon.\n"
    full.then(*[Answer(event(phase="failed", message=words))] * 9)
    refuses.then(*[Answer(event(phase="failed", message="Sorry, x is not allowed to launch"))] * 9)
    hub.then(session(hub, "a"), session(hub, "b"))
    down = ScriptedHub()
    workflow.variables |= {"REFUSES": refuses.url, "FULL": full.url, "DOWN": down.url}
    with down:
        pass
    result = (
        'run: echo "GOT ${{ steps.binder.outputs.started }}'
        ' [${{ steps.binder.outputs.url }}] [$JUPYTER_BASE_URL]"'
    )
    asked = {"repo": "org/repo", "timeout": "3"}

    def goes_on(name: str) -> str:
        url = f"${{{{ vars.{name.upper()} }}}}"
        return job(name, binder(**asked, hub_url=url, fail_on_error="false"), result)

    matrix = "    strategy:\n      matrix:\n        n: [1, 2]\n"
    with refuses, full:
        ended = workflow.run(
            goes_on("refuses")
            + goes_on("full")
            + goes_on("down")
            + job("never", binder(more="if: false"), result)
            + job(
                "fails",
                binder(more="continue-on-error: true", **asked, hub_url="${{ vars.REFUSES }}"),
                result,
            )
            + job("matrix", binder(**{**asked, "timeout": "60"}), result, more=matrix)
        )

    assert ended.code == 0, ended.out
    for name in ("refuses", "full", "down", "fails"):
        assert ended.with_("GOT", name) == ["GOT false [] []"], name
    assert ended.with_("GOT", "never") == ["GOT  [] []"]
    assert len(ended.commands("warning")) == 3
    assert len(ended.commands("error")) == 1
    ran = sorted(line for line in ended.with_("GOT") if "true" in line)
    assert ran == [f"GOT true [{each}] [{each}]" for each in sorted(urls(hub, "a", "b"))]
    assert sorted(stopped(hub)) == ["a", "b"]


def urls(hub: ScriptedHub, *names: str) -> list[str]:
    return [f"{hub.origin}/user/{name}/" for name in names]


def repository(name: str, *, private: bool = False) -> dict[str, Any]:
    return {"full_name": name, "private": private, "fork": name == FORK, "default_branch": "main"}


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


EVENTS: Mapping[str, tuple[str, dict[str, Any], str]] = {
    "fork": ("pull_request", pull_request(FORK), f"{FORK}/{HEAD}"),
    "own": ("pull_request", pull_request(CALLER), f"{CALLER}/{HEAD}"),
    "target": ("pull_request_target", pull_request(FORK), f"{CALLER}/{BASE}"),
    "run": (
        "workflow_run",
        {
            "action": "completed",
            "repository": repository(CALLER),
            "workflow_run": {
                "head_branch": "topic",
                "head_sha": HEAD,
                "head_repository": repository(FORK),
            },
        },
        f"{FORK}/{HEAD}",
    ),
    "tag": ("push", {"ref": "refs/tags/v1", "repository": repository(CALLER)}, f"{CALLER}/SHA"),
    "schedule": ("schedule", {"schedule": "0 4 * * 1"}, f"{CALLER}/SHA"),
    "dispatch": ("workflow_dispatch", {"inputs": {}, "ref": "refs/heads/main"}, f"{CALLER}/SHA"),
}


@pytest.mark.parametrize("name", EVENTS)
def test_the_commit_of_the_event_is_launched(
    workflow: Workflow, hub: ScriptedHub, name: str
) -> None:
    """A job without a checkout: all is in what GitHub says of the event."""
    kind, payload, launched = EVENTS[name]
    refused = Answer(event(phase="failed", message="Could not resolve ref for x. Double check."))
    hub.then(refused)
    ended = workflow.run(job("t", binder(), "run: echo NEVER"), kind, payload)

    assert ended.code != 0
    spec = f"gh/{launched}".replace("SHA", workflow.commit)
    assert [each.path for each in hub.builds] == [f"/build/{spec}"]
    (error,) = ended.commands("error")
    assert f"By hand: {hub.url}v2/{spec}" in error
    assert ("the fork" in error) == (FORK in launched)


def test_foreign_words_and_hostile_values_are_only_words(
    workflow: Workflow, hub: ScriptedHub
) -> None:
    """In the log, and in an input of several lines that is quoted, split and echoed in the end."""
    hostile = [
        *("::error::x", "::set-output name=url::evil", "  ::add-mask::word", "::group::x"),
        *("##[error]x", "a\r::error::x", "::stop-commands::pause", "::set-env name=EVIL::x"),
    ]
    log = b"".join(event(phase="building", message=f"{each}\n") for each in hostile)
    url = hub.serve("a", Jupyter(TOKEN))
    hub.then(Answer(log + ready(url, TOKEN)))
    values = "$(touch EVIL)`touch EVIL`'\";touch EVIL\n::error::x\nurl=evil\nurl<<E\nevil\nE\n"
    result = 'run: echo "GOT ${{ steps.binder.outputs.url }} $EVIL"; ls'
    ended = workflow.run(
        job("t", binder(repo="org/repo"), binder("odd", repo=values, fail_on_error="false"), result)
    )

    assert ended.code == 0, ended.out
    assert ended.with_("GOT") == [f"GOT {url} "]
    assert ended.with_("EVIL") == [], "neither a variable nor a file"
    assert not {"x", "evil"} & set(ended.commands("error", "set-env", "set-output", "group"))
    assert len(ended.commands("warning")) == 1
    assert ended.commands("add-mask")[0] == TOKEN


def test_cancelled_after_ready_the_post_step_stops_it(workflow: Workflow, hub: ScriptedHub) -> None:
    """act kills what runs; a real runner sends signals first, which other tests are about."""
    hub.then(session(hub, "a"))
    process = workflow.start(job("t", LAST, binder(repo="org/repo"), "run: echo UP; sleep 60"))
    read = line_with(process.stdout, '"msg":"UP')
    process.send_signal(signal.SIGINT)
    ended = workflow.ended(process, read)

    assert ended.code != 0
    assert stopped(hub) == ["a"]
    assert ended.with_("LEFT") == ["LEFT ."]


def test_cancelled_while_launching_the_post_step_says_what_may_be_left(
    workflow: Workflow, hub: ScriptedHub
) -> None:
    never = threading.Event()
    hub.then(Answer((event(phase="launching", message="Launching server...\n"), never)))
    process = workflow.start(job("t", LAST, binder(repo="org/repo")))
    read = line_with(process.stdout, '"msg":"Launching server...')
    process.send_signal(signal.SIGINT)
    ended = workflow.ended(process, read)
    never.set()

    assert ended.code != 0
    (warning,) = ended.commands("warning")
    assert f"If {hub.url} still launches gh/org/repo/HEAD" in warning
    assert ended.with_("LEFT") == ["LEFT ."]


def test_what_the_readme_shows_first_gives_myst_a_session(
    world: World, workflow: Workflow, embedded: str
) -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("```yaml\n")[2].partition("```")[0]
    steps = shown.replace("https://mybinder.org", embedded)
    assert steps.count(embedded) == 1
    path = world.root / "bin"
    path.mkdir()
    myst = path / "myst"
    myst.write_text(
        f'#!/bin/sh\nexport PATH="$OLD"\n{" ".join(CLINDER)} status && echo "myst $*"\n'
    )
    myst.chmod(0o755)
    setup = f'- run: echo "OLD=$PATH" >> $GITHUB_ENV; echo {path} >> $GITHUB_PATH\n{steps}'
    indented = "".join(f"      {line}\n" for line in setup.splitlines())

    ended = workflow.run(f"  t:\n    runs-on: ubuntu-latest\n    steps:\n{indented}")

    assert ended.code == 0, ended.out
    assert ended.with_("state:         running")
    assert ended.with_("myst build --execute")
    world.wait_for_servers(0)
