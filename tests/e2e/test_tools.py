"""Tools that start local kernels run on the session, unchanged, and leave no kernel behind.

The tests of the examples run `jupyter execute` and Sphinx with MyST-NB, too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from answers import Answer, event, ready
from e2e.tools import BIN, OLDEST, REQUEST, notebook, printed
from e2e.world import Result, World
from hubs import Jupyter, ScriptedHub

pytestmark = [
    pytest.mark.posix,  # signals, and the folders of the tools' environments
    pytest.mark.timeout(300),  # the first test waits for all tools
]
ON_THE_SESSION = "on v2/git/file"
HERE = Path(__file__).parent
DIALOG = HERE / "dialog.py"

CLIENT = """
import nbformat, nbclient
nb = nbformat.read("nb.ipynb", 4)
print(nbclient.NotebookClient(nb, timeout=60).execute().cells[0].outputs[0].text)
"""
NBSPHINX = 'extensions = ["nbsphinx"]\nnbsphinx_execute = "always"\n'
BOOK = "title: A book\nexecute: {execute_notebooks: force}\n"
TOC = "format: jb-book\nroot: nb\n"


def read(path: str) -> Callable[[Path, Result], str]:
    """Return a function that reads the file in which a tool leaves the output."""
    return lambda project, _: (
        printed(project / path) if path.endswith("ipynb") else (project / path).read_text("utf-8")
    )


def stdout(_: Path, result: Result) -> str:
    return result.out


EXECUTE = [f"{BIN}/jupyter-execute", "slow.ipynb"]
TOOLS: dict[str, tuple[list[str], Callable[[Path, Result], str]]] = {
    "nbconvert in a sub-folder": (
        [f"{BIN}/jupyter-nbconvert", "--to=notebook", "--execute", "sub/nb.ipynb", "--output=c"],
        read("sub/c.ipynb"),
    ),
    "papermill": (
        [f"{BIN}/papermill", "nb.ipynb", "papermill.ipynb", "-p", "x", "1"],
        read("papermill.ipynb"),
    ),
    "nbsphinx": (
        [f"{BIN}/sphinx-build", "-q", "-b", "html", "nbsphinx", "nbsphinx/html"],
        read("nbsphinx/html/index.html"),
    ),
    "jupyter-book 1": (
        [f"{BIN}/jupyter-book", "build", "book"],
        read("book/_build/html/nb.html"),
    ),
    "nbmake": (
        [f"{BIN}/pytest", "-q", "-p", "no:cacheprovider", "--nbmake", "--overwrite", "made.ipynb"],
        read("made.ipynb"),
    ),
    "jupyter run": ([f"{BIN}/jupyter-run", "script.py"], stdout),
    "the oldest nbclient": ([f"{OLDEST}/python", "-c", CLIENT], stdout),
}
OTHERS = {
    "refused": [f"{BIN}/papermill", "here.ipynb", "out.ipynb"],
    "bridge": [f"{BIN}/python", str(DIALOG), "bridge.json", "11000000"],
    "local": ["env", "-u", "JUPYTER_PATH", sys.executable, str(DIALOG), "local.json"],
}


KILLED = [
    "tool-SIGINT",
    "tool-SIGTERM",
    "tool-SIGKILL",
    "bridge-SIGTERM",
    "bridge-SIGKILL",
    "kernel-SIGKILL",
]
SLOW = """
import os, time
with open("new", "w") as file: file.write(str(os.getpid()))
os.rename("new", "running")
time.sleep(600)
"""


@dataclass(frozen=True)
class Ran:
    """What happened in one ``clinder run``: its own result, and those of the tools."""

    project: Path
    clinder: Result
    tools: dict[str, Result]


@pytest.fixture(scope="module")
def ran(module_world: World) -> Ran:
    """Run all tools on one session, and end some badly; one session, because that is cheap."""
    project = module_world.directory
    _write_project(project)
    conda = module_world.root / "conda"  # the embedded hub's servers do not search it
    _write_local_kernelspec(conda, "conda-base-py")
    plan = {
        "tools": {name: command for name, (command, _) in TOOLS.items()} | OTHERS,
        "killed": KILLED,
        "execute": EXECUTE,
    }
    (project / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    files = ("plan.json", "session.json", "results.json")
    process = module_world.clinder(
        *["run", "--hub", "local", "--no-warm-up", "--session-file", "session.json"],
        *["--", sys.executable, str(HERE / "tool_session.py"), *files],
        env={"CONDA_PREFIX": str(conda)},
    )
    result = module_world.finish(process, timeout=280)
    assert (project / "results.json").exists(), result.err + result.out
    results = json.loads((project / "results.json").read_text(encoding="utf-8"))
    return Ran(project, result, {name: Result(**each) for name, each in results.items()})


def _write_project(folder: Path) -> None:
    """Write notebooks that print what only the server knows, and what the tools need."""
    for name in ("nb", "made", "sub/nb", "nbsphinx/index", "book/nb"):
        notebook(folder / f"{name}.ipynb", REQUEST)
    for name, text in {
        "nbsphinx/conf.py": NBSPHINX,
        "book/_config.yml": BOOK,
        "book/_toc.yml": TOC,
        "script.py": REQUEST,
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    notebook(folder / "here.ipynb", "open('ran-here', 'w')", kernelspec="conda-base-py")
    for name in (*KILLED, "deleted", "server"):
        notebook(folder / name / "slow.ipynb", SLOW)


def _write_local_kernelspec(environment: Path, name: str) -> None:
    folder = environment / "share" / "jupyter" / "kernels" / name
    folder.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Here", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_runs_on_the_session(ran: Ran, tool: str) -> None:
    result = ran.tools[tool]
    assert result.code == 0, result.err + result.out
    assert ON_THE_SESSION in TOOLS[tool][1](ran.project, result)


def test_a_notebook_in_a_sub_folder_runs_in_that_folder(ran: Ran) -> None:
    assert printed(ran.project / "sub" / "c.ipynb").endswith(
        f"in {ran.project.resolve() / 'sub'}\n"
    )


def test_a_kernelspec_that_only_this_machine_has_is_refused(ran: Ran) -> None:
    assert "Kernelspecs that run on the session: " in ran.clinder.err
    assert "Refused: conda-base-py" in ran.clinder.err
    assert ran.tools["refused"].code == 1
    assert "The session has no kernelspec 'conda-base-py'" in ran.tools["refused"].err
    assert not (ran.project / "ran-here").exists()


def test_a_dialog_with_a_kernel_is_the_same_as_with_a_local_one(ran: Ran) -> None:
    """Output, input, interrupts, completion, comms with buffers, two kernels, and a restart."""
    for name in ("local", "bridge"):
        assert ran.tools[name].code == 0, ran.tools[name].err
    local, bridge = (_transcript(ran, name) for name in ("local", "bridge"))
    assert bridge["same"] == local["same"]
    assert ["comm_msg", {"data": {"a": 1}}, ["eno", "", "owt"]] in bridge["same"][0]


def test_a_cell_that_a_server_would_not_accept_fails_and_the_next_one_runs(ran: Ran) -> None:
    said = _transcript(ran, "bridge")["large"]
    errors = [content["ename"] for kind, content, *_ in said if kind == "error"]
    assert errors == ["CellTooLarge"]
    assert ["stream", "stdout", "next\n"] in said


def _transcript(ran: Ran, name: str) -> Any:
    return json.loads((ran.project / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("killed", "message"),
    [
        *((name, "") for name in KILLED),
        ("deleted", "clinder: The session's server removed the kernel while this cell ran."),
        ("server", "clinder: The session ended while this cell ran."),
    ],
)
def test_whatever_ends_first_the_tool_fails_and_no_kernel_remains(
    ran: Ran, killed: str, message: str
) -> None:
    """The session waits for the end of each kernel, and of all bridges."""
    assert ran.tools[killed].code != 0
    assert message in ran.tools[killed].err


def test_a_server_that_is_killed_ends_the_command(ran: Ran) -> None:
    assert ran.clinder.code == 10
    assert "The session is gone" in ran.clinder.err


SHELL = f"""
session=$($CLINDER start --hub local -q --no-warm-up --kernels kernels -o shell) && eval "$session"
{BIN}/jupyter execute nb.ipynb --output=executed.ipynb 2> log || cat log
$CLINDER stop -q
ls
"""


def test_a_shell_runs_tools_on_a_session_until_it_is_stopped(world: World) -> None:
    notebook(world.directory / "nb.ipynb", REQUEST)
    result = world.sh(SHELL)
    assert (result.code, result.err) == (0, "")
    assert result.out.split() == ["executed.ipynb", "log", "nb.ipynb"]
    assert ON_THE_SESSION in printed(world.directory / "executed.ipynb")


def test_kernelspecs_are_only_written_to_a_new_folder(world: World) -> None:
    """`clinder stop` removes the folder."""
    for name in (".", ""):
        result = world.run("start", "--hub", "local", "--kernels", name)
        assert result.code == 2
        assert "The folder . exists already." in result.err
    assert not [*world.directory.iterdir()]


def test_a_folder_that_cannot_be_created_starts_no_session(world: World) -> None:
    with ScriptedHub() as hub:
        result = world.run("start", "a/b", "--hub", hub.url, "--kernels", "missing/kernels")
        assert (result.code, hub.requests) == (2, [])
    assert "cannot be created: No such file or directory." in result.err


def test_a_failed_launch_removes_the_folder(world: World) -> None:
    with ScriptedHub(Answer(event(phase="failed", message="No."))) as hub:
        result = world.run("start", "a/b", "--hub", hub.url, "--kernels", "kernels")
    assert result.code != 0
    assert not [*world.directory.iterdir()]


def test_no_kernels_leaves_the_tools_alone(world: World) -> None:
    show = "import os; print(os.environ.get('JUPYTER_PATH'))"
    with ScriptedHub() as hub:
        hub.then(Answer(ready(hub.serve("x", Jupyter("s3cret")), "s3cret")))
        command = ["run", "a/b", "--hub", hub.url, "-q", "--no-warm-up", "--no-kernels"]
        result = world.run(*command, "--", sys.executable, "-c", show)
    assert (result.code, result.out) == (0, "None\n")
