"""The kernelspecs of a session, for tools on this machine that start local kernels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clinder._deadline import Deadline
from clinder.bridge.kernelspecs import guess_kernelspecs, local_names, write_kernelspecs
from clinder.errors import ClinderError, UsageError
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Server

_LIST_TIMEOUT = 30.0


def write_bridges(
    session: Session | None,
    folder: Path,
    *,
    url: str,
    token: str,
    top: Path,
    environ: Mapping[str, str],
    executables: Iterable[str],
    timeouts: Timeouts,
    report: Callable[[str], None],
) -> dict[str, str]:
    """Write kernelspecs to a private folder; return the variable by which tools find them.

    ``url`` and ``token`` are the gateway's; ``top`` is the checkout's top folder. ``executables``
    are programs whose environments can have kernelspecs, which are refused. ``report`` receives a
    sentence about where kernelspecs run. If the session's kernelspecs are unknown, every kernelspec
    is refused, because a tool would otherwise run on this machine without notice. If there is no
    session yet, each local name is one of the session's: the gateway decides which of its
    kernelspecs runs a notebook that names another. Raises :class:`~clinder.errors.UsageError` if
    they cannot be written.
    """
    local = local_names(environ, executables)
    specs: Mapping[str, Any] = {}
    if session is None:
        specs = guess_kernelspecs(local)
    else:
        try:
            specs = Server(session, Transport(timeouts)).kernelspecs(Deadline(_LIST_TIMEOUT))
        except ClinderError as error:
            report(f"The session's kernelspecs are unknown: {error.message}")
    try:
        written = write_kernelspecs(folder, specs, url=url, token=token, top=top, local=local)
    except OSError as error:
        reason = f"The kernelspecs cannot be written to {folder}: {error.strerror}."
        raise UsageError(reason, hint="Check that its disk is not full.") from None
    report(_describe(written.session, written.refused))
    path = environ.get("JUPYTER_PATH", "")
    return {"JUPYTER_PATH": os.pathsep.join(filter(None, (str(folder), path)))}


def find_top(folder: Path) -> Path:
    """Return the top folder of the checkout that a folder is in, or the folder itself."""
    return next((each for each in (folder, *folder.parents) if (each / ".git").exists()), folder)


def _describe(session: Sequence[str], refused: Sequence[str]) -> str:
    runs = f"Kernelspecs that run on the session: {', '.join(session) or 'none'}."
    return f"{runs} Refused: {', '.join(refused)}." if refused else runs
