"""A session on demand: launched once, when it is first needed, or not at all."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading

import pytest

from clinder.cli.process import Process
from clinder.cli.waiting import (
    Exited,
    Grace,
    Happenings,
    LaunchEnded,
    Signalled,
    Waiting,
)
from clinder.errors import BuildFailed, Cancelled, ClinderError
from clinder.launch.on_demand import OnDemand
from clinder.session import Session

SESSION = Session("https://hub.example/user/x/", "token")


def test_the_first_who_needs_the_session_launches_it_and_the_others_receive_the_same() -> None:
    launches: list[str] = []
    ended: list[bool] = []
    may_end = threading.Event()

    def launch(_: threading.Event) -> Session:
        launches.append("launched")
        assert may_end.wait(60)
        return SESSION

    source = OnDemand(launch)
    source.on_end = lambda: ended.append(source.is_launching)
    assert (source.was_needed, source.is_launching, source.session) == (False, False, None)
    received: list[Session] = []
    threads = [threading.Thread(target=lambda: received.append(source.get())) for _ in range(3)]
    for each in threads:
        each.start()
    may_end.set()
    for each in threads:
        each.join(60)
    assert (launches, received, ended) == (["launched"], [SESSION] * 3, [False])


def test_a_failed_launch_is_not_repeated() -> None:
    launches: list[str] = []

    def launch(_: threading.Event) -> Session:
        launches.append("launched")
        raise BuildFailed("The build failed.")

    source = OnDemand(launch)
    for _ in range(2):
        with pytest.raises(BuildFailed, match=r"The build failed\."):
            source.get()
    assert launches == ["launched"]
    assert (source.was_needed, source.is_launching, source.session) == (True, False, None)


def test_a_bug_is_kept_for_whoever_reports_it() -> None:
    def launch(_: threading.Event) -> Session:
        raise ZeroDivisionError

    source = OnDemand(launch)
    with pytest.raises(ClinderError, match="because of a bug"):
        source.get()
    assert isinstance(source.error, ZeroDivisionError)


def test_nothing_is_launched_after_the_end() -> None:
    source = OnDemand(lambda _: SESSION)
    source.end(0)
    with pytest.raises(Cancelled):
        source.get()


@pytest.mark.parametrize(("seconds", "is_launching"), [(60, False), (0.01, True)])
def test_the_end_cancels_a_launch_and_waits_for_it(seconds: float, is_launching: bool) -> None:
    began, may_end = threading.Event(), threading.Event()

    def launch(cancel: threading.Event) -> Session:
        began.set()
        assert cancel.wait(60)
        if is_launching:
            assert may_end.wait(60)
        raise Cancelled("Cancelled.")

    def need() -> None:
        with pytest.raises(Cancelled):
            source.get()

    source = OnDemand(launch)
    thread = threading.Thread(target=need)
    thread.start()
    assert began.wait(60)
    source.end(seconds)
    assert source.is_launching == is_launching
    may_end.set()
    thread.join(60)


def test_a_session_that_runs_already_is_not_launched() -> None:
    source = OnDemand.of(SESSION)
    source.end(0)
    assert (source.get(), source.was_needed) == (SESSION, False)


def test_a_signal_that_comes_too_late_to_end_the_launch_leaves_the_command_its_exit_code() -> None:
    happenings: Happenings = queue.SimpleQueue()
    began = threading.Event()

    def launch(cancel: threading.Event) -> Session:
        began.set()
        assert cancel.wait(60)
        return SESSION

    source = OnDemand(launch)
    source.on_end = lambda: happenings.put(LaunchEnded())
    process = Process([sys.executable, "-c", ""], os.environ)
    waiting = Waiting(
        process,
        source,
        happenings,
        Grace(),
        gateway=None,
        on_launched=lambda: happenings.put(Exited(process.wait())),
    )
    thread = threading.Thread(target=source.get)
    thread.start()
    assert began.wait(60)
    process.wait()
    happenings.put(Signalled(signal.SIGTERM, is_first=True))
    assert waiting.result(waiting.wait()) == 0
    thread.join(60)
