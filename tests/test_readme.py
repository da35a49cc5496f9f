"""Every promise in the README is kept: its commands run, and print what it shows."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clinder.errors import EXIT_CODES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
KEPT = ("HOME", "TMPDIR", "COVERAGE_PROCESS_CONFIG")


def blocks(language: str) -> list[str]:
    """Return the README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def environment(**more: str) -> dict[str, str]:
    """Return what a new user's shell has, with clinder installed."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **kept, **more}


def shell(script: str, directory: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=directory,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.posix
@pytest.mark.parametrize("block", blocks("console"))
def test_what_the_console_shows_is_what_comes_out(block: str, tmp_path: Path) -> None:
    commands = re.findall(r"^\$ (.*)$", block, re.MULTILINE)
    shown = re.sub(r"^\$ ", "$ ", block, flags=re.MULTILINE)
    script = "\n".join(f"echo {_quoted('$ ' + command)}\n{command}" for command in commands)

    ran = shell(script, tmp_path)

    assert commands
    assert ran.returncode == 0, ran.stdout
    assert doctest.OutputChecker().check_output(shown, ran.stdout, doctest.ELLIPSIS), ran.stdout
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "started.json"])


@pytest.mark.posix
def test_the_line_for_uvx_gives_myst_a_session(tmp_path: Path) -> None:
    (line,) = [block for block in blocks("sh") if "uvx" in block]
    _stand_in(tmp_path / "uvx", 'exec "$@"')
    _stand_in(tmp_path / "myst", 'clinder status >&2 && echo "myst $*"')

    ran = shell(
        line,
        tmp_path,
        PATH=f"{tmp_path}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}",
        CLINDER_HUB="local",
    )

    assert ran.returncode == 0, ran.stdout
    assert "state:         running" in ran.stdout
    assert "myst build --execute" in ran.stdout
    assert "The session is stopped." in ran.stdout


def test_the_commands_of_a_clone_are_those_that_ci_runs() -> None:
    (clone,) = [block for block in blocks("sh") if "make" in block]

    assert clone.split("\n")[:-1] == ["make demo", "make test"]
    assert set(clone.split("\n")) <= set((ROOT / ".ci" / "run").read_text("utf-8").split("\n"))


def test_the_python_block_starts_a_session_and_stops_it(tmp_path: Path) -> None:
    (block,) = blocks("python")

    ran = subprocess.run(
        [sys.executable, "-c", block],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/user/[\w-]+/\n", ran.stdout), ran.stderr
    assert ran.stderr == ""


def test_the_table_of_exit_codes_is_the_one_in_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", README, re.MULTILINE)

    assert [(int(code), meaning) for code, meaning in rows] == list(EXIT_CODES)


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)

    assert [link for link in links if not (ROOT / link).exists()] == []
    assert links


def _stand_in(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
