"""A gateway in a process of its own ends when it is told to, or can no longer be told."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import requests

from clinder._deadline import Deadline
from clinder.cli.kernels import end_bridges
from clinder.errors import Cancelled
from clinder.gateway.conversation import CellLimits
from clinder.gateway.folder import Handed, report_path
from clinder.gateway.gateway import GatewayOptions
from clinder.gateway.process import end_detached, start_detached
from clinder.gateway.slots import KernelLimit
from clinder.session import Session
from e2e.world import until
from file_modes import modes
from hubs import Jupyter, ScriptedHub

OPTIONS = GatewayOptions(60.0, KernelLimit(2), {"a": "b"}, CellLimits(30.0))


@pytest.fixture
def session() -> Iterator[Session]:
    with ScriptedHub() as hub:
        yield Session(hub.serve("x", Jupyter("s3cret")), "s3cret")


def start(session: Session, folder: Path) -> tuple[Handed, psutil.Process]:
    handed = start_detached(session, OPTIONS, folder, Deadline(30), environ=os.environ)
    assert handed is not None
    return handed, psutil.Process(handed.pid)


def has_ended(process: psutil.Process) -> bool:
    """Whether it has, even if nobody has waited for it yet."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_it_serves_the_session_until_it_is_told_to_end(session: Session, tmp_path: Path) -> None:
    handed, process = start(session, tmp_path)
    headers = {"Authorization": f"token {handed.token}"}

    assert requests.get(f"{handed.url}api/status", headers=headers, timeout=60).status_code == 200
    assert handed.variables["JUPYTER_BASE_URL"] == handed.url
    assert "s3cret" not in " ".join([*process.cmdline(), *process.environ().values()])
    assert handed.token not in repr(handed)
    if sys.platform != "win32":
        assert {*modes(tmp_path).values()} == {0o600}
    report = end_detached(tmp_path, Deadline(30))

    assert report is not None
    assert report.launch is not None
    assert "s3cret" not in report_path(tmp_path).read_text(encoding="utf-8")
    until(lambda: has_ended(process))
    assert end_detached(tmp_path, Deadline(30)) == report


def test_it_ends_when_its_folder_is_removed(session: Session, tmp_path: Path) -> None:
    folder = tmp_path / "private"
    folder.mkdir()
    _, process = start(session, folder)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)  # the report can be renewed meanwhile

    until(lambda: has_ended(process))


def test_a_cancelled_start_leaves_a_process_that_can_be_ended(
    session: Session, tmp_path: Path
) -> None:
    deadline = Deadline(30)
    deadline.cancel.set()
    with pytest.raises(Cancelled):
        start_detached(session, OPTIONS, tmp_path, deadline, environ=os.environ)

    mine = [each for each in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(each.info)]
    end_detached(tmp_path, Deadline(30))
    until(lambda: all(map(has_ended, mine)))


def test_a_gateway_that_does_not_start_is_none(session: Session, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit(1)"]
    options = {"command": command, "environ": os.environ}

    assert start_detached(session, OPTIONS, tmp_path, Deadline(30), **options) is None  # type: ignore[arg-type]
    assert start_detached(session, OPTIONS, tmp_path / "gone", Deadline(30), **options) is None  # type: ignore[arg-type]
    assert end_detached(tmp_path / "gone", Deadline(30)) is None


def test_a_session_that_is_stopped_at_the_last_moment_still_takes_its_gateway_with_it(
    session: Session, tmp_path: Path
) -> None:
    folder = tmp_path / "kernels"
    folder.mkdir()
    _, process = start(session, folder)

    end_bridges(replace(session, kernels=str(folder)), {}, Deadline(0.01))

    assert not folder.exists()
    until(lambda: has_ended(process))
