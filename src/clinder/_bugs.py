"""The one message about a bug in clinder, which takes the place of a traceback."""

from __future__ import annotations

import traceback
from pathlib import Path

from clinder._version import __version__


def describe_bug(error: BaseException) -> str:
    """Return where an error was raised that clinder did not expect, without its text."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"A bug in clinder {__version__}: {type(error).__name__} at"
        f" {Path(where.filename).name}:{where.lineno} in {where.name}."
    )
