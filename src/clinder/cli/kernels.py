"""The kernelspecs by which tools on this machine run their kernels on a session."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clinder._deadline import Deadline
from clinder.errors import LaunchFailed, UsageError
from clinder.session import Session
from clinder.timeouts import Timeouts

if TYPE_CHECKING:
    from clinder.gateway.folder import Handed


@contextmanager
def offer_kernels(
    session: Session | None,
    url: str,
    token: str,
    *,
    is_local: bool,
    environ: Mapping[str, str],
    command: str,
    timeouts: Timeouts,
    report: Callable[[str], None],
) -> Iterator[dict[str, str]]:
    """Yield the variable by which ``command`` finds the session's kernelspecs.

    They are unknown without a ``session``. ``is_local``: the embedded hub launches it. ``url`` and
    ``token`` are the gateway's. ``report`` receives a sentence about where kernelspecs run.
    """
    from clinder.running.bridges import find_top, write_bridges

    folder = Path(tempfile.mkdtemp(prefix="clinder-kernels-"))  # mode 0700
    try:
        yield write_bridges(
            session,
            folder,
            url=url,
            token=token,
            top=Path.cwd() if is_local else find_top(Path.cwd()),
            environ=environ,
            executables=[command],
            timeouts=timeouts,
            report=report,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_folder(folder: Path | None) -> Iterator[None]:
    """Create a folder for kernelspecs, if there is one to create, and remove it after an error.

    `clinder stop` removes the folder, so it must be clinder's own. Raises
    :class:`~clinder.errors.UsageError` if something has its name, or it cannot be created.
    """
    if folder is None:
        yield
        return
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        reason = f"The folder {folder} exists already."
        raise UsageError(reason, hint="Choose a new name.") from None
    except OSError as error:
        reason = f"The folder {folder} cannot be created: {error.strerror}."
        raise UsageError(reason, hint="Choose another folder for --kernels.") from None
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def start_bridges(
    session: Session,
    folder: Path,
    deadline: Deadline,
    *,
    environ: Mapping[str, str],
    timeouts: Timeouts,
    report: Callable[[str], None],
) -> Session:
    """Start a gateway that outlives this program, and write kernelspecs for it to a new folder.

    Returns the session, which now names the folder. Raises
    :class:`~clinder.errors.LaunchFailed` if the gateway does not start. None runs after an error.
    """
    from clinder.gateway.gateway import GatewayOptions
    from clinder.gateway.process import END_TIMEOUT, end_detached, start_detached
    from clinder.running.bridges import find_top, write_bridges

    folder = folder.absolute()
    try:
        handed = _require_started(
            start_detached(session, GatewayOptions(), folder, deadline, environ=environ)
        )
        write_bridges(
            session,
            folder,
            url=handed.url,
            token=handed.token,
            top=Path.cwd() if session.is_embedded else find_top(Path.cwd()),
            environ=environ,
            executables=filter(None, map(shutil.which, ("jupyter", "python3", "python"))),
            timeouts=timeouts,
            report=report,
        )
    except BaseException:
        end_detached(folder, deadline.uncancelled(END_TIMEOUT))
        raise
    return replace(session, kernels=str(folder))


def _require_started(handed: Handed | None) -> Handed:
    if handed is None:
        raise LaunchFailed("The gateway for --kernels did not start.")
    return handed


def end_bridges(session: Session, environ: Mapping[str, str], deadline: Deadline) -> None:
    """End the gateway of a session that is gone, and remove its folder of kernelspecs.

    This can overrun the deadline, by the time that a gateway has for its end.
    """
    from clinder.gateway.process import END_TIMEOUT, end_detached, serves

    folders = [session.kernels, *environ.get("JUPYTER_PATH", "").split(os.pathsep)]
    for folder in map(Path, filter(None, folders)):
        if serves(folder, session):
            end_detached(folder, deadline.extended(END_TIMEOUT))
            shutil.rmtree(folder, ignore_errors=True)
