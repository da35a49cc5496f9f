"""Every stream that a real BinderHub was heard to send, through the whole command line.

What each implies is BinderHub's: its message, or where it has none, the log before it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from answers import Answer, Cut, Ending, Framing, at_random, bytewise, event, page, whole
from clinder.cli.main import main
from hubs import Jupyter, ScriptedHub

TRANSCRIPTS = Path(__file__).parent / "transcripts"
RECORDED_AT = b"http://127.0.0.1:8600"
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

pytestmark = pytest.mark.usefixtures("_no_threads_left")


@dataclass(frozen=True)
class Success:
    """A launch that ends in a session; ``asked`` is what it was recorded for."""

    asked: str
    phases: str = "waiting fetching building built launching readiness"


@dataclass(frozen=True)
class Failure:
    """A launch that ends with an exit code and words on stderr."""

    code: int
    says: tuple[str, ...]
    status: int = 0
    """The status with which newer hubs send it, the event being the body."""
    answer: str = "text/event-stream"
    recorded_as: int = 200


REQUIREMENTS = "gh/binder-examples/requirements/HEAD"
NOT_FOUND = ("repository or its ref was not found", "Could not resolve ref for", "pushed", "public")
API_ONLY = ("only builds", "another hub with --hub")

EXPECTED: dict[str, Success | Failure] = {
    "bad-ref-master": Success(REQUIREMENTS, "waiting built launching readiness"),
    "build-chatty": Success("gh/rig/build-chatty/HEAD"),
    "build-launch-ok": Success(REQUIREMENTS),
    "build-silent": Success("gh/rig/build-silent/HEAD"),
    "git-provider-ok": Success("git/https%3A%2F%2Fgithub.com%2Frig%2Fsecond/HEAD"),
    "launch-cached-ok": Success(REQUIREMENTS, "built launching readiness"),
    "launch-silent": Success("gh/rig/launch-silent/HEAD"),
    "quota-double-1": Success("gh/rig/build-slow/HEAD"),
    "slash-branch": Success("gh/rig/second/feature/slash"),
    "slash-branch-escaped": Success("gh/rig/second/feature%2Fslash"),
    "auth-noauth": Failure(3, ("requires a login", "does not support", "requires no login"), 403),
    "bad-prefix": Failure(3, ("does not support this provider", "prefix xx", "repoproviders"), 400),
    "bad-ref": Failure(3, (*NOT_FOUND, "requirements/nope"), 404),
    "bad-repo": Failure(3, (*NOT_FOUND, "gh:nobody/nothing/HEAD"), 404),
    "bad-spec-noref": Failure(
        3, ("cannot parse the spec", "Did you mean", "requirements/HEAD"), 400
    ),
    "bad-spec-short": Failure(3, ("cannot parse the spec", 'provided: "foo"'), 400),
    "banned-spec": Failure(3, ("does not launch this repository", "contact admins", "--hub"), 403),
    "baseurl-good": Failure(3, (*NOT_FOUND, "gh:rig/second/nope"), 404),
    "buildonly-refused": Failure(
        3, ("responded with status 400", "not permitted", "change the request"), 400
    ),
    "net-banned": Failure(3, ("refuses this network", "datacenter", "another network"), 403),
    "build-fail": Failure(4, ("could not be built", "| #6 ERROR: process", "pip install nope")),
    "build-fail-r2d-exception": Failure(4, ("could not be built", "Error during build: HTTPS")),
    "build-killed": Failure(4, ("could not be built", "| #5 [5/5] RUN step 5")),
    "slow-ttfb": Failure(4, ("could not be built", "Failed to clone repository")),
    "full": Failure(5, ("hub is full", "Try again soon", "second hub with --hub")),
    "full-nobuild": Failure(5, ("hub is full", "Try again soon", "second hub with --hub"), 503),
    "quota-cached": Failure(5, ("quota", "running https://github.com/rig/build-slow!", "Stop")),
    "apionly-buildonly-cached": Failure(6, API_ONLY),
    "apionly-buildonly-new": Failure(6, API_ONLY),
    "baseurl-noslash": Failure(
        6, ("not a BinderHub's address", "404", "path prefix"), answer="text/html", recorded_as=404
    ),
    "git-provider-bad": Failure(
        6, ("could not query", "Unable to run git ls-remote", "later"), 500
    ),
    "github-ratelimited": Failure(6, ("could not query", "in 25 minutes", "later"), 500),
    "nohub": Failure(8, ("not be launched", "Internal Server Error", "another hub")),
    "trailing-slash": Failure(
        6, ("ended the event stream before the launch", "| [Normal] Started")
    ),
    "launch-fail": Failure(8, ("not be launched", "ImagePullBackOff", "| Launch attempt 3 failed")),
    "launch-timeout": Failure(
        8, ("not be launched", "didn't respond in 8 seconds", "| Spawn fail")
    ),
    "launchtimeout": Failure(8, ("not be launched", "took too long to launch")),
}
"""Transcript -> what it implies. The words are BinderHub's own, and what we make of them."""

SUCCESSES = {name: each for name, each in EXPECTED.items() if isinstance(each, Success)}
FAILURES = {name: each for name, each in EXPECTED.items() if isinstance(each, Failure)}
NEWER = {name: each for name, each in FAILURES.items() if each.status}
WAYS = {
    "whole": (whole, Framing.CHUNKED),
    "bytewise": (bytewise, Framing.CHUNKED),
    "random chunks": (at_random(1), Framing.CHUNKED),
    "random reads": (at_random(2), Framing.CLOSE),
}

each_way = pytest.mark.parametrize("way", WAYS)
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stream is asked for once: what comes after a failure is for the fault table."""
    monkeypatch.setenv("CLINDER_ATTEMPTS", "1")


def recorded(name: str, hub: ScriptedHub) -> bytes:
    """The stream as it would have come from the scripted hub."""
    return (TRANSCRIPTS / f"{name}.sse").read_bytes().replace(RECORDED_AT, hub.origin.encode())


def last_event(body: bytes) -> dict[str, Any]:
    told = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: ")]
    return next(each for each in told if each.get("phase") == "ready")


def prepare(hub: ScriptedHub, body: bytes, cut: Cut, framing: Framing) -> dict[str, Any]:
    """Have the hub send a launch that succeeds, hold the stream open, and run the server."""
    said = last_event(body)
    hub.serve(said["url"].rstrip("/").rpartition("/")[2], Jupyter(said["token"]))
    hub.then(Answer(body, cut=cut, framing=framing, ending=Ending.HELD))
    return said


def test_the_table_holds_every_transcript() -> None:
    assert sorted(EXPECTED) == sorted(path.stem for path in TRANSCRIPTS.glob("*.sse"))


@each_way
@pytest.mark.parametrize("name", SUCCESSES)
def test_a_launch_that_succeeded_gives_the_session(name: str, way: str, capfd: Capture) -> None:
    expected = SUCCESSES[name]
    with ScriptedHub() as hub:
        said = prepare(hub, recorded(name, hub), *WAYS[way])
        code = main(["start", expected.asked, "--hub", hub.url, "-o", "json", "--no-warm-up"])
    stdout, stderr = capfd.readouterr()
    assert code == 0, stderr
    told = json.loads(stdout)
    spec = expected.asked.replace("feature%2F", "feature/")
    persistent = said["binder_persistent_request"].removeprefix("v2/")
    wanted = {
        "url": said["url"],
        "token": said["token"],
        "uri": f"{said['url']}?token={said['token']}",
        "hub": hub.url,
        "launch_host": said["binder_launch_host"],
        "spec": spec,
        "persistent_spec": persistent,
        "repo_url": said["repo_url"],
        "ref_url": said["binder_ref_url"],
        "binder_link": f"{hub.url}v2/{persistent}",
        "image": said["image"],
        "asked_spec": "",
        "reuse": "",
    }
    assert told == told | wanted
    assert set(told) - set(wanted) == {"started_at", "phases", "attempts"}
    assert list(told["phases"]) == expected.phases.split()
    assert [attempt["outcome"] for attempt in told["attempts"]] == ["ready"]
    assert [request.path for request in hub.builds] == [f"/build/{spec}"]
    assert said["token"] not in stderr
    assert not CONTROLS.search(stderr)


@each_way
@pytest.mark.parametrize("name", FAILURES)
def test_a_launch_that_failed_says_why(name: str, way: str, capfd: Capture) -> None:
    expected = FAILURES[name]
    cut, framing = WAYS[way]
    with ScriptedHub() as hub:
        body = recorded(name, hub)
        hub.then(Answer(body, expected.recorded_as, expected.answer, framing=framing, cut=cut))
        code = main(["start", "rig/example", "--hub", hub.url])
    says_why(code, expected, hub, capfd)


@pytest.mark.parametrize("name", NEWER)
def test_a_newer_hub_refuses_the_same_with_a_real_status(name: str, capfd: Capture) -> None:
    expected = NEWER[name]
    with ScriptedHub() as hub:
        hub.then(Answer(recorded(name, hub), expected.status, framing=Framing.LENGTH))
        code = main(["start", "rig/example", "--hub", hub.url])
    says_why(code, expected, hub, capfd)


def says_why(code: int, expected: Failure, hub: ScriptedHub, capfd: Capture) -> None:
    """What happened, where, what the hub said last, what to do, and the link to try by hand."""
    stdout, stderr = capfd.readouterr()
    assert (code, stdout) == (expected.code, ""), stderr
    report = stderr[stderr.rindex("\nclinder: ") :]
    for words in expected.says:
        assert words in report
    assert f"hub:        {hub.url}\n" in report
    assert "repository: gh/rig/example/HEAD\n" in report
    assert "what to do: " in report
    assert f"link:       {hub.url}v2/gh/rig/example/HEAD\n" in report
    assert not CONTROLS.search(stderr)


def test_after_a_verdict_nothing_is_waited_for(capfd: Capture) -> None:
    """``failed`` comes twice, and then keepalives for ever (``build-fail.sse``)."""
    with ScriptedHub() as hub:
        hub.then(Answer(recorded("build-fail", hub), ending=Ending.HELD))
        assert main(["start", "rig/example", "--hub", hub.url]) == 4
        assert hub.awaited(ending="HEAD").left.wait(20)


def test_the_last_twenty_log_lines_are_shown_and_no_more(capfd: Capture) -> None:
    log = b"".join(event(message=f"line {number}\n") for number in range(100))
    with ScriptedHub(Answer(log + event(phase="failed"))) as hub:
        assert main(["start", "rig/example", "--hub", hub.url, "-q"]) == 4
    shown = re.findall(r"\| line (\d+)", capfd.readouterr().err)
    assert shown == [str(number) for number in range(80, 100)]


@pytest.mark.parametrize("quiet", [[], ["-q"]], ids=["log", "quiet"])
def test_no_control_characters_reach_the_terminal(quiet: list[str], capfd: Capture) -> None:
    hostile = "\x1b[31mred\x1b[0m \x1b]0;title\x07 over\rwritten \x9b2J \x00 \u202eturned \ud800\n"
    body = event(phase="build\x1b[2Jing", message=hostile) + event(message=hostile)
    failed = event(phase="failed", message=f"Spawn failed: {hostile}")
    with ScriptedHub(Answer(body + failed)) as hub:
        assert main(["start", "rig/example", "--hub", hub.url, *quiet]) == 8
    stderr = capfd.readouterr().err
    assert not CONTROLS.search(stderr)
    assert "\u202e" not in stderr
    assert "| red  over" in stderr
    assert "Spawn failed: red over" in stderr


@pytest.mark.parametrize("status", [200, 404])
def test_a_page_in_place_of_a_stream_is_no_binderhub(status: int, capfd: Capture) -> None:
    """A wrong base URL: the hub's page catches every unknown path with 200."""
    with ScriptedHub(page(status)) as hub:
        assert main(["start", "rig/example", "--hub", hub.url]) == 6
    assert "not a BinderHub's address" in capfd.readouterr().err


def test_nothing_listens_at_the_hubs_address(capfd: Capture) -> None:
    with ScriptedHub() as hub:
        pass
    assert main(["start", "rig/example", "--hub", hub.url]) == 6
    assert "unreachable: connection refused" in capfd.readouterr().err


@pytest.mark.parametrize("output", ["uri", "shell"])
def test_stdout_is_the_result_and_nothing_else(output: str) -> None:
    """As a process of its own: what a script sees."""
    with ScriptedHub() as hub:
        said = prepare(hub, recorded("build-launch-ok", hub), bytewise, Framing.CHUNKED)
        done = clinder("start", REQUIREMENTS, "--hub", hub.url, "-o", output, "--no-warm-up")
    wanted = {
        "uri": f"{said['url']}?token={said['token']}\n",
        "shell": f"export JUPYTER_BASE_URL={said['url']}\nexport JUPYTER_TOKEN={said['token']}\n",
    }
    assert (done.returncode, done.stdout) == (0, wanted[output]), done.stderr
    assert said["token"] not in done.stderr


@pytest.mark.parametrize("name", ["auth-noauth", "build-killed", "launch-fail", "full"])
def test_a_failure_as_a_process_of_its_own(name: str) -> None:
    expected = FAILURES[name]
    with ScriptedHub() as hub:
        hub.then(Answer(recorded(name, hub), cut=at_random(3)))
        done = clinder("start", "rig/example", "--hub", hub.url)
    assert (done.returncode, done.stdout) == (expected.code, "")
    assert all(words in done.stderr for words in expected.says)
    assert "Traceback" not in done.stderr


def clinder(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clinder", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
