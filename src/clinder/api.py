"""The Python API: start a session, stop it, or both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Literal, ParamSpec, cast

from clinder._types import require_type
from clinder.errors import UsageError
from clinder.session import Session
from clinder.timeouts import STOP_TIMEOUT, Timeouts

if TYPE_CHECKING:
    import threading

    from clinder.events import Observer

_Start = ParamSpec("_Start")


def start(
    repository: str = "",
    *,
    hub: str | Sequence[str] = (),
    ref: str = "",
    timeout: float = 1800.0,
    build_token: str = "",
    hub_token: str = "",
    profile: str = "",
    warm_up: str | None = "",
    timeouts: Timeouts | None = None,
    attempts: int = 3,
    reuse_environment: bool | Literal["force"] = False,
    reuse_environment_since: str = "",
    directory: str | os.PathLike[str] = "",
    environ: Mapping[str, str] | None = None,
    observer: Observer | None = None,
    cancel: threading.Event | None = None,
) -> Session:
    """Start a session, wait until it is ready and return it. Stop it with :func:`stop`.

    ``repository`` is any form that ``clinder start --help`` lists. ``""`` means the commit that
    CI builds according to ``environ`` (by default this process's environment), otherwise HEAD of
    the clone in ``directory`` (by default the current directory). ``ref`` is a branch, tag or
    commit, if ``repository`` names none. ``hub`` is one URL, or several that are tried in order;
    ``local`` is the embedded hub. The default is https://mybinder.org. ``build_token`` is
    a build token of the first hub, ``hub_token`` your token at its JupyterHub, if it requires a
    login, and ``profile`` a profile there, if it only builds images.

    ``timeout`` limits the whole call, in seconds; ``timeouts`` holds the other limits.
    ``attempts``, from 1 to 3, limits the build requests to one hub. ``warm_up`` names the
    kernelspec of a first kernel, which clinder starts and removes beforehand: ``""`` is the
    server's default, ``None`` starts no kernel. ``reuse_environment`` launches the oldest commit in
    the clone's history with the same environment files (``"force"``: even if the build might read
    others), and ``reuse_environment_since`` limits its age: a date such as ``2026-01-31`` (UTC), or
    an age such as ``90d``. ``observer`` receives the events of
    :mod:`clinder.events`. Setting ``cancel`` ends the call and stops what it started.

    Raises :class:`~clinder.errors.ClinderError`.
    """
    from clinder._deadline import Deadline
    from clinder.events import WarningIssued
    from clinder.launch.launch import launch
    from clinder.launch.options import LaunchOptions
    from clinder.launch.request import resolve

    require_type("hub", hub, str, Sequence)
    require_type("timeouts", timeouts, Timeouts, type(None))
    require_type("directory", directory, str, os.PathLike)
    require_type("environ", environ, Mapping, type(None))
    _require_event(cancel)
    options = LaunchOptions(
        repository=repository,
        hubs=(hub,) if isinstance(hub, str) else tuple(hub),
        ref=ref,
        timeout=timeout,
        build_token=build_token,
        hub_token=hub_token,
        profile=profile,
        warm_up=warm_up,
        timeouts=timeouts or Timeouts(),
        attempts=attempts,
        reuse_environment=reuse_environment,
        reuse_environment_since=reuse_environment_since,
        directory=Path(directory),
    )
    deadline = Deadline(timeout, cancel=cancel)
    resolution = resolve(options, deadline, os.environ if environ is None else environ)
    if observer:
        for warning in resolution.warnings:
            observer(WarningIssued(warning))
    return launch(resolution.request, deadline, observer)


def stop(
    session: Session,
    *,
    timeout: float | None = None,
    timeouts: Timeouts | None = None,
    hub_token: str = "",
    cancel: threading.Event | None = None,
) -> bool:
    """Stop a session and return once it is gone: ``True``, or ``False`` if it was gone already.

    A session that its hub does not know counts as gone.

    ``timeout`` limits the whole call, in seconds; the default is ``timeouts.stop`` or 60.
    ``timeouts`` limits each connection. ``hub_token`` is needed if the hub requires a login and the
    session was read from a file. Raises :class:`~clinder.errors.StopFailed`, or one of its
    subclasses: :class:`~clinder.errors.TokenRefused`, :class:`~clinder.errors.RequestRefused`.
    """
    from clinder._deadline import Deadline
    from clinder.running.stop import stop

    require_type("session", session, Session)
    require_type("timeout", timeout, float, type(None))
    require_type("timeouts", timeouts, Timeouts, type(None))
    _require_event(cancel)
    timeouts = timeouts or Timeouts()
    seconds = timeouts.stop_limit(STOP_TIMEOUT) if timeout is None else timeout
    require_type("hub_token", hub_token, str)
    session = session.for_user(hub_token)
    return stop(session, Deadline(seconds, cancel=cancel), timeouts=timeouts).ran


def _require_event(cancel: threading.Event | None) -> None:
    if cancel is not None and not hasattr(cancel, "is_set"):
        raise UsageError(f"cancel must be a threading.Event, not {type(cancel).__name__}.")


def _as_context_manager(
    start: Callable[_Start, Session],
) -> Callable[_Start, AbstractContextManager[Session]]:
    @contextmanager
    @wraps(start, assigned=("__annotations__", "__module__"))
    def open_session(*args: _Start.args, **kwargs: _Start.kwargs) -> Iterator[Session]:
        """Start a session for a ``with`` block, and stop it at the end of the block.

        It takes the arguments of :func:`start`. The session is stopped even if the block raises.
        """
        session = start(*args, **kwargs)
        try:
            yield session
        finally:
            stop(session, timeouts=cast("Timeouts | None", kwargs.get("timeouts")))

    return open_session


open_session = _as_context_manager(start)
