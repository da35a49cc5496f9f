"""A module imports from its own floor or below, never above."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import clinder

PACKAGE = Path(clinder.__file__).parent
FLOORS = {
    "wire": 1,
    "checkout": 1,
    "embedded": 1,
    "bridge": 1,
    "gateway": 2,
    "launch": 2,
    "running": 2,
    "cli": 3,
    "action": 3,
}
BESIDE = {"wire", "checkout", "embedded"}
"""Rooms of floor 1, which do not import one another."""
STARTS_THE_EMBEDDED_HUB = "launch/launch.py"
"""It imports the embedded hub, which imports nothing of ours."""
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def floor(module: str) -> int:
    """Return the number of a module's floor, from 0 for values to 3 for surfaces."""
    return (
        3
        if module in ("__init__.py", "__main__.py", "api.py")
        else FLOORS.get(module.partition("/")[0], 0)
    )


def imported(module: str) -> set[str]:
    """Return the folders and modules of the package that a module imports."""
    rooms = set()
    for node in ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        elif isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("clinder.")}
    return rooms


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_nothing_from_a_higher_floor(module: str) -> None:
    above = {name for name in imported(module) if FLOORS.get(name, 0) > floor(module)}

    assert above == set()


@pytest.mark.parametrize("module", [m for m in MODULES if m.partition("/")[0] in BESIDE])
def test_rooms_of_one_floor_do_not_import_one_another(module: str) -> None:
    assert imported(module) & BESIDE <= {module.partition("/")[0]}


@pytest.mark.parametrize(("module", "other"), [("cli", "action"), ("action", "cli")])
def test_the_surfaces_do_not_import_each_other(module: str, other: str) -> None:
    assert all(other not in imported(each) for each in MODULES if each.startswith(f"{module}/"))


@pytest.mark.parametrize("module", MODULES)
def test_only_the_surfaces_and_the_launch_import_the_embedded_hub(module: str) -> None:
    imports_it = "embedded" in imported(module) and not module.startswith("embedded/")

    assert not imports_it or floor(module) == FLOORS["cli"] or module == STARTS_THE_EMBEDDED_HUB


def test_the_map_in_contributing_names_each_module() -> None:
    """The surfaces and the embedded hub are named only by their folders."""
    text = (PACKAGE.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    mapped = [each for each in MODULES if each.split("/")[0] not in ("cli", "action", "embedded")]
    names = {Path(each).name for each in mapped} - {"__main__.py", "_version.py"}

    assert names == set(re.findall(r"^ {6,8}(\w+\.py) ", text, re.MULTILINE))


def test_the_public_modules_are_those_that_the_map_calls_public() -> None:
    text = (PACKAGE.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    public = {each for each in MODULES if "/" not in each and not each.startswith("_")}

    assert public == set(re.findall(r"^ {6}(\w+\.py) +public: ", text, re.MULTILINE))


# The embedded hub's Jupyter Servers and the bridge are processes of their own.
@pytest.mark.parametrize(
    "module", sorted({*MODULES} - {"embedded/jupyter_process.py", "bridge/__main__.py"})
)
def test_only_the_surfaces_print_or_exit(module: str) -> None:
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    }

    assert floor(module) == FLOORS["cli"] or not calls & {"print", "sys.exit", "exit", "os._exit"}
