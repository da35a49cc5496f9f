"""Tools that start local kernels run on the session, unchanged, and leave no kernel behind."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from e2e.tools import BIN, OLDEST, REQUEST, notebook, printed
from e2e.world import Result, World

LOUD = ["run", "--hub", "local", "--no-warm-up"]
RUN = [*LOUD, "-q"]
ON_THE_SESSION = "on v2/git/file"

CLIENT = """
import nbformat, nbclient
nb = nbformat.read("nb.ipynb", 4)
print(nbclient.NotebookClient(nb, timeout=60).execute().cells[0].outputs[0].text)
"""
SPHINX = (
    'extensions = ["myst_nb"]\nnb_execution_mode = "force"\nnb_execution_raise_on_error = True\n'
)
BOOK = "title: A book\nexecute: {execute_notebooks: force}\n"
TOC = "format: jb-book\nroot: nb\n"


@pytest.fixture(scope="module")
def project(module_world: World) -> Path:
    """A project whose notebook prints what only the server knows."""
    folder = module_world.directory
    notebook(folder / "nb.ipynb", REQUEST)
    notebook(folder / "sub" / "nb.ipynb", REQUEST)
    for name, files in {
        "sphinx": {"conf.py": SPHINX},
        "book": {"_config.yml": BOOK, "_toc.yml": TOC},
    }.items():
        notebook(folder / name / ("index.ipynb" if name == "sphinx" else "nb.ipynb"), REQUEST)
        for file, text in files.items():
            (folder / name / file).write_text(text, encoding="utf-8")
    return folder


def batched(names: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield the names in groups of this size: more tools at once would starve other tests."""
    rest = list(names)
    while rest:
        yield rest[:size]
        rest = rest[size:]


def read(path: str) -> Callable[[Path, Result], str]:
    """Return a function that reads the file in which a tool leaves the output."""
    return lambda project, _: (
        printed(project / path) if path.endswith("ipynb") else (project / path).read_text("utf-8")
    )


def stdout(_: Path, result: Result) -> str:
    return result.out


TOOLS: dict[str, tuple[list[str], Callable[[Path, Result], str]]] = {
    "jupyter execute": (
        [f"{BIN}/jupyter", "execute", "nb.ipynb", "--output=executed.ipynb"],
        read("executed.ipynb"),
    ),
    "nbconvert in a sub-folder": (
        [f"{BIN}/jupyter", "nbconvert", "--to=notebook", "--execute", "sub/nb.ipynb", "--output=c"],
        read("sub/c.ipynb"),
    ),
    "papermill": (
        [f"{BIN}/papermill", "nb.ipynb", "papermill.ipynb", "-p", "x", "1"],
        read("papermill.ipynb"),
    ),
    "sphinx": (
        [f"{BIN}/sphinx-build", "-q", "-b", "html", "sphinx", "sphinx/html"],
        read("sphinx/html/index.html"),
    ),
    "jupyter-book 1": (
        [f"{BIN}/jupyter-book", "build", "book"],
        read("book/_build/html/nb.html"),
    ),
    "jupyter run": ([f"{BIN}/jupyter", "run", "script.py"], stdout),
    "the oldest nbclient": ([f"{OLDEST}/python", "-c", CLIENT], stdout),
}


@pytest.fixture(scope="module")
def results(module_world: World, project: Path) -> dict[str, Result]:
    """The results of all tools, a few at once to save time."""
    (project / "script.py").write_text(REQUEST, encoding="utf-8")
    commands = {name: [*RUN, "--", *command] for name, (command, _) in TOOLS.items()}
    return module_world.together(commands)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_runs_on_the_session(project: Path, results: dict[str, Result], tool: str) -> None:
    result = results[tool]
    assert result.code == 0, result.err + result.out
    assert ON_THE_SESSION in TOOLS[tool][1](project, result)


def test_a_notebook_in_a_sub_folder_runs_in_that_folder(
    project: Path, results: dict[str, Result]
) -> None:
    assert results["nbconvert in a sub-folder"].code == 0
    assert printed(project / "sub" / "c.ipynb").endswith(f"in {project.resolve() / 'sub'}\n")


def test_a_kernelspec_that_only_this_machine_has_is_refused(world: World) -> None:
    environment = world.root / "conda"  # the embedded hub's servers do not search it
    local = environment / "share" / "jupyter" / "kernels" / "conda-base-py"
    local.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Here", "language": "python"}
    (local / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    ran = world.directory / "ran-here"
    notebook(world.directory / "nb.ipynb", f"open({str(ran)!r}, 'w')", kernelspec="conda-base-py")
    tool = f"{BIN}/papermill nb.ipynb out.ipynb 2> log"  # it shows a traceback of its own
    conda = {"CONDA_PREFIX": str(environment)}
    result = world.run(*LOUD, "--", "sh", "-c", tool, env=conda)
    assert result.code == 1
    assert "Kernelspecs that run on the session: " in result.err
    assert "Refused: conda-base-py" in result.err
    log = (world.directory / "log").read_text(encoding="utf-8")
    assert "The session has no kernelspec 'conda-base-py'" in log
    assert not ran.exists()


SHELL = f"""
session=$($CLINDER start --hub local -q --no-warm-up --kernels kernels -o shell) && eval "$session"
{BIN}/jupyter execute nb.ipynb --output=executed.ipynb 2> log || cat log
$CLINDER stop -q
ls
"""


@pytest.mark.posix
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


def test_a_folder_that_cannot_be_created_leaves_no_session(world: World) -> None:
    result = world.run("start", "--hub", "local", "--no-warm-up", "--kernels", "missing/kernels")
    assert result.code == 8
    assert "cannot be created: No such file or directory." in result.err
    world.wait_for_servers(0)


def test_no_kernels_leaves_the_tools_alone(world: World) -> None:
    show = "import os; print(os.environ.get('JUPYTER_PATH'))"
    result = world.run(*RUN, "--no-kernels", "--", sys.executable, "-c", show)
    assert (result.code, result.out) == (0, "None\n")


ENDINGS = """
import json, os, signal, subprocess, sys, urllib.request
import psutil

def kernels():
    request = urllib.request.Request(os.environ["JUPYTER_BASE_URL"] + "api/kernels")
    request.add_header("Authorization", "token " + os.environ["JUPYTER_TOKEN"])
    return json.load(urllib.request.urlopen(request))

name, which = sys.argv[1:]
tool = subprocess.Popen([TOOL, "execute", "slow.ipynb"], stderr=subprocess.PIPE, text=True)
while not os.path.exists("running"):
    assert tool.poll() is None
children = psutil.Process(tool.pid).children(recursive=True)
(bridge,) = [each for each in children if "bridge" in " ".join(each.cmdline())]
code = open("running").read()
pid = {"tool": tool.pid, "bridge": bridge.pid, "kernel": int(code)}[which]
os.kill(pid, getattr(signal, name))
print(tool.communicate()[1].strip().splitlines()[-1], file=sys.stderr)
bridge.wait(60)
while kernels():
    pass
print(tool.returncode != 0)
"""
SLOW = """
import os, time
with open("new", "w") as file: file.write(str(os.getpid()))
os.rename("new", "running")
time.sleep(600)
"""


KILLED = [
    ("tool", "SIGINT"),
    ("tool", "SIGTERM"),
    ("tool", "SIGKILL"),
    ("bridge", "SIGTERM"),
    ("bridge", "SIGKILL"),
    ("kernel", "SIGKILL"),
]


@pytest.fixture(scope="module")
def endings(module_world: World) -> dict[tuple[str, str], Result]:
    """The results of tools of which something was killed."""
    script = ENDINGS.replace("TOOL", repr(f"{BIN}/jupyter"))
    results = {}
    for which, signal in KILLED:
        folder = module_world.directory / f"{which}-{signal}"
        notebook(folder / "slow.ipynb", SLOW)
        command = [*RUN, "--", sys.executable, "-c", script, signal, which]
        results[which, signal] = module_world.run(*command, cwd=folder)
    return results


@pytest.mark.posix
@pytest.mark.parametrize("killed", KILLED)
def test_whatever_is_killed_the_tool_fails_and_no_kernel_remains(
    endings: dict[tuple[str, str], Result], killed: tuple[str, str]
) -> None:
    assert (endings[killed].code, endings[killed].out) == (0, "True\n"), endings[killed].err
