"""The options that commands have in common, and what becomes of them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from clinder.errors import UsageError
from clinder.timeouts import STOP_TIMEOUT, Timeouts

if TYPE_CHECKING:
    from clinder.cli.launching import Options

_Function = TypeVar("_Function", bound=Callable[..., Any])
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


quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show warnings and errors only.")
stop_timeout = click.option(
    "--timeout",
    type=parse_seconds,
    metavar="SECONDS",
    default=f"{STOP_TIMEOUT:g}",
    show_default=True,
    help="Seconds until an answer must be clear.",
)


def _require_not_empty(_: click.Context, __: click.Parameter, given: str | None) -> str:
    """Return ``""`` for a repository left out; one that is empty is a variable without a value."""
    if given == "":
        raise UsageError("REPOSITORY is empty.", hint="Leave it out to launch this checkout.")
    return given or ""


def _kernelspec(_: click.Context, __: click.Parameter, given: str) -> str:
    """Return the name; what is none was meant for something else."""
    if given and not re.fullmatch(r"[A-Za-z0-9._-]+", given):
        raise UsageError(
            f"{given!r} is no kernelspec's name.",
            hint="Write --warm-up=KERNEL, or leave it out: the default kernel is warmed up anyway.",
        )
    return given


def _reuse(_: click.Context, __: click.Parameter, given: str) -> bool | str:
    """Return whether, or ``force``; what is neither was meant for something else."""
    if given not in ("", "true", "force"):
        raise UsageError(
            f"--reuse-environment takes `force` or nothing, not {given!r}.",
            hint="Put REPOSITORY before it: `force` is all that may follow.",
        )
    return given if given == "force" else bool(given)


def _seconds(name: str, default: float, meaning: str) -> Callable[[_Function], _Function]:
    """Return the option of a clock, which the environment may set as well."""
    return click.option(
        name,
        cls=EnvOption,
        type=parse_seconds,
        metavar="SECONDS",
        default=f"{default:g}",
        show_default=True,
        envvar=f"CLINDER_{name.strip('-').replace('-', '_').upper()}",
        show_envvar=True,
        help=f"Seconds {meaning}",
    )


def launch_options(function: _Function) -> _Function:
    """Add what ``start`` and ``run`` have in common."""
    options = [
        click.argument("repository", required=False, callback=_require_not_empty),
        click.option(
            "--hub",
            "hubs",
            multiple=True,
            envvar="CLINDER_HUB",
            metavar="URL",
            help="A BinderHub; may be given again, to be tried in order; `local` is the embedded"
            " hub.  [default: https://mybinder.org]",
        ),
        click.option(
            "--ref",
            default="",
            help="Branch, tag or commit, where REPOSITORY names none.  [default: HEAD]",
        ),
        _seconds("--timeout", 1200, "that the launch may take, waits and retries included."),
        _seconds("--connect-timeout", Timeouts.connect, "until a connection stands."),
        _seconds("--idle-timeout", Timeouts.idle, "that a connection may bring nothing."),
        _seconds(
            "--readiness-timeout",
            Timeouts.readiness,
            "from a server's launch to its warmed-up use.",
        ),
        _seconds(
            "--stop-timeout",
            Timeouts.stop,
            f"beyond the others for stopping; after `run`'s COMMAND {STOP_TIMEOUT:g}, if not set.",
        ),
        click.option(
            "--attempts",
            cls=EnvOption,
            type=WholeNumber(1, 3),
            default=3,
            show_default=True,
            envvar="CLINDER_ATTEMPTS",
            show_envvar=True,
            help="Build requests that one hub gets at most, where it breaks or has no room.",
        ),
        click.option(
            "--warm-up",
            is_flag=False,
            flag_value="",
            default="",
            metavar="[KERNEL]",
            callback=_kernelspec,
            help="Start a kernel of this kernelspec, await its answer and remove it before the"
            " session is handed out.  [default: the server's default kernelspec]",
        ),
        click.option("--no-warm-up", is_flag=True, help="Start no kernel beforehand."),
        click.option(
            "--reuse-environment",
            is_flag=False,
            flag_value="true",
            default="",
            metavar="[force]",
            callback=_reuse,
            help="Launch the oldest commit of this checkout's history with the same environment"
            " files, which needs no build of its own; `force`: though the build may read more.",
        ),
        click.option(
            "--build-token",
            metavar="@FILE",
            default="",
            help="Read a hub's build token from a file; or set CLINDER_BUILD_TOKEN to the token.",
        ),
        click.option(
            "--session-file",
            type=click.Path(path_type=Path),
            help="Also write the session to this file (JSON, mode 0600) once it is known.",
        ),
        quiet_option,
        click.option("-v", "--verbose", is_flag=True, help="Show the whole build log."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def build_options(
    *,
    build_token: str,
    warm_up: str,
    no_warm_up: bool,
    session_file: Path | None,
    quiet: bool,
    verbose: bool,
    **values: Any,
) -> Options:
    """Return the options of ``start`` and ``run``. Raises :class:`~clinder.errors.UsageError`."""
    from clinder.cli.launching import Options
    from clinder.launch.options import LaunchOptions

    if warm_up and no_warm_up:
        raise UsageError("--warm-up and --no-warm-up contradict each other.")
    names = (each.name for each in fields(Timeouts))
    launch = LaunchOptions(
        build_token=read_build_token(build_token),
        warm_up=None if no_warm_up else warm_up,
        timeouts=Timeouts(**{name: values.pop(f"{name}_timeout") for name in names}),
        **values,
    )
    return Options(launch, session_file, quiet, verbose)


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
