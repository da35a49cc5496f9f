"""A world for each test or module, which leaves nothing behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.action import copy_action
from e2e.world import World

collect_ignore = (
    ["test_recipes.py", "test_terminal.py"] if sys.platform == "win32" else []
)  # no pseudo-terminal


@pytest.fixture(scope="module")
def module_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.end()


@pytest.fixture(scope="session")
def action(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The action as in a release, with its zipapp."""
    return copy_action(tmp_path_factory.mktemp("action") / "v1")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the action's packages, which many uses share."""
    return tmp_path_factory.mktemp("shared")
