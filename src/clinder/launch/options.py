"""The settings of a launch: one value that every surface builds and passes on."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from clinder._types import require_type
from clinder.checkout.age_limit import AgeLimit
from clinder.errors import UsageError
from clinder.timeouts import Timeouts

LOCAL = "local"
"""Given in place of a hub's URL, this means the embedded hub."""
TIMEOUT = 1800.0
"""Default time limit for a launch, in seconds. Of 66 real launches, 3 took longer than 1200 s."""
ATTEMPTS = 3
"""Maximum build requests to one hub, because BinderHub allows ten an hour from one address."""
FORCE: Literal["force"] = "force"
"""Reuse an environment even if the build might read other files."""


@dataclass(frozen=True)
class LaunchOptions:
    """A user's settings for a launch: the repository, the hubs and the limits.

    ``repository`` is any form that ``clinder start --help`` lists. ``""`` means the commit that
    this CI job builds, otherwise HEAD of the clone in ``directory``. ``hubs`` are tried in order;
    :data:`LOCAL` is the embedded hub, which serves ``directory``. ``timeout`` limits the whole
    launch, in seconds, from working out what to launch until the session is ready. ``warm_up``
    names the kernelspec of the first kernel: ``""`` is the server's default, ``None`` starts no
    kernel. ``attempts``, from 1 to :data:`ATTEMPTS`, limits the build requests to one hub.
    ``hub_token`` is a user's token for the first hub, if that requires a login; ``hands_out`` tells
    whether programs other than clinder and its gateway open the session, so that it needs a token
    of its own. If that hub only builds images, ``profile`` names the profile with which its
    JupyterHub starts them.
    ``reuse_environment_since`` is empty or has the form of an
    :class:`~clinder.checkout.age_limit.AgeLimit`.

    Raises :class:`~clinder.errors.UsageError` if a value is of the wrong type or out of range.
    """

    repository: str = ""
    hubs: tuple[str, ...] = ()
    ref: str = ""
    timeout: float = TIMEOUT
    build_token: str = field(default="", repr=False)
    warm_up: str | None = ""
    timeouts: Timeouts = field(default_factory=Timeouts)
    attempts: int = ATTEMPTS
    reuse_environment: bool | Literal["force"] = False
    reuse_environment_since: str = ""
    directory: Path = Path()
    hub_token: str = field(default="", repr=False)
    hands_out: bool = True
    profile: str = ""

    def __post_init__(self) -> None:
        self._require_types()
        if not 0 < self.timeout < math.inf:
            raise UsageError(f"The time limit must be more than 0 seconds, not {self.timeout:g}.")
        if not 1 <= self.attempts <= ATTEMPTS:
            raise UsageError(f"attempts must be from 1 to {ATTEMPTS}, not {self.attempts}.")
        if not re.fullmatch(r"[!-~]*", self.build_token):
            raise UsageError("The build token contains a space or a non-ASCII character.")
        if not re.fullmatch(r"[!-~]*", self.hub_token):
            raise UsageError("The hub token contains a space or a non-ASCII character.")
        if self.profile and not self.hub_token:
            raise UsageError(
                "--profile starts the image under your account, but there is no hub token.",
                hint="Add `--hub-token @FILE`, or set CLINDER_HUB_TOKEN.",
            )
        if self.reuse_environment not in (False, True, FORCE):
            raise UsageError(f"reuse_environment must be True, False or `{FORCE}`.")
        if self.reuse_environment_since:
            AgeLimit(self.reuse_environment_since)
            if not self.reuse_environment:
                raise UsageError(
                    "--reuse-environment-since limits --reuse-environment, which is not given.",
                    hint="Give both, or omit --reuse-environment-since.",
                )

    def _require_types(self) -> None:
        for name in (
            "repository",
            "ref",
            "build_token",
            "hub_token",
            "profile",
            "reuse_environment_since",
        ):
            require_type(name, getattr(self, name), str)
        require_type("hubs", self.hubs, tuple)
        for hub in self.hubs:
            require_type("Each hub", hub, str)
        require_type("timeout", self.timeout, float)
        require_type("warm_up", self.warm_up, str, type(None))
        require_type("timeouts", self.timeouts, Timeouts)
        require_type("attempts", self.attempts, int)
        require_type("directory", self.directory, Path)
