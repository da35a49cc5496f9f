"""The fault table: in each row, a hub, a server or the network fails in one way.

``tests/test_faults.py`` runs the rows, and ``docs/faults.md`` shows them. Seconds are measured
by a clock that skips pauses, and runs fast while a hub is silent.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from accounts import LAUNCH_ID, SCOPES, TOKENS, USER_TOKEN, Users
from answers import Answer, Ending, Framing, Part, Raw, event, json_page, moved, page
from build_logs import LOGS
from clinder.checkout.reuse import Choice
from clinder.events import Event, LogLines, PhaseStarted, SessionLaunched, Waiting
from clinder.launch.retries import BROKEN_DELAYS, DOWN_DELAYS, FULL_DELAYS, REBUILD_DELAYS
from clinder.repository import Repository
from clinder.session import EMBEDDED_PATH
from clock import Clock
from hubs import Jupyter, ScriptedHub
from kernels import Kernel, Mood

TRANSCRIPTS = Path(__file__).parent / "transcripts"
TOKEN = "s3cret-token"
COMMIT = "1f" * 20

WAITING = event(phase="waiting", message="Waiting for build to start...\n")
BUILDING = WAITING + event(phase="building", message="Step 1/9\n") + event(message="a log line\n")
BUILT = event(phase="built", message="Built image, launching...\n")
LAUNCHING = BUILT + event(phase="launching", message="Launching server...\n")


@dataclass(frozen=True)
class Stage:
    """The clock and the hubs of a row."""

    clock: Clock
    hubs: list[ScriptedHub] = field(default_factory=list)
    users: list[Users] = field(default_factory=list)


@dataclass(frozen=True)
class Launched:
    """The hub launches this server, after ``silence`` seconds without events."""

    server: Jupyter = field(default_factory=lambda: Jupyter(TOKEN))
    before: bytes = WAITING + LAUNCHING
    url: str = ""
    token: str = TOKEN
    commit: str = COMMIT
    silence: float = 0.0


Response = Answer | Raw | Launched | Callable[[Stage], Answer | Raw]
"""The response to a build request."""
Condition = Callable[[Event], bool]


@dataclass(frozen=True)
class Fault:
    """A row: a fault, how clinder reacts, and the outcome.

    ``hubs`` holds each hub's responses, one for every build request that it must receive. If the
    first hub is a ``federation``, clinder is not given the others. ``fallback`` is the commit that
    replaces the requested one. ``hint`` and ``warning`` are parts of the hint and of the only
    warning. ``within`` is the maximum duration in seconds.
    ``stopped`` and ``not_stopped`` count servers. The hub uses TLS if it has a ``certificate``,
    which names this host, and whose authority is trusted. With ``users``, the first hub requires a
    login, and ``hub_token`` is the token that clinder sends; no server of these users may be left,
    unless the row ``leaves`` it.
    """

    fault: str
    reaction: str
    hubs: list[list[Response]]
    exit_code: int
    hint: str = ""
    within: float = 5.0
    stopped: int = 0
    not_stopped: int = 0
    warning: str = ""
    timeout: float = 1800.0
    provider: str = "gh"
    ref: str = "HEAD"
    kernel: str | None = None
    cancel_at: Condition | None = None
    address: str = ""
    federation: bool = False
    certificate: str = ""
    fallback: Choice | None = None
    users: Callable[[ScriptedHub], Users] | None = None
    hub_token: str = USER_TOKEN
    hands_out: bool = True
    leaves: tuple[str, ...] = ()

    @property
    def requests(self) -> list[int]:
        """The build requests that each hub must receive."""
        return [len(responses) for responses in self.hubs]


def transcript(name: str) -> Answer:
    """A recorded stream of a failed launch."""
    return Answer((TRANSCRIPTS / f"{name}.sse").read_bytes())


def failed(message: str, *before: bytes) -> Answer:
    return Answer(b"".join(before) + event(phase="failed", message=message))


def unresolved(key: str, reason: str) -> Answer:
    """The failure of a hub whose request to the repository's host failed."""
    return failed(f"Error resolving ref for {key}: {reason}")


class Silence(threading.Event):
    """No data for ``duration`` seconds; each check of this event takes ``step`` seconds."""

    def __init__(self, clock: Clock, step: float, duration: float = 1e9):
        super().__init__()
        self._clock, self._step, self._remaining = clock, step, duration

    def is_set(self) -> bool:
        self._clock.jump(self._step)
        self._remaining -= self._step
        return self._remaining <= 0


def silent(*before: bytes, step: float = 0.5) -> Callable[[Stage], Answer]:
    """These bytes, then no more data on an open connection."""
    return lambda stage: Answer((b"".join(before), Silence(stage.clock, step)))


def mute(stage: Stage) -> Raw:
    """No data at all on an open connection."""
    return Raw((Silence(stage.clock, 0.5),))


def trickling(start: bytes, drop: bytes, step: float = 0.5) -> Callable[[Stage], Raw]:
    """``start``, then ``drop`` again and again, after ``step`` seconds each time."""

    def response(stage: Stage) -> Raw:
        def parts() -> Iterator[bytes]:
            yield start
            while True:
                stage.clock.jump(step)
                yield drop

        return Raw(parts(), every=0.005)

    return response


def seconds(*delays: float) -> str:
    """Return delays for a row, such as ``2, 4 and 8 s``."""
    *first, last = (f"{delay:g}" for delay in delays)
    return f"{', '.join(first)} and {last} s"


RETRIES = f"retries after about {seconds(*BROKEN_DELAYS)}"
RETRIES_WHILE_DOWN = (
    f"retries for about a minute: after about {seconds(*BROKEN_DELAYS, *DOWN_DELAYS)}"
)
AFTER_FULL = f"after {seconds(*FULL_DELAYS)}"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

REBUILDS = "requests the build once more, after {:g} to {:g} s".format(*REBUILD_DELAYS)

FALLBACK_REF = (TRANSCRIPTS / "bad-ref-master.sse").read_bytes().partition(b"\n\n")[0] + b"\n\n"
FULL = transcript("full")
QUOTA = transcript("quota-cached")
RATE = failed("Rate limit exceeded. Try again in 3600 seconds.")
GIT_FAILED = unresolved(
    "git:https%3A%2F%2Fgit.example.org%2Frepo/HEAD",
    "Unable to run git ls-remote to get the `resolved_ref`: fatal: unable to access"
    " 'https://git.example.org/repo/': Could not resolve host: git.example.org",
)
DROPPED = Answer(BUILDING, ending=Ending.BROKEN)
DROPPED_LAUNCHING = Answer(BUILDING + LAUNCHING, ending=Ending.BROKEN)
FORK = Repository("gh", "them/fork", "2e" * 20)
SAME = Choice(FORK, Repository("gh", "org/repo", COMMIT), "org/repo has the same environment.")
DIFFERS = Choice(FORK, FORK, "No commit of org/repo is launched: apt.txt differs.", refused=True)
NOT_ALLOWED = failed("Sorry, them/fork/main is not allowed to launch. Please contact admins!")
ONLY_HUB = "would try another hub"
ORPHAN = "nobody holds its token"


def in_phase(phase: str) -> Condition:
    return lambda event: isinstance(event, LogLines) and event.phase == phase


def is_waiting(event: Event) -> bool:
    return isinstance(event, Waiting)


def member_of_federation(*members: int) -> Callable[[Stage], Answer]:
    """Redirect to the first of these members, and list all of them."""

    def response(stage: Stage) -> Answer:
        hub = stage.hubs[0]
        hosts = {str(number): {"url": stage.hubs[number].url, "weight": 1} for number in members}
        hub.pages["/active_hosts"] = json_page(200, {"active_hosts": hosts})
        path = hub.builds[-1].path
        return moved(stage.hubs[members[0]].origin + path, 307)

    return response


def silent_federation(stage: Stage) -> Answer:
    """Redirect to the second hub, but never list the members."""
    stage.hubs[0].pages["/active_hosts"] = mute(stage)
    return to_second(stage)


def pause(clock: Clock, seconds: float) -> Iterator[Part]:
    """No events for ``seconds``. A keepalive arrives every 50 s."""
    for _ in range(int(seconds // 50)):
        yield Silence(clock, 25.0, 50.0)
        yield b":keepalive\n\n"
    yield Silence(clock, 1.0, seconds % 50)


def slow_build(seconds: float, end: bytes) -> Callable[[Stage], Answer]:
    """Build for ``seconds`` without log lines, then end like this."""
    return lambda stage: Answer((BUILDING, *pause(stage.clock, seconds), end))


def fails_later(stage: Stage) -> Answer:
    """Fail after launching for a second."""
    end = event(phase="failed", message="Spawn failed: no\n")
    return Answer((BUILDING + LAUNCHING, Silence(stage.clock, 0.05, 1.0), end))


def to_login(stage: Stage) -> Answer:
    stage.hubs[0].pages["/hub/login"] = page(200)
    return moved("/hub/login?next=%2Fbuild%2Fgh%2Forg%2Frepo%2FHEAD")


def only_its_version(stage: Stage) -> Answer:
    """Have a BinderHub whose page does not exist, and neither does this build request's."""
    stage.hubs[0].pages["/versions"] = json_page(200, {"binderhub": "1.0.0"})
    return page(404)


def only_builds(stage: Stage) -> Answer:
    """Fail to launch like a BinderHub that knows no JupyterHub. It would try for half a minute."""
    only_its_version(stage)
    retrying = event(phase="launching", message="Launch attempt 1 failed, retrying...\n")
    return Answer(BUILT + LAUNCHING + retrying, ending=Ending.HELD)


def to_itself(stage: Stage) -> Answer:
    return moved(stage.hubs[0].origin + stage.hubs[0].builds[-1].path, 307)


def to_second(stage: Stage) -> Answer:
    return moved(stage.hubs[1].origin + stage.hubs[0].builds[-1].path, 307)


def fails_at_once(fault: str, response: Response, exit_code: int, hint: str = "") -> Fault:
    return Fault(fault, "fails at once", [[response]], exit_code, hint)


def cannot_be_built(fault: str, log: str, hint: str) -> Fault:
    return fails_at_once(fault, build_that_fails(log), 4, hint)


def build_that_fails(log: str) -> Answer:
    """Build with one of the logs in ``build_logs``."""
    lines = LOGS[log].lines
    events = [event(phase="building", message=f"{line}\n") for line in lines]
    return Answer(b"".join([WAITING, *events, event(phase="failed")]))


def no_other_hub(
    fault: str, response: Response, exit_code: int, hint: str, warning: str = ""
) -> Fault:
    return Fault(fault, ONLY_HUB, [[response]], exit_code, hint, warning=warning)


def next_hub_works(fault: str, response: Response, reaction: str = "tries the next hub") -> Fault:
    return Fault(fault, reaction, [[response], [Launched()]], 0)


def recovers(fault: str, response: Response) -> Fault:
    return Fault(fault, RETRIES, [[response, Launched()]], 0, within=8)


def stays_broken(fault: str, response: Response, hint: str) -> Fault:
    return Fault(fault, RETRIES, [[response] * 3], 6, hint, within=12)


def stays_silent(fault: str, response: Response) -> Fault:
    reaction = "gives up on each of three requests after 75 s"
    return Fault(fault, reaction, [[response] * 3], 6, "--idle-timeout", within=300)


def stays_full(fault: str, response: Response, hint: str) -> Fault:
    return Fault(fault, f"retries {AFTER_FULL}", [[response] * 3], 5, hint, within=310)


def limits_the_rate(fault: str, response: Response) -> Fault:
    return Fault(fault, "does not retry", [[response]], 5, "ten build requests an hour")


def unreachable(fault: str, address: str, within: float) -> Fault:
    hint = "Check the hub's address"
    return Fault(fault, RETRIES, [], 6, hint, within=within, address=address)


def drops_twice(fault: str, *before: bytes) -> Fault:
    responses: list[Response] = [Answer(b"".join(before), ending=Ending.BROKEN)] * 2
    return Fault(fault, "retries once", [responses], 6, "network", within=8, warning=ORPHAN)


def never_ends(fault: str, chunk: bytes) -> Fault:
    reaction = "fails after 900 s, because too little time remains for another build"
    response = trickling(CHUNKED, chunk, 10.0)
    return Fault(fault, reaction, [[response]], 6, "--build-idle-timeout", within=1000)


def unusable(fault: str, launched: Launched) -> Fault:
    return no_other_hub(fault, launched, 6, "fault lies with the hub", ORPHAN)


def launch_fails(fault: str, response: Response) -> Fault:
    reaction = "warns of a lost server; " + ONLY_HUB
    return Fault(fault, reaction, [[response]], 8, "another hub", warning=ORPHAN)


def kernel_fails(fault: str, reaction: str, mood: Mood) -> Fault:
    server = Jupyter(TOKEN, kernel=Kernel(mood))
    return Fault(fault, reaction, [[Launched(server)]], 8, kernel="", within=20, stopped=1)


def exits_at_once(fault: str, response: Response, cancel_at: Condition, warning: str = "") -> Fault:
    reaction, hubs = "exits at once", [[response]]
    return Fault(fault, reaction, hubs, 130, within=4, warning=warning, cancel_at=cancel_at)


ANSWERS = (
    fails_at_once(
        "The hub does not support the provider", transcript("bad-prefix"), 3, "repoproviders"
    ),
    fails_at_once("The spec is malformed", transcript("bad-spec-short"), 3, "forms that"),
    fails_at_once("The ref does not exist", transcript("bad-ref"), 3, "is pushed"),
    fails_at_once(
        "The repository does not exist or is private", transcript("bad-repo"), 3, "is public"
    ),
    no_other_hub("The hub has banned the repository", transcript("banned-spec"), 3, "banned"),
    next_hub_works(
        "The hub launches only listed repositories, but a second hub launches any", NOT_ALLOWED
    ),
    Fault(
        "The hub launches only listed repositories, and a fork's pull request does not change the"
        " environment",
        "launches the target repository's commit, and warns",
        [[NOT_ALLOWED, Launched()]],
        0,
        ref=FORK.ref,
        fallback=SAME,
        warning="org/repo has the same environment",
    ),
    Fault(
        "The hub launches only listed repositories, and a fork's pull request changes the"
        " environment",
        "fails at once, and explains why the target repository does not help",
        [[NOT_ALLOWED]],
        3,
        hint="apt.txt differs",
        fallback=DIFFERS,
    ),
    fails_at_once(
        "The build token is invalid or expired", failed("Invalid build token"), 3, "Get a new one"
    ),
    no_other_hub("The hub requires a login", transcript("auth-noauth"), 3, "requires no login"),
    no_other_hub("The hub redirects to a login", to_login, 3, "requires no login"),
    no_other_hub(
        "The hub, or a proxy, responds with 401, or with JSON and 403",
        json_page(403, {"message": "Forbidden"}),
        3,
        "requires no login",
    ),
    next_hub_works("The first hub requires a login, but the second does not", page(401)),
    no_other_hub("The hub refuses this network", transcript("net-banned"), 3, "another network"),
    next_hub_works(
        "The hub refuses this network, but a second hub does not", transcript("net-banned")
    ),
    no_other_hub("The hub mistakes clinder for a bot", failed("Bots not allowed"), 3, "report"),
    *(
        fails_at_once(fault, unresolved(key, reason), 3, hint)
        for fault, key, reason, hint in (
            ("The repository is empty", "gh:org/repo/HEAD", "HTTP 409: Conflict", "Push a commit"),
            (
                "GitHub has taken the repository down for legal reasons",
                "gh:org/repo/HEAD",
                "HTTP 451: Unavailable For Legal Reasons",
                "page explains",
            ),
            (
                "A DOI at Zenodo, Figshare or Dataverse does not exist",
                "zenodo:10.5281/zenodo.1",
                "HTTP 404: Not Found",
                "is public",
            ),
        )
    ),
    fails_at_once(
        "A git URL leads to no public repository, and git reports so",
        transcript("git-provider-bad"),
        3,
        "is public",
    ),
    Fault(
        "git cannot query the repository's host",
        "retries once",
        [[GIT_FAILED] * 2],
        6,
        "is public",
        within=8,
    ),
    Fault(
        "git cannot query the repository's host once",
        "retries once",
        [[GIT_FAILED, Launched()]],
        0,
        within=8,
    ),
    recovers(
        "The repository's host fails once", unresolved("gh:org/repo/HEAD", "HTTP 502: Bad Gateway")
    ),
    stays_broken(
        "The repository's host keeps failing",
        unresolved("gh:org/repo/HEAD", "HTTP 502: Bad Gateway"),
        "later",
    ),
    fails_at_once(
        "The hub only builds images (API-only mode)",
        transcript("apionly-buildonly-new"),
        6,
        "another hub",
    ),
    Fault(
        "The hub only builds images, and its first attempt to launch a server fails",
        "asks for the hub's page, which does not exist, and fails at once",
        [[only_builds]],
        6,
        "only builds images",
    ),
    stays_broken(
        "The hub fails without a message", Answer(event(phase="failed")), "fault lies with the hub"
    ),
    Fault(
        "The hub responds with an internal error twice",
        RETRIES,
        [[page(500), page(502), Launched()]],
        0,
        within=12,
    ),
    stays_broken(
        "The hub always responds with an internal error", page(500), "fault lies with the hub"
    ),
    launch_fails(
        "The hub fails to launch the server (it has tried four times)", transcript("launch-fail")
    ),
    launch_fails("The server takes too long to start", transcript("launchtimeout")),
    Fault(
        "The hub fails to launch the server, but a second hub does not",
        "warns of a lost server, and tries the next hub",
        [[transcript("launch-fail")], [Launched()]],
        0,
        warning=ORPHAN,
    ),
    launch_fails("The hub's JupyterHub is down", transcript("nohub")),
    launch_fails(
        "The server does not start, and the hub's log shows no phases",
        build_that_fails("the server never answers"),
    ),
    Fault(
        "`master` does not exist, and the hub launches HEAD instead",
        "warns",
        [[Launched(before=FALLBACK_REF)]],
        0,
        ref="master",
        warning="did not find master, and launches HEAD instead",
    ),
    Fault(
        "The hub launches a commit other than the requested one",
        "stops the session and fails",
        [[Launched(commit="2e" * 20)]],
        3,
        "pushed to that repository",
        ref=COMMIT,
        stopped=1,
    ),
    unusable("`ready` contains no token", Launched(token="")),
    unusable("The URL in `ready` is not HTTP(S)", Launched(url="ftp://127.0.0.1/user/x/")),
    fails_at_once(
        "The stream stays open after `failed`",
        Answer(event(phase="failed", message="x"), ending=Ending.HELD),
        3,
    ),
    Fault(
        "The hub is silent for 30 s, then the launch continues",
        "waits",
        [[Launched(silence=30)]],
        0,
        within=40,
    ),
    Fault(
        "Events are lists, numbers, deeply nested, or not UTF-8",
        "ignores them",
        [
            [
                Launched(
                    before=b"\xef\xbb\xbfdata: [1]\r\n\r\ndata: 7\n\ndata: \xff\xfe\n\ndata: "
                    + b"[" * 100_000
                    + b"\n\n: a comment\n\n"
                    + WAITING
                )
            ]
        ],
        0,
    ),
)

BUILDS = (
    fails_at_once("A command of the build fails", transcript("build-fail"), 4, "pip install nope"),
    cannot_be_built(
        "A package does not exist", "no such version on PyPI", "satisfies the requirement nope==9"
    ),
    cannot_be_built(
        "No versions of the packages fit together",
        "versions that do not fit together",
        "alpha 1.0 would require beta <2",
    ),
    cannot_be_built(
        "A package comes from a private repository",
        "a private repository",
        "could not read Username",
    ),
    cannot_be_built("The build runs out of memory (exit code 137)", "out of memory", "fewer pack"),
    cannot_be_built("The builder's disk is full", "the disk is full", "No space left on device"),
    fails_at_once(
        "The commit cannot be cloned, because it is on no branch",
        build_that_fails("a commit that is on no branch"),
        3,
        "it belongs to a fork",
    ),
    Fault(
        "The commit of a fork's pull request cannot be cloned, and does not change the environment",
        "launches the target repository's commit, and warns",
        [[build_that_fails("a commit that is on no branch"), Launched()]],
        0,
        ref=FORK.ref,
        fallback=SAME,
        warning="org/repo has the same environment",
    ),
    Fault(
        "The builder dies, but not the next time",
        REBUILDS,
        [[build_that_fails("rpc error"), Launched()]],
        0,
        within=65,
    ),
    Fault(
        "The builder dies twice",
        REBUILDS,
        [[build_that_fails("rpc error"), build_that_fails("breaks off")]],
        6,
        "This happened twice",
        within=65,
    ),
    Fault(
        "The builder dies twice without a message",
        REBUILDS,
        [[transcript("build-killed")] * 2],
        6,
        "nothing points to your environment",
        within=65,
    ),
    Fault(
        "The first hub's builder dies twice, but the second hub works",
        REBUILDS + ", then tries the next hub",
        [[transcript("build-killed")] * 2, [Launched()]],
        0,
        within=65,
    ),
    Fault(
        "The builder dies twice, and the stream drops in between",
        REBUILDS + ". No hub gets more than three build requests",
        [[build_that_fails("breaks off"), DROPPED, build_that_fails("breaks off")]],
        6,
        "This happened twice",
        within=70,
    ),
    Fault(
        "The builder dies after 1000 s",
        "fails, because too little time remains for another build",
        [[slow_build(1000, event(phase="failed"))]],
        6,
        "s and only",
        within=1100,
    ),
    Fault(
        "The builder dies after 1000 s, but a second hub has the image",
        "tries the next hub at once",
        [[slow_build(1000, event(phase="failed"))], [Launched(before=LAUNCHING)]],
        0,
        within=1100,
    ),
    *(
        Fault(
            f"{server} is unreachable during two builds",
            REBUILDS,
            [[build_that_fails(log)] * 2],
            6,
            hint,
            within=65,
        )
        for server, log, hint in (
            ("A mirror of Debian or Ubuntu", "apt", "W: Failed to fetch"),
            ("PyPI", "PyPI", "Retry(total=0"),
            ("A conda channel", "conda", "Download error (6)"),
            ("CRAN", "CRAN", "unable to access index"),
            ("Julia's package server", "Julia", "could not download"),
            ("A git host", "git", "unable to access"),
            ("The registry", "the registry, when pushing", "failed to push"),
        )
    ),
    Fault(
        "A mirror is unreachable, but not the next time",
        REBUILDS,
        [[build_that_fails("apt"), Launched()]],
        0,
        within=65,
    ),
    Fault(
        "The build logs nothing for 900 s",
        "fails, because too little time remains for another build",
        [[slow_build(950, b"")]],
        6,
        "--build-idle-timeout",
        within=1000,
    ),
    Fault(
        "The build logs nothing for 900 s, with a time limit of an hour",
        REBUILDS,
        [[slow_build(950, b"")] * 2],
        6,
        "--build-idle-timeout",
        timeout=3600,
        within=2000,
    ),
    Fault(
        "The build logs nothing for 850 s, then continues",
        "waits",
        [[Launched(before=BUILDING, silence=850)]],
        0,
        within=900,
    ),
    Fault(
        "The hub launches the server for 1000 s without a message",
        "waits",
        [[Launched(silence=1000)]],
        0,
        within=1100,
    ),
)

FULL_HUBS = (
    Fault(
        "GitHub limits the hub's requests, and states for how many minutes",
        "does not retry, and shows the minutes",
        [[transcript("github-ratelimited")]],
        5,
        "Try again in 25 minutes",
    ),
    next_hub_works(
        "GitHub limits the first hub's requests, but not the second's",
        transcript("github-ratelimited"),
        "tries the next hub at once",
    ),
    limits_the_rate("The only hub limits the rate of requests (429)", RATE),
    next_hub_works(
        "The first hub limits the rate of requests (429)", RATE, "tries the next hub at once"
    ),
    limits_the_rate(
        "The hub limits the rate of requests with an empty event stream (429)", Answer(b"", 429)
    ),
    limits_the_rate("A proxy limits the rate of requests with a page (429)", page(429)),
    next_hub_works(
        "The first hub is full, but the second is not", FULL, "tries the next hub at once"
    ),
    Fault(
        "The only hub is full, but a minute later it is not",
        "retries after 60 s",
        [[FULL, Launched()]],
        0,
        within=65,
    ),
    stays_full("The only hub stays full", FULL, "second hub"),
    Fault(
        "Both hubs stay full",
        f"retries both {AFTER_FULL}",
        [[FULL] * 3, [FULL] * 3],
        5,
        "second hub",
        within=310,
    ),
    stays_full("The repository's quota is used up", QUOTA, "Stop sessions"),
    Fault(
        "The only hub is full, and waiting would exceed the time limit",
        "fails at once, and shows the time limit",
        [[FULL]],
        5,
        "second hub",
        timeout=30,
    ),
    Fault(
        "A member of a federation is full, but another is not",
        "tries another member, from the federation's list",
        [[member_of_federation(1, 2)], [FULL], [Launched()]],
        0,
        federation=True,
    ),
    Fault(
        "A member of a federation is full, and the federation does not list the others",
        "retries after 60 s",
        [[silent_federation, to_second], [FULL, Launched()]],
        0,
        federation=True,
        within=90,
    ),
    Fault(
        "All members of a federation are full",
        "tries one other member, then the federation again after 60 s",
        [[member_of_federation(1, 2), member_of_federation(1, 2)], [FULL, FULL], [FULL]],
        5,
        "second hub",
        federation=True,
        within=70,
    ),
)

NETWORK = (
    Fault(
        "The hub's address refuses connections",
        RETRIES_WHILE_DOWN,
        [],
        6,
        "restarting",
        within=80,
        address="http://127.0.0.1:1/",
    ),
    Fault(
        "The hub's proxy responds with 503 because the hub is down",
        RETRIES_WHILE_DOWN,
        [[page(503)] * 7],
        6,
        "restarting",
        within=80,
    ),
    Fault(
        "The hub restarts: the stream drops, then its proxy responds with 503 for half a minute",
        RETRIES_WHILE_DOWN + ". Requests that do not reach it do not count",
        [[DROPPED, *(page(503),) * 5, DROPPED, Launched()]],
        0,
        within=70,
    ),
    Fault(
        "The first hub's proxy responds with 503, but the second hub works",
        RETRIES + ", then tries the next hub",
        [[page(503)] * 3, [Launched()]],
        0,
        within=12,
    ),
    unreachable("The hub's name does not resolve", "http://clinder.invalid/", within=20),
    Fault(
        "The hub's certificate is for another name",
        "does not retry",
        [[]],
        6,
        "REQUESTS_CA_BUNDLE",
        certificate="other.test",
    ),
    Fault(
        "The hub uses HTTPS, but the server uses plain HTTP",
        "never contacts the server, because others could see the token",
        [[Launched()]],
        6,
        "fault lies with the hub",
        warning=ORPHAN,
        certificate="127.0.0.1",
    ),
    fails_at_once(
        "The hub's address is wrong, and a web page responds", page(200), 6, "path prefix"
    ),
    fails_at_once(
        "The hub's path prefix is missing (404)",
        Answer((TRANSCRIPTS / "baseurl-noslash.sse").read_bytes(), 404, "text/html"),
        6,
        "path prefix",
    ),
    no_other_hub(
        "The hub's proxy responds with a challenge page, for example Cloudflare's",
        page(403, b"<title>Just a moment...</title>", Cf_Mitigated="challenge"),
        3,
        "only a browser can pass",
    ),
    next_hub_works("The first hub's proxy refuses the request (403)", page(403)),
    no_other_hub("The hub's proxy does not accept so long a URL (414)", page(414), 3, "Shorten"),
    no_other_hub(
        "The hub's proxy does not accept so long a request (413)", page(413), 3, "Shorten"
    ),
    Fault(
        "The hub's proxy does not accept `%2F` in a spec (404)",
        "asks the hub for its version, and fails",
        [[only_its_version]],
        3,
        "AllowEncodedSlashes",
        provider="gl",
    ),
    fails_at_once("The hub redirects in a loop", to_itself, 6, "path prefix"),
    fails_at_once(
        "The hub redirects to a URL that is not HTTP(S)",
        moved("ftp://127.0.0.1/", 307),
        6,
        "path prefix",
    ),
    Fault(
        "The hub redirects to another host",
        "follows the redirect",
        [[to_second], [Launched()]],
        0,
        federation=True,
    ),
    stays_broken("The connection is reset before the response", Raw((), Ending.RESET), "network"),
    stays_broken(
        "The connection is reset after the headers", Answer(ending=Ending.RESET), "network"
    ),
    Fault(
        "The stream drops during the build, then the build continues",
        RETRIES + ", and rejoins the same build",
        [[DROPPED, Launched()]],
        0,
        within=8,
    ),
    stays_broken("The stream drops during every build request", DROPPED, "network"),
    Fault(
        "The stream drops while launching, then the launch continues",
        "warns of a lost server, and retries once",
        [[DROPPED_LAUNCHING, Launched()]],
        0,
        within=8,
        warning=ORPHAN,
    ),
    drops_twice("The stream drops twice after the image is built", BUILDING, BUILT),
    drops_twice("The stream drops twice while launching", BUILDING, LAUNCHING),
    Fault(
        "The stream ends without a result",
        RETRIES,
        [[Answer(BUILDING, framing=Framing.CLOSE), Answer(BUILDING), Launched()]],
        0,
        within=12,
    ),
    recovers("A chunk is truncated", Raw((CHUNKED + b"40\r\ndata: ",))),
    recovers("A chunk's size is not a number", Raw((CHUNKED + b"zz\r\ndata: ",))),
    recovers("The headers are truncated", Raw((HEAD,))),
    recovers("The response is not HTTP", Raw((b"SSH-2.0-OpenSSH_9.6\r\n",))),
    recovers(
        "A compressed stream is truncated",
        Answer(
            gzip.compress(BUILDING * 20)[:60],
            headers={"Content-Encoding": "gzip"},
            ending=Ending.BROKEN,
        ),
    ),
    Fault(
        "A line never ends",
        "fails when it exceeds 256 KiB",
        [[Answer(b"data: " + b"x" * 600_000, ending=Ending.HELD)]],
        6,
        "hub's page opens",
    ),
    stays_silent(
        "The hub accepts the connection but never responds, or its proxy holds the response back",
        mute,
    ),
    stays_silent("The hub falls silent during the build", silent(BUILDING)),
    Fault(
        "The hub falls silent while launching",
        "gives up on each of two requests after 75 s",
        [[silent(BUILDING, LAUNCHING)] * 2],
        6,
        "network",
        within=180,
        warning=ORPHAN,
    ),
    never_ends("The hub sends only keepalives", b"c\r\n:keepalive\n\n\r\n"),
    never_ends("The hub sends one byte per second in the body", b"1\r\n:\r\n"),
    stays_silent("The hub sends one byte per second in a chunk's size", trickling(CHUNKED, b"0")),
    stays_silent(
        "The hub sends one byte per second in the headers", trickling(HEAD + b"X: ", b"x")
    ),
)

SERVER = (
    Fault(
        "The proxy does not know the server at first",
        "polls until it does",
        [[Launched(Jupyter(TOKEN, before=(404, 503, 302, 502, 424)))]],
        0,
    ),
    Fault(
        "The hub's proxy never knows the server",
        "warns after 120 s that the server might still run; " + ONLY_HUB,
        [[Launched(Jupyter(TOKEN, before=(302,) * 1000))]],
        8,
        "another hub",
        within=140,
        stopped=1,
        warning="might keep running",
    ),
    Fault(
        "The server never responds",
        "tries to stop it after 120 s; " + ONLY_HUB,
        [[Launched(Jupyter(TOKEN, before=(503,) * 1000))]],
        8,
        "another hub",
        within=140,
        not_stopped=1,
    ),
    Fault(
        "The server rejects its own token",
        "fails after 120 s, and cannot stop the server either",
        [[Launched(Jupyter("another-token"))]],
        8,
        "another hub",
        within=140,
        not_stopped=1,
    ),
    Fault(
        "The first kernel responds",
        "removes the kernel and hands over the session",
        [[Launched()]],
        0,
        kernel="",
    ),
    Fault(
        "The image lacks the kernelspec",
        "stops the session and fails, listing the image's kernelspecs",
        [[Launched()]],
        3,
        "image's kernelspecs",
        kernel="julia-1.10",
        stopped=1,
    ),
    Fault(
        "The server's default kernelspec is not installed (501)",
        "stops the session and fails, listing the image's kernelspecs",
        [[Launched(Jupyter(TOKEN, kernel=Kernel(Mood.NOT_INSTALLED)))]],
        3,
        "'conda' is not installed, only: python3",
        kernel="",
        stopped=1,
    ),
    Fault(
        "The server's configuration sets an empty token, so that it refuses every POST (`_xsrf`)",
        "tries three times, shows the server's reason and cannot stop the session; " + ONLY_HUB,
        [[Launched(Jupyter(TOKEN, xsrf=True))]],
        8,
        "'_xsrf' argument missing",
        kernel="",
        within=20,
        not_stopped=1,
    ),
    kernel_fails("The first kernel dies", "stops the session; " + ONLY_HUB, Mood.DEAD),
    kernel_fails(
        "The first kernel's websocket cannot be reached",
        "tries three times and stops the session; " + ONLY_HUB,
        Mood.UNREACHABLE,
    ),
)

CANCELLED = (
    exits_at_once("Ctrl-C while waiting for the build", silent(WAITING), in_phase("waiting")),
    exits_at_once("Ctrl-C during the build", silent(BUILDING), in_phase("building")),
    Fault(
        "Ctrl-C while launching, and the server starts",
        "waits up to 5 s for the server, and stops it",
        [[Launched(silence=2)]],
        130,
        cancel_at=in_phase("launching"),
        within=7,
        stopped=1,
    ),
    Fault(
        "Ctrl-C while launching, and no server starts",
        "waits 5 s, then warns of a lost server",
        [[silent(BUILDING, LAUNCHING, step=0.05)]],
        130,
        cancel_at=in_phase("launching"),
        within=7,
        warning=ORPHAN,
    ),
    Fault(
        "Ctrl-C while launching, and the launch fails",
        "exits as cancelled, and warns of a lost server",
        [[fails_later]],
        130,
        warning=ORPHAN,
        cancel_at=in_phase("launching"),
        within=7,
    ),
    Fault(
        "Ctrl-C after the server was launched",
        "stops it",
        [[Launched()]],
        130,
        cancel_at=lambda event: isinstance(event, SessionLaunched),
        within=7,
        stopped=1,
    ),
    Fault(
        "Ctrl-C while waiting for the server, which does not stop",
        "warns that it might still be running",
        [[Launched(Jupyter(TOKEN, stays=True))]],
        130,
        cancel_at=lambda event: event == PhaseStarted("readiness"),
        within=7,
        not_stopped=1,
    ),
    exits_at_once("Ctrl-C while waiting for a full hub", FULL, is_waiting),
    exits_at_once("Ctrl-C while waiting for a hub that is down", page(503), is_waiting),
    exits_at_once(
        "Ctrl-C during the wait after the stream dropped while launching",
        DROPPED_LAUNCHING,
        is_waiting,
        ORPHAN,
    ),
    Fault(
        "The time limit expires during the build",
        "fails",
        [[silent(BUILDING)]],
        7,
        "--timeout",
        timeout=60,
        within=70,
    ),
    Fault(
        "The time limit expires while launching",
        "fails, and warns of a lost server",
        [[silent(BUILDING, LAUNCHING)]],
        7,
        "--timeout",
        timeout=60,
        within=70,
        warning=ORPHAN,
    ),
)


def with_a_running_server(hub: ScriptedHub) -> Users:
    """A user whose default server runs."""
    users = Users(hub)
    users.start("", "gh/other/repo/HEAD", "an0ther-launch")
    return users


def unknown_jupyterhub(hub: ScriptedHub, **settings: Any) -> Users:
    """A user of a hub that does not show its JupyterHub before a server is ready."""
    return Users(hub, shows_login=False, **settings)


def without(*scopes: str) -> tuple[str, ...]:
    """The scopes that clinder needs, without some of them."""
    return tuple(each for each in (*SCOPES, TOKENS) if each.partition("!")[0] not in scopes)


def launched(stage: Stage) -> Answer:
    return stage.users[0].launch()()


def launched_for_another(stage: Stage) -> Answer:
    """A ready server that belongs to another launch, as a hub without named servers reports it."""
    stage.users[0].start("", "gh/other/repo/HEAD", "an0ther-launch")
    return stage.users[0].launch(others=True)()


def launched_and_lost(**fault: Answer) -> Callable[[Stage], Answer]:
    """A ready server, after which JupyterHub answers each request in this way."""

    def response(stage: Stage) -> Answer:
        users = stage.users[0]
        answer = users.launch()()
        users.fault = lambda _: fault["answer"]
        return answer

    return response


def starting(ending: Ending = Ending.HELD) -> Callable[[Stage], Answer]:
    """A server that JupyterHub is still starting when the hub sends nothing more."""

    def response(stage: Stage) -> Answer:
        stage.users[0].start("", "gh/org/repo/HEAD", LAUNCH_ID, pending="spawn")
        silence = (Silence(stage.clock, 0.05),) if ending is Ending.HELD else ()
        return Answer((LAUNCHING, *silence), ending=ending)

    return response


def refused_account(
    fault: str, users: Callable[[ScriptedHub], Users], hint: str, *responses: Response, **more: Any
) -> Fault:
    return Fault(
        fault,
        more.pop("reaction", "fails before it requests a build"),
        [[*responses]],
        more.pop("exit_code", 3),
        hint,
        users=users,
        **more,
    )


OCCUPIED = event(phase="failed", message="User ann already has a running server.\n")
TOO_MANY = event(
    phase="failed",
    message="User ann already has the maximum of 2 named servers.  One must be deleted …\n",
)
AGAIN = event(phase="launching", message="Launch attempt 1 failed, retrying...\n")
ACCOUNTS = (
    refused_account(
        "There is no hub token",
        Users,
        "/hub/token with the scopes access:services!service=binder",
        lambda stage: failed("Forbidden"),
        reaction="names the page on which to create one, and the scopes",
        hub_token="",
    ),
    refused_account(
        "The hub token is wrong, or has expired", Users, "/hub/token", hub_token="expired"
    ),
    *(
        refused_account(
            f"The hub token lacks the scope `{scope}`",
            partial(Users, scopes=without(scope)),
            f"lacks a scope: {scope}!",
        )
        for scope in ("access:services", "access:servers", "delete:servers", "read:servers")
    ),
    refused_account(
        "The session needs a token of its own, and the hub token lacks the scope `tokens`",
        partial(Users, scopes=without("tokens")),
        "tokens!user",
    ),
    refused_account(
        "The JupyterHub issues no token although the scope permits it",
        partial(Users, issues=False),
        "tokens!user",
        launched,
        reaction="stops the session",
        stopped=1,
    ),
    refused_account(
        "The hub does not accept the token, and does not show its JupyterHub",
        unknown_jupyterhub,
        "does not accept the hub token: Forbidden",
        failed("Forbidden"),
        reaction="fails at once",
    ),
    refused_account(
        "The hub token does not permit the use of the hub",
        unknown_jupyterhub,
        "access:services!service=binder",
        failed("user ann is not allowed."),
        reaction="fails at once",
    ),
    refused_account(
        "The hub redirects to a login despite the token",
        Users,
        "does not accept the hub token: it redirects to",
        to_login,
        reaction="sends the token nowhere else, and fails at once",
    ),
    refused_account(
        "The account's only server runs already",
        with_a_running_server,
        "/hub/home",
        Answer(LAUNCHING + AGAIN + OCCUPIED),
        reaction="fails after the hub's own tries, and leaves the server alone",
        exit_code=5,
        leaves=("",),
    ),
    refused_account(
        "The account's only server runs already, and the hub does not show its JupyterHub",
        unknown_jupyterhub,
        "/hub/home",
        Answer(LAUNCHING + AGAIN + OCCUPIED),
        reaction="fails after the hub's own tries",
        exit_code=5,
    ),
    refused_account(
        "The account has as many named servers as the hub permits",
        Users,
        "/hub/home",
        Answer(LAUNCHING + AGAIN + TOO_MANY),
        reaction="fails after the hub's own tries",
        exit_code=5,
    ),
    refused_account(
        "The hub hands out the server of another launch",
        Users,
        "the server of another launch",
        launched_for_another,
        reaction="fails, and leaves the server alone",
        exit_code=5,
        leaves=("",),
    ),
    refused_account(
        "The token is revoked during the launch",
        Users,
        "A server runs at",
        launched_and_lost(answer=json_page(403, {"message": "Missing or invalid credentials."})),
        reaction="names the server, which it can neither use nor stop",
        leaves=("",),
    ),
    refused_account(
        "The token turns out to permit no look at the servers",
        partial(unknown_jupyterhub, scopes=without("read:servers")),
        "A server runs at",
        launched,
        reaction="names the server, which it cannot recognise as its own",
        leaves=("",),
    ),
    refused_account(
        "The token turns out to permit no stop",
        partial(unknown_jupyterhub, scopes=without("delete:servers")),
        "lacks a scope: delete:servers!user",
        launched,
        reaction="has the server shut itself down",
        stopped=1,
    ),
    refused_account(
        "The JupyterHub is down when the server is ready",
        Users,
        "A server runs at",
        launched_and_lost(answer=page(503)),
        reaction="retries for 5 s, and names the server",
        exit_code=8,
        within=8,
        leaves=("",),
    ),
    Fault(
        "The connection to the hub breaks while the JupyterHub starts a server",
        "stops that server, and retries once",
        [[starting(Ending.BROKEN), launched]],
        0,
        users=Users,
        within=8,
    ),
    Fault(
        "Ctrl-C while the JupyterHub starts a server",
        "stops it at the JupyterHub",
        [[starting()]],
        130,
        users=Users,
        cancel_at=in_phase("launching"),
        within=7,
    ),
    Fault(
        "Ctrl-C while the hub is about to start a server, and none starts",
        "waits for it, then warns",
        [[lambda stage: Answer((LAUNCHING, Silence(stage.clock, 0.05)))]],
        130,
        users=Users,
        cancel_at=in_phase("launching"),
        within=7,
        warning="runs under your account",
    ),
    Fault(
        "The time limit expires while the JupyterHub starts a server",
        "stops it at the JupyterHub",
        [[starting()]],
        7,
        "--timeout",
        users=Users,
        timeout=60,
        within=70,
    ),
)

TABLE: dict[str, tuple[Fault, ...]] = {
    "The hub's response": ANSWERS,
    "The build": BUILDS,
    "A full hub": FULL_HUBS,
    "The network and the hub's proxy": NETWORK,
    "The launched server": SERVER,
    "Cancellation and time limits": CANCELLED,
    "A hub that requires a login": ACCOUNTS,
}
"""The rows, under their headings in the documentation."""


@dataclass(frozen=True)
class StopFault:
    """A row: what the session's server or its proxy does, and the exit codes of the commands.

    ``response`` is a server or the response to every request; ``None`` refuses connections.
    ``shutdowns`` counts the shutdown requests of ``stop``. The session's path is below ``prefix``.
    With ``users``, the session runs under an account of a hub that requires a login.
    """

    fault: str
    reaction: str
    response: Jupyter | Response | None
    stop_exit: int
    status_exit: int
    shutdowns: int = 0
    within: float = 5.0
    prefix: str = "/"
    users: Callable[[ScriptedHub], Users] | None = None


def stops(fault: str, reaction: str, server: Jupyter, shutdowns: int = 1) -> StopFault:
    return StopFault(fault, reaction, server, 0, 0, shutdowns)


def of_account(
    fault: str,
    reaction: str,
    users: Callable[[ScriptedHub], Users],
    stop_exit: int,
    status_exit: int,
    **more: Any,
) -> StopFault:
    return StopFault(fault, reaction, None, stop_exit, status_exit, users=users, **more)


UNKNOWN = "treats it as gone, but warns that it might run if the hub's proxy has just restarted"
STOPPING = (
    stops(
        "Runs, then shuts down (503, then a redirect to the hub)",
        "treats it as gone after the second 503",
        Jupyter(TOKEN),
    ),
    stops(
        "Runs, then shuts down (502, then 404)",
        "treats it as gone after the second response",
        Jupyter(TOKEN, after=(502, 404)),
    ),
    stops(
        "Runs, but its proxy fails at first",
        "polls until the response is clear",
        Jupyter(TOKEN, before=(502, 503, 404)),
    ),
    stops(
        "Runs, but fails the first shutdown request",
        "sends another shutdown request",
        Jupyter(TOKEN, shutdown=(500, 200)),
        shutdowns=2,
    ),
    StopFault(
        "Keeps running",
        "sends a shutdown request every 5 s",
        Jupyter(TOKEN, stays=True),
        9,
        0,
        6,
        within=32,
    ),
    StopFault("Redirects to a `/hub/` page", UNKNOWN, moved("/hub/user/x/"), 0, 10),
    StopFault("Responds with 424 (mybinder.org)", UNKNOWN, page(424), 0, 10),
    StopFault(
        "Refuses connections, like a proxy that restarts",
        "polls until the time limit",
        None,
        9,
        6,
        within=32,
    ),
    StopFault(
        "Refuses connections, and belongs to the embedded hub, which has no proxy",
        "treats it as gone",
        None,
        0,
        10,
        prefix=EMBEDDED_PATH,
    ),
    StopFault("Rejects the token (403)", "fails at once", Jupyter("another"), 9, 9),
    StopFault(
        "Accepts the token, but refuses the shutdown because of `_xsrf` (403)",
        "tries twice, and shows the server's reason",
        Jupyter(TOKEN, xsrf=True),
        9,
        0,
        2,
    ),
    StopFault(
        "Refuses requests for the hub's host name (403)",
        "shows the server's reason at once",
        json_page(403, {"message": "Blocking request with non-local 'Host' hub.test (hub.test)."}),
        9,
        9,
    ),
    StopFault("Always responds with 502", "polls until the time limit", page(502), 9, 6, within=32),
    StopFault("Always responds with 404", "polls until the time limit", page(404), 9, 6, within=32),
    StopFault(
        "Redirects to a page that is not the hub's",
        "does not follow the redirect, and polls until the time limit",
        moved("/login"),
        9,
        6,
        within=32,
    ),
    StopFault(
        "Responds with a page instead of JSON", "polls until the time limit", page(200), 9, 6, 0, 32
    ),
    StopFault(
        "Accepts connections but never responds",
        "gives up on each request after 10 s",
        mute,
        9,
        6,
        within=42,
    ),
    of_account("Runs under an account", "stops it at its JupyterHub", Users, 0, 0),
    of_account(
        "Runs under an account, and takes long to stop",
        "exits with success if the JupyterHub is still stopping it at the time limit",
        partial(Users, stops_at_once=False),
        0,
        0,
        within=32,
    ),
    of_account(
        "Ran under an account that has another server at the same address now",
        "leaves it alone",
        partial(Users, others=True),
        0,
        10,
    ),
    of_account(
        "Runs under an account, and its JupyterHub is down",
        "polls until the time limit",
        partial(Users, fault=lambda _: page(503)),
        9,
        6,
        within=32,
    ),
    of_account(
        "Runs under an account, and its JupyterHub redirects to a login",
        "does not follow the redirect, and polls until the time limit",
        partial(Users, fault=lambda _: moved("/hub/login")),
        9,
        6,
        within=32,
    ),
    of_account(
        "Runs under an account whose token its JupyterHub refuses",
        "fails at once",
        partial(Users, token="another"),
        9,
        9,
    ),
    of_account(
        "Runs under an account whose token permits no stop",
        "has the server shut itself down",
        partial(Users, scopes=without("delete:servers")),
        0,
        0,
        shutdowns=1,
    ),
)
