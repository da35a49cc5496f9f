"""The Python API: a session started, stopped, or both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Literal, ParamSpec

from clinder.session import Session
from clinder.timeouts import STOP_TIMEOUT

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from clinder.events import Observer
    from clinder.timeouts import Timeouts

_Start = ParamSpec("_Start")


def start(
    repository: str = "",
    *,
    hub: str | Sequence[str] = (),
    ref: str = "",
    timeout: float = 1200.0,
    build_token: str = "",
    warm_up: str | None = "",
    timeouts: Timeouts | None = None,
    attempts: int = 3,
    reuse_environment: bool | Literal["force"] = False,
    directory: str | os.PathLike[str] = "",
    environ: Mapping[str, str] | None = None,
    observer: Observer | None = None,
    cancel: threading.Event | None = None,
) -> Session:
    """Start a session and return it, once its server answers. Stop it with :func:`stop`.

    ``repository`` is any form that ``clinder start --help`` shows; ``""`` is the commit that is
    being worked on, in ``directory`` (the current one) or as CI's ``environment`` (this
    process's) has it. ``hub`` is one URL or several in order, ``local`` the embedded hub, by
    default https://mybinder.org. ``timeout`` is in seconds, for all; ``clocks`` has the others;
    ``attempts`` is how many build requests one hub gets at most, from 1 to 3.
    ``warm_up`` is the kernelspec of which one kernel is started and removed beforehand, ``""``
    the server's default, ``None`` no kernel. ``reuse_environment`` launches the oldest commit of
    this checkout's history that has had the same environment, which the hub need not build again,
    and ``"force"`` does so though the build may read more of the repository. ``observer`` receives
    the values of :mod:`clinder.events`; a set ``cancel`` ends the launch and stops what it started.

    Raises :class:`~clinder.errors.ClinderError`.
    """
    from clinder.events import WarningIssued
    from clinder.launch.launch import launch
    from clinder.launch.request import resolve

    made = resolve(
        repository,
        hubs=(hub,) if isinstance(hub, str) else hub,
        ref=ref,
        timeout=timeout,
        build_token=build_token,
        warm_up=warm_up,
        timeouts=timeouts,
        attempts=attempts,
        reuse_environment=reuse_environment,
        directory=Path(directory),
        environ=os.environ if environ is None else environ,
    )
    if observer:
        for warning in made.warnings:
            observer(WarningIssued(warning))
    return launch(made.request, observer, cancel=cancel)


def stop(
    session: Session, *, timeout: float = STOP_TIMEOUT, cancel: threading.Event | None = None
) -> bool:
    """Stop a session and return once it is gone: ``True``, or ``False`` if it was gone already.

    ``timeout`` is in seconds. Raises :class:`~clinder.errors.StopFailed`, of which
    :class:`~clinder.errors.TokenRefused` is one.
    """
    from clinder._deadline import Deadline
    from clinder.running.stop import stop

    return stop(session, Deadline(timeout, cancel=cancel))


def _as_context_manager(
    start: Callable[_Start, Session],
) -> Callable[_Start, AbstractContextManager[Session]]:
    @contextmanager
    @wraps(start, assigned=("__annotations__", "__module__"))
    def session(*args: _Start.args, **kwargs: _Start.kwargs) -> Iterator[Session]:
        """Start a session as :func:`start` does, for a ``with`` block, and stop it on leaving.

        It takes what :func:`start` takes. The session is stopped whatever happens in the block.
        """
        started = start(*args, **kwargs)
        try:
            yield started
        finally:
            stop(started)

    return session


session = _as_context_manager(start)
