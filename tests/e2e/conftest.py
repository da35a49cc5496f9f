"""A world for each test, or for a module's: nothing may be left of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.action import built
from e2e.world import World

collect_ignore = ["test_terminal.py"] if sys.platform == "win32" else []  # no pseudo-terminal


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.end()


@pytest.fixture(scope="module")
def module_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    yield made
    made.end()


@pytest.fixture(scope="session")
def action(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The action as a release has it, with its zipapp."""
    return built(tmp_path_factory.mktemp("action") / "v1")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the action's packages that many uses share."""
    return tmp_path_factory.mktemp("shared")
