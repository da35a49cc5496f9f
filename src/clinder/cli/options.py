"""The options that several commands share, and the values built from them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from clinder.cli.tokens import read_build_token, read_hub_token
from clinder.cli.values import SessionFilePath, WholeNumber, parse_seconds, refuse_empty
from clinder.errors import UsageError
from clinder.launch.options import ATTEMPTS, FORCE, TIMEOUT, LaunchOptions
from clinder.timeouts import HUB_IDLE, LAUNCH_STOP, SERVER_IDLE, STOP_TIMEOUT, Timeouts

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Result = TypeVar("_Result")
STDOUT = "-"
"""As the value of ``--events``: standard output."""
FAILURE = "false\n"
"""The output of a failed ``start -o shell``: it fails in the shell that evaluates it."""


@dataclass(frozen=True)
class Options:
    """The options of ``start``, ``run`` and ``warm``.

    ``events`` is a path, or :data:`STDOUT`, or empty.
    """

    launch: LaunchOptions
    session_file: Path | None
    quiet: bool
    verbose: bool
    events: str = ""


WHAT, WHERE, LIMITS, OUTPUT = GROUPS = ("What", "Where", "Time limits", "Output")
"""The groups of options in every command's help, in this order."""


class Option(click.Option):
    """An option of a group. If a variable can set it, errors name whichever was used."""

    def __init__(self, *arguments: Any, group: str, **settings: Any):
        super().__init__(*arguments, **settings)
        self.group = group

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Return the name of the variable or of the option."""
        source = ctx.get_parameter_source(self.name or "") if ctx else None
        if source is ParameterSource.ENVIRONMENT:
            return str(self.envvar)
        return click.Parameter.get_error_hint(self, ctx)


def option(*names: str, group: str, **settings: Any) -> Callable[[_Function], _Function]:
    """Return :func:`click.option` for an option of a group."""
    return click.option(*names, cls=Option, group=group, **settings)


quiet_option = option(
    "-q", "--quiet", group=OUTPUT, is_flag=True, help="Show only warnings and errors."
)


def seconds_option(
    name: str, default: float | None, text: str, *, variable: bool = False
) -> Callable[[_Function], _Function]:
    """Return an option in seconds. With ``variable``, an environment variable can set it, too."""
    return option(
        name,
        group=LIMITS,
        type=parse_seconds,
        metavar="SECONDS",
        default=None if default is None else f"{default:g}",
        show_default=True,
        envvar=f"CLINDER_{name.strip('-').replace('-', '_').upper()}" if variable else None,
        help=text,
    )


_time_limit = partial(seconds_option, variable=True)
stop_timeout = seconds_option("--timeout", STOP_TIMEOUT, "How long to keep checking.")


def _require_not_empty(_: click.Context, __: click.Parameter, value: str | None) -> str:
    """Return ``""`` if REPOSITORY is omitted. An empty one is probably an unset variable."""
    if value == "":
        raise UsageError("REPOSITORY is empty.", hint="Omit it to launch the current commit.")
    return value or ""


def _kernelspec(_: click.Context, __: click.Parameter, value: str) -> str:
    """Return a kernelspec's name; ``--warm-up`` might have swallowed another argument."""
    if value and not re.fullmatch(r"[A-Za-z0-9._-]+", value):
        raise UsageError(
            f"{value!r} is not a kernelspec name.",
            hint="Write --warm-up=KERNEL, or omit it to warm up the default kernel.",
        )
    return value


def _reuse(ctx: click.Context, param: click.Parameter, value: str) -> bool | str:
    """Return a boolean or ``force``; ``--reuse-environment`` might have swallowed REPOSITORY."""
    refuse_empty(ctx, param, value)
    if value not in ("", "true", FORCE):
        raise UsageError(
            f"--reuse-environment accepts `force` or no value, not {value!r}.",
            hint="Put REPOSITORY before --reuse-environment.",
        )
    return value if value == FORCE else bool(value)


_connect_timeout = _time_limit("--connect-timeout", Timeouts.connect, "Time limit for connecting.")


def _idle_timeout(default: str) -> Callable[[_Function], _Function]:
    text = "How long a connection can stay silent."
    return _time_limit("--idle-timeout", None, f"{text}  [default: {default}]")


def variable_options(function: _Function) -> _Function:
    """Add the options that name variables for kernels."""
    function = option(
        "--env-file",
        "env_files",
        group=WHAT,
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        multiple=True,
        help="A file with NAME=VALUE lines for kernels. Can be repeated.",
    )(function)
    return option(
        "--env",
        group=WHAT,
        metavar="NAME",
        multiple=True,
        help="A variable that kernels receive. Can be repeated.",
    )(function)


def connection_options(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Add the options that limit a connection to a server, and pass them as ``timeouts``."""

    @wraps(function)
    def command(
        *arguments: Any, connect_timeout: float, idle_timeout: float | None, **values: Any
    ) -> _Result:
        timeouts = Timeouts(connect=connect_timeout, idle=idle_timeout)
        return function(*arguments, timeouts=timeouts, **values)

    return _connect_timeout(_idle_timeout(f"{SERVER_IDLE:g}")(command))


def session_files(group: str, text: str) -> Callable[[_Function], _Function]:
    """Return the option that names sessions by their files."""
    return option(
        "--session-file",
        "files",
        group=group,
        type=SessionFilePath(),
        multiple=True,
        metavar="FILE",
        help=text,
    )


_repository = click.argument("repository", required=False, callback=_require_not_empty)
_ref = option(
    "--ref",
    group=WHAT,
    default="",
    callback=refuse_empty,
    help="Branch, tag or commit, if REPOSITORY names none.  [default: HEAD]",
)
_reuse_environment = option(
    "--reuse-environment",
    group=WHAT,
    is_flag=False,
    flag_value="true",
    default="",
    metavar="[force]",
    callback=_reuse,
    help="Launch the oldest commit with the same environment files, so that the hub can"
    " reuse its image. `force`: even if the build might depend on other files.",
)
_reuse_environment_since = option(
    "--reuse-environment-since",
    group=WHAT,
    metavar="DATE|AGE",
    default="",
    callback=refuse_empty,
    help="Reuse no image of a commit older than this: a date (UTC) such as 2026-01-31, or an"
    " age such as 90d or 12w.",
)
_warm_up = option(
    "--warm-up",
    group=WHAT,
    is_flag=False,
    flag_value="",
    default="",
    metavar="[KERNEL]",
    callback=_kernelspec,
    help="Start and remove a kernel of this kernelspec before handing the session"
    " over.  [default: the server's default]",
)
_no_warm_up = option(
    "--no-warm-up",
    group=WHAT,
    is_flag=True,
    help="Hand the session over without starting a kernel.",
)


def _hubs(text: str) -> Callable[[_Function], _Function]:
    return option(
        "--hub",
        "hubs",
        group=WHERE,
        multiple=True,
        envvar="CLINDER_HUB",
        metavar="URL",
        help=f"{text}  [default: https://mybinder.org]",
    )


_build_token = option(
    "--build-token",
    group=WHERE,
    metavar="@FILE",
    default="",
    callback=refuse_empty,
    help="A file with the hub's build token.",
)


def hub_token_option(text: str) -> Callable[[_Function], _Function]:
    """Return the option for a user's token at a hub that requires a login.

    Its value is the token itself.
    """
    return option(
        "--hub-token",
        group=WHERE,
        metavar="@FILE",
        default="",
        callback=_read_hub_token,
        help=text,
    )


def _read_hub_token(ctx: click.Context, param: click.Parameter, value: str) -> str:
    return read_hub_token(refuse_empty(ctx, param, value))


_hub_token = hub_token_option(
    "A file with your JupyterHub token, if the first hub requires a login."
)
_profile = option(
    "--profile",
    group=WHERE,
    metavar="NAME",
    default="",
    callback=refuse_empty,
    help="The profile with which JupyterHub starts the image, if the first hub only builds it.",
)
_attempts = option(
    "--attempts",
    group=WHERE,
    type=WholeNumber(1, ATTEMPTS),
    default=ATTEMPTS,
    show_default=True,
    envvar="CLINDER_ATTEMPTS",
    help="Maximum number of build requests to one hub.",
)
_limits = [
    _time_limit("--timeout", TIMEOUT, "Time limit for the launch, with all retries."),
    _connect_timeout,
    _idle_timeout(f"{HUB_IDLE:g} for the hub, {SERVER_IDLE:g} for the session"),
    _time_limit(
        "--build-idle-timeout",
        Timeouts.build_idle,
        "How long a build's log can stay silent.",
    ),
    _time_limit(
        "--readiness-timeout",
        Timeouts.readiness,
        "Time limit for the launched server and its first kernel to respond.",
    ),
    _time_limit(
        "--stop-timeout",
        None,
        "Extra time for stopping the session."
        f"  [default: {LAUNCH_STOP:g}; after `run`'s COMMAND and in `warm`: {STOP_TIMEOUT:g}]",
    ),
]
_session_file = option(
    "--session-file",
    group=OUTPUT,
    type=SessionFilePath(),
    help="Also write the session to this file (JSON, mode 0600), as soon as it is launched.",
)
_events = option(
    "--events",
    group=OUTPUT,
    metavar="PATH|-",
    default="",
    callback=refuse_empty,
    help="Write the events to this file, one JSON object per line. `-`: to standard output,"
    " and nothing else there.",
)
_verbose = option("-v", "--verbose", group=OUTPUT, is_flag=True, help="Show the whole build log.")


def launch_options(function: _Function) -> _Function:
    """Add the options that ``start`` and ``run`` share."""
    return _add(
        function,
        _repository,
        _ref,
        _reuse_environment,
        _reuse_environment_since,
        _warm_up,
        _no_warm_up,
        _hubs(
            "The hub to launch on, or `local` for the embedded one. Repeat it for several"
            " hubs, which clinder tries in order."
        ),
        _build_token,
        _hub_token,
        _profile,
        _attempts,
        *_limits,
        _session_file,
        _events,
        quiet_option,
        _verbose,
    )


def warm_options(function: _Function) -> _Function:
    """Add the options of ``warm`` that ``start`` and ``run`` have, too."""
    return _add(
        function,
        _repository,
        _ref,
        _hubs("The hub to warm. Repeat it for several hubs."),
        _build_token,
        _hub_token,
        _attempts,
        *_limits,
        quiet_option,
        _verbose,
    )


def _add(function: _Function, *options: Callable[[_Function], _Function]) -> _Function:
    for add in reversed(options):
        function = add(function)
    return function


def build_options(
    *,
    build_token: str,
    hub_token: str,
    quiet: bool,
    verbose: bool,
    warm_up: str = "",
    no_warm_up: bool = False,
    session_file: Path | None = None,
    events: str = "",
    **values: Any,
) -> Options:
    """Return the options of ``start``, ``run`` or ``warm``.

    Raises :class:`~clinder.errors.UsageError`.
    """
    if warm_up and no_warm_up:
        raise UsageError("--warm-up and --no-warm-up contradict each other.")
    names = (each.name for each in fields(Timeouts))
    launch = LaunchOptions(
        build_token=read_build_token(build_token),
        hub_token=hub_token,
        warm_up=None if no_warm_up else warm_up,
        timeouts=Timeouts(**{name: values.pop(f"{name}_timeout") for name in names}),
        **values,
    )
    return Options(launch, session_file, quiet, verbose, events)
