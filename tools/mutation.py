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
    "_deadline": ("deadline", "sse", "http", "keep_alive"),
    "_urls": ("urls", "repository", "repository_properties"),
    "timeouts": ("deadline", "launch", "request"),
    "checkout.ci": ("checkout",),
    "checkout.clone": ("checkout",),
    "checkout.detection": ("checkout",),
    "launch.attempt": _LAUNCHES,
    "launch.launch": _LAUNCHES,
    "launch.readiness": ("launch",),
    "launch.request": ("request", "reuse"),
    "launch.retries": ("retries", "launch", "launching"),
    "repository.pages": ("repository", "repository_properties"),
    "repository.parse": ("repository", "repository_properties"),
    "repository.providers": ("repository", "repository_properties"),
    "repository.repository": ("repository", "repository_properties", "urls"),
    "running.keep_alive": ("keep_alive",),
    "running.status": ("stop",),
    "running.stop": ("stop",),
    "wire.byte_queue": ("byte_queue",),
    "wire.sse": ("sse",),
}
"""Which files of ``tests/`` are to kill the mutants of a module of ``clinder``."""


def main(name: str) -> None:
    """Run mutmut on a module, named as in :data:`TESTS`, or by the last part of that alone."""
    module = next((each for each in TESTS if name in (each, each.rpartition(".")[2])), None)
    if module is None:
        sys.exit(f"mutation: no tests are known for {name!r}. Name one of: {', '.join(TESTS)}")
    shutil.rmtree("mutants", ignore_errors=True)  # its verdicts are those of other tests
    settings = config()
    settings.only_mutate = [f"src/clinder/{module.replace('.', '/')}.py"]
    settings.pytest_add_cli_args_test_selection = [f"tests/test_{t}.py" for t in TESTS[module]]
    cli(["run", "--max-children", "1"], standalone_mode=False)
    cli(["results"])


if __name__ == "__main__":
    main(*sys.argv[1:])
