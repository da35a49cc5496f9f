"""Mutate one module and see which mutants its tests let live: ``make mutation MODULE=repository``.

mutmut changes one thing at a time, in the functions of ``src/clinder/``, and runs the tests that
reach it, the fastest first; the survivors are named at the end. ``mutmut show NAME`` says what was
changed. Never changed is what is outside of functions (regular expressions, tables) or in a
property, and without effect what was called on import, or is called in a subprocess of a test.
"""

from __future__ import annotations

import shutil
import sys

from mutmut.__main__ import cli
from mutmut.configuration import config

_LAUNCHES = ("launch", "launching", "retries", "faults")

TESTS = {
    "address": ("address", "repository", "repository_properties"),
    "pages": ("repository", "repository_properties"),
    "repository": ("repository", "repository_properties", "address"),
    "policy.request": ("request", "environment"),
    "policy.checkout": ("checkout",),
    "clocks": ("deadline", "launch", "request"),
    "deadline": ("deadline", "framing", "transport", "watch"),
    "policy.attempt": _LAUNCHES,
    "policy.launch": _LAUNCHES,
    "policy.readiness": ("launch",),
    "policy.retries": ("retries", "launch", "launching"),
    "policy.status": ("stop",),
    "policy.stop": ("stop",),
    "policy.watch": ("watch",),
    "wire.framing": ("framing",),
    "wire.handover": ("handover",),
}
"""Which files of ``tests/`` are to kill the mutants of a module of ``clinder``."""


def main(name: str) -> None:
    """Run mutmut on a module, named as in :data:`TESTS`, with or without ``policy.``."""
    module = name if name in TESTS else f"policy.{name}"
    if module not in TESTS:
        sys.exit(f"mutation: no tests are known for {name!r}. Name one of: {', '.join(TESTS)}")
    shutil.rmtree("mutants", ignore_errors=True)  # its verdicts are those of other tests
    settings = config()
    settings.only_mutate = [f"src/clinder/{module.replace('.', '/')}.py"]
    settings.pytest_add_cli_args_test_selection = [f"tests/test_{t}.py" for t in TESTS[module]]
    cli(["run", "--max-children", "1"], standalone_mode=False)
    cli(["results"])


if __name__ == "__main__":
    main(*sys.argv[1:])
