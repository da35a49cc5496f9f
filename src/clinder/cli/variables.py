"""``--env`` and ``--env-file``: the variables that kernels receive."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from clinder.cli.streams import print_warning, read_text
from clinder.errors import UsageError
from clinder.launch.trust import require_private
from clinder.running.variables import Variables, take_variables

_FILE_LIMIT = 1024 * 1024


def read_variables(
    names: Sequence[str], files: Sequence[Path], urls: Iterable[str] = ()
) -> Variables:
    """Return the variables of the environment that have these names, and those of the files.

    ``urls`` are those that would receive them. Raises :class:`~clinder.errors.UsageError`, among
    others if one of them is plain http to another machine.
    """
    if not names and not files:
        return Variables()
    for url in urls:
        require_private(url)
    values: dict[str, str | None] = {}
    for file in files:
        values |= _read_file(file)
    variables = take_variables(names, os.environ, values)
    for warning in variables.warnings:
        print_warning(warning)
    return variables


def _read_file(path: Path) -> dict[str, str | None]:
    from dotenv import dotenv_values

    text = read_text(path)
    if len(text) > _FILE_LIMIT:
        raise UsageError(f"{path} is too large for a file of variables.")
    return dict(dotenv_values(stream=io.StringIO(text), interpolate=False))
