"""The action in whole workflows, run by act."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from answers import Answer, event, ready
from e2e import tools
from e2e.act import CALLER, LAST, NOTHING_REMAINS, Workflow, binder, job
from e2e.myst import MYST, OFFLINE, book, outputs, page, printed
from e2e.world import CLINDER, World, line_with
from hubs import Jupyter, ScriptedHub

pytestmark = pytest.mark.posix  # act's host mode

TOKEN = "s3cret/token+1"


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
    assert got.split()[1].startswith("http://127.0.0.1:"), "the gateway of the second use"
    assert got.split()[1] not in url
    assert url.endswith(" true")
    assert "42" in result.output()
    assert world.processes("__main__.py gateway") == []
    assert result.output_with("MASKED") == ["MASKED *** ***"]
    assert result.sessions_stopped == 2
    assert result.remains == NOTHING_REMAINS
    world.wait_for_servers(0)
    assert len(set(result.commands("add-mask"))) == 4, "of two sessions and their gateways"
    for token in result.commands("add-mask"):
        assert files_with(token, world.root) == []
    embedded.terminate()
    world.finish(embedded)


def test_later_steps_run_papermill_on_the_session_with_the_named_variables(
    world: World, workflow: Workflow
) -> None:
    embedded = world.popen([*CLINDER, "hub", "--port", "0"])
    workflow.variables["HUB"] = line_with(embedded.stdout, "http").strip()
    workflow.secrets["KEY"] = "hunter2-s3cret"
    code = f"{tools.REQUEST}; print(len(os.environ['ARM_KEY']))"
    made = tools.notebook(world.root / "made" / "nb.ipynb", code)
    more = "env: {ARM_KEY: '${{ secrets.KEY }}'}"
    steps = [
        LAST,
        binder(more=more, kernels="true", env="ARM_KEY\n"),
        f"""run: |
  mkdir sub && cp {made} sub && cd sub
  {tools.BIN}/papermill nb.ipynb out.ipynb && sed 's/^/NB /' out.ipynb""",
    ]
    result = workflow.run(job("t", *steps))

    assert result.code == 0, result.out
    notebook = "".join(result.output_with("NB "))
    assert f"on v2/gh/{CALLER}/{workflow.commit} in " in notebook
    assert str(len("hunter2-s3cret")) in notebook
    assert "Each kernel receives these variables: ARM_KEY." in result.output()
    assert "hunter2-s3cret" in result.commands("add-mask")
    assert "hunter2-s3cret" not in "".join(result.output())
    assert result.sessions_stopped == 1
    assert result.remains == NOTHING_REMAINS
    embedded.terminate()
    world.finish(embedded)


def test_a_kernel_that_dies_costs_one_page_and_fails_the_job_if_that_is_wanted(
    world: World, workflow: Workflow
) -> None:
    """The real MyST builds the book; its own exit code is 0."""
    embedded = world.popen([*CLINDER, "hub", "--port", "0"])
    workflow.variables["HUB"] = line_with(embedded.stdout, "http").strip()
    foreign = page("print('on', 6 * 7)").replace("name: python3", "name: conda-env-x-py")
    died = page("print('before')", "import os; os._exit(1)", "print('after')")
    folder = book(world.root / "book", {"index.md": foreign, "died.md": died})
    build = f"""run: |
  cd {folder}
  {MYST} build --site --execute
  echo BUILT
  sleep 3 # the report is renewed every 2 s
  sed 's/^/REPORT /' ${{{{ steps.binder.outputs.report }}}}
env:
"""
    build += "\n".join(f"  {name}: {value}" for name, value in OFFLINE.items())
    steps = [LAST, binder(fail_on_cell_error="true"), build]
    result = workflow.run(job("t", *steps))

    content = folder / "_build" / "site" / "content"
    assert printed(content, "index") == "on 42\n"
    assert "before" in printed(content, "died")
    assert "KernelDied" in json.dumps(outputs(content, "died"))
    assert result.output_with("BUILT") == ["BUILT"]
    assert result.code != 0
    (error,) = result.commands("error")
    assert error.startswith("died.md, cell 2: KernelDied: The kernel died while this cell ran.")
    (report,) = result.output_with("REPORT ")
    kernels = {each["page"]: each for each in json.loads(report[7:])["kernels"]}
    assert kernels["index.md"]["kernelspec"] == "python3"
    assert kernels["index.md"]["requested"] == "conda-env-x-py"
    assert kernels["died.md"]["deaths"] == 1
    assert result.sessions_stopped == 1
    assert result.remains == NOTHING_REMAINS
    assert world.processes("__main__.py gateway") == []
    embedded.terminate()
    world.finish(embedded)


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
    refusal = Answer(event(phase="failed", message="Sorry, x is not allowed to launch"))
    hub.then(session(hub, "a"), session(hub, "b"))
    print_result = (
        'run: echo "GOT ${{ steps.binder.outputs.started }}'
        ' [${{ steps.binder.outputs.url }}] [$JUPYTER_BASE_URL]"'
    )
    matrix = "    strategy:\n      matrix:\n        n: [1, 2]\n"
    with ScriptedHub(refusal, refusal) as refuses:
        inputs = {"repo": "org/repo", "hub_url": refuses.url}
        result = workflow.run(
            job("continues", binder(**inputs, fail_on_error="false"), print_result)
            + job("fails", binder(**inputs, more="continue-on-error: true"), print_result)
            + job("never", binder(more="if: false"), print_result)
            + job("matrix", binder(repo="org/repo", gateway="false"), print_result, more=matrix)
        )

    assert result.code == 0, result.out
    for name in ("continues", "fails"):
        assert result.output_with("GOT", name) == ["GOT false [] []"], name
    assert result.output_with("GOT", "never") == ["GOT  [] []"]
    assert len(result.commands("warning")) == 1
    assert len(result.commands("error")) == 1
    started = sorted(line for line in result.output_with("GOT") if "true" in line)
    urls = [f"{hub.origin}/user/{name}/" for name in ("a", "b")]
    assert started == [f"GOT true [{each}] [{each}]" for each in sorted(urls)]
    assert sorted(stopped(hub)) == ["a", "b"]


def test_commands_in_untrusted_text_have_no_effect(workflow: Workflow, hub: ScriptedHub) -> None:
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
    hostile_use = binder("odd", more="continue-on-error: true", repo=value)
    result = workflow.run(job("t", binder(repo="org/repo"), hostile_use, print_result))

    assert result.code == 0, result.out
    assert result.output_with("GOT") == [f"GOT {url} "]
    assert result.output_with("EVIL") == [], "neither a variable nor a file"
    assert not {"x", "evil"} & set(result.commands("error", "set-env", "set-output", "group"))
    assert len(result.commands("error")) == 1
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
