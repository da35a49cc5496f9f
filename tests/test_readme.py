"""The README's commands run and print what it shows."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from clinder.errors import EXIT_CODES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
INHERITED = ("HOME", "TMPDIR", "PYTHONPATH", "COVERAGE_PROCESS_CONFIG")


def blocks(language: str) -> list[str]:
    """Return the README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a new user's shell, with clinder installed."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **inherited, **more}


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
def test_console_blocks_show_the_real_output(block: str, tmp_path: Path) -> None:
    commands = re.findall(r"^\$ (.*)$", block, re.MULTILINE)
    script = "\n".join(f"echo {shlex.quote('$ ' + command)}\n{command}" for command in commands)

    result = shell(script, tmp_path)

    assert commands
    assert result.returncode == 0, result.stdout
    assert doctest.OutputChecker().check_output(block, result.stdout, doctest.ELLIPSIS), (
        result.stdout
    )
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "started.json"])


@pytest.mark.posix
def test_the_uvx_line_runs_myst_with_a_session(tmp_path: Path) -> None:
    (line,) = [block for block in blocks("sh") if "uvx" in block]
    _stand_in(tmp_path / "uvx", 'exec "$@"')
    _stand_in(tmp_path / "myst", 'clinder status >&2 && echo "myst $*"')

    result = shell(
        line,
        tmp_path,
        PATH=f"{tmp_path}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}",
        CLINDER_HUB="local",
    )

    assert result.returncode == 0, result.stdout
    assert "state:         running" in result.stdout
    assert "myst build --execute" in result.stdout
    assert "The session is stopped." in result.stdout


def test_ci_runs_the_commands_for_a_clone() -> None:
    (clone,) = [block for block in blocks("sh") if "make" in block]

    assert clone.split("\n")[:-1] == ["make demo", "make test"]
    assert set(clone.split("\n")) <= set((ROOT / ".ci" / "run").read_text("utf-8").split("\n"))


def test_the_python_block_runs(tmp_path: Path) -> None:
    (block,) = blocks("python")

    result = subprocess.run(
        [sys.executable, "-c", block],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/clinder-hub/user/[\w-]+/\n", result.stdout), (
        result.stderr
    )
    assert result.stderr == ""


def test_the_table_of_exit_codes_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", README, re.MULTILINE)

    assert [(int(code), meaning) for code, meaning in rows] == list(EXIT_CODES)


def _stand_in(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
