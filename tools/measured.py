"""A ``python3`` for the front of PATH, whose ``-S`` steps ``make coverage`` can measure.

Coverage begins in a new process by what is in its site-packages, and the action's steps run as
``python3 -I -S``, without. This starts it first, and then runs the file or the code, with nothing
more to be imported. What is asked for otherwise goes to the next ``python3``.

``measured.py FOLDER`` puts it into a folder.
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
_HOME = Path(sys.executable).parents[1]  # the environment; without site, sys.prefix is not it


def main(me: str, *arguments: str) -> None:
    """Do what Python does with these arguments; ``me`` is the file that it was called by."""
    options = [
        each for at, each in enumerate(arguments) if _OPTIONS.issuperset(arguments[: at + 1])
    ]
    rest = arguments[len(options) :]
    if "-S" not in options or not rest or (rest[0].startswith("-") and rest[0] != "-c"):
        _other(Path(me).parent, arguments)
    sys.executable = me  # the later steps are started by it
    sys.dont_write_bytecode = "-B" in options
    _begin()
    if rest[0] == "-c":
        sys.argv = ["-c", *rest[2:]]
        sys.modules["__main__"] = module = types.ModuleType("__main__")
        exec(compile(rest[1], "<string>", "exec"), vars(module))  # noqa: S102 - as Python does
    else:
        sys.argv = [*rest]
        runpy.run_path(rest[0], run_name="__main__")


def _begin() -> None:
    """Measure from here on. Where nobody asks for it, nothing happens."""
    packages = [str(each) for each in _HOME.glob("lib/python*/site-packages")]
    sys.path += packages
    import coverage

    coverage.process_startup()
    sys.path = [each for each in sys.path if each not in packages]


def _other(folder: Path, arguments: Sequence[str]) -> None:
    """Become the next Python on PATH."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    path = os.pathsep.join(each for each in folders if Path(each) != folder)
    os.execv(shutil.which(NAME, path=path) or sys.executable, [NAME, *arguments])  # noqa: S606


def install(folder: Path) -> None:
    """Put this file into a folder as a program of this Python."""
    folder.mkdir(exist_ok=True)
    program = folder / NAME
    program.write_text(f"#!{sys.executable} -IS\n{Path(__file__).read_text('utf-8')}", "utf-8")
    program.chmod(0o755)


if __name__ == "__main__":
    if Path(sys.argv[0]).name == NAME:
        main(*sys.argv)
    else:
        install(Path(sys.argv[1]))
