"""What the refusals of a BinderHub mean: the messages of its ``failed`` events, and our errors.

The messages come from BinderHub's ``builder.py``, ``base.py``, ``launcher.py`` and ``quota.py``.
"""

from __future__ import annotations

from clinder.errors import (
    Banned,
    BotsRefused,
    BuildTokenRefused,
    ClinderError,
    HubBroken,
    HubFull,
    LaunchFailed,
    LoginRequired,
    MalformedSpec,
    NetworkRefused,
    QuotaReached,
    RateLimited,
    RefNotFound,
    RepositoryHostFailed,
    UnknownProvider,
)

REFUSALS: tuple[tuple[str, type[ClinderError], str], ...] = (
    (r"No provider found for prefix", UnknownProvider, "The hub does not support this provider"),
    (r"Spec is not of the form", MalformedSpec, "The hub cannot parse the spec"),
    (r"not enough values to unpack", MalformedSpec, "The hub cannot parse the spec"),
    (r"Unsupported git url", MalformedSpec, "The hub does not accept this URL"),
    (r"An unresolved ref is required", MalformedSpec, "The hub requires a ref"),
    (r"`unresolved_ref` must be specified", MalformedSpec, "The hub requires a ref"),
    (r"Could not resolve ref for", RefNotFound, "The repository or its ref was not found"),
    (r"Error resolving ref for gist:.*secret Gist", RefNotFound, "The gist is secret"),
    (r"Error resolving ref", RepositoryHostFailed, "The hub could not query the repository's host"),
    (r"Sorry, .* is not allowed to launch", Banned, "The hub does not launch this repository"),
    (r"Requests from .* are not allowed", NetworkRefused, "The hub refuses this network"),
    (r"Bots not allowed", BotsRefused, "The hub mistakes clinder for a bot"),
    (r"Invalid build token", BuildTokenRefused, "The hub refused the build token"),
    (r"Forbidden$", LoginRequired, "The hub requires a login, which clinder does not support"),
    (r"Rate limit exceeded", RateLimited, "The hub limits the rate of build requests"),
    (r"Too many users running", QuotaReached, "The repository's quota on the hub is used up"),
    (r"Too many users on this BinderHub", HubFull, "The hub is full"),
    (r"Spawn failed|.*took too long to launch", LaunchFailed, "The server could not be launched"),
    (r"Internal Server Error", HubBroken, "The hub failed"),
    (r"Unhandled error watching for build", HubBroken, "The hub lost track of the build"),
)
"""How the message of a ``failed`` event begins, the error it means, and clinder's message."""
