"""The entry point of the action's processes: ``python -I -S __main__.py start``.

The others are ``gateway`` and ``lazy``, which the start step starts, and ``stop``, the post step.

Standard library only, because it first has to make clinder and its packages importable.
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
    """Run a step and return its exit code. Every failure ends in one annotation."""
    # On Windows, a pipe has a different encoding and different line endings.
    if isinstance(sys.stdout, io.TextIOWrapper):  # pragma: no branch - always true, but not to mypy
        sys.stdout.reconfigure(encoding="utf-8", errors="replace", newline="\n")
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _exit_on_signal)
    try:
        return _run(step)
    except OSError as error:
        return _report_failure(step, f"The runner failed: {error}")
    except Exception as error:  # noqa: BLE001 - a bug ends in one message, not in a traceback
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
        return _report_failure(
            step,
            f"A bug in clinder: {type(error).__name__} at {place}.\n"
            "What to do: report this message at https://github.com/org/clinder-action/issues",
            code=70,
        )


def _run(step: str) -> int:
    bootstrap = _load_bootstrap()
    shared = os.environ.get("CLINDER_SHARED", "")
    if not shared:
        return _report_failure(step, "The step that stops the session was not registered.")
    if step == "stop" and not Path(shared).is_dir():  # a step of the job has removed it
        shared = os.environ["CLINDER_FOLDER"]
    try:
        bootstrap.provide(_ROOT, Path(shared))
    except bootstrap.ProvisioningFailed as error:
        return _report_failure(step, str(error))
    if step == "start":
        from clinder.action.start import start

        return start(os.environ)
    if step == "lazy":
        from clinder.action.lazy import serve_lazily

        serve_lazily(Path(sys.argv[-1]))
        return 0
    if step == "gateway":
        from clinder.gateway.process import serve

        serve(Path(sys.argv[-1]))
        return 0
    from clinder.action.stop import stop

    return stop(os.environ)


def _load_bootstrap() -> ModuleType:
    """Load ``bootstrap.py`` without writing byte code into the action's folder."""
    module = ModuleType("clinder_bootstrap")
    path = Path(__file__).with_name("bootstrap.py")
    previous, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        SourceFileLoader(module.__name__, str(path)).exec_module(module)
    finally:
        sys.dont_write_bytecode = previous
    return module


def _report_failure(step: str, message: str, code: int = 1) -> int:
    """Write an annotation without ``workflow.py``, which is not importable yet."""
    for character, escape in _ESCAPES:
        message = message.replace(character, escape)
    continues = os.environ.get("CLINDER_INPUT_FAIL_ON_ERROR", "").strip().lower() == "false"
    kind = "warning" if step != "start" or continues else "error"
    sys.stdout.write(f"::{kind} title=clinder::{message}\n")
    sys.stdout.flush()
    return 0 if step == "start" and continues else code


def _exit_on_signal(signum: int, _: FrameType | None) -> None:
    """Exit at once: either no session exists yet, or the post step finds it in its file."""
    sys.exit(130 if signum == signal.SIGINT else 143)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
