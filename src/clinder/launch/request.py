"""The request for a launch, from what was typed or left out.

Everything here is quick to import: words can be on the screen before the wire is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clinder._urls import is_cleartext, redact
from clinder.checkout.detection import Checkout, detect, local_repository
from clinder.errors import UsageError
from clinder.repository import Repository, hub_url, target
from clinder.timeouts import Timeouts

if TYPE_CHECKING:
    from clinder.checkout.reuse import Choice

LOCAL = "local"
"""In place of a hub's URL: the embedded hub."""
DEFAULT_HUB = "https://mybinder.org/"
TIMEOUT = 1200.0
"""Seconds that a launch may take in all."""
FORCE: Literal["force"] = "force"
"""To reuse an environment though the build may read more of the repository."""
ATTEMPTS = 3
"""Build requests that one hub gets at most: it allows ten an hour from one address."""


@dataclass(frozen=True)
class Request:
    """What to launch, on which hubs in order, and within how many seconds in all.

    A hub is a base URL with a trailing slash, or :data:`LOCAL`, which serves ``directory``.
    ``warm_up`` is the kernelspec whose first kernel is started and removed again before the
    session is handed out, ``""`` the server's default, ``None`` no kernel. ``attempts`` is how
    many build requests one hub gets at most, from 1 to 3. ``choice`` is why this commit, where
    that of an older one with the same environment was to be preferred.
    Raises :class:`~clinder.errors.UsageError` for no hub and no time.
    """

    repository: Repository
    hubs: tuple[str, ...] = (DEFAULT_HUB,)
    timeout: float = TIMEOUT
    build_token: str = field(default="", repr=False)
    directory: Path = Path()
    warm_up: str | None = ""
    timeouts: Timeouts = field(default_factory=Timeouts)
    attempts: int = ATTEMPTS
    choice: Choice | None = None

    def __post_init__(self) -> None:
        if not self.hubs:
            raise UsageError("A launch needs a hub.")
        if not 0 < self.timeout < math.inf:
            raise UsageError(f"A launch takes more than 0 seconds, not {self.timeout:g}.")
        if not 1 <= self.attempts <= ATTEMPTS:
            raise UsageError(f"A hub is asked 1 to {ATTEMPTS} times, not {self.attempts}.")


@dataclass(frozen=True)
class Resolution:
    """A request, and what its making found worth knowing."""

    request: Request
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def resolve(
    text: str,
    *,
    hubs: Sequence[str] = (),
    ref: str = "",
    timeout: float = TIMEOUT,
    build_token: str = "",
    warm_up: str | None = "",
    timeouts: Timeouts | None = None,
    attempts: int = ATTEMPTS,
    reuse_environment: bool | Literal["force"] = False,
    directory: Path,
    environ: Mapping[str, str],
) -> Resolution:
    """Return the request for what ``text`` names: a repository, or with ``""`` this commit.

    ``hubs`` go before the hub that a Binder link names, and that before mybinder.org. With
    ``reuse_environment`` it is the oldest commit of this checkout's history that has had the same
    environment; ``"force"``: though the build may read more of it. Raises
    :class:`~clinder.errors.UsageError`, also where ``text`` names another ref than ``ref``.
    """
    urls = tuple(dict.fromkeys(LOCAL if hub.lower() == LOCAL else hub_url(hub) for hub in hubs))
    if LOCAL in urls and len(urls) > 1:
        raise UsageError("The hub `local` goes with no other hub.")
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    found: Checkout | None = None
    if text:
        named = target(text)
        repository = _with_ref(named.repository, ref) if ref else named.repository
        urls = urls or ((named.hub,) if named.hub else ())
    elif urls == (LOCAL,):
        repository = local_repository(_require_directory(directory), environ)
        repository = repository.at(ref) if ref else repository
    else:
        found = detect(_require_directory(directory), environ, ref)
        repository, warnings = found.repository, found.warnings
        notes = (f"Launching {repository.spec}, from {found.source}.",)
    warnings += tuple(
        f"{hub} is plain http: others on the way can see the session's token."
        for hub in urls
        if is_cleartext(hub)
    )
    request = Request(
        repository,
        hubs=urls or (DEFAULT_HUB,),
        timeout=timeout,
        build_token=build_token,
        directory=directory,
        warm_up=warm_up,
        timeouts=timeouts or Timeouts(),
        attempts=attempts,
    )
    made = Resolution(request, notes, warnings)
    if reuse_environment not in (False, True, FORCE):
        raise UsageError(f"An environment is reused or not, or by `{FORCE}`.")
    force = reuse_environment == FORCE
    return _apply_reuse(made, found, environ, force=force) if reuse_environment else made


def _with_ref(repository: Repository, ref: str) -> Repository:
    """Return the repository at the ref that was given beside it; one of its own is no other."""
    asked = repository.at(ref)
    if repository.ref not in ("HEAD", asked.ref):
        raise UsageError(
            f"The repository names the ref {redact(repository.ref)}, and another one was given:"
            f" {redact(asked.ref)}.",
            hint="Leave out the ref of the repository, or --ref.",
        )
    return asked


def _apply_reuse(
    resolution: Resolution, checkout: Checkout | None, environ: Mapping[str, str], *, force: bool
) -> Resolution:
    """Return the request for the commit whose image will do, and what is to be said of that."""
    from clinder.checkout.reuse import choose_commit

    request = resolution.request
    if LOCAL in request.hubs:
        why = "The embedded hub builds nothing, so there is no environment to reuse."
        return replace(resolution, warnings=(*resolution.warnings, why))
    checkout = checkout or _require_own_checkout(request.repository, request.directory, environ)
    if not checkout.repository.is_commit:
        raise UsageError(
            f"An environment is reused from commit to commit: {checkout.repository.ref} is none.",
            hint="Leave REPOSITORY and --ref out, or name a full commit.",
        )
    if request.build_token:
        why = "No environment is reused: the build token is for the commit itself."
        return replace(resolution, warnings=(*resolution.warnings, why))
    chosen = choose_commit(checkout, request.directory, environ, force=force)
    request = replace(request, repository=chosen.launched, choice=chosen)
    if chosen.refused:
        return replace(resolution, request=request, warnings=(*resolution.warnings, chosen.reason))
    asked = f"Asked for {checkout.repository.spec}, from {checkout.source}."
    return replace(resolution, request=request, notes=(asked, chosen.reason))


def _require_own_checkout(
    repository: Repository, directory: Path, environ: Mapping[str, str]
) -> Checkout:
    """Return this checkout at the commit of a repository that was named, which is to be its own."""
    try:
        here = detect(_require_directory(directory), environ, repository.ref)
    except UsageError as error:
        hint = "Leave --reuse-environment out, or run in a clone of the repository."
        raise UsageError(
            f"An environment is reused by the history of this checkout. {error}", hint=hint
        ) from None
    own = {_identity(each) for each in (here.repository, here.base) if each}
    if _identity(repository) not in own:
        raise UsageError(
            f"An environment is reused by the history of this checkout, which is of"
            f" {here.repository.name}, not of {repository.name}.",
            hint="Leave --reuse-environment out, or run in a clone of the repository.",
        )
    return Checkout(repository, "what was typed")


def _identity(repository: Repository) -> tuple[str, str]:
    return repository.provider, repository.name.lower()


def _require_directory(directory: Path) -> Path:
    try:
        return directory.resolve(strict=True)
    except OSError:
        raise UsageError("The current directory does not exist any more.") from None
