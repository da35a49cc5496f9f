"""A bridge's own decisions; what passes through it is tested with real tools and kernels."""

from __future__ import annotations

import pytest

from clinder.bridge.relay import name_kernel


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("python bin/jupyter-execute docs/nb.ipynb --output=out.ipynb", "nb"),
        ("python bin/papermill in.ipynb out.ipynb", "in"),
        ("python bin/jupyter-nbconvert one.ipynb two.ipynb", "jupyter-nbconvert"),
        ("python bin/sphinx-build docs public", "sphinx-build"),
        ("python -m sphinx docs public", "kernel"),
        ("/home/a/work/nb.ipynb", "nb"),
        ("", "kernel"),
    ],
)
def test_a_kernel_is_named_for_the_notebook_or_else_for_the_tool(arguments: str, name: str) -> None:
    assert name_kernel(arguments.split()) == name
