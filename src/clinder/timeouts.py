"""The time limits of a launch and of a session's server, in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from clinder._types import require_type
from clinder.errors import UsageError

HUB_IDLE = 75.0
"""A hub sends a keepalive every 25 s (BinderHub's ``builder.py``), so it has missed three."""
SERVER_IDLE = 10.0
"""A session's server responds at once or not at all; another request is worth more than waiting."""
LAUNCH_STOP = 10.0
"""For stopping a session that clinder does not hand over."""
STOP_TIMEOUT = 60.0
"""JupyterHub checks its servers every 30 s, so a session's end is certain after that."""
_STOP_CONNECTIONS = 3


@dataclass(frozen=True)
class Timeouts:
    """Time limits in seconds, apart from the time limit of the whole launch.

    ``connect`` limits establishing a connection, including a proxy's tunnel and TLS. ``idle``
    limits silence on a connection; ``None`` is 75 for a hub and 10 for a session's server.
    ``build_idle`` limits silence in a build's log; keepalives do not count. ``readiness`` limits
    how long a launched server and its first kernel can take to respond. ``stop`` is extra time for
    stopping a session; ``None`` is 10 if the launch failed and 60 otherwise, and more if
    ``connect`` exceeds its default.

    Raises :class:`~clinder.errors.UsageError` unless each is a number that is positive and finite.
    """

    connect: float = 10.0
    idle: float | None = None
    build_idle: float = 900.0
    readiness: float = 120.0
    stop: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            require_type(f"The {each.name} timeout", value, float, type(None))
            if value is not None and not 0 < value < math.inf:
                raise UsageError(
                    f"The {each.name.replace('_', '-')} timeout must be more than 0 seconds."
                )

    def stop_limit(self, default: float) -> float:
        """Return ``stop``, or a default that leaves time for three slow connections."""
        slower = max(0.0, self.connect - Timeouts.connect)
        return self.stop or default + _STOP_CONNECTIONS * slower
