"""A ``python3`` to put first on PATH, so that ``make coverage`` measures the action's steps.

In a new process coverage starts from site-packages, but the action's steps run without it, as
``python3 -I -S``. This program starts coverage and then runs the file or code, which can import no
more than it otherwise could. Other command lines go to the next ``python3`` on PATH.

``measured.py FOLDER`` installs it into a folder.
"""

from __future__ import annotations

import os
import runpy
import shutil
import sys
import types
from collections.abc import Sequence
from pathlib import Path

NAME = "python3"
_OPTIONS = {"-I", "-S", "-B"}
_HOME = Path(sys.executable).parents[1]  # the environment; with -S, sys.prefix is a different one


def main(program: str, *arguments: str) -> None:
    """Do what Python does with these arguments; ``program`` is the file that was called."""
    options = [
        each for at, each in enumerate(arguments) if _OPTIONS.issuperset(arguments[: at + 1])
    ]
    rest = arguments[len(options) :]
    if "-S" not in options or not rest or (rest[0].startswith("-") and rest[0] != "-c"):
        _run_next_python(Path(program).parent, arguments)
    sys.executable = program  # the action starts its later steps with it
    sys.dont_write_bytecode = "-B" in options
    _start_coverage()
    if rest[0] == "-c":
        sys.argv = ["-c", *rest[2:]]
        sys.modules["__main__"] = module = types.ModuleType("__main__")
        exec(compile(rest[1], "<string>", "exec"), vars(module))  # noqa: S102 - as Python does
    else:
        sys.argv = [*rest]
        runpy.run_path(rest[0], run_name="__main__")


def _start_coverage() -> None:
    """Measure from here on, but only under ``make coverage``."""
    packages = [str(each) for each in _HOME.glob("lib/python*/site-packages")]
    sys.path += packages
    import coverage

    coverage.process_startup()
    sys.path = [each for each in sys.path if each not in packages]


def _run_next_python(folder: Path, arguments: Sequence[str]) -> None:
    """Replace this process by the next Python on PATH."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    path = os.pathsep.join(each for each in folders if Path(each) != folder)
    os.execv(shutil.which(NAME, path=path) or sys.executable, [NAME, *arguments])  # noqa: S606


def install(folder: Path) -> None:
    """Write a program into a folder. This Python runs it, and its code is this file's."""
    folder.mkdir(exist_ok=True)
    program = folder / NAME
    program.write_text(f"#!{sys.executable} -IS\n{Path(__file__).read_text('utf-8')}", "utf-8")
    program.chmod(0o755)


if __name__ == "__main__":
    if Path(sys.argv[0]).name == NAME:
        main(*sys.argv)
    else:
        install(Path(sys.argv[1]))
