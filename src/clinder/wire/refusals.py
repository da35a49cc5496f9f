"""What the refusals of a BinderHub mean: the messages of its ``failed`` events, and our errors.

The messages come from BinderHub's ``builder.py``, ``base.py``, ``launcher.py`` and ``quota.py``. If
a repository's host is the reason, ``builder.py`` adds the exception that ``repoproviders.py``
raised: usually Tornado's ``HTTP 404: Not Found``, for the provider ``git`` the output of git.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from clinder.errors import (
    AccountInUse,
    Banned,
    BotsRefused,
    BuildTokenRefused,
    ClinderError,
    GitHostFailed,
    HostRateLimited,
    HubBroken,
    HubFull,
    HubTokenRefused,
    LaunchFailed,
    LoginRequired,
    MalformedSpec,
    NetworkRefused,
    QuotaReached,
    RateLimited,
    RefNotFound,
    Refused,
    RepositoryHostFailed,
    UnknownProvider,
)


@dataclass(frozen=True)
class Refusal:
    """The error that a hub's message means. ``meaning`` precedes the hub's message in our own.

    ``hint`` replaces the hint of the error's class.
    """

    kind: type[ClinderError]
    meaning: str
    hint: str | None = None


_UNRESOLVED = r"Error resolving ref for \S+: "
_GIT_FAILED = _UNRESOLVED + r"Unable to run git ls-remote"
_GIT_REFUSED = (
    r"not found|does not exist|does not appear to be a git repository|could not read Username"
    r"|Authentication failed|Access denied|Permission denied|Host key verification failed"
    r"|returned error: (?:401|403|404|410|451)\b"
)
_NOT_FOUND = Refusal(RefNotFound, "The repository or its ref was not found")
_UNPARSABLE = Refusal(MalformedSpec, "The hub cannot parse the spec")

REFUSALS: tuple[tuple[str, Refusal], ...] = (
    (
        r"No provider found for prefix",
        Refusal(UnknownProvider, "The hub does not support this provider"),
    ),
    (r"Spec is not of the form", _UNPARSABLE),
    (r"not enough values to unpack", _UNPARSABLE),
    (r"Unsupported git url", Refusal(MalformedSpec, "The hub does not accept this URL")),
    (r"An unresolved ref is required", Refusal(MalformedSpec, "The hub requires a ref")),
    (r"`unresolved_ref` must be specified", Refusal(MalformedSpec, "The hub requires a ref")),
    (r"Could not resolve ref for", _NOT_FOUND),
    (_UNRESOLVED + r".*secret Gist", Refusal(RefNotFound, "The gist is secret")),
    # GitHub's API responds with 403 or 429; BinderHub works out the minutes for 403 only.
    (
        _UNRESOLVED + r"(?:GitHub rate limit exceeded|HTTP 429|HTTP 403: rate limit)",
        Refusal(HostRateLimited, "The repository's host limits the hub's requests"),
    ),
    (
        _UNRESOLVED + r"HTTP 409",
        Refusal(
            RefNotFound,
            "The repository is empty",
            "Push a commit. If the repository has commits, check the spelling.",
        ),
    ),
    (
        _UNRESOLVED + r"HTTP 451",
        Refusal(
            RefNotFound,
            "The repository's host has taken the repository down",
            "The repository's page explains the reason.",
        ),
    ),
    (_UNRESOLVED + r"HTTP 4(?:04|10)", _NOT_FOUND),
    # HydroShare and Dataverse refuse what is not published in this way. For a GitHub repository,
    # the hub's own credentials are refused.
    (r"Error resolving ref for (?:hydroshare|dataverse):\S*: HTTP 401", _NOT_FOUND),
    (r"Error resolving ref for hydroshare:\S*: HTTP 403", _NOT_FOUND),
    (_UNRESOLVED + r"Article \d+ has no versions", _NOT_FOUND),  # Figshare
    (_UNRESOLVED + r"Unexpected figshare doi", _UNPARSABLE),
    (_UNRESOLVED + r"The specified Hydroshare resource id", _UNPARSABLE),
    (_UNRESOLVED + r"too many values to unpack", _UNPARSABLE),  # CKAN
    (
        rf"{_GIT_FAILED}.*(?:{_GIT_REFUSED})",
        Refusal(RefNotFound, "git found no public repository at this URL"),
    ),
    (_GIT_FAILED, Refusal(GitHostFailed, "git could not query the repository's host")),
    (_UNRESOLVED + r".*\b(?:not found|private)\b", _NOT_FOUND),
    (
        r"Error resolving ref",
        Refusal(RepositoryHostFailed, "The hub could not query the repository's host"),
    ),
    (
        r"Sorry, .* is not allowed to launch",
        Refusal(Banned, "The hub does not launch this repository"),
    ),
    (r"Requests from .* are not allowed", Refusal(NetworkRefused, "The hub refuses this network")),
    (r"Bots not allowed", Refusal(BotsRefused, "The hub mistakes clinder for a bot")),
    (
        r"Building but not launching is not permitted",
        Refusal(Refused, "The hub launches images itself", "Omit --profile."),
    ),
    (r"Invalid build token", Refusal(BuildTokenRefused, "The hub refused the build token")),
    (r"Forbidden$", Refusal(LoginRequired, "The hub requires a login")),
    # From JupyterHub's ``services/auth.py``: the token lacks the scope for this service.
    (r"user .* is not allowed", Refusal(HubTokenRefused, "The hub refused the hub token")),
    (
        r"User .* already has (?:a running server|the maximum of)",
        Refusal(AccountInUse, "The user's account is in use"),
    ),
    (r"Rate limit exceeded", Refusal(RateLimited, "The hub limits the rate of build requests")),
    (
        r"Too many users running",
        Refusal(QuotaReached, "The repository's quota on the hub is used up"),
    ),
    (r"Too many users on this BinderHub", Refusal(HubFull, "The hub is full")),
    (
        r"Spawn failed|.*took too long to launch",
        Refusal(LaunchFailed, "The server could not be launched"),
    ),
    (r"Internal Server Error", Refusal(HubBroken, "The hub failed")),
    (
        r"Unhandled error watching for build",
        Refusal(HubBroken, "The hub lost track of the build"),
    ),
)
"""How the message of a ``failed`` event begins, and what it means. The first match counts."""


def find_refusal(message: str) -> Refusal | None:
    """Return what a message of a hub, on one line, means, or ``None`` if it is unknown."""
    return next((refusal for start, refusal in REFUSALS if re.match(start, message)), None)
