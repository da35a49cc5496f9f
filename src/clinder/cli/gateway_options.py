"""The options of the gateway between ``clinder run``'s command and the session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from clinder.cli.options import (
    OUTPUT,
    WHAT,
    WHERE,
    option,
    seconds_option,
    variable_options,
)
from clinder.cli.values import refuse_empty
from clinder.errors import UsageError

if TYPE_CHECKING:
    from clinder.gateway.gateway import GatewayOptions
    from clinder.gateway.holding import Prepare

_Function = TypeVar("_Function", bound=Callable[..., Any])
_KERNEL_TIMEOUT = 300.0
_CELL_TIMEOUT = 3600.0


@dataclass(frozen=True)
class GatewaySettings:
    """The options as they were typed. ``use`` is false with ``--no-gateway``."""

    use: bool = True
    kernel_timeout: float = _KERNEL_TIMEOUT
    cell_timeout: float = _CELL_TIMEOUT
    max_kernels: str = "auto"
    aliases: tuple[str, ...] = ()
    map_kernelspecs: bool = True
    kernels: bool = True
    env: tuple[str, ...] = ()
    env_files: tuple[Path, ...] = ()
    env_for: str = ""
    report: Path | None = None
    fail_on_cell_error: bool = False
    lazy: bool = False

    def check(self) -> None:
        """Raise :class:`~clinder.errors.UsageError` for a value that is not valid."""
        from clinder.gateway.kernelspecs import parse_aliases
        from clinder.gateway.slots import KernelLimit

        parse_aliases(self.aliases)
        KernelLimit.parse(self.max_kernels)
        if self.aliases and not self.map_kernelspecs:
            raise UsageError("--kernel-alias and --no-kernel-alias contradict each other.")
        if self.fail_on_cell_error and not self.use:
            raise UsageError("--fail-on-cell-error needs the gateway: omit --no-gateway.")
        if (self.env or self.env_files) and not self.use:
            raise UsageError("--env and --env-file need the gateway: omit --no-gateway.")
        if self.lazy and not self.use:
            raise UsageError("--lazy needs the gateway: omit --no-gateway.")

    def make(self, prepare: Prepare | None = None) -> GatewayOptions:
        """Return the gateway's options. ``prepare`` sets each kernel up."""
        from clinder.gateway.conversation import CellLimits
        from clinder.gateway.gateway import GatewayOptions
        from clinder.gateway.kernelspecs import parse_aliases
        from clinder.gateway.slots import KernelLimit

        return GatewayOptions(
            kernel_timeout=self.kernel_timeout,
            limit=KernelLimit.parse(self.max_kernels),
            aliases=parse_aliases(self.aliases) if self.map_kernelspecs else None,
            cells=CellLimits(cell=self.cell_timeout),
            prepare=prepare,
        )


def gateway_options(function: _Function) -> _Function:
    """Add the gateway's options, and pass them as the arguments of :class:`GatewaySettings`."""
    options = [
        option(
            "--no-gateway",
            "use",
            group=WHERE,
            flag_value=False,
            default=True,
            help="Hand out the session's own URL and token instead of the gateway's.",
        ),
        option(
            "--lazy",
            group=WHERE,
            is_flag=True,
            help="Launch the session only when COMMAND first needs a kernel, if ever.",
        ),
        option(
            "--no-kernels",
            "kernels",
            group=WHERE,
            flag_value=False,
            default=True,
            help="Leave JUPYTER_PATH alone, so that papermill and other tools start their kernels"
            " on this machine.",
        ),
        option(
            "--max-kernels",
            group=WHERE,
            metavar="N|auto|none",
            default="auto",
            show_default=True,
            help="How many kernels run at once; others wait. `auto`: one for each 2 GiB of the"
            " session's memory, if 25% of it is free.",
        ),
        option(
            "--kernel-alias",
            "aliases",
            group=WHERE,
            metavar="NAME=NAME",
            multiple=True,
            help="Run pages that name the first kernelspec on the second. Can be"
            " repeated.  [default: instead of a missing kernelspec, one for the same language]",
        ),
        option(
            "--no-kernel-alias",
            "map_kernelspecs",
            group=WHERE,
            flag_value=False,
            default=True,
            help="Fail if the session lacks a page's kernelspec.",
        ),
        seconds_option(
            "--kernel-timeout",
            _KERNEL_TIMEOUT,
            "Time limit for a kernel's start.",
        ),
        seconds_option(
            "--cell-timeout",
            _CELL_TIMEOUT,
            "How long a cell can run until clinder interrupts it.",
        ),
        option(
            "--env-for",
            group=WHAT,
            metavar="ORG/REPO",
            default="",
            callback=refuse_empty,
            help="The repository that you trust with the variables, if it is not the CI job's.",
        ),
        option(
            "--report",
            group=OUTPUT,
            type=click.Path(path_type=Path),
            metavar="PATH",
            help="Write a JSON report of the run to this file, however the run ends.",
        ),
        option(
            "--fail-on-cell-error",
            group=OUTPUT,
            is_flag=True,
            help="Exit with 1 if COMMAND succeeds but an error in a cell ended its page.",
        ),
    ]
    for each in reversed(options):
        function = each(function)
    return variable_options(function)
