"""The real MyST and Jupyter Book execute notebooks in a session on the embedded hub."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from clinder.gateway.report import Report
from e2e.myst import JUPYTER, MYST, OFFLINE, REQUEST, book, outputs, page, printed
from e2e.world import Result, World, until

pytestmark = pytest.mark.posix  # bash, act's host mode, processes that are killed

SITE = ["build", "--site", "--execute"]
CONTENT = Path("_build", "site", "content")
FIGURE = """
from base64 import b64decode
from IPython.display import Image
Image(b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJ"
                "RU5ErkJggg=="))
"""
PAGES = {
    "index.md": page(REQUEST, "print(6 * 7)"),
    "figure.md": page(FIGURE),
    "error.md": page(":tags: raises-exception\n1 / 0", "print('on')", "{}['key']", "print('off')"),
    "chapter/deep.md": page("import os\nprint(os.getcwd())"),
}
COLD = 15  # seconds; MyST gives up after 10, and the server takes up to 5 to end a kernel
KERNEL = f"""
import os, pathlib, sys, time
paid = pathlib.Path(os.environ["PAID"])
if not paid.exists():
    time.sleep({COLD})
    paid.touch()
os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", "-f", sys.argv[1]])
"""
"""The kernel of a cold image: only the first one to start is slow."""
DRIVER = [sys.executable, str(Path(__file__).with_name("driver.py"))]


@dataclass(frozen=True)
class Built:
    """A book that is being built in the background."""

    world: World
    folder: Path
    process: subprocess.Popen[str]

    def result(self) -> Result:
        return self.world.finish(self.process)


@pytest.fixture(scope="module", autouse=True)
def cold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Built]]:
    """MyST with cold servers. It mostly waits, so it runs during the other tests."""
    world = World(tmp_path_factory.mktemp("cold"), variables={**OFFLINE})
    world.variables["JUPYTER_PATH"] = str(_cold_kernel(world.root / "share"))
    running = {
        "cold": _with_cold_server(world, "cold", "--no-warm-up", "--no-gateway"),
        "warmed": _with_cold_server(world, "warmed", "--no-gateway"),
        "held": _with_cold_server(world, "held", "--no-warm-up"),
    }
    yield running
    for each in running.values():
        if each.process.poll() is None:  # no selected test has waited for it
            each.process.terminate()
            each.result()
    world.end()


def _cold_kernel(share: Path) -> Path:
    """Write a kernelspec that replaces the usual one."""
    spec = share / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = [sys.executable, str(spec / "kernel.py"), "{connection_file}"]
    kernelspec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(kernelspec))
    (spec / "kernel.py").write_text(KERNEL)
    return share


def _with_cold_server(world: World, name: str, *options: str) -> Built:
    folder = book(world.directory / name, {"index.md": page(REQUEST)})
    command = ["run", "--hub", "local", *options, "--", MYST, *SITE]
    paid = {"PAID": str(folder / "paid")}
    return Built(world, folder, world.clinder(*command, cwd=folder, env=paid))


@pytest.mark.parametrize("command", [[MYST], [JUPYTER, "book"]], ids=["myst", "jupyter book"])
def test_a_book_is_executed_on_a_session_that_is_then_stopped(
    world: World, command: list[str]
) -> None:
    folder = book(world.directory, PAGES)
    options = ["--hub", "local", "--session-file", str(world.root / "session.json")]
    result = world.run("run", *options, "--", *command, *SITE, env=OFFLINE)

    assert result.code == 0, result.err
    assert result.err.endswith("clinder: The session is stopped.\n")
    spec = quote(folder.resolve().as_uri().replace("///", "//localhost/"), safe="")
    content = folder / CONTENT
    assert printed(content, "index") == f"on v2/git/{spec}/HEAD\n42\n"
    (figure,) = outputs(content, "figure")
    assert figure["data"]["image/png"]["hash"]
    first, on, second = outputs(content, "error")
    assert (first["ename"], second["ename"]) == ("ZeroDivisionError", "KeyError")
    assert on["text"] == "on\n"
    assert printed(content, "deep") == f"{(folder / 'chapter').resolve()}\n"
    world.wait_for_servers(0)


def test_a_page_says_that_the_session_is_gone_while_its_cell_ran(world: World) -> None:
    """MyST alone would wait forever for the cell to end."""
    started = world.root / "started"
    never = f"import pathlib, threading\npathlib.Path({str(started)!r}).touch()\n"
    folder = book(world.directory, {"index.md": page(never + "threading.Event().wait()")})
    process = world.popen([*DRIVER, "{}", MYST, *SITE], start_new_session=True, env=OFFLINE)
    until(started.exists, 60)
    world.kill_servers()
    result = world.finish(process)

    assert result.code == 10
    assert "clinder: The session is gone: " in result.err
    assert "clinder: The session is gone, so the command failed." in result.err
    assert outputs(folder / CONTENT, "index")[-1]["ename"] == "SessionGone"


def test_without_warm_up_and_gateway_a_cold_server_gives_myst_no_outputs_and_no_error(
    cold: dict[str, Built],
) -> None:
    """The reason for both: MyST ends each of its three tries after 10 s."""
    result = cold["cold"].result()

    assert result.code == 0
    assert result.out.count("Starting WebSocket") == 3
    assert "Unable to create a new kernel" in result.err
    assert outputs(cold["cold"].folder / CONTENT, "index") == []
    assert not (cold["cold"].folder / "paid").exists(), "each try ended before a kernel was ready"


@pytest.mark.parametrize("way", ["warmed", "held"])
def test_after_a_warm_up_or_through_the_gateway_a_cold_server_gives_myst_outputs(
    cold: dict[str, Built], way: str
) -> None:
    """The gateway responds to the start of a kernel once that responds, however long it takes."""
    result = cold[way].result()

    assert result.code == 0
    assert printed(cold[way].folder / CONTENT, "index").startswith("on v2/git/")


HOSTILE = {
    "index.md": page(REQUEST),
    "exits.md": page("print('before')", "import os; os._exit(3)", "print('after')"),
    "endless.md": page("import time\nwhile True: time.sleep(0.1)", "print('after')"),
    "foreign.md": page(REQUEST).replace("name: python3", "name: conda-env-book-py"),
    "raises.md": page("1 / 0", "print('after')"),
}
"""Pages on which MyST alone hangs, or which lose it the whole build."""
ERRORS = {
    "exits": "KernelDied",
    "endless": "CellTimedOut",
    "raises": "ZeroDivisionError",
}
"""The error with which a page of :data:`HOSTILE` ends."""


@pytest.mark.parametrize("command", [[MYST], [JUPYTER, "book"]], ids=["myst", "jupyter book"])
def test_one_page_that_fails_does_not_lose_the_others(world: World, command: list[str]) -> None:
    folder = book(world.directory, HOSTILE)
    options = ["--cell-timeout", "10", "--max-kernels", "1", "--report", "report.json"]
    built = [*command, *SITE, "--strict"]
    result = world.run("run", "--hub", "local", *options, "--", *built, env=OFFLINE)

    assert result.code == 1, result.err
    content = folder / CONTENT
    assert printed(content, "index").startswith("on v2/git/")
    assert printed(content, "foreign").startswith("on v2/git/")
    assert printed(content, "exits") == "before\n"
    errors = {name: each["ename"] for name in ERRORS for each in outputs(content, name)[-1:]}
    assert errors == ERRORS
    report = Report.from_json((folder / "report.json").read_text(encoding="utf-8"))
    assert report.command
    assert report.command.exit_code == 1
    kernels = {each.page.rpartition("/")[2]: each for each in report.kernels}
    assert {name: kernels[f"{name}.md"].errors[0].name for name in ERRORS} == ERRORS
    assert kernels["exits.md"].deaths == 1
    assert kernels["endless.md"].time_limits == (1,)
    assert kernels["foreign.md"].requested == "conda-env-book-py"
    assert "clinder: Warning: The session has no kernelspec 'conda-env-book-py'" in result.err


@pytest.mark.parametrize(
    ("options", "shown"),
    [([], "index.md, cell 1: ZeroDivisionError"), (["--quiet"], "Omit --quiet, or add --report")],
    ids=["", "quiet"],
)
def test_fail_on_cell_error_fails_a_build_that_is_a_success_for_myst(
    world: World, options: list[str], shown: str
) -> None:
    book(world.directory, {"index.md": page("1 / 0", "print('after')")})
    command = ["run", "--hub", "local", "--fail-on-cell-error", *options, "--", MYST, *SITE]
    result = world.run(*command, env=OFFLINE)

    assert result.code == 1
    assert "1 page ended with an error in a cell." in result.err
    assert shown in result.err
