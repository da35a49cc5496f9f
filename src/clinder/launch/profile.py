"""A server started through JupyterHub's API, from an image that a BinderHub has only built.

KubeSpawner takes the profile and the image from ``user_options`` (its ``load_user_options``). Other
fields have no effect there, so the launch's id can be one of them, as in a BinderHub's launch.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from clinder._deadline import Deadline
from clinder.errors import (
    AccountInUse,
    HubTokenRefused,
    HubUnreachable,
    LaunchFailed,
    NotABinderHub,
    TimedOut,
)
from clinder.launch.account import AccountLaunch
from clinder.wire.binderhub import Ready
from clinder.wire.jupyterhub import HubServer, SpawnProgress

_ID_BYTES = 16
_NAME_BYTES = 4
_DELAY = 1.0
_REQUEST = 30.0
"""Seconds for the request that starts a server, to which JupyterHub responds after at most 10 s."""
_ABSENCES = 3
"""How often JupyterHub must not know a server, or show that it is stopped, until it has failed."""
_NO_NAMES = re.compile("named servers are not enabled", re.IGNORECASE)  # JupyterHub's users.py
_OCCUPIED = re.compile("already running|already has the maximum|is pending", re.IGNORECASE)
_NO_JUPYTERHUB = "Use the hub's address below its JupyterHub, as in https://HUB/services/binder."
_PROFILE = (
    "Check the profile's name with the hub's operators. The profile must permit other images."
)


@dataclass(frozen=True)
class Profile:
    """What to start: an image that the hub has built from ``spec``, with a profile of the hub."""

    name: str
    image: str
    spec: str

    def options(self, launch_id: str) -> Mapping[str, str]:
        """Return the server's ``user_options``."""
        return {
            "profile": self.name,
            "image--unlisted-choice": self.image,
            "token": launch_id,
            "binder_request": f"v2/{self.spec}",
        }


def start_image(
    account: AccountLaunch,
    profile: Profile,
    deadline: Deadline,
    *,
    report: Callable[[str], None],
    stop: Callable[[Ready], None],
) -> Ready:
    """Start a server of the account, and return it once it runs.

    The server has a name of its own, unless the hub has no named servers. ``report`` receives
    JupyterHub's messages; ``stop`` stops a server that does not start. Raises
    :class:`~clinder.errors.AccountInUse`, :class:`~clinder.errors.HubTokenRefused`,
    :class:`~clinder.errors.LaunchFailed`, :class:`~clinder.errors.NotABinderHub`, and what the
    deadline raises.
    """
    identity = account.identity
    if identity is None:
        message = "The hub only builds images, and does not show which JupyterHub can start them."
        raise NotABinderHub(message, hint=_NO_JUPYTERHUB)
    user = quote(identity.user, safe="")
    for name in (f"clinder-{secrets.token_hex(_NAME_BYTES)}", ""):
        server = HubServer(account.jupyterhub, user, name)
        ready = Ready(server.url, secrets.token_urlsafe(_ID_BYTES), image=profile.image)
        try:
            if _start(account, server, profile.options(ready.token), deadline, report):
                return ready
        except (AccountInUse, HubTokenRefused):
            raise
        except BaseException:
            stop(ready)
            raise
    raise AssertionError("a default server needs no name")  # pragma: no cover


def _start(
    account: AccountLaunch,
    server: HubServer,
    options: Mapping[str, str],
    deadline: Deadline,
    report: Callable[[str], None],
) -> bool:
    """Start a server and return once it runs, or return whether it can have a name."""
    refusal = _request(account, server, options, deadline)
    if server.name and _NO_NAMES.search(refusal):
        return False
    if _OCCUPIED.search(refusal):
        raise AccountInUse(f"The user's account is in use: {refusal}.")
    if refusal:
        raise LaunchFailed(f"The JupyterHub did not start a server: {refusal}.", hint=_PROFILE)
    _wait_until_ready(account, server, options["token"], deadline, report)
    return True


def _request(
    account: AccountLaunch, server: HubServer, options: Mapping[str, str], deadline: Deadline
) -> str:
    """Request a server; return the reason if JupyterHub refuses. An unclear outcome is none."""
    try:
        return account.api().start_server(server, options, deadline.capped(_REQUEST))
    except (HubUnreachable, TimedOut):
        deadline.raise_if_expired()
        return ""


def _wait_until_ready(
    account: AccountLaunch,
    server: HubServer,
    launch_id: str,
    deadline: Deadline,
    report: Callable[[str], None],
) -> None:
    """Return once the server runs. Raises :class:`~clinder.errors.LaunchFailed` if it fails."""
    for event in _progress(account, server, deadline):
        report(event.message)
        if event.failed:
            raise LaunchFailed(f"The server could not be launched: {event.message}", hint=_PROFILE)
    absences = 0
    while absences < _ABSENCES:
        try:
            known = account.api().find(server, launch_id, deadline)
        except HubUnreachable:
            known = None
        else:
            absences += known is None or not known.active
        if known and known.active and not known.starting:
            return
        deadline.wait(_DELAY)
    raise LaunchFailed("The JupyterHub started no server, or stopped it.", hint=_PROFILE)


def _progress(
    account: AccountLaunch, server: HubServer, deadline: Deadline
) -> Iterator[SpawnProgress]:
    """Yield JupyterHub's messages until the server runs, or as long as the connection holds."""
    with suppress(HubUnreachable, HubTokenRefused):
        yield from account.api().progress(server, deadline)
