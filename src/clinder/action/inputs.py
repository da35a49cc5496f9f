"""The action's inputs, which ``action.yml`` passes as environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from clinder.errors import UsageError
from clinder.gateway.conversation import CellLimits
from clinder.gateway.gateway import GatewayOptions
from clinder.gateway.slots import AUTO, KernelLimit
from clinder.launch.options import FORCE, LOCAL, TIMEOUT, LaunchOptions
from clinder.timeouts import Timeouts

PREFIX = "CLINDER_INPUT_"
_A_YEAR = 366 * 86400.0


@dataclass(frozen=True)
class Inputs:
    """The action's inputs: the settings of the launch, and what the job does with its result.

    ``gateway`` is ``None`` if later steps connect to the session itself. ``kernels``: whether tools
    that start local kernels run on the session, too. ``env`` names the variables that each kernel
    receives, and ``env_for`` the repository that the user trusts with them. ``lazy``: the session
    is launched once a later step needs a kernel.
    """

    launch: LaunchOptions
    gateway: GatewayOptions | None = field(default_factory=GatewayOptions)
    kernels: bool = False
    env: tuple[str, ...] = ()
    env_for: str = ""
    fail_on_cell_error: bool = False
    export_environment: bool = True
    fail_on_error: bool = True
    lazy: bool = False


def read(environ: Mapping[str, str]) -> Inputs:
    """Return the inputs. Raises :class:`~clinder.errors.UsageError` if one is invalid."""
    launch = LaunchOptions(
        hubs=_hubs(_text(environ, "hub-url")),
        repository=_text(environ, "repo"),
        ref=_text(environ, "ref"),
        build_token=_text(environ, "build-token"),
        hub_token=_text(environ, "hub-token"),
        profile=_text(environ, "profile"),
        hands_out=not _flag(environ, "gateway"),
        timeout=_seconds(environ, "timeout", TIMEOUT),
        timeouts=Timeouts(build_idle=_seconds(environ, "build-idle-timeout", Timeouts.build_idle)),
        warm_up=_warm_up(_text(environ, "warm-up")),
        reuse_environment=_reuse(_text(environ, "reuse-environment").lower()),
        reuse_environment_since=_text(environ, "reuse-environment-since"),
    )
    gateway = GatewayOptions(
        kernel_timeout=_seconds(environ, "kernel-timeout", GatewayOptions.kernel_timeout),
        limit=KernelLimit.parse(_text(environ, "max-kernels").lower() or AUTO),
        cells=CellLimits(_seconds(environ, "cell-timeout", CellLimits.cell)),
    )
    use_gateway, kernels = _flag(environ, "gateway"), _flag(environ, "kernels", default=False)
    env = tuple(_text(environ, "env").split())
    lazy = _flag(environ, "lazy", default=False)
    for name, value in {"kernels": kernels, "env": env, "lazy": lazy}.items():
        if value and not use_gateway:
            raise UsageError(f"The input {name} needs the gateway: omit `gateway: false`.")
    return Inputs(
        launch,
        gateway=gateway if use_gateway else None,
        kernels=kernels,
        env=env,
        env_for=_text(environ, "env-for"),
        fail_on_cell_error=_flag(environ, "fail-on-cell-error", default=False),
        export_environment=_flag(environ, "export-environment"),
        fail_on_error=fails_on_error(environ),
        lazy=lazy,
    )


def fails_on_error(environ: Mapping[str, str]) -> bool:
    """Return whether the job fails if no session can be started."""
    return _flag(environ, "fail-on-error")


def continues_on_error(environ: Mapping[str, str]) -> bool:
    """Return whether the job continues if no session can be started, and no input is invalid."""
    try:
        return not fails_on_error(environ)
    except UsageError:
        return False


def _text(environ: Mapping[str, str], name: str) -> str:
    return environ.get(PREFIX + name.replace("-", "_").upper(), "").strip()


def _hubs(text: str) -> tuple[str, ...]:
    hubs = tuple(text.split())
    if LOCAL in (hub.lower() for hub in hubs):
        raise UsageError(
            "The action does not include the embedded hub.",
            hint="Start it in an earlier step with `clinder hub &`, and set `hub-url` to its URL.",
        )
    return hubs


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    try:
        number = float(_text(environ, name) or default)
    except ValueError:
        number = 0.0
    if not 0 < number < _A_YEAR:
        raise UsageError(f"The input {name} is not a number of seconds greater than 0.")
    return number


def _warm_up(text: str) -> str | None:
    if text.lower() == "false":
        return None
    return "" if text.lower() == "true" else text


def _reuse(text: str) -> bool | Literal["force"]:
    if text == FORCE:
        return FORCE
    if text not in ("", "true", "false"):
        raise UsageError(f"The input reuse-environment is not `true`, `false` or `{FORCE}`.")
    return text == "true"


def _flag(environ: Mapping[str, str], name: str, *, default: bool = True) -> bool:
    text = _text(environ, name).lower()
    if text not in ("", "true", "false"):
        raise UsageError(f"The input {name} is neither `true` nor `false`.")
    return text == "true" if text else default
