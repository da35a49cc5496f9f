"""The tokens that a user gives clinder, in a file or a variable but not on the command line."""

from __future__ import annotations

import os
from pathlib import Path

from clinder._private_files import read_token
from clinder.cli.streams import read_text
from clinder.errors import UsageError

HUB_TOKEN = "CLINDER_HUB_TOKEN"  # noqa: S105 - the name of the variable


def read_build_token(argument: str) -> str:
    """Return the token in ``@FILE`` or, if the argument is empty, in ``CLINDER_BUILD_TOKEN``.

    Raises :class:`~clinder.errors.UsageError`.
    """
    if not argument:
        token = os.environ.get("CLINDER_BUILD_TOKEN", "").strip()
    elif argument.startswith("@"):
        token = read_text(Path(argument[1:])).strip()
        if not token:
            raise UsageError(f"The file {argument[1:]} contains no build token.")
    else:
        raise UsageError(
            "A build token must not be on the command line, where other users can see it.",
            hint="Use --build-token @FILE, or set CLINDER_BUILD_TOKEN.",
        )
    return token


def read_hub_token(argument: str) -> str:
    """Return the token in ``@FILE`` or, if the argument is empty, in ``CLINDER_HUB_TOKEN``.

    The variable is removed from this process, so that no program that it starts receives it. Raises
    :class:`~clinder.errors.UsageError`.
    """
    token = os.environ.pop(HUB_TOKEN, "").strip()
    if not argument:
        return token
    if not argument.startswith("@"):
        raise UsageError(
            "A hub token must not be on the command line, where other users can see it.",
            hint=f"Use --hub-token @FILE, or set {HUB_TOKEN}.",
        )
    return read_token(Path(argument[1:]), "token file")
