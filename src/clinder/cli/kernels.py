"""The kernelspecs by which the command of ``clinder run`` runs its kernels on the session."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from clinder.session import Session
from clinder.timeouts import Timeouts


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
    run.
    """
    from clinder.running.bridges import find_top, write_bridges

    folder = Path(tempfile.mkdtemp(prefix="clinder-kernels-"))  # mode 0700
    try:
        yield write_bridges(
            session,
            folder,
            url=url,
            token=token,
            top=Path.cwd() if session.is_embedded else find_top(Path.cwd()),
            environ=environ,
            executables=[command],
            timeouts=timeouts,
            report=report,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
