"""The arguments that need more than click to be read."""

from __future__ import annotations

import math
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from clinder.errors import UsageError

_A_YEAR = 366 * 86400.0


def parse_seconds(text: str | float) -> float:
    """Return a number of seconds, more than none and less than a year, or fail."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < _A_YEAR:
        raise click.BadParameter(f"{str(text)!r} is not a number of seconds more than 0.")
    return number


class WholeNumber(click.IntRange):
    """A whole number from ``min`` to ``max``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number, or fail in words that say which there are."""
        with suppress(click.BadParameter):
            return int(super().convert(value, param, ctx))
        what = f"{str(value)!r} is not a whole number from {self.min} to {self.max}."
        raise click.BadParameter(what, ctx, param)


class EnvOption(click.Option):
    """An option that the environment may set as well; a message names where the value is from."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Return the option, or the variable where that was the one."""
        source = ctx.get_parameter_source(self.name or "") if ctx else None
        if source is ParameterSource.ENVIRONMENT:
            return str(self.envvar)
        return click.Parameter.get_error_hint(self, ctx)


def read_build_token(given: str) -> str:
    """Return the token of ``@FILE``, or with ``""`` the environment's.

    Raises :class:`~clinder.errors.UsageError`.
    """
    token = _read(given)
    if given and not token:
        raise UsageError(f"The file {given[1:]} holds no build token.")
    if not re.fullmatch(r"[!-~]*", token):
        raise UsageError("The build token holds characters that no token has.")
    return token


def _read(given: str) -> str:
    if not given:
        return os.environ.get("CLINDER_BUILD_TOKEN", "").strip()
    if not given.startswith("@"):
        raise UsageError(
            "A build token is not given on the command line, where others can see it.",
            hint="Give --build-token @FILE, or set CLINDER_BUILD_TOKEN.",
        )
    try:
        return Path(given[1:]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"The build token cannot be read from {given[1:]}: {reason}.") from None
