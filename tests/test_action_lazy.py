"""A launch on demand in the action: what its process receives, and what it leaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from clinder.action import lazy
from clinder.action.folder import Folder
from clinder.action.inputs import PREFIX, read
from clinder.checkout.reuse import Choice
from clinder.errors import BuildFailed, Cancelled, ClinderError, UsageError
from clinder.events import AttemptFailed, BuildRequested, LogLines, Observer, SessionLaunched
from clinder.launch.request import Request
from clinder.repository import Repository
from clinder.session import Attempt, Session

OLD, NEW = "1f" * 20, "2e" * 20
ENVIRON = {f"{PREFIX}HUB_TOKEN": "t0ken", f"{PREFIX}TIMEOUT": "60", "OTHER": "x"}
REQUESTED = Repository("git", "https://host.example/a%20b/r.git", NEW)
CHOICE = Choice(REQUESTED, REQUESTED.with_ref(OLD), "It is the same.", note="But é moves.")
REQUEST = Request(
    REQUESTED.with_ref(OLD),
    ("https://a.example/", "https://b.example/"),
    read(ENVIRON).launch,
    CHOICE,
    Choice(REQUESTED, REQUESTED, "Something differs.", refused=True),
)
SESSION = Session("https://a.example/user/x/", "s3cret", spec=REQUEST.repository.spec)


def make(folder: Path, environ: Mapping[str, str] = ENVIRON) -> lazy.Launching:
    request = replace(REQUEST, options=read(environ).launch)
    return lazy.Launching(Folder(folder), json.loads(lazy.describe_launch(request, environ)))


@pytest.mark.parametrize(
    "request_", [REQUEST, Request(Repository("gh", "o/r", "main"), options=read(ENVIRON).launch)]
)
def test_the_process_launches_what_the_step_has_worked_out(
    tmp_path: Path, request_: Request
) -> None:
    text = lazy.describe_launch(request_, ENVIRON)

    assert lazy.Launching(Folder(tmp_path), json.loads(text)).request == request_
    assert "OTHER" not in text


def launches(monkeypatch: pytest.MonkeyPatch, *events: object, error: Exception | None) -> None:
    """Let each launch pass these events on, and end with the error or a session."""

    def launch(_: Request, __: object, observer: Observer) -> Session:
        for each in events:
            observer(each)  # type: ignore[arg-type]
        if error is not None:
            raise error
        return SESSION

    monkeypatch.setattr(lazy, "launch", launch)


def test_a_session_is_kept_for_the_post_step_with_its_log_and_its_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = REQUEST.repository.spec
    requested = BuildRequested("https://a.example/", spec, 1)
    lines = LogLines("building", ("one", "two é"))
    launches(monkeypatch, requested, lines, SessionLaunched(SESSION), error=None)
    launching = make(tmp_path)

    assert launching.run(threading.Event()) is SESSION

    folder = Folder(tmp_path)
    log = folder.launch_log.read_text(encoding="utf-8")
    assert log.startswith(f"Requesting {spec} from https://a.example/\none\ntwo é\n")
    assert len(folder.session_files) == 1
    assert folder.launching() is None
    outcome = folder.outcome()
    assert outcome
    assert outcome.summary.startswith("### A Jupyter session")
    assert (outcome.message, outcome.fails_job) == ("", False)


@pytest.mark.parametrize(
    ("error", "message", "fails"),
    [
        (BuildFailed("The build failed."), "The build failed.", False),
        (UsageError("An input is wrong."), "An input is wrong.", True),
        (ZeroDivisionError(), "A bug in clinder", False),
    ],
)
@pytest.mark.parametrize("continues", [True, False])
def test_the_outcome_of_a_failed_launch_is_that_of_the_start_step(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    error: Exception,
    message: str,
    fails: bool,
    continues: bool,
) -> None:
    attempt = Attempt("https://a.example/", "HubFull", "It is full.")
    requested = BuildRequested("https://b.example/", REQUEST.repository.spec, 2)
    launches(monkeypatch, AttemptFailed(attempt), requested, error=error)
    environ = {**ENVIRON, f"{PREFIX}FAIL_ON_ERROR": "false"} if continues else ENVIRON

    with pytest.raises(type(error)):
        make(tmp_path, environ).run(threading.Event())

    outcome = Folder(tmp_path).outcome()
    assert outcome
    assert outcome.message.startswith(message)
    assert ("The job continues without a session." in outcome.message) == (continues and not fails)
    assert outcome.fails_job == (fails or not continues)
    assert "It is full" in outcome.summary
    assert Folder(tmp_path).launching() is None


def test_a_cancelled_launch_has_no_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requested = BuildRequested("https://a.example/", REQUEST.repository.spec, 1)
    launches(monkeypatch, requested, error=Cancelled("Cancelled."))

    with pytest.raises(ClinderError):
        make(tmp_path).run(threading.Event())

    folder = Folder(tmp_path)
    assert (folder.outcome(), folder.launching()) == (None, None)


def test_the_log_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "_MAX_LOG", 100)
    launches(monkeypatch, *[LogLines("building", ("x" * 39,))] * 5, error=None)

    make(tmp_path).run(threading.Event())

    lines = Folder(tmp_path).launch_log.read_text(encoding="utf-8").splitlines()
    assert lines == ["x" * 39] * 2 + ["The log is longer than 10 MB. The rest is not shown."]
