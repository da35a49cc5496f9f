"""A gateway in a process of its own, which outlives the program that starts it.

It has a private folder for its settings, with the session's token; for its address, as long as it
listens; for the request to end; for its log and its report. Files work on every platform, and no
token is among its arguments or in its environment. If the session has no token of its own, the
process receives the user's, which is in no file, on its standard input.
"""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from clinder._deadline import Deadline
from clinder.errors import UsageError
from clinder.gateway.conversation import CellLimits
from clinder.gateway.gateway import Gateway, GatewayOptions
from clinder.gateway.report import Launch, Report
from clinder.gateway.slots import KernelLimit
from clinder.gateway.threads import Threads
from clinder.gateway.upstream import Credential
from clinder.running.keep_alive import keep_alive_until_gone
from clinder.running.variables import make_preparation, take_variables
from clinder.session import Session

START_TIMEOUT = 10.0
"""Seconds in which the process has to listen; it takes less than one."""
END_TIMEOUT = 5.0
"""Seconds in which the process has to end; it takes less than two."""
AFTERWARDS = 600.0
"""Seconds for which the gateway answers when its session is gone."""

_SETTINGS = "gateway-settings.json"
_READY = "gateway.json"
_END = "gateway-end"
_LOG = "gateway.log"
_REPORT = "report.json"
_LONGEST = 5 * 86400.0  # GitHub ends each job after at most five days
_START_TICK = 0.02
_TICK = 0.1
_REPORT_EVERY = 2.0
_WARNINGS = 50


@dataclass(frozen=True)
class Handed:
    """How programs find the gateway: the variables, and its token among them."""

    pid: int
    url: str
    token: str = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)


def report_path(folder: Path) -> Path:
    """Return the path of the report, which is always complete, and renewed every 2 s."""
    return folder / _REPORT


# In the program that starts it


def start_detached(
    session: Session,
    options: GatewayOptions,
    folder: Path,
    deadline: Deadline,
    *,
    command: Sequence[str] = (sys.executable, "-m", "clinder.gateway"),
    environ: Mapping[str, str],
    variables: Sequence[str] = (),
) -> Handed | None:
    """Start a gateway to a session, and return how to reach it, or ``None`` if it does not start.

    ``folder`` exists and is readable by this user only. It is the last argument of ``command``,
    which runs :func:`serve`. ``variables`` are the names of those in ``environ`` that each kernel
    receives. Raises what the deadline raises; :func:`end_detached` then ends the
    process.
    """
    settings = {
        "session": session.to_json(),
        "options": _options_to_json(options),
        "variables": list(variables),
    }
    try:
        _write_private(folder / _SETTINGS, json.dumps(settings))
        token = "" if session.token else session.access_token
        process = _spawn([*command, str(folder)], folder, environ, token)
    except OSError:
        return None
    waiting = deadline.capped(START_TIMEOUT)
    while (handed := _handed(folder)) is None:
        if process.poll() is not None or not waiting.remaining():
            process.kill()
            return None
        deadline.wait(_START_TICK)
    return handed


def serves(folder: Path, session: Session) -> bool:
    """Whether a folder is that of a gateway to a session."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        return bool(settings["session"]["url"] == session.url)
    return False


def end_detached(folder: Path, deadline: Deadline) -> Report | None:
    """End the gateway of a folder, if there is one, and return its report."""
    if not (folder / _SETTINGS).exists():
        return None
    with suppress(OSError):
        (folder / _END).touch()
    waiting = deadline.capped(END_TIMEOUT)
    handed = last = _handed(folder)
    while last is not None and waiting.remaining():
        deadline.wait(_TICK)
        last = _handed(folder)
    if handed is not None and last is not None:
        _kill(handed)
    with suppress(OSError, ValueError, UsageError):
        return Report.from_json(report_path(folder).read_text(encoding="utf-8"))
    return None


def _spawn(
    command: Sequence[str], folder: Path, environ: Mapping[str, str], token: str
) -> subprocess.Popen[bytes]:
    """Start the process in a session of its own, and without the pipes of this one.

    GitHub's runner waits for whatever holds those of a step, and then kills it.
    """
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    with _open_private(folder / _LOG) as log:
        process = subprocess.Popen(  # noqa: S603 - this Python, and our own program
            command,
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE if token else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            creationflags=flags,
        )
    if process.stdin:
        with suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(token.encode())
    threading.Thread(target=process.wait, name="clinder-reap", daemon=True).start()
    return process


def _handed(folder: Path) -> Handed | None:
    with suppress(OSError, ValueError, TypeError):
        return Handed(**json.loads((folder / _READY).read_text(encoding="utf-8")))
    return None


def _kill(handed: Handed) -> None:
    """Kill the process. It still has its port, so no other process has its id."""
    with suppress(OSError, ValueError):
        socket.create_connection(("127.0.0.1", urlsplit(handed.url).port or 0), timeout=1).close()
        os.kill(handed.pid, 9)


# In the process


def serve(folder: Path) -> None:
    """Serve the session of a folder until it is told to end, or the folder is removed.

    If the session is gone, the gateway answers for another 10 min, so that consumers learn it.
    """
    settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
    session = Session.from_json(json.dumps(settings["session"]))
    if not session.token:
        session = session.for_user(sys.stdin.read())
    warnings: deque[str] = deque(maxlen=_WARNINGS)
    gone, done = threading.Event(), threading.Event()
    options = _options_from_json(settings["options"])
    kernels_receive = take_variables(settings["variables"], os.environ)
    if kernels_receive:
        options = replace(options, prepare=make_preparation(kernels_receive, warnings.append))
    gateway = Gateway(lambda: Credential.of(session), options, warn=warnings.append)

    def write_report() -> None:
        report = Report(
            launch=Launch.of(session),
            kernels=gateway.kernels,
            resources=gateway.resources,
            warnings=tuple(warnings),
            variables=kernels_receive.names,
        )
        with suppress(OSError):  # a full disk, or the folder is gone
            _write_private(report_path(folder), report.to_json() + "\n")

    with gateway:
        _watch(session, gateway, warnings.append, gone, done)
        variables = gateway.variables(os.environ)
        handed = Handed(os.getpid(), gateway.url, gateway.token, variables)
        _write_private(folder / _READY, json.dumps(vars(handed)))
        try:
            _serve_until_end(folder, write_report, gone)
        finally:
            done.set()
    write_report()
    with suppress(OSError):
        (folder / _READY).unlink()


def _watch(
    session: Session,
    gateway: Gateway,
    warn: Callable[[str], None],
    gone: threading.Event,
    done: threading.Event,
) -> None:
    """Tell the gateway when the session is gone. The requests do not keep it from being culled."""

    def watch() -> None:
        deadline = Deadline(math.inf, cancel=done)
        status = keep_alive_until_gone(session, deadline, keep_alive=0, hurry=gateway.hurry)
        if status is not None:
            warn(f"The session is gone: {status.message}.")
            gateway.lose_session(f"{status.message[:1].upper()}{status.message[1:]}.")
            gone.set()

    Threads(warn).start("watch", watch)


def _serve_until_end(folder: Path, write_report: Callable[[], None], gone: threading.Event) -> None:
    deadline = Deadline(_LONGEST)
    written_at = -math.inf
    while not (folder / _END).exists() and folder.is_dir() and deadline.remaining():
        if deadline.now() - written_at > _REPORT_EVERY:
            write_report()
            written_at = deadline.now()
        if gone.is_set():
            gone.clear()
            deadline = deadline.capped(AFTERWARDS)
        deadline.pause(threading.Event(), _TICK)


# Files


def _options_to_json(options: GatewayOptions) -> Mapping[str, Any]:
    return {
        "kernel_timeout": options.kernel_timeout,
        "limit": vars(options.limit),
        "aliases": options.aliases,
        "cells": vars(options.cells),
    }


def _options_from_json(fields: Mapping[str, Any]) -> GatewayOptions:
    limit, cells = KernelLimit(**fields["limit"]), CellLimits(**fields["cells"])
    return GatewayOptions(fields["kernel_timeout"], limit, fields["aliases"], cells)


def _write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, completely or not at all."""
    new = path.with_name(f"{path.name}.new")
    with _open_private(new) as file:
        file.write(text.encode())
    new.replace(path)


def _open_private(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
