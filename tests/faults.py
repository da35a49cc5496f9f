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

    A part of ``fault`` in brackets distinguishes rows that the page shows as one. ``hubs`` holds
    each hub's responses, one for every build request that it must receive. If the first hub is a
    ``federation``, clinder is not given the others. ``fallback`` is the commit that replaces the
    requested one. ``hint`` and ``warning`` are parts of the hint and of the only warning.
    ``within`` is the maximum duration in seconds.
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


RETRIES = f"retries after {seconds(*BROKEN_DELAYS)}"
RETRIES_WHILE_DOWN = f"retries after {seconds(*BROKEN_DELAYS, *DOWN_DELAYS)}"
AFTER_FULL = f"after {seconds(*FULL_DELAYS)}"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

REBUILDS = "requests the build again after {:g} to {:g} s; next hub".format(*REBUILD_DELAYS)
NO_REBUILD = "too little time for another build; next hub"

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
ONLY_HUB = "next hub"
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


def next_hub_works(fault: str, response: Response, reaction: str = "next hub") -> Fault:
    return Fault(fault, reaction, [[response], [Launched()]], 0)


def recovers(fault: str, response: Response) -> Fault:
    return Fault(fault, RETRIES, [[response, Launched()]], 0, within=8)


def stays_broken(fault: str, response: Response, hint: str) -> Fault:
    return Fault(fault, RETRIES, [[response] * 3], 6, hint, within=12)


def stays_silent(fault: str, response: Response) -> Fault:
    reaction = "gives up on each request after 75 s"
    return Fault(fault, reaction, [[response] * 3], 6, "--idle-timeout", within=300)


def stays_full(fault: str, response: Response, hint: str) -> Fault:
    return Fault(fault, f"retries {AFTER_FULL}", [[response] * 3], 5, hint, within=310)


def limits_the_rate(fault: str, response: Response) -> Fault:
    return Fault(fault, "next hub at once", [[response]], 5, "ten build requests an hour")


def unreachable(fault: str, address: str, within: float) -> Fault:
    hint = "Check the hub's address"
    return Fault(fault, RETRIES, [], 6, hint, within=within, address=address)


def drops_twice(fault: str, *before: bytes) -> Fault:
    responses: list[Response] = [Answer(b"".join(before), ending=Ending.BROKEN)] * 2
    return Fault(
        fault,
        "warns of a lost server; retries once",
        [responses],
        6,
        "network",
        within=8,
        warning=ORPHAN,
    )


def never_ends(fault: str, chunk: bytes) -> Fault:
    reaction = "fails after 900 s: too little time for another build"
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
    fails_at_once("unsupported provider", transcript("bad-prefix"), 3, "repoproviders"),
    fails_at_once("malformed spec", transcript("bad-spec-short"), 3, "forms that"),
    fails_at_once("missing ref", transcript("bad-ref"), 3, "is pushed"),
    fails_at_once("missing or private repository", transcript("bad-repo"), 3, "is public"),
    no_other_hub(
        "repository banned or not on the hub's list", transcript("banned-spec"), 3, "banned"
    ),
    next_hub_works("repository banned or not on the hub's list [the first one's]", NOT_ALLOWED),
    Fault(
        "fork not on the list, same environment",
        "launches the target repository's commit, and warns",
        [[NOT_ALLOWED, Launched()]],
        0,
        ref=FORK.ref,
        fallback=SAME,
        warning="org/repo has the same environment",
    ),
    Fault(
        "fork not on the list, other environment",
        "fails at once, and names the difference",
        [[NOT_ALLOWED]],
        3,
        hint="apt.txt differs",
        fallback=DIFFERS,
    ),
    fails_at_once(
        "invalid or expired build token", failed("Invalid build token"), 3, "Get a new one"
    ),
    no_other_hub("login required", transcript("auth-noauth"), 3, "requires no login"),
    no_other_hub("login required [redirect]", to_login, 3, "requires no login"),
    no_other_hub(
        "login required [401, or 403 and JSON]",
        json_page(403, {"message": "Forbidden"}),
        3,
        "requires no login",
    ),
    next_hub_works("login required [by the first hub]", page(401)),
    no_other_hub("refused network", transcript("net-banned"), 3, "another network"),
    next_hub_works("refused network [first hub]", transcript("net-banned")),
    no_other_hub("clinder mistaken for a bot", failed("Bots not allowed"), 3, "report"),
    *(
        fails_at_once(fault, unresolved(key, reason), 3, hint)
        for fault, key, reason, hint in (
            ("empty repository", "gh:org/repo/HEAD", "HTTP 409: Conflict", "Push a commit"),
            (
                "repository taken down by GitHub (451)",
                "gh:org/repo/HEAD",
                "HTTP 451: Unavailable For Legal Reasons",
                "page explains",
            ),
            (
                "missing or private repository [DOI]",
                "zenodo:10.5281/zenodo.1",
                "HTTP 404: Not Found",
                "is public",
            ),
        )
    ),
    fails_at_once(
        "missing or private repository [git URL]",
        transcript("git-provider-bad"),
        3,
        "is public",
    ),
    Fault(
        "git fails on the hub",
        "retries once",
        [[GIT_FAILED] * 2],
        6,
        "is public",
        within=8,
    ),
    Fault(
        "git fails on the hub [once]",
        "retries once",
        [[GIT_FAILED, Launched()]],
        0,
        within=8,
    ),
    recovers(
        "repository's host fails [once]", unresolved("gh:org/repo/HEAD", "HTTP 502: Bad Gateway")
    ),
    stays_broken(
        "repository's host fails [always]",
        unresolved("gh:org/repo/HEAD", "HTTP 502: Bad Gateway"),
        "later",
    ),
    fails_at_once(
        "API-only hub",
        transcript("apionly-buildonly-new"),
        6,
        "another hub",
    ),
    Fault(
        "API-only hub [that tries to launch]",
        "fails at once",
        [[only_builds]],
        6,
        "only builds images",
    ),
    stays_broken(
        "failure without a message", Answer(event(phase="failed")), "fault lies with the hub"
    ),
    Fault(
        "internal error [twice]",
        RETRIES,
        [[page(500), page(502), Launched()]],
        0,
        within=12,
    ),
    stays_broken("internal error [always]", page(500), "fault lies with the hub"),
    launch_fails("no start in four tries", transcript("launch-fail")),
    launch_fails("start too slow", transcript("launchtimeout")),
    Fault(
        "no start in four tries [first hub]",
        "warns of a lost server; next hub",
        [[transcript("launch-fail")], [Launched()]],
        0,
        warning=ORPHAN,
    ),
    launch_fails("JupyterHub down", transcript("nohub")),
    launch_fails(
        "no start in four tries [no phases in the log]",
        build_that_fails("the server never answers"),
    ),
    Fault(
        "HEAD launched instead of a missing `master`",
        "warns",
        [[Launched(before=FALLBACK_REF)]],
        0,
        ref="master",
        warning="did not find master, and launches HEAD instead",
    ),
    Fault(
        "another commit launched",
        "stops the session",
        [[Launched(commit="2e" * 20)]],
        3,
        "pushed to that repository",
        ref=COMMIT,
        stopped=1,
    ),
    unusable("`ready` without a token", Launched(token="")),
    unusable("`ready` with a URL that is not HTTP(S)", Launched(url="ftp://127.0.0.1/user/x/")),
    fails_at_once(
        "malformed spec [on a stream that stays open]",
        Answer(event(phase="failed", message="x"), ending=Ending.HELD),
        3,
    ),
    Fault(
        "silence for 30 s",
        "waits",
        [[Launched(silence=30)]],
        0,
        within=40,
    ),
    Fault(
        "events that are lists, numbers, deeply nested or not UTF-8",
        "ignores such events",
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
    fails_at_once("a command fails", transcript("build-fail"), 4, "pip install nope"),
    cannot_be_built(
        "missing package", "no such version on PyPI", "satisfies the requirement nope==9"
    ),
    cannot_be_built(
        "packages that do not fit together",
        "versions that do not fit together",
        "alpha 1.0 would require beta <2",
    ),
    cannot_be_built(
        "package from a private repository",
        "a private repository",
        "could not read Username",
    ),
    cannot_be_built("out of memory (137)", "out of memory", "fewer pack"),
    cannot_be_built("full disk", "the disk is full", "No space left on device"),
    fails_at_once(
        "commit on no branch",
        build_that_fails("a commit that is on no branch"),
        3,
        "it belongs to a fork",
    ),
    Fault(
        "fork's commit on no branch, same environment",
        "launches the target repository's commit, and warns",
        [[build_that_fails("a commit that is on no branch"), Launched()]],
        0,
        ref=FORK.ref,
        fallback=SAME,
        warning="org/repo has the same environment",
    ),
    Fault(
        "builder dies [once]",
        REBUILDS,
        [[build_that_fails("rpc error"), Launched()]],
        0,
        within=65,
    ),
    Fault(
        "builder dies [twice]",
        REBUILDS,
        [[build_that_fails("rpc error"), build_that_fails("breaks off")]],
        6,
        "This happened twice",
        within=65,
    ),
    Fault(
        "builder dies [twice, without a message]",
        REBUILDS,
        [[transcript("build-killed")] * 2],
        6,
        "nothing points to your environment",
        within=65,
    ),
    Fault(
        "builder dies [twice on the first hub]",
        REBUILDS,
        [[transcript("build-killed")] * 2, [Launched()]],
        0,
        within=65,
    ),
    Fault(
        "builder dies [twice, and the stream drops in between]",
        REBUILDS,
        [[build_that_fails("breaks off"), DROPPED, build_that_fails("breaks off")]],
        6,
        "This happened twice",
        within=70,
    ),
    Fault(
        "builder dies after 1000 s",
        NO_REBUILD,
        [[slow_build(1000, event(phase="failed"))]],
        6,
        "s and only",
        within=1100,
    ),
    Fault(
        "builder dies after 1000 s [on the first hub]",
        NO_REBUILD,
        [[slow_build(1000, event(phase="failed"))], [Launched(before=LAUNCHING)]],
        0,
        within=1100,
    ),
    *(
        Fault(
            f"unreachable server that the build needs [{server}]",
            REBUILDS,
            [[build_that_fails(log)] * 2],
            6,
            hint,
            within=65,
        )
        for server, log, hint in (
            ("apt mirror", "apt", "W: Failed to fetch"),
            ("PyPI", "PyPI", "Retry(total=0"),
            ("conda channel", "conda", "Download error (6)"),
            ("CRAN", "CRAN", "unable to access index"),
            ("Julia's package server", "Julia", "could not download"),
            ("git host", "git", "unable to access"),
            ("registry", "the registry, when pushing", "failed to push"),
        )
    ),
    Fault(
        "unreachable server that the build needs [once]",
        REBUILDS,
        [[build_that_fails("apt"), Launched()]],
        0,
        within=65,
    ),
    Fault(
        "no log lines for 900 s",
        NO_REBUILD,
        [[slow_build(950, b"")]],
        6,
        "--build-idle-timeout",
        within=1000,
    ),
    Fault(
        "no log lines for 900 s, with an hour for the launch",
        REBUILDS,
        [[slow_build(950, b"")] * 2],
        6,
        "--build-idle-timeout",
        timeout=3600,
        within=2000,
    ),
    Fault(
        "no log lines for 850 s",
        "waits",
        [[Launched(before=BUILDING, silence=850)]],
        0,
        within=900,
    ),
    Fault(
        "no message for 1000 s while launching",
        "waits",
        [[Launched(silence=1000)]],
        0,
        within=1100,
    ),
)

FULL_HUBS = (
    Fault(
        "GitHub limits the hub's requests",
        "next hub at once",
        [[transcript("github-ratelimited")]],
        5,
        "Try again in 25 minutes",
    ),
    next_hub_works(
        "GitHub limits the hub's requests [first hub]",
        transcript("github-ratelimited"),
        "next hub at once",
    ),
    limits_the_rate("rate limit", RATE),
    next_hub_works("rate limit [first hub]", RATE, "next hub at once"),
    limits_the_rate("rate limit [429 with an empty event stream]", Answer(b"", 429)),
    limits_the_rate("rate limit [429 with a proxy's page]", page(429)),
    next_hub_works("first hub full", FULL, "next hub at once"),
    Fault(
        "full for less than a minute",
        "retries after 60 s",
        [[FULL, Launched()]],
        0,
        within=65,
    ),
    stays_full("full", FULL, "second hub"),
    Fault(
        "full [both hubs]",
        f"retries {AFTER_FULL}",
        [[FULL] * 3, [FULL] * 3],
        5,
        "second hub",
        within=310,
    ),
    stays_full("repository's quota used up", QUOTA, "Stop sessions"),
    Fault(
        "full, and too little time to wait",
        "fails at once, and shows the time limit",
        [[FULL]],
        5,
        "second hub",
        timeout=30,
    ),
    Fault(
        "one member of a federation full",
        "tries another member",
        [[member_of_federation(1, 2)], [FULL], [Launched()]],
        0,
        federation=True,
    ),
    Fault(
        "one member full, others not listed",
        "retries after 60 s",
        [[silent_federation, to_second], [FULL, Launched()]],
        0,
        federation=True,
        within=90,
    ),
    Fault(
        "all members full",
        "tries another member, then again after 60 s",
        [[member_of_federation(1, 2), member_of_federation(1, 2)], [FULL, FULL], [FULL]],
        5,
        "second hub",
        federation=True,
        within=70,
    ),
)

NETWORK = (
    Fault(
        "connections refused",
        RETRIES_WHILE_DOWN,
        [],
        6,
        "restarting",
        within=80,
        address="http://127.0.0.1:1/",
    ),
    Fault(
        "503 from the hub's proxy",
        RETRIES_WHILE_DOWN,
        [[page(503)] * 7],
        6,
        "restarting",
        within=80,
    ),
    Fault(
        "restart: dropped stream, then 503 for half a minute",
        RETRIES_WHILE_DOWN,
        [[DROPPED, *(page(503),) * 5, DROPPED, Launched()]],
        0,
        within=70,
    ),
    Fault(
        "503 from the hub's proxy [the first one's]",
        RETRIES + "; next hub",
        [[page(503)] * 3, [Launched()]],
        0,
        within=12,
    ),
    unreachable("host name that does not resolve", "http://clinder.invalid/", within=20),
    Fault(
        "certificate for another name",
        "fails at once",
        [[]],
        6,
        "REQUESTS_CA_BUNDLE",
        certificate="other.test",
    ),
    Fault(
        "hub with HTTPS, server with plain HTTP",
        "never contacts the server, to keep the token secret",
        [[Launched()]],
        6,
        "fault lies with the hub",
        warning=ORPHAN,
        certificate="127.0.0.1",
    ),
    fails_at_once("web page at the address", page(200), 6, "path prefix"),
    fails_at_once(
        "missing path prefix (404)",
        Answer((TRANSCRIPTS / "baseurl-noslash.sse").read_bytes(), 404, "text/html"),
        6,
        "path prefix",
    ),
    no_other_hub(
        "challenge page or another 403",
        page(403, b"<title>Just a moment...</title>", Cf_Mitigated="challenge"),
        3,
        "only a browser can pass",
    ),
    next_hub_works("challenge page or another 403 [first hub]", page(403)),
    no_other_hub("URL too long [414]", page(414), 3, "Shorten"),
    no_other_hub("URL too long [413]", page(413), 3, "Shorten"),
    Fault(
        "`%2F` refused by the proxy (404)",
        "asks the hub for its version",
        [[only_its_version]],
        3,
        "AllowEncodedSlashes",
        provider="gl",
    ),
    fails_at_once("redirect loop", to_itself, 6, "path prefix"),
    fails_at_once(
        "redirect to a URL that is not HTTP(S)",
        moved("ftp://127.0.0.1/", 307),
        6,
        "path prefix",
    ),
    Fault(
        "redirect to another host",
        "follows the redirect",
        [[to_second], [Launched()]],
        0,
        federation=True,
    ),
    stays_broken("connection reset [before the response]", Raw((), Ending.RESET), "network"),
    stays_broken("connection reset [after the headers]", Answer(ending=Ending.RESET), "network"),
    Fault(
        "stream drops during the build [once]",
        RETRIES,
        [[DROPPED, Launched()]],
        0,
        within=8,
    ),
    stays_broken("stream drops during the build [always]", DROPPED, "network"),
    Fault(
        "stream drops while launching",
        "warns of a lost server; retries once",
        [[DROPPED_LAUNCHING, Launched()]],
        0,
        within=8,
        warning=ORPHAN,
    ),
    drops_twice("stream drops after the build [twice]", BUILDING, BUILT),
    drops_twice("stream drops while launching [twice]", BUILDING, LAUNCHING),
    Fault(
        "stream ends without a result [twice]",
        RETRIES,
        [[Answer(BUILDING, framing=Framing.CLOSE), Answer(BUILDING), Launched()]],
        0,
        within=12,
    ),
    recovers(
        "malformed or truncated response [truncated chunk]", Raw((CHUNKED + b"40\r\ndata: ",))
    ),
    recovers(
        "malformed or truncated response [chunk's size that is no number]",
        Raw((CHUNKED + b"zz\r\ndata: ",)),
    ),
    recovers("malformed or truncated response [truncated headers]", Raw((HEAD,))),
    recovers(
        "malformed or truncated response [response that is not HTTP]",
        Raw((b"SSH-2.0-OpenSSH_9.6\r\n",)),
    ),
    recovers(
        "malformed or truncated response [compressed]",
        Answer(
            gzip.compress(BUILDING * 20)[:60],
            headers={"Content-Encoding": "gzip"},
            ending=Ending.BROKEN,
        ),
    ),
    Fault(
        "line without an end",
        "fails at 256 KiB",
        [[Answer(b"data: " + b"x" * 600_000, ending=Ending.HELD)]],
        6,
        "hub's page opens",
    ),
    stays_silent(
        "no response, or one that a proxy holds back",
        mute,
    ),
    stays_silent("silence [during the build]", silent(BUILDING)),
    Fault(
        "silence [while launching]",
        "gives up on each request after 75 s",
        [[silent(BUILDING, LAUNCHING)] * 2],
        6,
        "network",
        within=180,
        warning=ORPHAN,
    ),
    never_ends("keepalives only", b"c\r\n:keepalive\n\n\r\n"),
    never_ends("one byte per second in the body", b"1\r\n:\r\n"),
    stays_silent(
        "one byte per second in the headers or a chunk's size [size]", trickling(CHUNKED, b"0")
    ),
    stays_silent(
        "one byte per second in the headers or a chunk's size [headers]",
        trickling(HEAD + b"X: ", b"x"),
    ),
)

SERVER = (
    Fault(
        "unknown to the proxy at first",
        "polls",
        [[Launched(Jupyter(TOKEN, before=(404, 503, 302, 502, 424)))]],
        0,
    ),
    Fault(
        "unknown to the proxy",
        "warns after 120 s that the server might run; " + ONLY_HUB,
        [[Launched(Jupyter(TOKEN, before=(302,) * 1000))]],
        8,
        "another hub",
        within=140,
        stopped=1,
        warning="might keep running",
    ),
    Fault(
        "no response",
        "tries to stop the server after 120 s; " + ONLY_HUB,
        [[Launched(Jupyter(TOKEN, before=(503,) * 1000))]],
        8,
        "another hub",
        within=140,
        not_stopped=1,
    ),
    Fault(
        "its own token refused",
        "fails after 120 s, and cannot stop the server",
        [[Launched(Jupyter("another-token"))]],
        8,
        "another hub",
        within=140,
        not_stopped=1,
    ),
    Fault(
        "the first kernel responds",
        "removes the kernel, and hands over the session",
        [[Launched()]],
        0,
        kernel="",
    ),
    Fault(
        "missing kernelspec",
        "stops the session, and lists the image's kernelspecs",
        [[Launched()]],
        3,
        "image's kernelspecs",
        kernel="julia-1.10",
        stopped=1,
    ),
    Fault(
        "missing default kernelspec (501)",
        "stops the session, and lists the image's kernelspecs",
        [[Launched(Jupyter(TOKEN, kernel=Kernel(Mood.NOT_INSTALLED)))]],
        3,
        "'conda' is not installed, only: python3",
        kernel="",
        stopped=1,
    ),
    Fault(
        "empty token, so that every POST is refused (`_xsrf`)",
        "tries three times, shows the reason, cannot stop the server; " + ONLY_HUB,
        [[Launched(Jupyter(TOKEN, xsrf=True))]],
        8,
        "'_xsrf' argument missing",
        kernel="",
        within=20,
        not_stopped=1,
    ),
    kernel_fails("the first kernel dies", "stops the session; " + ONLY_HUB, Mood.DEAD),
    kernel_fails(
        "the first kernel's websocket is unreachable",
        "tries three times, stops the session; " + ONLY_HUB,
        Mood.UNREACHABLE,
    ),
)

CANCELLED = (
    exits_at_once(
        "Ctrl-C before the launch [before the build]", silent(WAITING), in_phase("waiting")
    ),
    exits_at_once(
        "Ctrl-C before the launch [during the build]", silent(BUILDING), in_phase("building")
    ),
    Fault(
        "Ctrl-C while launching, and the server starts",
        "waits up to 5 s, and stops the session",
        [[Launched(silence=2)]],
        130,
        cancel_at=in_phase("launching"),
        within=7,
        stopped=1,
    ),
    Fault(
        "Ctrl-C while launching, and no server starts",
        "waits up to 5 s; warns of a lost server",
        [[silent(BUILDING, LAUNCHING, step=0.05)]],
        130,
        cancel_at=in_phase("launching"),
        within=7,
        warning=ORPHAN,
    ),
    Fault(
        "Ctrl-C while launching, and no server starts [the launch fails]",
        "waits up to 5 s; warns of a lost server",
        [[fails_later]],
        130,
        warning=ORPHAN,
        cancel_at=in_phase("launching"),
        within=7,
    ),
    Fault(
        "Ctrl-C after the launch",
        "stops the session",
        [[Launched()]],
        130,
        cancel_at=lambda event: isinstance(event, SessionLaunched),
        within=7,
        stopped=1,
    ),
    Fault(
        "Ctrl-C, and the server does not stop",
        "warns that the session might run",
        [[Launched(Jupyter(TOKEN, stays=True))]],
        130,
        cancel_at=lambda event: event == PhaseStarted("readiness"),
        within=7,
        not_stopped=1,
    ),
    exits_at_once("Ctrl-C before the launch [while the hub is full]", FULL, is_waiting),
    exits_at_once("Ctrl-C before the launch [while the hub is down]", page(503), is_waiting),
    exits_at_once(
        "Ctrl-C after a drop while launching",
        DROPPED_LAUNCHING,
        is_waiting,
        ORPHAN,
    ),
    Fault(
        "time limit during the build",
        "fails",
        [[silent(BUILDING)]],
        7,
        "--timeout",
        timeout=60,
        within=70,
    ),
    Fault(
        "time limit while launching",
        "warns of a lost server",
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
        more.pop("reaction", "fails at once"),
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
        "no hub token",
        Users,
        "/hub/token with the scopes access:services!service=binder",
        lambda stage: failed("Forbidden"),
        reaction="names the page that creates a token, and the scopes",
        hub_token="",
    ),
    refused_account("wrong or expired hub token", Users, "/hub/token", hub_token="expired"),
    *(
        refused_account(
            f"missing scope [{scope}]",
            partial(Users, scopes=without(scope)),
            f"lacks a scope: {scope}!",
        )
        for scope in ("access:services", "access:servers", "delete:servers", "read:servers")
    ),
    refused_account(
        "missing scope [tokens, for a session's own token]",
        partial(Users, scopes=without("tokens")),
        "tokens!user",
    ),
    refused_account(
        "no token issued, despite the scope",
        partial(Users, issues=False),
        "tokens!user",
        launched,
        reaction="stops the session",
        stopped=1,
    ),
    refused_account(
        "wrong or expired hub token [and JupyterHub unknown]",
        unknown_jupyterhub,
        "does not accept the hub token: Forbidden",
        failed("Forbidden"),
        reaction="fails at once",
    ),
    refused_account(
        "hub token that does not permit the hub",
        unknown_jupyterhub,
        "access:services!service=binder",
        failed("user ann is not allowed."),
        reaction="fails at once",
    ),
    refused_account(
        "redirect to a login despite the token",
        Users,
        "does not accept the hub token: it redirects to",
        to_login,
        reaction="sends the token nowhere else",
    ),
    refused_account(
        "only server runs already",
        with_a_running_server,
        "/hub/home",
        Answer(LAUNCHING + AGAIN + OCCUPIED),
        reaction="fails after the hub's tries",
        exit_code=5,
        leaves=("",),
    ),
    refused_account(
        "only server runs already [and JupyterHub unknown]",
        unknown_jupyterhub,
        "/hub/home",
        Answer(LAUNCHING + AGAIN + OCCUPIED),
        reaction="fails after the hub's tries",
        exit_code=5,
    ),
    refused_account(
        "too many named servers",
        Users,
        "/hub/home",
        Answer(LAUNCHING + AGAIN + TOO_MANY),
        reaction="fails after the hub's tries",
        exit_code=5,
    ),
    refused_account(
        "server of another launch",
        Users,
        "the server of another launch",
        launched_for_another,
        reaction="leaves that server alone",
        exit_code=5,
        leaves=("",),
    ),
    refused_account(
        "token revoked during the launch",
        Users,
        "A server runs at",
        launched_and_lost(answer=json_page(403, {"message": "Missing or invalid credentials."})),
        reaction="names the server",
        leaves=("",),
    ),
    refused_account(
        "no `read:servers`, and JupyterHub unknown",
        partial(unknown_jupyterhub, scopes=without("read:servers")),
        "A server runs at",
        launched,
        reaction="names the server",
        leaves=("",),
    ),
    refused_account(
        "no `delete:servers`, and JupyterHub unknown",
        partial(unknown_jupyterhub, scopes=without("delete:servers")),
        "lacks a scope: delete:servers!user",
        launched,
        reaction="has the server shut itself down",
        stopped=1,
    ),
    refused_account(
        "JupyterHub down at the end",
        Users,
        "A server runs at",
        launched_and_lost(answer=page(503)),
        reaction="retries for 5 s; names the server",
        exit_code=8,
        within=8,
        leaves=("",),
    ),
    Fault(
        "the connection breaks while JupyterHub starts a server",
        "stops the server; retries once",
        [[starting(Ending.BROKEN), launched]],
        0,
        users=Users,
        within=8,
    ),
    Fault(
        "Ctrl-C while JupyterHub starts a server",
        "stops the server at JupyterHub",
        [[starting()]],
        130,
        users=Users,
        cancel_at=in_phase("launching"),
        within=7,
    ),
    Fault(
        "Ctrl-C while launching, and no server starts at JupyterHub",
        "waits for a server; warns",
        [[lambda stage: Answer((LAUNCHING, Silence(stage.clock, 0.05)))]],
        130,
        users=Users,
        cancel_at=in_phase("launching"),
        within=7,
        warning="runs under your account",
    ),
    Fault(
        "time limit while JupyterHub starts a server",
        "stops the server at JupyterHub",
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


UNKNOWN = "gone, but warns that a restarted proxy responds in the same way"
STOPPING = (
    stops(
        "shuts down [503, then a redirect to the hub]",
        "gone after the second response",
        Jupyter(TOKEN),
    ),
    stops(
        "shuts down [502, then 404]",
        "gone after the second response",
        Jupyter(TOKEN, after=(502, 404)),
    ),
    stops(
        "runs, but the proxy fails at first",
        "polls",
        Jupyter(TOKEN, before=(502, 503, 404)),
    ),
    stops(
        "fails the first shutdown request",
        "sends another shutdown request",
        Jupyter(TOKEN, shutdown=(500, 200)),
        shutdowns=2,
    ),
    StopFault(
        "keeps running",
        "sends a shutdown request every 5 s",
        Jupyter(TOKEN, stays=True),
        9,
        0,
        6,
        within=32,
    ),
    StopFault("redirects to a `/hub/` page", UNKNOWN, moved("/hub/user/x/"), 0, 10),
    StopFault("responds with 424 (mybinder.org)", UNKNOWN, page(424), 0, 10),
    StopFault(
        "refuses connections, like a restarting proxy",
        "polls until the time limit",
        None,
        9,
        6,
        within=32,
    ),
    StopFault(
        "refuses connections at the embedded hub",
        "gone, because there is no proxy",
        None,
        0,
        10,
        prefix=EMBEDDED_PATH,
    ),
    StopFault("refuses the token (403)", "fails at once", Jupyter("another"), 9, 9),
    StopFault(
        "refuses the shutdown (403, `_xsrf`)",
        "tries twice, and shows the reason",
        Jupyter(TOKEN, xsrf=True),
        9,
        0,
        2,
    ),
    StopFault(
        "refuses the hub's host name (403)",
        "fails at once",
        json_page(403, {"message": "Blocking request with non-local 'Host' hub.test (hub.test)."}),
        9,
        9,
    ),
    StopFault("always 502 or 404 [502]", "polls until the time limit", page(502), 9, 6, within=32),
    StopFault("always 502 or 404 [404]", "polls until the time limit", page(404), 9, 6, within=32),
    StopFault(
        "redirects to another site",
        "polls until the time limit",
        moved("/login"),
        9,
        6,
        within=32,
    ),
    StopFault(
        "responds with a page instead of JSON", "polls until the time limit", page(200), 9, 6, 0, 32
    ),
    StopFault(
        "never responds",
        "gives up on each request after 10 s",
        mute,
        9,
        6,
        within=42,
    ),
    of_account("runs under an account", "stops the server at JupyterHub", Users, 0, 0),
    of_account(
        "account's server that stops slowly",
        "success, if JupyterHub is stopping it at the time limit",
        partial(Users, stops_at_once=False),
        0,
        0,
        within=32,
    ),
    of_account(
        "account's next server at the same address",
        "leaves that server alone",
        partial(Users, others=True),
        0,
        10,
    ),
    of_account(
        "account's server, and JupyterHub fails [is down]",
        "polls until the time limit",
        partial(Users, fault=lambda _: page(503)),
        9,
        6,
        within=32,
    ),
    of_account(
        "account's server, and JupyterHub fails [redirects to a login]",
        "polls until the time limit",
        partial(Users, fault=lambda _: moved("/hub/login")),
        9,
        6,
        within=32,
    ),
    of_account(
        "account's server, and JupyterHub refuses the token",
        "fails at once",
        partial(Users, token="another"),
        9,
        9,
    ),
    of_account(
        "account's server, and the token permits no stop",
        "has the server shut itself down",
        partial(Users, scopes=without("delete:servers")),
        0,
        0,
        shutdowns=1,
    ),
)
