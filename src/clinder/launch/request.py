"""Work out what to launch, and where.

This module imports quickly, so that a message is on the screen before the HTTP library is loaded.
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
from clinder.repository.https import over_https
from clinder.repository.parse import parse

if TYPE_CHECKING:
    from clinder.checkout.reuse import Choice

DEFAULT_HUB = "https://mybinder.org/"


@dataclass(frozen=True)
class Request:
    """Which repository to launch, and on which hubs in order.

    A hub is a base URL with a trailing slash, or ``local``. ``choice`` explains the choice of
    the commit, if it is not the requested one or reuse was requested. ``fallback`` is the choice
    if the hub refuses a fork's commit or cannot clone it.

    Raises :class:`~clinder.errors.UsageError` if there is no hub.
    """

    repository: Repository
    hubs: tuple[str, ...] = (DEFAULT_HUB,)
    options: LaunchOptions = field(default_factory=LaunchOptions)
    choice: Choice | None = None
    fallback: Choice | None = None

    def __post_init__(self) -> None:
        if not self.hubs:
            raise UsageError("No hub is given.")

    @property
    def has_fallback(self) -> bool:
        """Whether there is another commit to launch."""
        return self.fallback is not None and not self.fallback.refused

    def for_fallback(self) -> Request:
        """Return the request for the fallback's commit, for which a build token is not valid."""
        if self.fallback is None:
            return self
        options, launched = replace(self.options, build_token=""), self.fallback.launched
        return Request(launched, self.hubs, options, choice=self.fallback)


@dataclass(frozen=True)
class Resolution:
    """A request, with the notes and warnings that a person should read about it."""

    request: Request
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def resolve(options: LaunchOptions, deadline: Deadline, environ: Mapping[str, str]) -> Resolution:
    """Work out what to launch from the options, the clone and CI's variables.

    ``options.hubs`` take precedence over the hub of a Binder link, and that over mybinder.org.
    Raises :class:`~clinder.errors.UsageError`, for example if ``options.repository`` names a ref
    other than ``options.ref``, and the deadline's errors.
    """
    try:  # git can hang on a network disk
        return run_bounded(lambda: _resolve(options, environ), deadline)
    except TimedOut:
        raise TimedOut(
            f"The launch did not finish within {options.timeout:g} s:"
            " clinder was still working out what to launch.",
            hint="Name a commit, as in ORG/REPO@COMMIT, or allow more time with --timeout SECONDS.",
        ) from None


def _resolve(options: LaunchOptions, environ: Mapping[str, str]) -> Resolution:
    urls = tuple(dict.fromkeys(LOCAL if h.lower() == LOCAL else hub_url(h) for h in options.hubs))
    if LOCAL in urls and len(urls) > 1:
        raise UsageError("The hub `local` cannot be combined with other hubs.")
    if options.hub_token and urls and is_cleartext(urls[0]):
        raise UsageError(
            f"{urls[0]} uses plain HTTP, so others on the network could read the hub token.",
            hint="Use a hub with https, or omit the hub token.",
        )
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
        notes = (f"Launching {repository.spec}, from {checkout.source}.", *checkout.notes)
    warnings += tuple(
        f"{hub} uses plain HTTP: others on the network can see the session's token."
        for hub in urls
        if is_cleartext(hub)
    )
    request = Request(
        repository,
        urls or (DEFAULT_HUB,),
        options,
        fallback=_find_fallback(checkout, options, environ),
    )
    resolution = Resolution(request, notes, warnings)
    return _apply_reuse(resolution, checkout, environ) if options.reuse_environment else resolution


def _find_fallback(
    checkout: Checkout | None, options: LaunchOptions, environ: Mapping[str, str]
) -> Choice | None:
    """Return what to launch if the hub cannot launch a fork's commit, or ``None`` if none is."""
    if checkout is None or checkout.base is None:
        return None
    from clinder.checkout.fallback import find_fallback

    force = options.reuse_environment == FORCE
    return find_fallback(checkout, options.directory, environ, force=force)


def _with_ref(repository: Repository, ref: str) -> Repository:
    """Return the repository at a ref, unless the repository already names another one."""
    requested = repository.with_ref(ref)
    if repository.ref not in ("HEAD", requested.ref):
        raise UsageError(
            f"The repository names the ref {redact(repository.ref)}, but another ref is given too:"
            f" {redact(requested.ref)}.",
            hint="Omit the repository's ref, or --ref.",
        )
    return requested


def _apply_reuse(
    resolution: Resolution, checkout: Checkout | None, environ: Mapping[str, str]
) -> Resolution:
    """Replace the requested commit by one whose image can be reused, and add a note about it."""
    from clinder.checkout.age_limit import AgeLimit
    from clinder.checkout.reuse import choose_commit

    request = resolution.request
    if LOCAL in request.hubs:
        warning = "No image is reused because the embedded hub builds none."
        return replace(resolution, warnings=(*resolution.warnings, warning))
    options = request.options
    checkout = checkout or _require_own_checkout(request.repository, options.directory, environ)
    if not checkout.repository.is_commit:
        raise UsageError(
            f"Reusing an environment requires a commit, but {checkout.repository.ref} is not one.",
            hint="Omit REPOSITORY and --ref, or give a full commit hash.",
        )
    if options.build_token:
        warning = "No image is reused because the build token is for the requested commit only."
        return replace(resolution, warnings=(*resolution.warnings, warning))
    force = options.reuse_environment == FORCE
    since = AgeLimit(text) if (text := options.reuse_environment_since) else None
    choice = choose_commit(checkout, options.directory, environ, force=force, since=since)
    is_base = choice.launched.name != choice.requested.name
    fallback = None if is_base else request.fallback
    request = replace(request, repository=choice.launched, choice=choice, fallback=fallback)
    if choice.refused:
        return replace(resolution, request=request, warnings=(*resolution.warnings, choice.reason))
    note = f"Requested: {checkout.repository.spec}, from {checkout.source}."
    notes = (note, *checkout.notes, choice.reason, *([choice.note] if choice.note else []))
    return replace(resolution, request=request, notes=notes)


def _require_own_checkout(
    repository: Repository, directory: Path, environ: Mapping[str, str]
) -> Checkout:
    """Return the checkout at the repository's commit, if the clone is of that repository."""
    try:
        clone = detect(_require_directory(directory), environ, repository.ref)
    except UsageError as error:
        message = f"Reusing an environment requires a clone of the repository. {error}"
        raise UsageError(message, hint=_NO_CLONE_HINT) from None
    own = {_identity(each) for each in (clone.repository, clone.base) if each}
    if _identity(repository) not in own:
        raise UsageError(
            f"Reusing an environment requires a clone of {repository.name}, but this is a"
            f" clone of {clone.repository.name}.",
            hint=_NO_CLONE_HINT,
        )
    return Checkout(repository, "the given repository")


_NO_CLONE_HINT = "Omit --reuse-environment, or run clinder in a clone of the repository."


def _identity(repository: Repository) -> tuple[str, str]:
    repository = over_https(repository) or repository
    return repository.provider, repository.name.lower()


def _require_directory(directory: Path) -> Path:
    try:
        return directory.resolve(strict=True)
    except OSError:
        raise UsageError("The directory to launch from does not exist.") from None
