"""The clocks that bound everything, in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from clinder.errors import UsageError

STOP_TIMEOUT = 60.0
"""Seconds in which a session's end is known: JupyterHub looks for its servers every 30 s."""


@dataclass(frozen=True)
class Timeouts:
    """For how many seconds one thing may go on, beside the overall time of a launch.

    ``connect``: until a connection stands. ``idle``: that a connection brings nothing, of which
    75 is three keepalives of a hub missed. ``readiness``: from ``ready`` until the server and its
    first kernel answer. ``stop``: stopping a session, beyond the overall time.

    Raises :class:`~clinder.errors.UsageError` for what is no time.
    """

    connect: float = 10.0
    idle: float = 75.0
    readiness: float = 120.0
    stop: float = 10.0

    def __post_init__(self) -> None:
        for each in fields(self):
            if not 0 < getattr(self, each.name) < math.inf:
                raise UsageError(f"The {each.name} timeout is more than 0 seconds.")

    @property
    def for_server(self) -> Timeouts:
        """The clocks of a server's calls, which are small: after 10 s of nothing, ask again."""
        return replace(self, idle=min(self.idle, 10.0))
