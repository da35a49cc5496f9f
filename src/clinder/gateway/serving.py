"""The gateway to one session in a process of its own, until it is told to end."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from clinder._deadline import Deadline
from clinder.errors import Cancelled, ClinderError
from clinder.gateway.address import Address
from clinder.gateway.conversation import CellLimits
from clinder.gateway.folder import END, SETTINGS, report_path, write_private
from clinder.gateway.gateway import Gateway, GatewayOptions
from clinder.gateway.process import LAUNCH_END_TIMEOUT
from clinder.gateway.report import LaunchRecord, Problem, Report
from clinder.gateway.slots import KernelLimit
from clinder.gateway.threads import Threads
from clinder.gateway.upstream import Credential
from clinder.launch.on_demand import OnDemand
from clinder.running.keep_alive import keep_alive_until_gone
from clinder.running.variables import make_preparation, take_variables
from clinder.session import Session

AFTERWARDS = 600.0
"""Seconds for which the gateway answers when its session is gone."""

_LONGEST = 5 * 86400.0  # GitHub ends each job after at most five days
_TICK = 0.1
_REPORT_EVERY = 2.0
_WARNINGS = 50


def serve_session(
    folder: Path,
    address: Address,
    source: OnDemand | None = None,
    record: LaunchRecord | None = None,
) -> None:
    """Serve the session of a folder until it is told to end, or the folder is removed.

    If the session does not run yet, ``source`` launches it, and ``record`` observes that. If the
    session is gone, the gateway answers for another 10 min, so that consumers learn it.
    """
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    source = source or OnDemand.of(_read_session(settings))
    record = record or LaunchRecord()
    warnings: deque[str] = deque(maxlen=_WARNINGS)
    gone, done = threading.Event(), threading.Event()
    options = _options_from_json(settings["options"])
    kernels_receive = take_variables(settings["variables"], os.environ)
    if kernels_receive:
        options = replace(options, prepare=make_preparation(kernels_receive, warnings.append))
    session = source.session
    gateway = Gateway(
        Credential.of(session) if session else lambda: Credential.of(source.get()),
        options,
        address=address,
        warn=warnings.append,
    )

    def write_report() -> None:
        report = Report(
            launch=record.launch(source),
            kernels=gateway.kernels,
            resources=gateway.resources,
            problem=_problem(source.error),
            warnings=tuple(warnings),
            variables=kernels_receive.names,
        )
        with suppress(OSError):  # a full disk, or the folder is gone
            write_private(report_path(folder), report.to_json() + "\n")

    def watch() -> None:
        if source.session is not None:
            _watch(source.session, gateway, warnings.append, gone, done)

    source.on_end = watch
    with gateway:
        watch()
        try:
            _serve_until_end(folder, write_report, gone)
        finally:
            done.set()
            source.end(LAUNCH_END_TIMEOUT)
    write_report()


def _read_session(settings: Mapping[str, Any]) -> Session:
    session = Session.from_json(json.dumps(settings["session"]))
    return session if session.token else session.for_user(sys.stdin.read())


def _problem(error: Exception | None) -> Problem | None:
    """Return why the launch failed, for the report."""
    if isinstance(error, ClinderError) and not isinstance(error, Cancelled):
        return Problem.of(error)
    return None


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
    while not (folder / END).exists() and folder.is_dir() and deadline.remaining():
        if deadline.now() - written_at > _REPORT_EVERY:
            write_report()
            written_at = deadline.now()
        if gone.is_set():
            gone.clear()
            deadline = deadline.capped(AFTERWARDS)
        deadline.pause(threading.Event(), _TICK)


def _options_from_json(fields: Mapping[str, Any]) -> GatewayOptions:
    limit, cells = KernelLimit(**fields["limit"]), CellLimits(**fields["cells"])
    return GatewayOptions(fields["kernel_timeout"], limit, fields["aliases"], cells)
