"""The real MyST and the real Jupyter Book, whose code runs on a session of the embedded hub."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from e2e.act import CALLER, LAST, Workflow, binder, job
from e2e.myst import JUPYTER, MYST, OFFLINE, REQUEST, book, outputs, page, printed
from e2e.world import Result, World, line_with, until

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
COLD = 15  # seconds; MyST gives up after 10, and the server needs up to 5 to end a kernel
KERNEL = f"""
import os, pathlib, sys, time
paid = pathlib.Path(os.environ["PAID"])
if not paid.exists():
    time.sleep({COLD})
    paid.touch()
os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", "-f", sys.argv[1]])
"""
"""The kernel of a cold image, where whoever waits for the first one pays for all."""
DRIVER = [sys.executable, str(Path(__file__).with_name("driver.py"))]


@dataclass(frozen=True)
class Built:
    """A book that is being built in the background, until it is asked what came of it."""

    world: World
    folder: Path
    process: subprocess.Popen[str]

    def result(self) -> Result:
        return self.world.finish(self.process)


@pytest.fixture(scope="module", autouse=True)
def cold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Built]]:
    """MyST with two cold servers. It mostly waits, so the other tests go on meanwhile."""
    world = World(tmp_path_factory.mktemp("cold"), variables={**OFFLINE})
    world.variables["JUPYTER_PATH"] = str(_cold_kernel(world.root / "share"))
    running = {
        "cold": _with_cold_server(world, "cold", "--no-warm-up"),
        "warmed": _with_cold_server(world, "warmed"),
    }
    yield running
    for each in running.values():
        if each.process.poll() is None:  # only other tests were chosen
            each.process.terminate()
            each.result()
    world.end()


def _cold_kernel(share: Path) -> Path:
    """Write a kernelspec that replaces the usual one."""
    spec = share / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = [sys.executable, str(spec / "kernel.py"), "{connection_file}"]
    about = {"argv": argv, "display_name": "Python 3", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(about))
    (spec / "kernel.py").write_text(KERNEL)
    return share


def _with_cold_server(world: World, name: str, *options: str) -> Built:
    folder = book(world.directory / name, {"index.md": page(REQUEST)})
    command = ["run", "--hub", "local", *options, "--", MYST, *SITE]
    paid = {"PAID": str(folder / "paid")}
    return Built(world, folder, world.clinder(*command, cwd=folder, env=paid))


def executed(content: Path, spec: str) -> None:
    """Look that every page of the book has what its cells gave, on a session of such a spec."""
    assert printed(content, "index") == f"on v2/{spec}\n42\n"
    (figure,) = outputs(content, "figure")
    assert figure["data"]["image/png"]["hash"]
    first, on, second = outputs(content, "error")
    assert (first["ename"], on["text"], second["ename"]) == (
        "ZeroDivisionError",
        "on\n",
        "KeyError",
    )


@pytest.mark.parametrize("command", [[MYST], [JUPYTER, "book"]], ids=["myst", "jupyter book"])
def test_a_book_is_executed_on_a_session_that_is_gone_afterwards(
    world: World, command: list[str]
) -> None:
    folder = book(world.directory, PAGES)
    options = ["--hub", "local", "--session-file", str(world.root / "session.json")]
    result = world.run("run", *options, "--", *command, *SITE, env=OFFLINE)

    assert result.code == 0, result.err
    assert result.err.endswith("clinder: The session is stopped.\n")
    spec = quote(folder.resolve().as_uri().replace("///", "//localhost/"), safe="")
    executed(folder / CONTENT, f"git/{spec}/HEAD")
    assert printed(folder / CONTENT, "deep") == f"{(folder / 'chapter').resolve()}\n"
    world.wait_for_servers(0)


@pytest.fixture
def hub(world: World) -> Iterator[str]:
    """The embedded hub's address."""
    serving = world.clinder("hub", "--port", "0")
    yield line_with(serving.stdout, "http").strip()
    serving.terminate()
    world.finish(serving)


def test_a_later_step_of_a_job_builds_the_book_on_the_session_of_the_action(
    world: World, action: Path, hub: str
) -> None:
    workflow = Workflow(world, action, variables={"HUB": hub})
    book(workflow.caller, PAGES)
    book(world.directory, PAGES)  # a hub has the repository too, and it is there that code runs
    checkout = "uses: actions/checkout@v7"  # which is act itself: it copies the caller's files
    kept = world.root / "content"
    build = f"run: {MYST} {' '.join(SITE)} && cp -r {CONTENT} {kept}"
    offline = "env: " + json.dumps(OFFLINE)
    ended = workflow.run(job("t", LAST, checkout, binder(warm_up=""), f"{build}\n{offline}"))

    assert ended.code == 0, ended.out
    executed(kept, f"gh/{CALLER}/{workflow.commit}")
    assert printed(kept, "deep") == f"{(world.directory / 'chapter').resolve()}\n"
    assert len([each for each in ended.said() if each.endswith(" is stopped.")]) == 1
    assert ended.with_("LEFT") == ["LEFT ."]
    world.wait_for_servers(0)


def test_a_session_that_dies_while_a_cell_runs_ends_myst_and_says_why(world: World) -> None:
    """By itself MyST would wait for ever for the cell to end."""
    begun = world.root / "begun"
    never = f"import pathlib, threading\npathlib.Path({str(begun)!r}).touch()\n"
    folder = book(world.directory, {"index.md": page(never + "threading.Event().wait()")})
    process = world.popen([*DRIVER, "{}", MYST, *SITE], start_new_session=True, env=OFFLINE)
    until(begun.exists, 60)
    world.kill_servers()
    result = world.finish(process)

    assert result.code == 10
    assert "clinder: The session is gone: " in result.err
    assert "clinder: The session is gone, so clinder ended the command." in result.err
    assert not (folder / CONTENT / "index.json").exists()


def test_a_cold_server_leaves_myst_without_outputs_and_with_code_0(cold: dict[str, Built]) -> None:
    """What clinder warms the first kernel for: each of three tries is ended after 10 s."""
    result = cold["cold"].result()

    assert result.code == 0
    assert result.out.count("Starting WebSocket") == 3
    assert "Unable to create a new kernel" in result.err
    assert outputs(cold["cold"].folder / CONTENT, "index") == []
    assert not (cold["cold"].folder / "paid").exists(), (
        "each try was ended before the cost was paid"
    )


def test_a_cold_server_whose_first_kernel_was_warmed_has_outputs(cold: dict[str, Built]) -> None:
    result = cold["warmed"].result()

    assert result.code == 0
    assert printed(cold["warmed"].folder / CONTENT, "index").startswith("on v2/git/")
