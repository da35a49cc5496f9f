"""The start and the post step of the action, on what the runner would make of their output."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import runner
from answers import Answer, event, page, ready
from clinder.action.folder import Folder
from clinder.errors import BuildFailed
from clinder.session import Session
from e2e import action as of
from e2e.action import SHA, Use
from e2e.world import World, line_with
from histories import write_hanging_git
from hubs import Jupyter, ScriptedHub

pytestmark = pytest.mark.posix  # bash, and node beside it

TOKEN = "s3cret/token+1"
SPEC = f"gh/{of.REPOSITORY}/{SHA}"
HOSTILE = [
    "::add-mask::the",
    "::error::x",
    "  \t::set-output name=url::https://evil",
    "\u2003::warning title=x::y",
    "\u200b::error::x",
    "::stop-commands::pause",
    "::pause::",
    "::save-state name=clinder_folder::/",
    "::set-env name=PATH::/evil",
    "::endgroup::",
    "::group::x",
    "before ##[error]x",
    "##[group]x",
    "##[add-mask]the",
    "#\u200b#[error]x",
    "words\r::error::x",
    "words\r\n::error::x",
    "words\n::error::x",
    "words\x0b::error::x\u2028::error::x\x85::error::x",
    "\x1b[1m::error::x\x1b]0;::error::\x07::error::x",
    "%0A::error::x%0D::error::x",
    "`$(echo ::error::x)`'\"; echo ::error::x",
]
IN_ONE = "\n".join(HOSTILE)


@pytest.fixture
def hub() -> Iterator[ScriptedHub]:
    with ScriptedHub() as made:
        yield made


def session(hub: ScriptedHub, name: str = "x", **fields: object) -> bytes:
    """Serve a session, and return the event that says so."""
    url = hub.serve(name, Jupyter(TOKEN))
    return ready(url, TOKEN, binder_persistent_request=f"v2/{SPEC}", **fields)


def launched(*before: bytes) -> bytes:
    return b"".join(
        [
            event(phase="waiting", message="Waiting for build to start...\n"),
            *before,
            event(phase="built", message="Built image, launching...\n"),
            event(phase="launching", message="Launching server...\n"),
        ]
    )


Uses = Callable[..., Use]


@pytest.fixture
def use(world: World, action: Path, shared: Path) -> Uses:
    """Have the action used, by default with nothing warmed up."""

    def used(hub: ScriptedHub, *, shared: Path | None = shared, **inputs: str) -> Use:
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        given = {"hub-url": hub.url, "warm-up": "false", **given}
        return Use(world, action, given, secrets=[TOKEN], shared=shared)

    return used


def test_a_session_is_handed_on_and_stopped(use: Uses, hub: ScriptedHub) -> None:
    hub.then(Answer(launched() + session(hub, image="r.example/i:1")))
    used = use(hub, build_token="b1ld")
    used.secrets.append("b1ld")

    ran = used.started()

    url = f"{hub.origin}/user/x/"
    assert ran.code == 0, ran.out
    assert used.outputs == {
        "url": url,
        "token": TOKEN,
        "uri": f"{url}?token=s3cret%2Ftoken%2B1",
        "hub": hub.url,
        "spec": SPEC,
        "image": "r.example/i:1",
        "started": "true",
    }
    assert used.exported == {"JUPYTER_BASE_URL": url, "JUPYTER_TOKEN": TOKEN}
    assert ran.log.masks == ["b1ld", TOKEN, "s3cret%2Ftoken%2B1"]
    assert ran.out.startswith("::add-mask::b1ld\n")
    assert [each.data for each in ran.log.of("group")] == [
        *("waiting", "built", "launching", "readiness")
    ]
    assert ran.log.annotations == []
    assert [each.path for each in hub.builds] == [f"/build/{SPEC}?build_token=b1ld"]
    assert TOKEN not in used.summary

    post = used.post()

    assert hub.calls("POST", "/api/shutdown")
    assert post.out.startswith("::add-mask::")
    assert post.log.masks == [TOKEN, "s3cret%2Ftoken%2B1"]
    assert f"The session at {url} is stopped." in post.said
    assert post.log.annotations == []
    assert f"The session of {SPEC} is stopped, it lived " in used.summary
    assert TOKEN not in used.summary


@pytest.mark.parametrize(
    ("variable", "export"), [("GITHUB_OUTPUT", "false"), ("GITHUB_ENV", "true")]
)
@pytest.mark.parametrize("value", ["", "/nonexistent/commands"])
def test_a_runner_without_a_file_for_it_is_told_and_is_not_shown_the_token(
    use: Uses, hub: ScriptedHub, variable: str, export: str, value: str
) -> None:
    """The toolkit would print the value as a command of old."""
    hub.then(Answer(session(hub)))
    used = use(hub, export_environment=export)
    used.variables = {variable: value}

    ran = used.started()

    assert ran.code == 2, ran.out
    assert ran.annotation.name == "error"
    assert f"{variable} names no file" in ran.annotation.data
    assert not ran.log.of("set-output", "set-env")
    assert "is stopped." in used.post().said


def test_nothing_is_exported_where_that_is_not_wanted(use: Uses, hub: ScriptedHub) -> None:
    hub.then(Answer(session(hub)))
    used = use(hub, export_environment="false")

    used.run()

    assert used.exported == {}
    assert used.outputs["started"] == "true"


def test_the_file_of_a_session_is_nobody_elses(use: Uses, hub: ScriptedHub) -> None:
    hub.then(Answer(session(hub)))
    used = use(hub)
    used.started()

    folder = Path(used.folders["folder"])
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert modes["session-0.json"] == 0o600
    assert sorted(modes) == ["python", "session-0.json"]
    used.post()


@pytest.mark.parametrize(
    "where",
    [
        *("log", "phase", "fields", "failed"),
        *("hub_url", "repo", "ref", "timeout", "warm_up", "export_environment", "build_token"),
    ],
)
def test_no_word_of_others_is_a_command(use: Uses, hub: ScriptedHub, where: str) -> None:
    """A hostile hub, and hostile inputs: only our own commands take effect."""
    said = [*HOSTILE, IN_ONE]
    inputs = {}
    if where == "log":
        lines = [event(phase="building", message=each + "\n") for each in said]
        lines += [event(message=each) for each in said]
        hub.then(Answer(launched(*lines) + session(hub)))
    elif where == "phase":
        lines = [event(phase=each, message=each) for each in said]
        hub.then(Answer(launched(*lines) + session(hub)))
    elif where == "fields":
        names = ("image", "repo_url", "binder_ref_url", "binder_launch_host")
        fields = dict.fromkeys(names, IN_ONE)
        hub.then(Answer(launched() + session(hub, "x::error::x", **fields)))
    elif where == "failed":
        lines = [event(phase="building", message=each + "\n") for each in said]
        failed = event(phase="failed", message=IN_ONE)
        hub.then(Answer(b"".join([*lines, failed])))
    else:
        inputs = {where: IN_ONE}
        hub.then(Answer(session(hub)))
    used = use(hub, **inputs)

    ran = used.run()

    annotated = [each.name for each in ran.log.annotations]
    assert annotated == ([] if where in ("log", "phase", "fields") else ["error"])
    assert (used.outputs != {}) == (not annotated)
    assert {each.name for each in ran.log.commands} <= {"group", "endgroup", "add-mask", "error"}
    if where != "build_token":
        assert set(ran.log.masks) <= {TOKEN, "s3cret%2Ftoken%2B1"}
    assert [each.properties for each in ran.log.annotations] in ([], [{"title": "clinder"}])
    if where == "log":
        assert len(ran.log.of("group")) == 5
        assert "::error::x" in ran.log.shown
    assert used.outputs.get("url", "").rpartition("/user/")[2] in ("", "x/", "x::error::x/")
    assert set(used.outputs) <= {"url", "token", "uri", "hub", "spec", "image", "started"}


def refused(message: str) -> Answer:
    return Answer(event(phase="failed", message=message))


def test_a_failed_build_is_one_annotation_with_all_that_helps(use: Uses, hub: ScriptedHub) -> None:
    lines = ["Collecting nope\n", "ERROR: No matching distribution found for nope\n", "Removing\n"]
    log = [event(phase="building", message=each) for each in lines]
    hub.then(Answer(b"".join(log) + event(phase="failed", message="Command failed\n")))
    used = use(hub)

    ran = used.run()

    assert ran.code == 4
    assert ran.annotation.name == "error"
    assert ran.annotation.data.split("\n")[1:] == [
        f"Hub: {hub.url}",
        "The hub's log: ERROR: No matching distribution found for nope",
        f"What to do: {BuildFailed.hint}",
        f"By hand: {hub.url}v2/{SPEC}",
    ]
    assert used.outputs == used.exported == {}
    assert "No Jupyter session" in used.summary


def test_a_job_that_goes_on_without_a_session_is_warned(use: Uses, hub: ScriptedHub) -> None:
    hub.then(refused("Sorry, org/repo is not allowed to launch\n"))
    used = use(hub, fail_on_error="false")

    ran = used.run()

    assert ran.code == 0
    assert ran.annotation.name == "warning"
    assert "not allowed to launch" in ran.annotation.data
    assert used.outputs.get("url", "") == ""
    assert used.exported == {}


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"timeout": "soon"}, "The input timeout"),
        ({"timeout": "-1"}, "The input timeout"),
        ({"export-environment": "perhaps"}, "The input export-environment"),
        ({"fail-on-error": "perhaps"}, "The input fail-on-error"),
        ({"build-token": "two words"}, "The input build-token"),
        ({"hub-url": "local"}, "The embedded hub is not part of the action"),
        ({"hub-url": "ftp://hub.example"}, "has the scheme 'ftp', not http, https"),
        ({"repo": "what is this"}, "blanks"),
    ],
)
def test_an_input_that_is_not_what_it_should_be(
    world: World, action: Path, shared: Path, inputs: dict[str, str], words: str
) -> None:
    ran = Use(world, action, inputs, shared=shared).run()

    assert ran.code == 2
    assert ran.annotation.name == "error"
    assert words in ran.annotation.data
    assert "--" not in ran.annotation.data, "a workflow has inputs, not options"


def test_it_does_not_start_what_nothing_would_stop(world: World, action: Path) -> None:
    used = Use(world, action, {})
    Path(used.folders["folder"]).rmdir()

    ran = used.started()

    assert ran.code == 2
    assert "was not registered" in ran.annotation.data
    post = used.post()
    assert post.annotation.name == "warning"
    assert "was removed during the job" in post.annotation.data


def test_a_binder_link_names_its_hub(
    world: World, action: Path, shared: Path, hub: ScriptedHub
) -> None:
    hub.then(Answer(session(hub)))
    inputs = {"repo": f"{hub.url}v2/gh/org/other/HEAD", "warm-up": "false"}

    ran = Use(world, action, inputs, secrets=[TOKEN], shared=shared).run()

    assert ran.code == 0
    assert [each.path for each in hub.builds] == ["/build/gh/org/other/HEAD"]


@pytest.mark.parametrize(("goes_on", "kind", "code"), [("", "error", 1), ("false", "warning", 0)])
def test_packages_that_cannot_be_had_are_one_annotation(
    world: World, tmp_path: Path, goes_on: str, kind: str, code: int
) -> None:
    used = Use(world, of.built(tmp_path / "clone", zipapp=False), {"fail-on-error": goes_on})
    used.variables = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}

    ran = used.run()

    assert (ran.code, ran.annotation.name) == (code, kind)
    assert "cannot install clinder's packages" in ran.annotation.data


def test_without_a_python_there_is_one_clear_error(world: World, action: Path) -> None:
    used = Use(world, action, {})
    used.variables = {"PATH": str(world.root)}
    (world.root / "bash").symlink_to("/bin/bash")

    ran = used.started()

    assert ran.code == 1
    assert "No Python 3.10 or newer" in ran.annotation.data
    used.variables = {}
    used.post()


def test_without_a_python_a_job_may_go_on(world: World, action: Path) -> None:
    used = Use(world, action, {"fail-on-error": "False"})
    used.variables = {"PATH": str(world.root)}
    (world.root / "bash").symlink_to("/bin/bash")

    ran = used.started()

    assert (ran.code, ran.annotation.name) == (0, "warning")
    assert "No Python 3.10 or newer" in ran.annotation.data
    used.variables = {}
    used.post()


def test_the_post_step_needs_nothing_that_the_jobs_steps_may_have_removed(
    use: Uses, hub: ScriptedHub
) -> None:
    hub.then(Answer(session(hub)))
    used = use(hub, shared=None)
    used.started()
    shutil.rmtree(used.folders["shared"])

    post = used.post()

    assert post.log.annotations == []
    assert len(hub.calls("POST", "/api/shutdown")) == 1


def test_two_uses_are_two_sessions_of_one_installation(use: Uses, hub: ScriptedHub) -> None:
    hub.then(Answer(session(hub, "a")), Answer(session(hub, "b")))
    first, second = use(hub, shared=None), use(hub, shared=None)
    shared = Path(first.folders["shared"])
    first.started()
    (made,) = shared.iterdir()
    begun = made.stat().st_ctime_ns
    second.started()

    assert second.folders["shared"] == str(shared)
    assert [(each, each.stat().st_ctime_ns) for each in shared.iterdir()] == [(made, begun)]

    second.post()
    assert [each.path for each in hub.calls("POST", "/api/shutdown")] == ["/user/b/api/shutdown"]
    assert shared.exists()
    first.post()
    assert not shared.exists()
    assert len(hub.calls("POST", "/api/shutdown")) == 2


def test_the_post_step_takes_another_python_where_the_first_is_gone(
    use: Uses, hub: ScriptedHub
) -> None:
    hub.then(Answer(session(hub)))
    used = use(hub)
    used.started()
    (Path(used.folders["folder"]) / "python").write_text("/nonexistent/python3")

    post = used.post()

    assert post.log.annotations == []
    assert hub.calls("POST", "/api/shutdown")


def test_the_post_step_warns_of_what_it_cannot_stop(use: Uses, hub: ScriptedHub) -> None:
    hub.then(Answer(session(hub)))
    used = use(hub)
    used.started()
    hub.serve("x", Jupyter("another token"))

    post = used.post()

    assert post.annotation.name == "warning"
    assert "may still run" in post.annotation.data
    assert "may still run" in used.summary


POST = """
import os, sys
sys.path.insert(0, sys.argv[1])
from clinder.action.stop import stop
paused = []
code = stop(os.environ, now=lambda: sum(paused), pause=lambda _, seconds: paused.append(seconds))
open(sys.argv[2], "w").write(str(sum(paused)))
sys.exit(code)
"""


def test_two_sessions_that_do_not_stop_are_given_their_time_but_not_all_of_the_runners(
    world: World, action: Path, hub: ScriptedHub
) -> None:
    """All post steps have 45 s; a clock tells them that only their pauses take time."""
    folder = Folder(world.root)
    for name in ("a", "b"):
        folder.keep(Session(hub.serve(name, Jupyter(TOKEN, stays=True)), TOKEN))
    waited = world.root / "waited"
    python = [sys.executable, "-I", "-S", "-c", POST, str(action / "clinder.pyz"), str(waited)]

    ran = world.finish(world.popen(python, env={"CLINDER_FOLDER": str(world.root)}))

    assert ran.code == 0, ran.err
    left = runner.read(ran.out, TOKEN).annotations
    assert ["The session still runs" in each.data for each in left] == [True, True]
    assert len(folder.session_files) == 2
    assert 30 < float(waited.read_text()) < 45


PHASES = {
    # What is seen when the signal comes.
    "asked": "Requesting ",
    "building": "Step 1",
    "launching": "Launching server...",
    "readiness": "The session is at",
    "stuck": "The session is at",
}


@pytest.fixture
def phases() -> Iterator[dict[str, ScriptedHub]]:
    """A hub for each phase, which a launch does not leave by itself."""
    never = threading.Event()
    building = event(phase="building", message="Step 1\n")
    with ExitStack() as stack:
        hubs = {phase: stack.enter_context(ScriptedHub()) for phase in PHASES}
        stack.callback(never.set)
        hubs["asked"].then(Answer((never,)))
        hubs["building"].then(Answer((building, never)))
        hubs["launching"].then(Answer((launched(building), never)))
        for phase in ("readiness", "stuck"):
            hubs[phase].then(Answer(launched(building) + session(hubs[phase])))
        hubs["readiness"].serve("x", Jupyter(TOKEN, before=(503,) * 5))
        hubs["stuck"].pages["/user/x/api/status"] = page(503)
        yield hubs


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_any_phase(
    use: Uses, phases: dict[str, ScriptedHub], number: signal.Signals
) -> None:
    """The start step ends in time. What it could not stop by then, the post step stops."""
    uses = {phase: use(hub) for phase, hub in phases.items()}
    processes = {phase: each.start() for phase, each in uses.items()}
    read = {phase: line_with(each.stdout, PHASES[phase]) for phase, each in processes.items()}

    for each in processes.values():
        each.send_signal(number)
    ran = {phase: uses[phase].ended(each, read[phase]) for phase, each in processes.items()}

    code = 130 if number is signal.SIGINT else 143
    assert {phase: each.code for phase, each in ran.items()} == dict.fromkeys(PHASES, code)
    assert "is stopped" in ran["readiness"].said
    assert "culls it" in ran["launching"].annotation.data
    assert "might still be running" in ran["stuck"].annotation.data
    assert [each.outputs for each in uses.values()] == [{}] * len(uses)

    phases["stuck"].pages.clear()
    posts = {phase: each.post() for phase, each in reversed(uses.items())}
    assert [phase for phase, each in posts.items() if "is stopped." in each.said] == ["stuck"]
    assert "No session was left to stop." in posts["readiness"].said
    assert not [each for each in posts.values() if each.log.annotations]


def test_a_second_signal_ends_it_at_once(use: Uses, phases: dict[str, ScriptedHub]) -> None:
    used = use(phases["stuck"])
    process = used.start()
    read = line_with(process.stdout, PHASES["stuck"])
    process.send_signal(signal.SIGINT)
    phases["stuck"].awaited("GET", "/api/status")
    process.send_signal(signal.SIGTERM)  # another, for two of a kind may come as one

    assert used.ended(process, read).code == 143
    phases["stuck"].pages.clear()
    assert "is stopped." in used.post().said


HANGS = """
import pathlib, sys, time
sys.path.insert(0, sys.argv[1])
from clinder.action.cancelling import cancel_in_time
from clinder.action.workflow import Workflow
def wait(over, seconds):
    pathlib.Path(sys.argv[2]).write_text(str(seconds))
    return over.is_set()
workflow = Workflow()
with cancel_in_time(workflow, wait):
    workflow.quote("::error::x")
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_does_not_end_after_a_signal_is_ended(
    world: World, action: Path, number: signal.Signals
) -> None:
    """After the 6.5 s that a launch takes for it, before the runner's next signal at 7.5 s."""
    waited = world.root / "waited"
    pyz = str(action / "clinder.pyz")
    python = [sys.executable, "-I", "-S", "-c", HANGS, pyz, str(waited)]
    process = world.popen(python)
    read = line_with(process.stdout, "::error::x")
    process.send_signal(number)

    ran = world.finish(process)

    log = runner.read(read + ran.out)
    assert ran.code == (130 if number is signal.SIGINT else 143)
    assert log.shown[-2:] == ["Cancelled: the post step stops what is left.", ""]
    assert (log.stopped, log.commands) == ("", [])
    assert 6.5 < float(waited.read_text()) < 7.5


def test_a_launch_that_was_killed_half_way(use: Uses, phases: dict[str, ScriptedHub]) -> None:
    used = use(phases["launching"])
    process = used.start()
    line_with(process.stdout, PHASES["launching"])
    process.kill()
    process.communicate()

    post = used.post()

    assert post.annotation.name == "warning"
    assert f"If {phases['launching'].url} still launches {SPEC}" in post.annotation.data


def test_a_clone_without_the_zipapp_installs_its_packages_once_and_for_itself_alone(
    world: World, tmp_path: Path, hub: ScriptedHub
) -> None:
    """The one test that needs the package index."""
    cloned = of.built(tmp_path / "clone", zipapp=False)
    source = {each: each.stat().st_mtime_ns for each in cloned.rglob("*")}
    hub.then(Answer(session(hub, "a")), Answer(session(hub, "b")))
    used = Use(world, cloned, {"hub-url": hub.url, "warm-up": "false"}, secrets=[TOKEN])
    used.variables = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}

    first, second = used.started(), used.started()

    assert [first.code, second.code] == [0, 0], first.out + second.out
    assert len(list(Path(used.folders["shared"]).iterdir())) == 1
    assert used.post().log.annotations == []
    assert len(hub.calls("POST", "/api/shutdown")) == 2
    assert {each: each.stat().st_mtime_ns for each in cloned.rglob("*")} == source
    assert {each.name for each in world.home.iterdir()} <= {".rustup"}, "pip asks for rustc"


def test_the_timeout_covers_working_out_what_to_launch(
    world: World, action: Path, shared: Path, hub: ScriptedHub
) -> None:
    git = write_hanging_git(world.root)
    path = {"PATH": f"{git.parent}:{os.environ['PATH']}"}
    inputs = {"hub-url": hub.url, "timeout": "1", "reuse-environment": "true"}

    ran = Use(world, action, inputs, path, shared=shared).run()

    assert ran.code == 7
    assert "clinder was still working out what to launch." in ran.annotation.data
    assert not hub.builds
    for process in world.processes("sleep 600"):
        process.kill()
