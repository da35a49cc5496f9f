"""What the README and the pages of recipes show works, on the embedded hub.

They run a few at a time, each in a folder of its own, because they mostly wait.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.myst import BIN, OFFLINE, book, page
from e2e.terminal import Terminal
from e2e.world import World, line_with

pytestmark = [
    pytest.mark.posix,
    pytest.mark.timeout(300),  # the first test waits until all recipes have ended
]

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = 3
README, SHELL, PYTHON = "README.md", "docs/shell.md", "docs/python-recipes.md"
FAILURE, REPORT = "React to a failure", "Read JSON with jq (2)"
PUBLIC_HUB = "https://mybinder.org"
DOWN = {"CLINDER_HUB": "http://127.0.0.1:1", "CLINDER_ATTEMPTS": "1"}
JQ = f"""#!{sys.executable}
import sys, jq
*options, program = sys.argv[1:] if "json" not in sys.argv[-1] else sys.argv[1:-1]
text = sys.stdin.read() if "json" not in sys.argv[-1] else open(sys.argv[-1]).read()
for value in jq.compile(program).input_text(text):
    print(value)
"""
"""A program for the library jq, which the tests need in any case; it knows only ``-r``."""


def blocks(name: str, language: str) -> dict[str, str]:
    """Return the first code block of each section in a language, by the section's heading."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for section in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]:
        code = re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        found |= {
            section.partition("\n")[0] + ("" if number == 0 else f" ({number + 1})"): each
            for number, each in enumerate(code)
        }
    return found


SCRIPTS = blocks(SHELL, "bash")
PROGRAMS = blocks(PYTHON, "python")


Outcome = tuple[int, str]
"""An exit code, and the output."""


def _run(world: World, name: str, command: Sequence[str]) -> Outcome:
    folder = world.root / re.sub(r"\W+", "-", name)
    if name == REPORT:
        book(folder, {"index.md": page("1 / 0")})
    folder.mkdir(exist_ok=True)
    output = folder / "output"
    with output.open("w") as file:
        process = world.popen(
            command,
            cwd=folder,
            env=DOWN if name == FAILURE else OFFLINE,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    return process.wait(100), output.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def hub(module_world: World) -> Iterator[str]:
    """The embedded hub in place of mybinder.org, and a shell in which clinder is installed."""
    programs = module_world.root / "programs"
    programs.mkdir()
    (programs / "jq").write_text(JQ, encoding="utf-8")
    (programs / "jq").chmod(0o755)
    path = (programs, Path(sys.executable).parent, BIN, os.environ["PATH"])
    module_world.variables["PATH"] = os.pathsep.join(map(str, path))
    serving = module_world.clinder("hub", "--port", "0", "-q")
    url = line_with(serving.stdout, "http://").strip()
    module_world.variables["CLINDER_HUB"] = url
    yield url
    module_world.wait_for_servers(0)
    serving.terminate()
    module_world.finish(serving)


@pytest.fixture(scope="module")
def recipes(module_world: World, hub: str) -> Iterator[dict[str, Future[Outcome]]]:
    commands = {
        **{name: ["bash", "-c", script] for name, script in SCRIPTS.items()},
        **{
            name: [sys.executable, "-c", program.replace(PUBLIC_HUB, hub)]
            for name, program in PROGRAMS.items()
        },
    }
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            name: pool.submit(_run, module_world, name, command)
            for name, command in commands.items()
        }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Use a session in a script, and always stop it", ["ready\nstill the same session\n"]),
        (
            "Start several sessions at once",
            [f"v2/gh/ORG/{each}/HEAD\n" for each in ("ONE", "TWO")],
        ),
        ("Read JSON with jq", ["gh/ORG/REPO/HEAD\nwaiting: 0", "\nreadiness\nrunning\n"]),
        (REPORT, ["\nindex.md: ZeroDivisionError\n"]),
        ("Run a program with a session", ["42\n"]),
        (
            "Use several sessions at once",
            [
                f"binder-examples/{each}: gh/binder-examples/{each}/HEAD\n"
                for each in ("requirements", "conda")
            ],
        ),
        ("Handle a failure", ["/user/binder-examples-requirements-"]),
        ("Follow a launch", ["launching took", "readiness took", "ready\n"]),
        ("Cancel a launch", ["Cancelled.\n"]),
    ],
)
def test_a_recipe_works(
    recipes: dict[str, Future[Outcome]], name: str, expected: list[str]
) -> None:
    code, output = recipes[name].result()

    assert code == 0, output
    for text in expected:
        assert text in output


def test_a_recipe_reacts_to_a_hub_that_is_down(recipes: dict[str, Future[Outcome]]) -> None:
    code, output = recipes[FAILURE].result()

    assert code == 0
    assert output.endswith("\nthe hub has a problem: try again later\n")


def test_every_recipe_is_in_a_test() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")

    assert [name for name in (*SCRIPTS, *PROGRAMS) if f'"{name}"' not in tested] == []


def _normalize(text: str) -> str:
    """Leave out what differs from run to run: addresses, times, numbers and kernelspecs."""
    text = re.sub(r"http://\S+", "URL", text)
    text = re.sub(r"\d[\d.:T-]*Z?", "N", text)
    return re.sub(r"(on the session: ).*", r"\1KERNELSPECS", text)


@pytest.mark.parametrize("name", [README, SHELL])
def test_a_terminal_shows_what_the_page_shows(name: str, module_world: World, hub: str) -> None:
    (block,) = blocks(name, "console").values()
    commands = re.findall(r"^\$ (.*)$", block, re.MULTILINE)
    script = "\n".join(f"echo {shlex.quote('$ ' + command)}\n{command}" for command in commands)

    terminal = Terminal(module_world, ["bash", "-ec", script], columns=200)

    assert terminal.finish() == 0
    assert _normalize("\n".join(terminal.lines)) == _normalize(block.strip())
