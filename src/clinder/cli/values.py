"""The values of options and arguments: how their text is read, and what is refused."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from clinder.errors import UsageError

_A_YEAR = 366 * 86400.0


def parse_seconds(text: str | float) -> float:
    """Return a positive number of seconds, less than a year. Raises :class:`click.BadParameter`."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < _A_YEAR:
        raise click.BadParameter(f"{str(text)!r} is not a number of seconds greater than 0.")
    return number


class WholeNumber(click.IntRange):
    """A whole number from ``min`` to ``max``."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number, or fail with a message that states the range."""
        with suppress(click.BadParameter):
            return int(super().convert(value, param, ctx))
        message = f"{str(value)!r} is not a whole number from {self.min} to {self.max}."
        raise click.BadParameter(message, ctx, param)


def parse_path(text: str) -> Path:
    """Return the path of a session file. Raises :class:`~clinder.errors.UsageError` if empty."""
    if not text:
        raise UsageError(
            "The path of the session file is empty.", hint="Is it a variable that is not set?"
        )
    return Path(text)


class SessionFilePath(click.Path):
    """The path of a session file."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path. Raises :class:`~clinder.errors.UsageError` if it is empty."""
        return parse_path(str(super().convert(value, param, ctx)))


def refuse_empty(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Return the value of an option, unless it is given but empty."""
    if value == "" and ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE:
        raise UsageError(
            f"{param.opts[-1]} is empty.",
            hint=f"Is it a variable that is not set? Omit {param.opts[-1]} to use the default.",
        )
    return value
