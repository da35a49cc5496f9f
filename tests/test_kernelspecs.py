"""A page whose kernelspec the server lacks runs on the server's kernelspec for its language."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinder.errors import UsageError
from clinder.gateway.kernelspecs import Mapped, map_kernelspec, parse_aliases


def specs(default: str, **languages: str) -> dict[str, Any]:
    """Return a server's response to GET api/kernelspecs."""
    kernelspecs = {
        name.replace("_", "-"): {"name": name, "spec": {"language": language}}
        for name, language in languages.items()
    }
    return {"default": default, "kernelspecs": kernelspecs}


PYTHON = specs("python3", python3="python")
MANY = specs("python3", python3="python", ir="R", julia_1="julia", bash="bash", pysal="Python")
R_ONLY = specs("ir", ir="R")


@pytest.mark.parametrize(
    ("requested", "server", "started"),
    [
        # names that people's notebooks have
        ("conda-base-py", PYTHON, "python3"),
        ("conda-env-pangeo-py", MANY, "python3"),
        ("conda-root-r", MANY, "ir"),
        ("conda-env-r-py", MANY, "python3"),
        ("conda-env-python-r", MANY, "ir"),
        ("conda-env-x-julia-1.10", MANY, "julia-1"),
        ("python2", MANY, "python3"),
        ("py311", MANY, "python3"),
        (".venv", MANY, "python3"),
        ("my-environment", MANY, "python3"),
        ("xpython", MANY, "python3"),
        ("ir43", MANY, "ir"),
        ("xr", MANY, "ir"),
        ("julia-1.9", MANY, "julia-1"),
        ("bash_kernel", MANY, "bash"),
        # a language that the server lacks
        ("ir", PYTHON, "python3"),
        ("python3", R_ONLY, "ir"),
        # a server whose default does not fit
        ("conda-base-py", specs("ir", ir="R", b="python", a="python"), "a"),
        ("x", specs("gone", b="python", a="R"), "a"),
    ],
)
def test_a_kernelspec_that_the_server_lacks_is_replaced_with_a_warning_that_names_both(
    requested: str, server: dict[str, Any], started: str
) -> None:
    mapped = map_kernelspec(requested, server)

    assert mapped.name == started
    assert repr(requested) in mapped.warning
    assert repr(started) in mapped.warning


@pytest.mark.parametrize("requested", ["python3", "Python3", ""])
def test_a_kernelspec_that_the_server_has_and_its_default_are_kept(requested: str) -> None:
    assert map_kernelspec(requested, PYTHON) == Mapped(requested)


def test_the_language_of_the_page_counts_more_than_the_name() -> None:
    assert map_kernelspec("conda-env-x-py", MANY, language="R").name == "ir"


@pytest.mark.parametrize(
    ("alias", "started", "warns"),
    [("ir", "ir", False), ("conda-env-x-r", "ir", True), ("nothing", "python3", True)],
)
def test_an_alias_replaces_the_requested_kernelspec(alias: str, started: str, warns: bool) -> None:
    mapped = map_kernelspec("mine", MANY, {"mine": alias})

    assert mapped.name == started
    assert bool(mapped.warning) == warns
    assert map_kernelspec("other", MANY, {"mine": alias}).name == "python3"


@pytest.mark.parametrize(
    "server",
    [
        {},
        {"kernelspecs": []},
        {"kernelspecs": {}},
        {"default": 1, "kernelspecs": {}},
    ],
)
def test_without_the_servers_kernelspecs_the_requested_one_is_kept(server: dict[str, Any]) -> None:
    assert map_kernelspec("mine", server) == Mapped("mine")


@given(st.text(), st.dictionaries(st.text(), st.none() | st.text() | st.just({"spec": 1})))
def test_any_server_has_a_kernelspec_or_none(requested: str, kernelspecs: dict[str, Any]) -> None:
    mapped = map_kernelspec(requested, {"default": "x", "kernelspecs": kernelspecs})

    assert mapped.name in (*kernelspecs, requested)
    assert len(mapped.warning) < 400


def test_names_of_the_server_cannot_forge_a_log_line() -> None:
    warning = map_kernelspec("a\n::error::", specs("b\x1b[31m\n", **{"b\x1b[31m\n": "x"})).warning

    assert "\n" not in warning
    assert "\x1b" not in warning


def test_aliases_are_parsed() -> None:
    assert parse_aliases(["a=b", " c = d=e "]) == {"a": "b", "c": "d=e"}


@pytest.mark.parametrize("text", ["", "a", "a=", "=b", " = "])
def test_an_alias_without_both_names_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="NAME=NAME"):
        parse_aliases([text])
