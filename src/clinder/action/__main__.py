"""The entry points of the action's steps: ``python -I -S __main__.py start``, and ``stop``.

Standard library only: what clinder itself needs is provided first.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import FrameType, ModuleType

_ROOT = Path(__file__).resolve().parents[3]
_ESCAPES = (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"))


def main(step: str) -> int:
    """Run a step and return its exit code; every failure ends in one annotation."""
    # On Windows it is neither, in a pipe.
    if isinstance(sys.stdout, io.TextIOWrapper):  # pragma: no branch - it is one, but to mypy
        sys.stdout.reconfigure(encoding="utf-8", errors="replace", newline="\n")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit_on_signal)
    try:
        return _run(step)
    except OSError as error:
        return _report_failure(step, f"This runner does not work as it should: {error}")
    except Exception as error:  # noqa: BLE001 - a bug still ends in one message, without a traceback
        where = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(where.filename).name}:{where.lineno} in {where.name}"
        return _report_failure(
            step,
            f"A bug in clinder: {type(error).__name__} at {at}.\n"
            "What to do: report this line at https://github.com/org/clinder-action/issues",
            code=70,
        )


def _run(step: str) -> int:
    bootstrap = _load_bootstrap()
    shared = os.environ.get("CLINDER_SHARED", "")
    if not shared:
        return _report_failure(step, "The step that stops the session was not registered.")
    try:
        # What the job's steps removed is no reason not to stop: the use's own folder will do.
        there = Path(shared).is_dir() or step == "start"
        bootstrap.provide(_ROOT, Path(shared if there else os.environ["CLINDER_FOLDER"]))
    except bootstrap.ProvisioningFailed as error:
        return _report_failure(step, str(error))
    if step == "start":
        from clinder.action.start import start

        return start(os.environ)
    from clinder.action.stop import stop

    return stop(os.environ)


def _load_bootstrap() -> ModuleType:
    """Return the module beside this one, leaving no byte code in the action's folder."""
    module = ModuleType("clinder_bootstrap")
    path = Path(__file__).with_name("bootstrap.py")
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        SourceFileLoader(module.__name__, str(path)).exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def _report_failure(step: str, message: str, code: int = 1) -> int:
    """Say in one annotation what went wrong, before there is a module for that."""
    for character, escape in _ESCAPES:
        message = message.replace(character, escape)
    goes_on = os.environ.get("CLINDER_INPUT_FAIL_ON_ERROR", "").strip().lower() == "false"
    kind = "warning" if step != "start" or goes_on else "error"
    sys.stdout.write(f"::{kind} title=clinder::{message}\n")
    sys.stdout.flush()
    return 0 if step == "start" and goes_on else code


def _exit_on_signal(number: int, _: FrameType | None) -> None:
    """End at once: nothing has been started yet, or what was is in its file."""
    sys.exit(130 if number == signal.SIGINT else 143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
