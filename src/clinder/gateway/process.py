"""A gateway in a process of its own, which outlives the program that starts it.

Both use files of a private folder, which work on every platform. No token is among the process's
arguments or in its environment.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from clinder._deadline import Deadline
from clinder.errors import UsageError
from clinder.gateway.address import Address
from clinder.gateway.folder import (
    END,
    LOG,
    READY,
    SETTINGS,
    Handed,
    open_private,
    read_handed,
    report_path,
    write_private,
)

if TYPE_CHECKING:
    from clinder.gateway.gateway import GatewayOptions
    from clinder.gateway.report import LaunchRecord, Report
    from clinder.launch.on_demand import OnDemand
    from clinder.session import Session

START_TIMEOUT = 10.0
"""Seconds in which the process has to listen; it takes less than one."""
END_TIMEOUT = 5.0
"""Seconds in which the process has to end; it takes less than two."""
LAUNCH_END_TIMEOUT = 10.0
"""The same if it first cancels a launch, which takes less than seven."""

_START_TICK = 0.02
_TICK = 0.1


def start_detached(
    session: Session | None,
    options: GatewayOptions,
    folder: Path,
    deadline: Deadline,
    *,
    command: Sequence[str] = (sys.executable, "-m", "clinder.gateway"),
    environ: Mapping[str, str],
    variables: Sequence[str] = (),
    secret: str = "",
) -> Handed | None:
    """Start a gateway to a session, and return how to reach it, or ``None`` if it does not start.

    ``folder`` exists and is readable by this user only. It is the last argument of ``command``,
    which runs :func:`serve`, and receives ``secret`` on its standard input. If there is no session
    yet, it launches one. ``variables`` are the names of those in ``environ`` that each kernel
    receives. Raises what the deadline raises; :func:`end_detached` then ends the
    process.
    """
    settings = {
        "session": session and session.to_json(),
        "options": _options_to_json(options),
        "variables": list(variables),
    }
    try:
        write_private(folder / SETTINGS, json.dumps(settings))
        if session is not None and not session.token:
            secret = session.access_token
        process = _spawn([*command, str(folder)], folder, environ, secret)
    except OSError:
        return None
    waiting = deadline.capped(START_TIMEOUT)
    while (handed := read_handed(folder)) is None:
        if process.poll() is not None or not waiting.remaining():
            process.kill()
            return None
        deadline.wait(_START_TICK)
    return handed


def serves(folder: Path, session: Session) -> bool:
    """Whether a folder is that of a gateway to a session."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        return bool(settings["session"]["url"] == session.url)
    return False


def end_detached(
    folder: Path, deadline: Deadline, *, seconds: float = END_TIMEOUT
) -> Report | None:
    """End the gateway of a folder, if there is one, within some seconds; return its report."""
    if not (folder / SETTINGS).exists():
        return None
    with suppress(OSError):
        (folder / END).touch()
    waiting = deadline.capped(seconds)
    handed = last = read_handed(folder)
    while last is not None and waiting.remaining():
        deadline.wait(_TICK)
        last = read_handed(folder)
    if handed is not None and last is not None:
        _kill(handed)
    from clinder.gateway.report import Report

    with suppress(OSError, ValueError, UsageError):
        return Report.from_json(report_path(folder).read_text(encoding="utf-8"))
    return None


def _spawn(
    command: Sequence[str], folder: Path, environ: Mapping[str, str], secret: str
) -> subprocess.Popen[bytes]:
    """Start the process in a session of its own, and without the pipes of this one.

    GitHub's runner waits for whatever holds those of a step, and then kills it.
    """
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    with open_private(folder / LOG) as log:
        process = subprocess.Popen(  # noqa: S603 - this Python, and our own program
            command,
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE if secret else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            creationflags=flags,
        )
    if process.stdin:
        with suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(secret.encode())
    threading.Thread(target=process.wait, name="clinder-reap", daemon=True).start()
    return process


def _kill(handed: Handed) -> None:
    """Kill the process. It still has its port, so no other process has its id."""
    with suppress(OSError, ValueError):
        socket.create_connection(("127.0.0.1", urlsplit(handed.url).port or 0), timeout=1).close()
        os.kill(handed.pid, 9)


def _options_to_json(options: GatewayOptions) -> Mapping[str, Any]:
    return {
        "kernel_timeout": options.kernel_timeout,
        "limit": vars(options.limit),
        "aliases": options.aliases,
        "cells": vars(options.cells),
    }


def serve(folder: Path, prepare: Callable[[], tuple[OnDemand, LaunchRecord]] | None = None) -> None:
    """Be the process: serve the session of a folder until it is told to end.

    ``prepare`` returns a session that does not run yet, and what observes its launch. The process
    listens before it imports the gateway, which takes longer than all the rest of its start.
    """
    address = Address()
    handed = Handed(os.getpid(), address.url, address.token, address.variables(os.environ))
    try:
        write_private(folder / READY, json.dumps(vars(handed)))
        from clinder.gateway.serving import serve_session

        serve_session(folder, address, *(prepare() if prepare else ()))
    finally:
        with suppress(OSError):
            (folder / READY).unlink()
