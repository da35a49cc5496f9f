"""The request for a launch, from what was typed or left out.

Everything here is quick to import: words can be on the screen before the wire is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clinder._deadline import Deadline, run_bounded
from clinder._urls import hub_url, is_cleartext, redact
from clinder.checkout.checkout import Checkout
from clinder.checkout.detection import detect, local_repository
from clinder.errors import TimedOut, UsageError
from clinder.launch.options import FORCE, LOCAL, LaunchOptions
from clinder.repository import Repository
from clinder.repository.parse import parse

if TYPE_CHECKING:
    from clinder.checkout.reuse import Choice

DEFAULT_HUB = "https://mybinder.org/"


@dataclass(frozen=True)
class Request:
    """Which repository to launch, and on which hubs in order.

    A hub is a base URL with a trailing slash, or ``local``. ``choice`` explains why this commit,
    if an older one with the same environment was to be preferred.

    Raises :class:`~clinder.errors.UsageError` if there is no hub.
    """

    repository: Repository
    hubs: tuple[str, ...] = (DEFAULT_HUB,)
    options: LaunchOptions = field(default_factory=LaunchOptions)
    choice: Choice | None = None

    def __post_init__(self) -> None:
        if not self.hubs:
            raise UsageError("A launch needs a hub.")


@dataclass(frozen=True)
class Resolution:
    """A request, with the notes and warnings that a person should read about it."""

    request: Request
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def resolve(options: LaunchOptions, deadline: Deadline, environ: Mapping[str, str]) -> Resolution:
    """Work out what to launch, before the deadline, from the options, the clone and CI's variables.

    ``options.hubs`` go before the hub that a Binder link names, and that before mybinder.org.
    Raises :class:`~clinder.errors.UsageError`, also if the repository's text names another ref
    than ``options.ref``, and what the deadline raises.
    """
    try:  # git can hang on a network's disk
        return run_bounded(lambda: _resolve(options, environ), deadline)
    except TimedOut:
        raise TimedOut(
            f"The launch did not end within {options.timeout:g} s:"
            " clinder was still working out what to launch.",
            hint="Name a commit, as in ORG/REPO@COMMIT, or give it longer with --timeout SECONDS.",
        ) from None


def _resolve(options: LaunchOptions, environ: Mapping[str, str]) -> Resolution:
    urls = tuple(dict.fromkeys(LOCAL if h.lower() == LOCAL else hub_url(h) for h in options.hubs))
    if LOCAL in urls and len(urls) > 1:
        raise UsageError("The hub `local` goes with no other hub.")
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    checkout: Checkout | None = None
    ref = options.ref
    if options.repository:
        parsed = parse(options.repository)
        repository = _with_ref(parsed.repository, ref) if ref else parsed.repository
        urls = urls or ((parsed.hub,) if parsed.hub else ())
    elif urls == (LOCAL,):
        repository = local_repository(_require_directory(options.directory), environ)
        repository = repository.with_ref(ref) if ref else repository
    else:
        checkout = detect(_require_directory(options.directory), environ, ref)
        repository, warnings = checkout.repository, checkout.warnings
        notes = (f"Launching {repository.spec}, from {checkout.source}.",)
    warnings += tuple(
        f"{hub} is plain http: others on the way can see the session's token."
        for hub in urls
        if is_cleartext(hub)
    )
    resolution = Resolution(Request(repository, urls or (DEFAULT_HUB,), options), notes, warnings)
    return _apply_reuse(resolution, checkout, environ) if options.reuse_environment else resolution


def _with_ref(repository: Repository, ref: str) -> Repository:
    """Return the repository at the ref that was given beside it; one of its own is no other."""
    asked = repository.with_ref(ref)
    if repository.ref not in ("HEAD", asked.ref):
        raise UsageError(
            f"The repository names the ref {redact(repository.ref)}, and another one was given:"
            f" {redact(asked.ref)}.",
            hint="Leave out the ref of the repository, or --ref.",
        )
    return asked


def _apply_reuse(
    resolution: Resolution, checkout: Checkout | None, environ: Mapping[str, str]
) -> Resolution:
    """Return the request for the commit whose image will do, and what is to be said of that."""
    from clinder.checkout.reuse import choose_commit

    request = resolution.request
    if LOCAL in request.hubs:
        why = "The embedded hub builds nothing, so there is no environment to reuse."
        return replace(resolution, warnings=(*resolution.warnings, why))
    options = request.options
    checkout = checkout or _require_own_checkout(request.repository, options.directory, environ)
    if not checkout.repository.is_commit:
        raise UsageError(
            f"An environment is reused from commit to commit: {checkout.repository.ref} is none.",
            hint="Leave REPOSITORY and --ref out, or name a full commit.",
        )
    if options.build_token:
        why = "No environment is reused: the build token is for the commit itself."
        return replace(resolution, warnings=(*resolution.warnings, why))
    chosen = choose_commit(
        checkout, options.directory, environ, force=options.reuse_environment == FORCE
    )
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
