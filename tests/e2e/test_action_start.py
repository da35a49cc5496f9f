"""The action's start and post steps, with their output as the runner reads it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import requests

import runner
from accounts import LAUNCH_ID, OWN_TOKEN, SCOPES, TOKENS, USER_TOKEN, Users
from answers import Answer, event, page, ready
from clinder.action.folder import Folder
from clinder.launch.build_signs import PACKAGE_MISSING
from clinder.session import Session
from e2e.action import REPOSITORY, SHA, Use, copy_action
from e2e.world import Result, World, line_with, until
from file_modes import modes
from histories import History
from hubs import Jupyter, ScriptedHub
from reports import WHOLE

pytestmark = pytest.mark.posix  # bash and node

TOKEN = "s3cret/token+1"
MASKS = [TOKEN, "s3cret%2Ftoken%2B1"]
SPEC = f"gh/{REPOSITORY}/{SHA}"
UNREGISTERED = "The step that stops the session was not registered."
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
    with ScriptedHub() as hub:
        yield hub


def session(hub: ScriptedHub, name: str = "x", spec: str = SPEC, **fields: object) -> bytes:
    """Serve a session, and return the event that hands it over."""
    url = hub.serve(name, Jupyter(TOKEN))
    return ready(url, TOKEN, binder_persistent_request=f"v2/{spec}", **fields)


def phases_with(*log: bytes) -> bytes:
    """Return the events of a launch before its session, with a build log."""
    return b"".join(
        [
            event(phase="waiting", message="Waiting for build to start...\n"),
            *log,
            event(phase="built", message="Built image, launching...\n"),
            event(phase="launching", message="Launching server...\n"),
        ]
    )


MakeUse = Callable[..., Use]


@pytest.fixture
def use(world: World, action: Path, shared: Path) -> MakeUse:
    """A function that registers a use of the action, by default without warm-up and gateway."""

    def make(hub: ScriptedHub, *, shared: Path | None = shared, **inputs: str) -> Use:
        named = {name.replace("_", "-"): value for name, value in inputs.items()}
        named = {"hub-url": hub.url, "warm-up": "false", "gateway": "false", **named}
        return Use(world, action, named, secrets=[TOKEN], shared=shared)

    return make


def test_a_session_is_passed_on_to_later_steps_and_stopped(use: MakeUse, hub: ScriptedHub) -> None:
    hub.then(Answer(phases_with() + session(hub, image="r.example/i:1")))
    used = use(hub, build_token="b1ld")
    used.secrets.append("b1ld")

    start = used.start()

    url = f"{hub.origin}/user/x/"
    assert start.code == 0, start.out
    assert used.outputs == {
        "url": url,
        "token": TOKEN,
        "uri": f"{url}?token=s3cret%2Ftoken%2B1",
        "hub": hub.url,
        "spec": SPEC,
        "image": "r.example/i:1",
        "report": "",
        "started": "true",
    }
    assert used.exported == {"JUPYTER_BASE_URL": url, "JUPYTER_TOKEN": TOKEN}
    assert start.log.masks == ["b1ld", *MASKS]
    assert start.out.startswith("::add-mask::b1ld\n")
    assert [each.data for each in start.log.named("group")] == [
        *("waiting", "built", "launching", "readiness")
    ]
    assert start.log.annotations == []
    assert [each.path for each in hub.builds] == [f"/build/{SPEC}?build_token=b1ld"]
    assert TOKEN not in used.summary
    found = modes(used.folder)
    assert stat.S_IMODE(used.folder.stat().st_mode) == 0o700
    assert found["session-0.json"] == 0o600
    assert sorted(found) == ["python", "session-0.json"]

    post = used.post()

    assert hub.calls("POST", "/api/shutdown")
    assert post.out.startswith("::add-mask::")
    assert post.log.masks == MASKS
    assert f"The session at {url} is stopped." in post.text
    assert post.log.annotations == []
    assert f"The session of {SPEC} was stopped after " in used.summary
    assert TOKEN not in used.summary


@pytest.mark.parametrize(
    ("variable", "export"), [("GITHUB_OUTPUT", "false"), ("GITHUB_ENV", "true")]
)
@pytest.mark.parametrize("value", ["", "/nonexistent/commands"])
def test_the_token_is_not_shown_if_the_runner_has_no_file_for_it(
    use: MakeUse, hub: ScriptedHub, variable: str, export: str, value: str
) -> None:
    """The toolkit would print the value as an old-style command."""
    hub.then(Answer(session(hub)))
    used = use(hub, export_environment=export)
    used.variables = {variable: value}

    start = used.start()

    assert start.code == 2, start.out
    assert start.annotation.name == "error"
    assert f"{variable} names no file" in start.annotation.data
    assert not start.log.named("set-output", "set-env")
    assert "is stopped." in used.post().text


@pytest.mark.parametrize("summary", ["", "/nonexistent/summary"])
def test_the_action_works_on_a_runner_without_a_job_summary(
    use: MakeUse, hub: ScriptedHub, summary: str
) -> None:
    hub.then(Answer(session(hub)))
    used = use(hub)
    used.variables = {"GITHUB_STEP_SUMMARY": summary}

    start = used.run()

    assert (start.code, start.log.annotations) == (0, [])
    assert used.outputs["started"] == "true"
    assert used.summary == ""
    assert ("The job's summary cannot be written: No such file" in start.text) is bool(summary)


@pytest.mark.parametrize(
    ("where", "code"),
    [
        *[("log", 0), ("phase", 0), ("fields", 0), ("failed", 4)],
        *[("hub_url", 2), ("repo", 2), ("ref", 2), ("timeout", 2), ("warm_up", 3)],
        *[("export_environment", 2), ("fail_on_error", 2), ("build_token", 2)],
    ],
)
def test_commands_in_untrusted_text_have_no_effect(
    use: MakeUse, hub: ScriptedHub, where: str, code: int
) -> None:
    """A hostile hub and hostile inputs: only our own commands have an effect."""
    texts = [*HOSTILE, IN_ONE]
    log = [event(phase="building", message=each + "\n") for each in texts]
    if where == "log":
        log += [event(message=each) for each in texts]
        hub.then(Answer(phases_with(*log) + session(hub)))
    elif where == "phase":
        phases = [event(phase=each, message=each) for each in texts]
        hub.then(Answer(phases_with(*phases) + session(hub)))
    elif where == "fields":
        names = ("image", "repo_url", "binder_ref_url", "binder_launch_host")
        fields = dict.fromkeys(names, IN_ONE)
        hub.then(Answer(phases_with() + session(hub, "x::error::x", **fields)))
    elif where == "failed":
        hub.then(Answer(b"".join([*log, event(phase="failed", message=IN_ONE)])))
    else:
        hub.then(Answer(session(hub)))
    inputs = {} if where in ("log", "phase", "fields", "failed") else {where: IN_ONE}
    used = use(hub, **inputs)

    start = used.run()

    assert start.code == code
    annotated = [each.name for each in start.log.annotations]
    assert annotated == (["error"] if code else [])
    assert (used.outputs != {}) == (not annotated)
    assert {each.name for each in start.log.commands} <= {"group", "endgroup", "add-mask", "error"}
    if where != "build_token":
        assert set(start.log.masks) <= set(MASKS)
    assert [each.properties for each in start.log.annotations] in ([], [{"title": "clinder"}])
    if where == "log":
        assert len(start.log.named("group")) == 5
        assert "::error::x" in start.log.shown
    assert used.outputs.get("url", "").rpartition("/user/")[2] in ("", "x/", "x::error::x/")
    assert set(used.outputs) <= {
        *("url", "token", "uri", "hub", "spec", "image", "report", "started")
    }


@pytest.mark.parametrize(
    ("fail_on_error", "kind", "code"), [("", "error", 4), ("false", "warning", 0)]
)
def test_a_failed_build_is_one_annotation_with_everything_that_helps(
    use: MakeUse, hub: ScriptedHub, fail_on_error: str, kind: str, code: int
) -> None:
    lines = ["Collecting nope\n", "ERROR: No matching distribution found for nope\n", "Removing\n"]
    log = [event(phase="building", message=each) for each in lines]
    hub.then(Answer(b"".join(log) + event(phase="failed", message="Command failed\n")))
    used = use(hub, fail_on_error=fail_on_error)

    start = used.run()

    assert (start.code, start.annotation.name) == (code, kind)
    assert start.annotation.data.split("\n")[1:5] == [
        f"What to do: {PACKAGE_MISSING.hint}",
        f"Hub: {hub.url}",
        "The hub's log: ERROR: No matching distribution found for nope",
        f"To launch it by hand: {hub.url}v2/{SPEC}",
    ]
    assert used.outputs == used.exported == {}
    assert "No Jupyter session" in used.summary


def test_a_wrong_input_fails_the_step_although_the_job_could_continue(
    use: MakeUse, hub: ScriptedHub
) -> None:
    start = use(hub, repo="org", fail_on_error="false").run()

    assert (start.code, start.annotation.name, hub.requests) == (2, "error", [])


# reuse-environment


ENVIRONMENT = {"environment.yml": "dependencies: [numpy]\n"}


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
    path = world.root / "event.json"
    path.write_text(json.dumps({"pull_request": payload}), encoding="utf-8")
    spec = f"gh/{REPOSITORY}/{first}"
    hub.then(Answer(session(hub, spec=spec)))
    used = use(hub, reuse_environment="true")
    used.variables = {
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(path),
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


def test_a_shallow_checkout_is_a_warning(world: World, use: MakeUse, hub: ScriptedHub) -> None:
    book = History(world.root / "book")
    book.commit(ENVIRONMENT)
    head = book.commit()
    checkout = History(world.directory)
    checkout.git("fetch", "--quiet", "--depth=1", book.path.as_uri(), "main")
    checkout.git("reset", "--quiet", "--hard", "FETCH_HEAD")
    hub.then(Answer(session(hub, spec=f"gh/{REPOSITORY}/{head}")))
    used = use(hub, reuse_environment="true")
    used.variables = {"GITHUB_SHA": head}

    start = used.run()

    assert start.code == 0, start.out
    assert start.annotation.name == "warning"
    assert "this clone is shallow" in start.annotation.data
    assert "Run actions/checkout beforehand, with `fetch-depth: 0`" in start.annotation.data
    assert used.outputs["spec"] == f"gh/{REPOSITORY}/{head}"
    assert "this clone is shallow" in used.summary


# A runner, or a job, in which something is missing


def run_step(
    world: World, action: Path, name: str, **variables: str
) -> tuple[Result, runner.Command]:
    """Run a step with only these variables; return its result and its only annotation."""
    script = action / "src" / "clinder" / "action" / "__main__.py"
    result = world.finish(world.popen(["python3", "-I", "-S", str(script), name], env=variables))
    assert result.err == ""
    (annotation,) = runner.read(result.out).annotations
    return result, annotation


@pytest.mark.parametrize(
    ("name", "fail_on_error", "kind", "code"),
    [("start", "", "error", 1), ("start", "False", "warning", 0), ("stop", "", "warning", 1)],
)
def test_a_use_that_was_not_registered_is_one_annotation(
    world: World, action: Path, *, name: str, fail_on_error: str, kind: str, code: int
) -> None:
    result, annotation = run_step(world, action, name, CLINDER_INPUT_FAIL_ON_ERROR=fail_on_error)

    assert (result.code, annotation.name, annotation.data) == (code, kind, UNREGISTERED)


def test_a_private_folder_that_was_removed_is_one_annotation(
    world: World, action: Path, shared: Path
) -> None:
    used = Use(world, action, {}, shared=shared)
    used.folder.rmdir()

    start = used.start()

    assert (start.code, start.annotation.name) == (2, "error")
    assert UNREGISTERED in start.annotation.data
    post = used.post()
    assert post.annotation.name == "warning"
    assert "was removed during the job" in post.annotation.data
    folders = {"CLINDER_SHARED": str(shared), "CLINDER_FOLDER": str(used.folder)}
    result, annotation = run_step(world, action, "stop", **folders)
    assert (result.code, annotation.name) == (0, "warning")
    assert UNREGISTERED in annotation.data


UNPROVIDED = """
class ProvisioningFailed(Exception): ...
def provide(*_):
    raise ProvisioningFailed("No packages.")
"""
BUG = UNPROVIDED.replace('ProvisioningFailed("No packages.")', "LookupError('s3cret')")


@pytest.mark.parametrize(
    ("bootstrap", "code", "message"),
    [
        ("", 1, "The runner failed: "),
        (UNPROVIDED, 1, "No packages."),
        (BUG, 70, "A bug in clinder: LookupError at bootstrap.py:4 in provide."),
    ],
)
def test_a_step_without_its_packages_is_one_annotation(
    world: World, tmp_path: Path, bootstrap: str, code: int, message: str
) -> None:
    broken = copy_action(tmp_path / "broken", zipapp=False)
    path = broken / "src" / "clinder" / "action" / "bootstrap.py"
    path.unlink()
    if bootstrap:
        path.write_text(bootstrap)

    result, annotation = run_step(world, broken, "start", CLINDER_SHARED=str(tmp_path))

    assert (result.code, annotation.name) == (code, "error")
    assert annotation.data.startswith(message)
    assert "s3cret" not in result.out


# The post step


def test_the_post_step_needs_nothing_that_the_job_can_remove(
    use: MakeUse, hub: ScriptedHub
) -> None:
    """Neither the packages nor the Python of the start step; one broken file is only a warning."""
    hub.then(Answer(session(hub)))
    used = use(hub, shared=None)
    used.start()
    shutil.rmtree(used.folders["shared"])
    (used.folder / "python").write_text("/nonexistent/python3")
    (used.folder / "session-1.json").write_text("no JSON")

    post = used.post()

    assert post.annotation.name == "warning"
    assert post.annotation.data.startswith("A session might keep running until its hub culls it: ")
    assert len(hub.calls("POST", "/api/shutdown")) == 1


def test_the_post_step_stops_the_session_even_if_it_cannot_show_the_launch(
    use: MakeUse, hub: ScriptedHub
) -> None:
    hub.then(Answer(session(hub)))
    used = use(hub)
    used.start()
    (used.folder / "outcome.json").write_text('{"summary": "", "message": 1}')

    assert "A bug in clinder: AttributeError" in used.post().log.annotations[0].data
    assert len(hub.calls("POST", "/api/shutdown")) == 1


def test_two_uses_have_two_sessions_and_share_the_packages(use: MakeUse, hub: ScriptedHub) -> None:
    hub.then(Answer(session(hub, "a")), Answer(session(hub, "b")))
    first = use(hub, shared=None)
    second = use(hub, shared=None, export_environment="false")
    shared = Path(first.folders["shared"])
    first.start()
    (packages,) = shared.iterdir()
    changed = packages.stat().st_ctime_ns
    second.start()

    assert second.folders["shared"] == str(shared)
    assert (second.exported, second.outputs["started"]) == ({}, "true")
    assert [(each, each.stat().st_ctime_ns) for each in shared.iterdir()] == [(packages, changed)]

    second.post()
    assert [each.path for each in hub.calls("POST", "/api/shutdown")] == ["/user/b/api/shutdown"]
    assert shared.exists()
    first.post()
    assert not shared.exists()
    assert len(hub.calls("POST", "/api/shutdown")) == 2


POST = """
import os, sys
sys.path.insert(0, sys.argv[1])
from clinder.action.stop import stop
pauses = []
code = stop(os.environ, now=lambda: sum(pauses), pause=lambda _, seconds: pauses.append(seconds))
open(sys.argv[2], "w").write(str(sum(pauses)))
sys.exit(code)
"""


def test_the_post_step_gives_up_on_two_sessions_within_the_runners_time_and_warns(
    world: World, action: Path, hub: ScriptedHub
) -> None:
    """All post steps together have 45 s. By this clock, only pauses take time."""
    folder = Folder(world.root)
    for name in ("a", "b"):
        folder.keep(Session(hub.serve(name, Jupyter(TOKEN, stays=True)), TOKEN))
    waited, summary = world.root / "waited", world.root / "summary"
    python = [sys.executable, "-I", "-S", "-c", POST, str(action / "clinder.pyz"), str(waited)]
    env = {"CLINDER_FOLDER": str(world.root), "GITHUB_STEP_SUMMARY": str(summary)}

    result = world.finish(world.popen(python, env=env))

    assert result.code == 0, result.err
    annotations = runner.read(result.out, TOKEN).annotations
    message = "might still be running: The session still runs"
    assert [each.name for each in annotations if message in each.data] == ["warning", "warning"]
    assert summary.read_text(encoding="utf-8").count("might keep running") == 2
    assert len(folder.session_files) == 2
    assert 30 < float(waited.read_text()) < 45


# The gateway


def request(variables: Mapping[str, str], path: str) -> requests.Response:
    """Send a request, as later steps do, with the variables that the step exported."""
    headers = {"Authorization": f"token {variables['JUPYTER_TOKEN']}"}
    return requests.get(variables["JUPYTER_BASE_URL"] + path, headers=headers, timeout=60)


def gateways(world: World) -> list[psutil.Process]:
    return world.processes("__main__.py gateway")


@pytest.fixture
def gateway(use: MakeUse, hub: ScriptedHub) -> Iterator[Use]:
    """A use whose gateway runs."""
    hub.then(Answer(session(hub)))
    used = use(hub, gateway="")
    start = used.start()
    assert (start.code, start.log.annotations) == (0, []), start.out
    yield used
    if used.folder.exists():
        used.post()


def test_later_steps_use_the_gateway_and_the_outputs_name_the_session(
    world: World, gateway: Use, hub: ScriptedHub
) -> None:
    exported = gateway.exported

    assert exported["JUPYTER_BASE_URL"].startswith("http://127.0.0.1:")
    assert gateway.outputs["url"] == f"{hub.origin}/user/x/"
    assert gateway.outputs["token"] == TOKEN
    assert exported["JUPYTER_TOKEN"] not in ("", TOKEN)
    assert request(exported, "api/status").status_code == 200
    assert request({**exported, "JUPYTER_TOKEN": TOKEN}, "api/status").status_code == 403
    (process,) = gateways(world)
    assert TOKEN not in " ".join([*process.cmdline(), *process.environ().values()])
    found = modes(gateway.folder)
    assert {name for name, mode in found.items() if mode & 0o077} <= {"python"}

    post = gateway.post()

    assert "is stopped" in post.text
    assert "Nothing ran on the session" in post.text
    assert "Nothing ran on the session" in gateway.summary
    assert gateways(world) == []
    assert post.log.annotations == []


def test_the_tokens_of_the_gateway_are_masked(gateway: Use) -> None:
    gateway.secrets.append(gateway.exported["JUPYTER_TOKEN"])
    gateway.post()

    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        text = (gateway.files / name).read_text(encoding="utf-8")
        assert gateway.exported["JUPYTER_TOKEN"] not in text


def test_the_report_is_kept_up_to_date_while_the_job_runs(gateway: Use) -> None:
    report = Path(gateway.outputs["report"])
    until(report.exists)

    fields = json.loads(report.read_text(encoding="utf-8"))
    assert fields["version"] == 1
    assert fields["launch"]["spec"] == SPEC
    assert TOKEN not in report.read_text(encoding="utf-8")


def test_the_post_step_ends_the_gateway_of_a_start_step_that_failed_afterwards(
    world: World, use: MakeUse, hub: ScriptedHub
) -> None:
    hub.then(Answer(session(hub)))
    used = use(hub, gateway="true")
    (used.files / "GITHUB_ENV").unlink()

    start = used.start()

    assert start.code == 2
    assert len(gateways(world)) == 1
    assert "is stopped" in used.post().text
    assert gateways(world) == []


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_the_post_step_does_not_wait_for_a_gateway_that_is_dead_or_hangs(
    world: World, gateway: Use, signum: signal.Signals
) -> None:
    (process,) = gateways(world)
    until((gateway.folder / "report.json").exists)
    process.send_signal(signum)

    post = gateway.post()

    assert "is stopped" in post.text
    assert "Nothing ran on the session" in post.text, "the last report counts"
    assert gateways(world) == []


def test_later_steps_use_the_session_if_the_gateway_does_not_start(
    use: MakeUse, hub: ScriptedHub
) -> None:
    hub.then(Answer(session(hub)))
    used = use(hub, gateway="true")
    (used.folder / "gateway.log").mkdir()

    start = used.start()

    assert start.annotation.name == "warning"
    assert "The gateway did not start" in start.annotation.data
    assert used.exported == {"JUPYTER_BASE_URL": f"{hub.origin}/user/x/", "JUPYTER_TOKEN": TOKEN}
    assert used.outputs["report"] == ""
    assert "is stopped" in used.post().text


def test_two_uses_have_two_gateways(world: World, use: MakeUse, hub: ScriptedHub) -> None:
    hub.then(Answer(session(hub, "a")), Answer(session(hub, "b")))
    first, second = use(hub, gateway="true"), use(hub, gateway="true")
    first.start()
    second.start()

    assert len(gateways(world)) == 2
    assert first.exported["JUPYTER_BASE_URL"] != second.exported["JUPYTER_BASE_URL"]
    second.post()
    assert len(gateways(world)) == 1
    assert request(first.exported, "api/status").status_code == 200
    first.post()
    assert gateways(world) == []


@pytest.mark.parametrize("fails", [True, False])
def test_a_cell_that_failed_can_fail_the_job(
    world: World, use: MakeUse, hub: ScriptedHub, fails: bool
) -> None:
    """The report is one that the gateway wrote; it has ended by itself."""
    used = use(hub)
    (used.folder / "gateway-settings.json").touch()
    if fails:
        Folder(used.folder).let_cells_fail_the_job()
    (used.folder / "report.json").write_text(WHOLE.to_json(), encoding="utf-8")

    post = used.post(code=1 if fails else 0)

    annotations = post.log.annotations
    assert [each.name for each in annotations] == ["error" if fails else "warning"] * 3
    assert annotations[0].data == "failed.ipynb, cell 7: NameError: name 'x' is not defined"
    assert "4 pages with 11 cells ran on the session" in post.text
    assert "| failed.ipynb | python3 |" in used.summary


# Cancellation


PHASES = {
    # The output after which the signal is sent.
    "requested": "Requesting ",
    "building": "Step 1",
    "launching": "Launching server...",
    "readiness": "The session is at",
    "stuck": "The session is at",
}


@pytest.fixture
def phases() -> Iterator[dict[str, ScriptedHub]]:
    """One hub per phase, in which a launch stays until it is cancelled."""
    never = threading.Event()
    building = event(phase="building", message="Step 1\n")
    with ExitStack() as stack:
        hubs = {phase: stack.enter_context(ScriptedHub()) for phase in PHASES}
        stack.callback(never.set)
        hubs["requested"].then(Answer((never,)))
        hubs["building"].then(Answer((building, never)))
        hubs["launching"].then(Answer((phases_with(building), never)))
        for phase in ("readiness", "stuck"):
            hubs[phase].then(Answer(phases_with(building) + session(hubs[phase])))
            hubs[phase].pages["/user/x/api/status"] = page(503)
        yield hubs


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_start_step_in_any_phase(
    use: MakeUse, phases: dict[str, ScriptedHub], signum: signal.Signals
) -> None:
    """The post step stops the session that the start step could not stop in time."""
    uses = {phase: use(hub) for phase, hub in phases.items()}
    processes = {phase: each.begin() for phase, each in uses.items()}
    read = {phase: line_with(each.stdout, PHASES[phase]) for phase, each in processes.items()}

    for each in processes.values():
        each.send_signal(signum)
    phases["readiness"].pages.clear()
    starts = {phase: uses[phase].finish(each, read[phase]) for phase, each in processes.items()}

    code = 130 if signum is signal.SIGINT else 143
    assert {phase: each.code for phase, each in starts.items()} == dict.fromkeys(PHASES, code)
    assert "is stopped" in starts["readiness"].text
    assert "culls it" in starts["launching"].annotation.data
    assert "might still be running" in starts["stuck"].annotation.data
    assert [each.outputs for each in uses.values()] == [{}] * len(uses)

    phases["stuck"].pages.clear()
    posts = {phase: each.post() for phase, each in reversed(uses.items())}
    assert [phase for phase, each in posts.items() if "is stopped." in each.text] == ["stuck"]
    assert "There is no session to stop." in posts["readiness"].text
    assert not [each for each in posts.values() if each.log.annotations]


def test_a_second_signal_ends_the_start_step_at_once(
    use: MakeUse, phases: dict[str, ScriptedHub]
) -> None:
    used = use(phases["stuck"])
    process = used.begin()
    read = line_with(process.stdout, PHASES["stuck"])
    process.send_signal(signal.SIGINT)
    phases["stuck"].awaited("GET", "/api/status")
    process.send_signal(signal.SIGTERM)  # a different one, because two of a kind can merge

    assert used.finish(process, read).code == 143
    phases["stuck"].pages.clear()
    assert "is stopped." in used.post().text


HANGS = """
import pathlib, sys, time
sys.path.insert(0, sys.argv[1])
from clinder.action.cancelling import cancel_in_time
from clinder.action.workflow import Workflow
def wait(ended, seconds):
    pathlib.Path(sys.argv[2]).write_text(str(seconds))
    return ended.is_set()
workflow = Workflow()
with cancel_in_time(workflow, wait):
    workflow.quote("::error::x")
    time.sleep(60)
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_step_that_hangs_after_a_signal_is_ended(
    world: World, action: Path, signum: signal.Signals
) -> None:
    """A cancelled launch can take 6.5 s; the runner sends its next signal after 7.5 s."""
    waited = world.root / "waited"
    pyz = str(action / "clinder.pyz")
    python = [sys.executable, "-I", "-S", "-c", HANGS, pyz, str(waited)]
    process = world.popen(python)
    read = line_with(process.stdout, "::error::x")
    process.send_signal(signum)

    result = world.finish(process)

    log = runner.read(read + result.out)
    assert result.code == (130 if signum is signal.SIGINT else 143)
    assert log.shown[-2].startswith("Cancelled. The post step stops the session")
    assert (log.stopped, log.commands) == ("", [])
    assert 6.5 < float(waited.read_text()) < 7.5


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_pip_runs_ends_pip_and_leaves_no_packages(
    world: World, tmp_path: Path, signum: signal.Signals
) -> None:
    used = Use(world, copy_action(tmp_path / "clone", zipapp=False), {})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        used.variables = {"PIP_INDEX_URL": index, "PIP_CONFIG_FILE": os.devnull}
        process = used.begin()
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signum)
            start = used.finish(process)

    assert start.code == 128 + signum
    assert start.log.annotations == []
    assert not [*Path(used.folders["shared"]).iterdir()]
    assert "There is no session to stop." in used.post().text


def test_the_post_step_warns_after_a_launch_that_was_killed(
    use: MakeUse, phases: dict[str, ScriptedHub]
) -> None:
    used = use(phases["launching"])
    process = used.begin()
    line_with(process.stdout, PHASES["launching"])
    process.kill()
    process.communicate()

    post = used.post()

    assert post.annotation.name == "warning"
    assert f"If {phases['launching'].url} still launches {SPEC}" in post.annotation.data


def test_a_clone_installs_its_packages_once_and_changes_nothing_else(
    world: World, tmp_path: Path, hub: ScriptedHub
) -> None:
    """The only test here that needs the package index."""
    clone = copy_action(tmp_path / "clone", zipapp=False)
    source = {each: each.stat().st_mtime_ns for each in clone.rglob("*")}
    hub.then(Answer(session(hub, "a")), Answer(session(hub, "b")))
    used = Use(world, clone, {"hub-url": hub.url, "warm-up": "false"}, secrets=[TOKEN])
    used.variables = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}

    first, second = used.start(), used.start()

    assert [first.code, second.code] == [0, 0], first.out + second.out
    assert len(list(Path(used.folders["shared"]).iterdir())) == 1
    assert used.post().log.annotations == []
    assert len(hub.calls("POST", "/api/shutdown")) == 2
    assert {each: each.stat().st_mtime_ns for each in clone.rglob("*")} == source
    assert {each.name for each in world.home.iterdir()} <= {".rustup"}, "pip runs rustc"


# A hub that requires a login.


def under_account(use: MakeUse, hub: ScriptedHub, scopes: tuple[str, ...], **inputs: str) -> Use:
    """A use of the action with a user's token, and the hub's JupyterHub."""
    users = Users(hub, scopes=scopes)
    hub.then(users.launch(SPEC, commit=SHA))
    used = use(hub, hub_token=USER_TOKEN, **inputs)
    used.secrets.extend((USER_TOKEN, OWN_TOKEN, LAUNCH_ID))
    return used


def assert_in_no_file(world: World, secret: str) -> None:
    files = [path for path in world.root.rglob("*") if path.is_file()]
    assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_a_session_under_an_account_has_a_token_of_its_own(
    use: MakeUse, hub: ScriptedHub, world: World
) -> None:
    used = under_account(use, hub, (*SCOPES, TOKENS))
    assert used.start().code == 0
    assert used.outputs["token"] == OWN_TOKEN
    assert used.exported["JUPYTER_TOKEN"] == OWN_TOKEN
    assert_in_no_file(world, USER_TOKEN)
    assert "is stopped." in used.post().text
    assert len(hub.calls("DELETE", "/hub/api/users/ann/server")) == 1


def test_only_the_gateway_opens_a_session_without_a_token_of_its_own(
    use: MakeUse, hub: ScriptedHub, world: World
) -> None:
    used = under_account(use, hub, SCOPES, gateway="true")
    assert used.start().code == 0
    url, token = used.outputs["url"], used.outputs["token"]
    assert url == used.exported["JUPYTER_BASE_URL"]
    assert not url.startswith(hub.origin)
    opened = requests.get(f"{url}api/status?token={token}", timeout=60)
    assert opened.status_code == 200
    assert_in_no_file(world, USER_TOKEN)
    assert "is stopped." in used.post().text


def test_a_token_of_its_own_is_required_without_the_gateway(use: MakeUse, hub: ScriptedHub) -> None:
    used = under_account(use, hub, SCOPES)
    started = used.start()
    assert started.code == 3
    assert "Omit `gateway: false`" in started.annotation.data
    assert not hub.builds
    used.post()


def test_a_post_step_without_the_user_s_token_warns(use: MakeUse, hub: ScriptedHub) -> None:
    """As in a composite action whose own input has another name."""
    used = under_account(use, hub, (*SCOPES, TOKENS))
    used.start()
    used.inputs = {**used.inputs, "hub-token": ""}
    assert "the hub token is missing" in used.post().annotation.data
