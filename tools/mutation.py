"""Mutate a module and list the mutants that survive its tests: ``make mutation MODULE=retries``.

mutmut changes one thing at a time in the module's functions and runs the tests that reach it, the
fastest first. At the end it lists the survivors; ``mutmut show NAME`` shows one. It cannot change
code outside of functions (regular expressions, tables) or in properties. Changes to code that runs
on import, or in a test's subprocess, have no effect.
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
    "timeouts": ("timeouts", "launch"),
    "checkout.addresses": ("addresses", "surroundings"),
    "checkout.age_limit": ("age_limit",),
    "checkout.ci": ("checkout",),
    "checkout.clone": ("checkout",),
    "checkout.detection": ("checkout",),
    "checkout.requirements": ("environment_files", "surroundings"),
    "checkout.scripts": ("environment_files", "surroundings"),
    "checkout.fallback": ("fallback",),
    "gateway.cell_log": ("conversation",),
    "gateway.closing": ("report",),
    "gateway.consumer": ("conversation", "conversation_properties"),
    "gateway.conversation": ("conversation", "conversation_properties"),
    "gateway.incoming": ("conversation",),
    "gateway.kernelspecs": ("kernelspecs",),
    "gateway.metrics": ("report",),
    "gateway.pending": ("conversation",),
    "gateway.report": ("report",),
    "gateway.request": ("conversation",),
    "gateway.slots": ("slots",),
    "launch.attempt": (*_LAUNCHES, "timeouts"),
    "launch.build_failure": ("build_failure",),
    "launch.launch": _LAUNCHES,
    "launch.on_demand": ("on_demand",),
    "launch.readiness": ("launch", "faults", "timeouts"),
    "launch.request": ("request", "reuse"),
    "launch.retries": ("retries", "launch", "launching"),
    "launch.warm": ("warm",),
    "repository.https": ("checkout",),
    "repository.archive_pages": ("repository", "repository_properties"),
    "repository.git_pages": ("repository", "repository_properties"),
    "repository.git_url_pages": ("repository", "repository_properties"),
    "repository.page": ("repository", "repository_properties"),
    "repository.pages": ("repository", "repository_properties"),
    "repository.parse": ("repository", "repository_properties"),
    "repository.providers": ("repository", "repository_properties"),
    "repository.repository": ("repository", "repository_properties", "urls"),
    "running.keep_alive": ("keep_alive", "timeouts"),
    "running.status": ("stop", "timeouts"),
    "running.stop": ("stop", "timeouts"),
    "wire.byte_queue": ("byte_queue",),
    "wire.kernel_envelope": ("kernel_envelope",),
    "wire.hub_pages": ("binderhub",),
    "wire.refusals": ("binderhub", "transcripts"),
    "wire.sse": ("sse",),
}
"""The files in ``tests/`` that should kill the mutants of each module of ``clinder``."""


def main(name: str) -> None:
    """Run mutmut on a module; its name is a key of :data:`TESTS`, or the last part of one."""
    module = next((each for each in TESTS if name in (each, each.rpartition(".")[2])), None)
    if module is None:
        sys.exit(f"mutation: no tests are listed for {name!r}. Choose one of: {', '.join(TESTS)}")
    shutil.rmtree("mutants", ignore_errors=True)  # the results of a previous run
    settings = config()
    settings.only_mutate = [f"src/clinder/{module.replace('.', '/')}.py"]
    settings.pytest_add_cli_args_test_selection = [f"tests/test_{t}.py" for t in TESTS[module]]
    cli(["run", "--max-children", "1"], standalone_mode=False)
    cli(["results"])


if __name__ == "__main__":
    main(*sys.argv[1:])
