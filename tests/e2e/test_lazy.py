"""run --lazy: the session is launched when the command first needs it, or not at all."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from answers import Answer, Ending, event
from clinder.gateway.closing import NOT_NEEDED, NOTHING_RAN
from clinder.gateway.report import Report
from e2e.myst import MYST, OFFLINE, REQUEST, book, page, printed
from e2e.tools import BIN, notebook
from e2e.tools import printed as printed_in
from e2e.world import CLINDER, Result, World, line_with
from faults import BUILDING
from hubs import ScriptedHub

pytestmark = pytest.mark.posix  # myst, sh, signals

LAZY = ["run", "--hub", "local", "--no-warm-up", "--lazy"]
SITE = [MYST, "build", "--site", "--execute"]
CONTENT = Path("_build", "site", "content")
DRIVER = [sys.executable, str(Path(__file__).with_name("driver.py"))]
FAILS = Answer(BUILDING + event(phase="failed", message="The command failed: no such package\n"))
EXEC = [*CLINDER, "exec", "-c", "import os; print(os.environ['BINDER_REQUEST'])"]


def start_driver(world: World, command: list[str], **settings: object) -> subprocess.Popen[str]:
    settings["lazy"] = True
    return world.popen([*DRIVER, json.dumps(settings), *command], start_new_session=True)


@pytest.mark.parametrize("quiet", [False, True])
def test_a_command_that_executes_nothing_contacts_no_hub(world: World, *, quiet: bool) -> None:
    options = ["--lazy", "--report", "report.json", *["-q"] * quiet]
    with ScriptedHub() as hub:
        result = world.run(
            "run", "org/repo", "--hub", hub.url, *options, "--", "sh", "-c", "exit 3"
        )
        assert hub.requests == []
    assert result.code == 3
    assert (NOT_NEEDED in result.err, NOTHING_RAN in result.err) == (not quiet, False)
    report = Report.from_json((world.directory / "report.json").read_text(encoding="utf-8"))
    assert report.launch
    assert (report.launch.spec, report.launch.attempts) == ("gh/org/repo/HEAD", ())
    assert (report.kernels, report.stop, report.problem) == ((), None, None)


def test_pages_whose_outputs_are_cached_need_no_session(world: World) -> None:
    book(world.directory, {"index.md": page(REQUEST), "b.md": page("print(6 * 7)")})
    built = world.run(*LAZY, "--", *SITE, env=OFFLINE)
    assert built.code == 0, built.err
    assert built.err.index("Running ") < built.err.index("Launching ")
    assert built.err.endswith("clinder: The session is stopped.\n")
    with ScriptedHub() as hub:
        again = world.run("run", "org/repo", "--hub", hub.url, "--lazy", "--", *SITE, env=OFFLINE)
        assert hub.requests == []
    assert again.code == 0, again.err
    assert NOT_NEEDED in again.err
    content = world.directory / CONTENT
    assert printed(content, "index").startswith("on v2/git/")
    assert printed(content, "b") == "42\n"


def test_each_way_to_a_kernel_launches_the_session(world: World) -> None:
    """A notebook can name a kernelspec of this machine, because the session's are not known yet."""
    environment = world.root / "conda"
    local = environment / "share" / "jupyter" / "kernels" / "conda-base-py"
    local.mkdir(parents=True)
    (local / "kernel.json").write_text('{"argv": ["false"]}', encoding="utf-8")
    notebook(world.directory / "a.ipynb", REQUEST)
    notebook(world.directory / "b.ipynb", REQUEST, kernelspec="conda-base-py")
    tools = [f"{BIN}/papermill {name}.ipynb {name}-out.ipynb 2>log" for name in "ab"]
    script = " && ".join([shlex.join(EXEC), *tools])
    options = ["--session-file", "s.json", "--events", "events.jsonl", "--env", "SECRET"]
    world.variables["CONDA_PREFIX"] = str(environment)
    result = world.run(*LAZY, *options, "--", "sh", "-c", script, env={"SECRET": "x"})
    assert result.code == 0, result.err
    assert result.out.startswith("v2/git/")
    for name in "ab":
        assert printed_in(world.directory / f"{name}-out.ipynb").startswith("on v2/git/")
    assert "The session has no kernelspec 'conda-base-py', so clinder starts" in result.err
    events = (world.directory / "events.jsonl").read_text(encoding="utf-8").splitlines()
    names = [json.loads(each)["event"] for each in events]
    assert names.count("build_requested") == 1
    assert names.index("command_started") < names.index("build_requested")
    assert not (world.directory / "s.json").exists()


@pytest.fixture(scope="module")
def failures(module_world: World) -> dict[str, tuple[Result, int]]:
    """What happens if the launch fails, and how many build requests the hub received."""
    folder = book(module_world.directory, {"index.md": page(REQUEST), "b.md": page(REQUEST)})
    notebook(folder / "nb.ipynb", REQUEST)
    notebook(folder / "sphinx" / "index.ipynb", REQUEST)
    (folder / "sphinx" / "conf.py").write_text('extensions = ["myst_nb"]\n', encoding="utf-8")
    papermill = f"{BIN}/papermill nb.ipynb out.ipynb 2>>papermill.log"
    commands = {
        "eager": ["true"],
        "myst": SITE,
        "papermill": ["sh", "-c", f"{papermill}; {papermill}"],
        "sphinx": [f"{BIN}/sphinx-build", "-q", "sphinx", "html"],
        "exec": EXEC,
    }
    results = {}
    for name, command in commands.items():
        options = ["--report", f"{name}.json", *["--lazy"] * (name != "eager")]
        with ScriptedHub(FAILS) as hub:
            arguments = ["run", "org/repo", "--hub", hub.url, *options, "--", *command]
            process = module_world.clinder(*arguments, env=OFFLINE)
            out, err = process.communicate(timeout=60)  # tools show tracebacks of their own
            text = err.replace(hub.url, "HUB/")
            results[name] = Result(process.returncode, out, text), len(hub.builds)
    return results


@pytest.mark.parametrize("tool", ["myst", "papermill", "sphinx", "exec"])
def test_a_failed_launch_ends_the_command_soon_and_looks_like_that_of_an_eager_launch(
    module_world: World, failures: dict[str, tuple[Result, int]], tool: str
) -> None:
    (eager, _), (lazy, builds) = failures["eager"], failures[tool]
    message = eager.err[eager.err.rindex("\nclinder: ") :]
    assert (lazy.code, builds) == (eager.code, 1)
    assert lazy.err.endswith(message)
    assert "to end." in lazy.err[lazy.err.index("The launch failed. The command has 10 s") :]
    assert NOTHING_RAN not in lazy.err
    problems = [
        Report.from_json((module_world.directory / f"{name}.json").read_text("utf-8")).problem
        for name in ("eager", tool)
    ]
    assert problems[0] == problems[1] is not None


@pytest.mark.usefixtures("failures")
def test_each_further_notebook_fails_with_the_same_explanation(module_world: World) -> None:
    log = (module_world.directory / "papermill.log").read_text(encoding="utf-8")
    assert log.count("There is no session, because its launch failed. ") == 2


def test_a_command_that_goes_on_after_a_failed_launch_is_ended(world: World) -> None:
    with ScriptedHub(FAILS) as hub:
        script = f"{shlex.join(EXEC)}; exec sleep 60"
        result = world.finish(start_driver(world, ["sh", "-c", script], hub=hub.url, end=0.3))
    assert result.code == 4
    assert "The launch failed. The command has 0.3 s to end." in result.err


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_during_the_launch_leaves_nothing_behind(
    world: World, name: str, code: int
) -> None:
    process = world.clinder(*LAZY, "--session-file", "s.json", "--", *EXEC)
    line_with(process.stderr, "Launching server...")
    process.send_signal(getattr(signal, name))
    result = world.finish(process)
    assert (result.code, result.out) == (code, "")
    assert result.err.endswith(f"clinder: Cancelled by {name}.\n")
    assert not [*world.directory.iterdir()]


LEAVES = """
import http.client, os, sys, urllib.parse
url = urllib.parse.urlsplit(os.environ["JUPYTER_BASE_URL"])
connection = http.client.HTTPConnection(url.netloc)
headers = {"Authorization": "token " + os.environ["JUPYTER_TOKEN"]}
connection.request("POST", "/api/kernels", "{}", headers)
sys.stdin.read()
sys.exit(3)
"""


def test_a_command_that_ends_during_the_launch_ends_the_launch(world: World) -> None:
    with ScriptedHub(Answer(BUILDING, ending=Ending.HELD)) as hub:
        command = [sys.executable, "-c", LEAVES]
        options = ["--hub", hub.url, "--lazy", "--report", "report.json"]
        process = world.clinder(
            *["run", "org/repo", *options, "--", *command], stdin=subprocess.PIPE
        )
        build = hub.awaited(ending="build/gh/org/repo/HEAD")
        result = world.finish(process, "")
        assert build.left.wait(60)
    assert result.code == 3
    assert "The command ended during the launch, so clinder cancels the launch." in result.err
    assert '"problem": null' in (world.directory / "report.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["org/repo", "--no-gateway"], "--lazy needs the gateway: omit --no-gateway."),
        (["a/b@v1", "--ref", "v2"], "The repository names the ref 'v1', but another ref is given"),
        (["org/repo", "--env", "MISSING"], "The variable MISSING is not set"),
        ([], "This directory is not a git checkout."),
    ],
)
def test_what_is_wrong_without_a_hub_is_reported_before_the_command_starts(
    world: World, arguments: list[str], message: str
) -> None:
    result = world.run("run", "--lazy", *arguments, "--", "echo", "started")
    assert (result.code, result.out) == (2, "")
    assert message in result.err
