"""Where programs find the gateway: a port of this machine, and the token that opens it."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping

HOST = "127.0.0.1"


class Address:
    """A free port of the loopback interface, and a new token.

    Programs can connect from now on; they wait until the gateway serves them.
    """

    def __init__(self) -> None:
        self.listening = socket.create_server((HOST, 0))
        self.port: int = self.listening.getsockname()[1]
        self.token = secrets.token_urlsafe(32)

    def __repr__(self) -> str:
        return f"Address({self.url!r})"

    @property
    def url(self) -> str:
        """The gateway's URL, which ends in a slash."""
        return f"http://{HOST}:{self.port}/"

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment variables by which programs find the gateway.

        If ``environ`` has a proxy, it must not be used for this machine.
        """
        variables = {"JUPYTER_BASE_URL": self.url, "JUPYTER_TOKEN": self.token}
        direct = environ.get("NO_PROXY") or environ.get("no_proxy", "")
        if direct.strip() != "*" and any(name.lower().endswith("_proxy") for name in environ):
            hosts = ",".join(filter(None, (direct, HOST, "localhost")))
            variables |= {"NO_PROXY": hosts, "no_proxy": hosts}
        return variables
