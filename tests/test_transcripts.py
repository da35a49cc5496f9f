"""Every event stream recorded from a real BinderHub, through the whole command line.

BinderHub's message determines the expected outcome or, if there is none, the log before it.
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from answers import Answer, Cut, Ending, Framing, at_random, bytewise, event, whole
from clinder.cli.main import main
from hubs import Jupyter, ScriptedHub

TRANSCRIPTS = Path(__file__).parent / "transcripts"
RECORDED_AT = b"http://127.0.0.1:8600"
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

pytestmark = pytest.mark.usefixtures("_no_threads_left")


@dataclass(frozen=True)
class Success:
    """A launch of this spec that ends in a session."""

    spec: str
    phases: str = "waiting fetching building built launching readiness"


@dataclass(frozen=True)
class Failure:
    """A launch that ends with an exit code and these texts on stderr."""

    code: int
    texts: tuple[str, ...]
    status: int = 0
    """The HTTP status with which newer hubs send this event stream, if any."""
    content_type: str = "text/event-stream"
    recorded_status: int = 200


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
    "auth-noauth": Failure(3, ("requires a login", "page `Token`", "requires no login"), 403),
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
        3, ("launches images itself", "not permitted", "Omit --profile"), 400
    ),
    "net-banned": Failure(3, ("refuses this network", "datacenter", "another network"), 403),
    "build-fail": Failure(
        4, ("could not be built", "log shows:  ERROR: process", "pip install nope", "exit code: 1")
    ),
    "build-fail-r2d-exception": Failure(6, ("unreachable", "log shows:  HTTPSConnectionPool")),
    "build-killed": Failure(6, ("builder died", "log shows:  [5/5] RUN step 5", "environment")),
    "slow-ttfb": Failure(
        4,
        (
            "private or does not exist",
            "log shows:  fatal: '/srv/",
            "not appear to be a git",
            "Make",
        ),
    ),
    "full": Failure(5, ("hub is full", "Try again soon", "second hub with --hub")),
    "full-nobuild": Failure(5, ("hub is full", "Try again soon", "second hub with --hub"), 503),
    "quota-cached": Failure(5, ("quota", "running https://github.com/rig/build-slow!", "Stop")),
    "apionly-buildonly-cached": Failure(6, API_ONLY),
    "apionly-buildonly-new": Failure(6, API_ONLY),
    "baseurl-noslash": Failure(
        6,
        ("not a BinderHub's address", "404", "path prefix"),
        content_type="text/html",
        recorded_status=404,
    ),
    "git-provider-bad": Failure(
        3, ("no public repository", "Unable to run git ls-remote", "is public"), 500
    ),
    "github-ratelimited": Failure(5, ("limits the hub", "in 25 minutes", "second hub"), 500),
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
"""The expected outcome of each transcript, with texts from BinderHub and from clinder."""

SUCCESSES = {name: each for name, each in EXPECTED.items() if isinstance(each, Success)}
FAILURES = {name: each for name, each in EXPECTED.items() if isinstance(each, Failure)}
WAYS = {
    "whole": (whole, Framing.CHUNKED),
    "bytewise": (bytewise, Framing.CHUNKED),
    "random chunks": (at_random(1), Framing.CHUNKED),
    "random reads": (at_random(2), Framing.CLOSE),
}

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send one build request only: the fault table tests the others."""
    monkeypatch.setenv("CLINDER_ATTEMPTS", "1")


def recorded(name: str, hub: ScriptedHub) -> bytes:
    """The stream as the scripted hub would have sent it."""
    return (TRANSCRIPTS / f"{name}.sse").read_bytes().replace(RECORDED_AT, hub.origin.encode())


def prepare(hub: ScriptedHub, body: bytes, cut: Cut, framing: Framing) -> dict[str, Any]:
    """Have the hub send a launch that succeeds, and run the server of its ``ready`` event."""
    events = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: ")]
    ready: dict[str, Any] = next(each for each in events if each.get("phase") == "ready")
    hub.serve(ready["url"].rstrip("/").rpartition("/")[2], Jupyter(ready["token"]))
    hub.then(Answer(body, cut=cut, framing=framing, ending=Ending.HELD))
    return ready


def test_every_transcript_has_a_row() -> None:
    assert sorted(EXPECTED) == sorted(path.stem for path in TRANSCRIPTS.glob("*.sse"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SUCCESSES)
def test_a_recorded_success_gives_the_session(name: str, way: str, capfd: Capture) -> None:
    expected = SUCCESSES[name]
    with ScriptedHub() as hub:
        ready = prepare(hub, recorded(name, hub), *WAYS[way])
        code = main(["start", expected.spec, "--hub", hub.url, "-o", "json", "--no-warm-up"])
    stdout, stderr = capfd.readouterr()
    assert code == 0, stderr
    session = json.loads(stdout)
    spec = expected.spec.replace("feature%2F", "feature/")
    persistent = ready["binder_persistent_request"].removeprefix("v2/")
    wanted = {
        "url": ready["url"],
        "token": ready["token"],
        "uri": f"{ready['url']}?token={ready['token']}",
        "hub": hub.url,
        "launch_host": ready["binder_launch_host"],
        "spec": spec,
        "persistent_spec": persistent,
        "repo_url": ready["repo_url"],
        "ref_url": ready["binder_ref_url"],
        "binder_link": f"{hub.url}v2/{persistent}",
        "image": ready["image"],
        "image_found": "building" not in expected.phases,
        "asked_spec": "",
        "reuse": "",
    }
    assert session == session | wanted
    assert set(session) - set(wanted) == {"started_at", "phases", "attempts", "kernels", "account"}
    assert list(session["phases"]) == expected.phases.split()
    assert [attempt["outcome"] for attempt in session["attempts"]] == ["ready"]
    assert [request.path for request in hub.builds] == [f"/build/{spec}"]
    assert ready["token"] not in stderr
    assert not CONTROLS.search(stderr)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *itertools.product(FAILURES, WAYS),
        *((name, "HTTP status") for name, each in FAILURES.items() if each.status),
    ],
)
def test_a_recorded_failure_is_explained(name: str, way: str, capfd: Capture) -> None:
    """With what happened, where, the hub's last message, what to do, and the link to try."""
    expected = FAILURES[name]
    cut, framing = WAYS.get(way, (whole, Framing.LENGTH))
    status = expected.status if way == "HTTP status" else expected.recorded_status
    with ScriptedHub() as hub:
        body = recorded(name, hub)
        hub.then(Answer(body, status, expected.content_type, framing=framing, cut=cut))
        code = main(["start", "rig/example", "--hub", hub.url])
    stdout, stderr = capfd.readouterr()
    assert (code, stdout) == (expected.code, ""), stderr
    report = stderr[stderr.rindex("\nclinder: ") :]
    for text in expected.texts:
        assert text in report
    assert f"hub:        {hub.url}\n" in report
    assert "repository: gh/rig/example/HEAD\n" in report
    assert "what to do: " in report
    assert f"link:       {hub.url}v2/gh/rig/example/HEAD\n" in report
    assert not CONTROLS.search(stderr)


def test_a_failed_launch_shows_the_last_twenty_log_lines(capfd: Capture) -> None:
    log = b"".join(event(message=f"line {number}\n") for number in range(100))
    with ScriptedHub(Answer(log + event(phase="failed", message="Spawn failed: no"))) as hub:
        assert main(["start", "rig/example", "--hub", hub.url, "-q"]) == 8
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
