"""The kernelspecs by which tools on this machine run their kernels on a session."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clinder._deadline import Deadline
from clinder.errors import ClinderError
from clinder.session import Session
from clinder.timeouts import Timeouts

_LIST_TIMEOUT = 30.0


@contextmanager
def offer_kernels(
    session: Session,
    url: str,
    token: str,
    *,
    environ: Mapping[str, str],
    command: str,
    timeouts: Timeouts,
    report: Callable[[str], None],
) -> Iterator[dict[str, str]]:
    """Yield the variable by which ``command`` finds the session's kernelspecs.

    ``url`` and ``token`` are the gateway's. ``report`` receives a sentence about where kernelspecs
    run. If the session's kernelspecs are unknown, every kernelspec is refused, because a tool would
    otherwise run on this machine without notice.
    """
    from clinder.bridge.kernelspecs import local_names, write_kernelspecs

    folder = Path(tempfile.mkdtemp(prefix="clinder-kernels-"))  # mode 0700
    try:
        written = write_kernelspecs(
            folder,
            _list_kernelspecs(session, timeouts, report),
            url=url,
            token=token,
            top=Path.cwd() if session.is_embedded else find_top(Path.cwd()),
            local=local_names(environ, [command]),
        )
        report(_describe(written.session, written.refused))
        path = environ.get("JUPYTER_PATH", "")
        yield {"JUPYTER_PATH": os.pathsep.join(filter(None, (str(folder), path)))}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _list_kernelspecs(
    session: Session, timeouts: Timeouts, report: Callable[[str], None]
) -> Mapping[str, Any]:
    from clinder.wire.http import Transport
    from clinder.wire.jupyter_server import Server

    try:
        return Server(session, Transport(timeouts)).kernelspecs(Deadline(_LIST_TIMEOUT))
    except ClinderError as error:
        report(f"The session's kernelspecs are unknown: {error.message}")
        return {}


def find_top(folder: Path) -> Path:
    """Return the top folder of the checkout that a folder is in, or the folder itself."""
    return next((each for each in (folder, *folder.parents) if (each / ".git").exists()), folder)


def _describe(session: Sequence[str], refused: Sequence[str]) -> str:
    runs = f"Kernelspecs that run on the session: {', '.join(session) or 'none'}."
    return f"{runs} Refused: {', '.join(refused)}." if refused else runs
