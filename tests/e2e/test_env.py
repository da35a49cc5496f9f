"""``run --env`` with MyST and with restarts, on real kernels for Python and R.

Outputs show the values in hexadecimal, so that a value that appears anywhere is a leak.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from e2e.myst import MYST, OFFLINE, PAGE, book, page, printed
from e2e.world import Result, World

pytestmark = pytest.mark.posix  # myst

SECRETS = {
    "PLAIN": "hunter2-s3cret",
    "QUOTES": 'it\'s "s3cret" `here` \\ and $HOME ${HOME} $(id)',
    "LINES": "one-s3cret\ntwo\r\n\tthree",
    "UTF8": "é 漢字 😀 s3cret",
}
NAMED = [f"--env={name}" for name in SECRETS]
SHOWN = "".join(f"{value.encode().hex()}\n" for value in SECRETS.values())
PYTHON = """
import os
for name in ("PLAIN", "QUOTES", "LINES", "UTF8"): print(os.environb[name.encode()].hex())
"""
R = """
for (name in c("PLAIN", "QUOTES", "LINES", "UTF8"))
  cat(paste(charToRaw(Sys.getenv(name)), collapse = ""), "\\n", sep = "")
"""
CODE = {"python3": PYTHON, "ir": R}
ARGUMENTS = """
import pathlib
secret = os.environb[b"PLAIN"].rstrip()
found = []
for each in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    try:
        # Linux appends the environment if a process has overwritten the end of its arguments.
        start, end = map(int, each.with_name("stat").read_text().rpartition(")")[2].split()[45:47])
        found += [each.with_name("comm").read_text()] * (secret in each.read_bytes()[:end - start])
    except OSError: pass
print("arguments", found)
"""
RESTARTS = """
import json, os, sys, urllib.request
from clinder._deadline import Deadline
from clinder.running.kernels import connect_kernel
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Server

url, token = os.environ["JUPYTER_BASE_URL"], os.environ["JUPYTER_TOKEN"]
server = Server(Session(url, token), Transport(Timeouts(idle=60)))

def post(path, body):
    request = urllib.request.Request(url + path, json.dumps(body).encode(), method="POST")
    request.add_header("Authorization", "token " + token)
    return json.load(urllib.request.urlopen(request))

for name, code in json.loads(sys.argv[1]).items():
    kernel = post("api/kernels", {"name": name})["id"]
    for restart in (False, True):
        if restart: post(f"api/kernels/{kernel}/restart", {})
        with connect_kernel(server, kernel, Deadline(60), 60) as channel:
            print(name, restart)
            for output in channel.execute(code, Deadline(60)): print(output.text, end="")
"""


def has_r() -> bool:
    """Whether this machine has IRkernel, and so the embedded hub's servers, too."""
    folders = (Path(sys.prefix), Path("/usr/local"), Path("/usr"))
    specs = (each / "share/jupyter/kernels/ir/kernel.json" for each in folders)
    return shutil.which("R") is not None and any(each.is_file() for each in specs)


needs_r = pytest.mark.skipif(
    not has_r(), reason="IRkernel is not installed; on Debian: apt-get install r-cran-irkernel"
)


@pytest.fixture(scope="module")
def built(module_world: World) -> tuple[Result, Path]:
    """A book that MyST has built, on a session that is stopped."""
    folder = module_world.directory
    pages = {"index.md": page(PYTHON + ARGUMENTS)}
    if has_r():
        pages["r.md"] = f"{PAGE.replace('python3', 'ir')}\n```{{code-cell}} r\n{R}\n```\n"
    book(folder, pages)
    options = ["--report", "report.json", "--events", "events.jsonl", "-v"]
    command = [MYST, "build", "--site", "--execute"]
    result = module_world.run(
        *["run", "--hub", "local", "--no-warm-up", *NAMED, *options, "--", *command],
        env={**OFFLINE, **SECRETS},
    )
    assert result.code == 0, result.err
    return result, folder / "_build" / "site" / "content"


def test_a_page_has_exactly_the_values(built: tuple[Result, Path]) -> None:
    assert printed(built[1], "index") == f"{SHOWN}arguments []\n"


@needs_r
def test_a_page_in_r_has_exactly_the_values(built: tuple[Result, Path]) -> None:
    assert printed(built[1], "r") == SHOWN


def test_no_value_is_in_anything_that_a_run_prints_or_writes(
    module_world: World, built: tuple[Result, Path]
) -> None:
    result, _ = built
    names = [*sorted(SECRETS)]
    report = module_world.directory / "report.json"
    assert json.loads(report.read_text(encoding="utf-8"))["variables"] == names
    assert f"Each kernel receives these variables: {', '.join(names)}." in result.err
    assert "s3cret" not in result.out + result.err
    written = [each for each in module_world.root.rglob("*") if each.is_file()]
    assert report in written
    assert [each for each in written if b"s3cret" in each.read_bytes()] == []


@pytest.mark.parametrize("kernelspec", ["python3", pytest.param("ir", marks=needs_r)])
def test_a_kernel_has_the_values_again_after_a_restart(world: World, kernelspec: str) -> None:
    code = json.dumps({kernelspec: CODE[kernelspec]})
    command = [sys.executable, "-c", RESTARTS, code]
    result = world.run(
        *["run", "--hub", "local", "--no-warm-up", "-q", *NAMED, "--", *command], env=SECRETS
    )
    assert result.code == 0, result.err
    assert result.out == f"{kernelspec} False\n{SHOWN}{kernelspec} True\n{SHOWN}"
