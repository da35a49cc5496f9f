"""Whether a launch is allowed to receive variables of the job or person that requests it."""

from __future__ import annotations

from collections.abc import Mapping

from clinder._urls import is_cleartext
from clinder.checkout.secrets import require_own_code
from clinder.errors import UsageError
from clinder.launch.options import LOCAL
from clinder.launch.request import Request


def require_trusted(request: Request, environ: Mapping[str, str], confirmed: str) -> None:
    """Raise :class:`~clinder.errors.UsageError` if variables must not go to what is requested.

    ``confirmed`` is the repository, as ``ORG/REPO``, that the user trusts with them.
    """
    for hub in request.hubs:
        require_private(hub)
    if LOCAL not in request.hubs:  # its sessions run on this machine, and inherit its environment
        require_own_code(request.repository, environ, confirmed)


def require_private(url: str) -> None:
    """Raise :class:`~clinder.errors.UsageError` if others could read what is sent to a URL."""
    if is_cleartext(url):
        raise UsageError(
            f"{url} uses plain HTTP, so others on the network could read the variables.",
            hint="Use a hub with https, or pass no variables.",
        )
