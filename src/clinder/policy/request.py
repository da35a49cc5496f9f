"""The request for a launch, from what was typed or left out.

Everything here is quick to import: words can be on the screen before the wire is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clinder.address import is_in_the_open
from clinder.clocks import Clocks
from clinder.errors import UsageError
from clinder.policy.checkout import checkout, local_repository
from clinder.repository import Repository, hub_url, target

LOCAL = "local"
"""In place of a hub's URL: the embedded hub."""
DEFAULT_HUB = "https://mybinder.org/"
TIMEOUT = 1200.0
"""Seconds that a launch may take in all."""
ATTEMPTS = 3
"""Build requests that one hub gets at most: it allows ten an hour from one address."""


@dataclass(frozen=True)
class Request:
    """What to launch, on which hubs in order, and within how many seconds in all.

    A hub is a base URL with a trailing slash, or :data:`LOCAL`, which serves ``directory``.
    ``warm_up`` is the kernelspec whose first kernel is started and removed again before the
    session is handed out, ``""`` the server's default, ``None`` no kernel. ``attempts`` is how
    many build requests one hub gets at most, from 1 to 3.
    Raises :class:`~clinder.errors.UsageError` for no hub and no time.
    """

    repository: Repository
    hubs: tuple[str, ...] = (DEFAULT_HUB,)
    timeout: float = TIMEOUT
    build_token: str = field(default="", repr=False)
    directory: Path = Path()
    warm_up: str | None = ""
    clocks: Clocks = field(default_factory=Clocks)
    attempts: int = ATTEMPTS

    def __post_init__(self) -> None:
        if not self.hubs:
            raise UsageError("A launch needs a hub.")
        if not 0 < self.timeout < math.inf:
            raise UsageError(f"A launch takes more than 0 seconds, not {self.timeout:g}.")
        if not 1 <= self.attempts <= ATTEMPTS:
            raise UsageError(f"A hub is asked 1 to {ATTEMPTS} times, not {self.attempts}.")


@dataclass(frozen=True)
class Resolved:
    """A request, and what its making found worth knowing."""

    request: Request
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def resolved(
    text: str,
    *,
    hubs: Sequence[str] = (),
    ref: str = "",
    timeout: float = TIMEOUT,
    build_token: str = "",
    warm_up: str | None = "",
    clocks: Clocks | None = None,
    attempts: int = ATTEMPTS,
    directory: Path,
    environment: Mapping[str, str],
) -> Resolved:
    """Return the request for what ``text`` names: a repository, or with ``""`` this commit.

    ``hubs`` go before the hub that a Binder link names, and that before mybinder.org. Raises
    :class:`~clinder.errors.UsageError`.
    """
    urls = tuple(dict.fromkeys(LOCAL if hub.lower() == LOCAL else hub_url(hub) for hub in hubs))
    if LOCAL in urls and len(urls) > 1:
        raise UsageError("The hub `local` goes with no other hub.")
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    if text:
        named = target(text)
        repository = named.repository
        urls = urls or ((named.hub,) if named.hub else ())
    elif urls == (LOCAL,):
        repository = local_repository(_existing(directory), environment)
    else:
        found = checkout(_existing(directory), environment, ref)
        repository, warnings = found.repository, found.warnings
        notes = (f"Launching {repository.spec}, from {found.source}.",)
    warnings += tuple(
        f"{hub} is plain http: others on the way can see the session's token."
        for hub in urls
        if is_in_the_open(hub)
    )
    request = Request(
        repository.at(ref) if ref else repository,
        hubs=urls or (DEFAULT_HUB,),
        timeout=timeout,
        build_token=build_token,
        directory=directory,
        warm_up=warm_up,
        clocks=clocks or Clocks(),
        attempts=attempts,
    )
    return Resolved(request, notes, warnings)


def _existing(directory: Path) -> Path:
    try:
        return directory.resolve(strict=True)
    except OSError:
        raise UsageError("The current directory does not exist any more.") from None
