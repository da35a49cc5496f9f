"""The account of an embedded hub that needs a login: its token, and the tokens it has issued."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

USER = "local"
"""The name of the hub's only user."""

SCOPES = (
    "access:servers",
    "access:services!service=binder",
    "delete:servers",
    "read:servers",
    "tokens",
)
"""The scopes of the user's token, in JupyterHub's terms."""


@dataclass(frozen=True)
class IssuedToken:
    """A token that opens one server, until ``expires_at`` in seconds since the epoch."""

    id: str
    token: str = field(repr=False)
    server: str
    note: str
    expires_at: float


@dataclass
class Account:
    """The user of an embedded hub, who has named servers. ``clock`` is the time of day."""

    token: str = field(repr=False)
    clock: Callable[[], float] = time.time
    _issued: dict[str, IssuedToken] = field(init=False, default_factory=dict)

    def owns(self, token: str) -> bool:
        """Whether this is the user's own token."""
        return _same(token, self.token)

    def knows(self, token: str) -> bool:
        """Whether this is the user's token or one that has been issued and has not expired."""
        return self.owns(token) or self._find(token) is not None

    def opens(self, token: str, server: str) -> bool:
        """Whether this token opens the server with this name."""
        issued = self._find(token)
        return self.owns(token) or (issued is not None and issued.server == server)

    def issue(self, server: str, note: str, seconds: float) -> IssuedToken:
        """Return a new token for one server, which expires after this many seconds."""
        token = secrets.token_hex(16)
        issued = IssuedToken(
            f"a{secrets.token_hex(4)}", token, server, note, self.clock() + seconds
        )
        self._issued[issued.id] = issued
        return issued

    def revoke(self, token_id: str) -> bool:
        """Revoke the token with this id. Return whether there was one."""
        return self._issued.pop(token_id, None) is not None

    def _find(self, token: str) -> IssuedToken | None:
        now = self.clock()
        self._issued = {id_: each for id_, each in self._issued.items() if each.expires_at > now}
        return next((each for each in self._issued.values() if _same(token, each.token)), None)


def _same(token: str, other: str) -> bool:
    return hmac.compare_digest(token.encode(), other.encode())
