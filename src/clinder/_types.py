"""The types of values that a caller's code passes, checked as they arrive."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from clinder.errors import UsageError

_NAMES: Mapping[type, str] = {
    str: "a string",
    float: "a number",
    int: "a whole number",
    type(None): "None",
    Sequence: "a list",
    Mapping: "a dictionary",
    os.PathLike: "a path",
}


def require_type(name: str, value: object, *allowed: type) -> None:
    """Raise :class:`~clinder.errors.UsageError` unless a value is of one of the types.

    A whole number is a ``float``, too, but ``True`` and ``False`` are no numbers. The message shows
    no value, because it could be a token.
    """
    accepted = (*allowed, int) if float in allowed else allowed
    if isinstance(value, accepted) and not (isinstance(value, bool) and bool not in allowed):
        return
    expected = " or ".join(_NAMES.get(each, each.__name__) for each in allowed)
    actual = "None" if value is None else type(value).__name__
    raise UsageError(f"{name} must be {expected}, not {actual}.")
