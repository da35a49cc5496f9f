"""The README's commands run. ``e2e/test_recipes.py`` tests those with output."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
@pytest.mark.parametrize("block", [block for block in blocks("sh") if "make" not in block])
def test_the_commands_run_in_a_shell(block: str, tmp_path: Path) -> None:
    """The installers are stand-ins; ``myst`` is one that shows its session."""
    programs = tmp_path / "programs"
    programs.mkdir()
    _stand_in(programs / "python", 'echo "installs $3 $4"')
    _stand_in(programs / "pipx", 'echo "installs $2"')
    _stand_in(programs / "uvx", 'exec "$@"')
    _stand_in(programs / "myst", 'clinder status >&2 && echo "myst $*"')

    result = shell(
        block,
        tmp_path,
        PATH=f"{programs}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}",
        CLINDER_HUB="local",
    )

    assert result.returncode == 0, result.stdout
    if "pip" in block:
        assert result.stdout.startswith(
            "installs install clinder\ninstalls clinder\nUsage: clinder"
        )
    else:
        assert "state:         running" in result.stdout
        assert "myst build --execute --html" in result.stdout
        assert "The session is stopped." in result.stdout


def test_ci_runs_the_commands_for_a_clone() -> None:
    (clone,) = [block for block in blocks("sh") if "make" in block]

    commands = [line.partition("#")[0].strip() for line in clone.splitlines()]
    assert commands == ["make demo", "make test"]
    assert set(commands) <= set((ROOT / ".ci" / "run").read_text("utf-8").split("\n"))


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


def test_the_page_is_short() -> None:
    assert len(README.splitlines()) < 150


def _stand_in(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
