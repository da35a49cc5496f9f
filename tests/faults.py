"""The fault table: each row a hub, a server or a network that misbehaves in one way.

The rows are data. ``tests/test_faults.py`` runs them, ``docs/reliability.md`` shows them. Seconds
are those of a clock that jumps over pauses, and that runs fast while a hub is silent.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from answers import Answer, Ending, Framing, Raw, event, json_page, moved, page
from clinder.events import Event, LogLines, PhaseStarted, SessionLaunched, Waiting
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
    """Where a row is played: its clock, and its hubs."""

    clock: Clock
    hubs: list[ScriptedHub] = field(default_factory=list)


@dataclass(frozen=True)
class Launch:
    """A build request that comes to ``ready`` with this server."""

    server: Jupyter = field(default_factory=lambda: Jupyter(TOKEN))
    before: bytes = WAITING + LAUNCHING
    url: str = ""
    token: str = TOKEN
    commit: str = COMMIT
    quiet: float = 0.0


Told = Answer | Raw | Launch | Callable[[Stage], Answer | Raw]
"""How a build request is answered."""
At = Callable[[Event], bool]


@dataclass(frozen=True)
class Fault:
    """One row: what happens at each hub, what clinder does, and how that ends.

    ``requests`` are the build requests that each hub saw, ``within`` the seconds that it took at
    most, ``stopped`` how many servers clinder stopped, ``left`` how many it had to leave. Of the
    hubs the first ``named`` are those that clinder is given, by default all. ``certificate`` is the
    name in the certificate of a hub that speaks TLS, of an authority that is trusted.
    """

    happens: str
    does: str
    hubs: tuple[tuple[Told, ...], ...]
    code: int
    hint: str = ""
    requests: tuple[int, ...] = (1,)
    within: float = 5.0
    stopped: int = 0
    left: int = 0
    warns: str = ""
    timeout: float = 1200.0
    ref: str = "HEAD"
    kernel: str | None = None
    cancel: At | None = None
    address: str = ""
    named: int | None = None
    certificate: str = ""


def transcript(name: str) -> Answer:
    """A stream recorded from a real hub, which says nothing of a running server."""
    return Answer((TRANSCRIPTS / f"{name}.sse").read_bytes())


def failed(message: str, *before: bytes) -> Answer:
    return Answer(b"".join(before) + event(phase="failed", message=message))


class Silence(threading.Event):
    """Nothing comes, and time runs fast: so many seconds each time that somebody looks."""

    def __init__(self, clock: Clock, each: float, until: float = 1e9):
        super().__init__()
        self._clock, self._each, self._left = clock, each, until

    def is_set(self) -> bool:
        self._clock.jump(self._each)
        self._left -= self._each
        return self._left <= 0


def silent(*before: bytes, each: float = 0.5) -> Callable[[Stage], Answer]:
    """After these bytes nothing comes any more, and nothing ends."""
    return lambda stage: Answer((b"".join(before), Silence(stage.clock, each)))


def mute(stage: Stage) -> Raw:
    """Not even a head comes."""
    return Raw((Silence(stage.clock, 0.5),))


def trickling(start: bytes, drop: bytes, each: float = 0.5) -> Callable[[Stage], Raw]:
    """These bytes, then the others again and again, a second between any two of them."""

    def told(stage: Stage) -> Raw:
        def parts() -> Iterator[bytes]:
            yield start
            while True:
                stage.clock.jump(each)
                yield drop

        return Raw(parts(), every=0.005)

    return told


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

INSTEAD = (TRANSCRIPTS / "bad-ref-master.sse").read_bytes().partition(b"\n\n")[0] + b"\n\n"
FULL = transcript("full")
QUOTA = transcript("quota-cached")
RATE = failed("Rate limit exceeded. Try again in 3600 seconds.")
DROPPED = Answer(BUILDING, ending=Ending.BROKEN)
DROPPED_LAUNCHING = Answer(BUILDING + LAUNCHING, ending=Ending.BROKEN)
AGAIN = "asks the same hub again after about 2 and 4 s"
A_MINUTE = "tries the same hub for about a minute: again after about 2, 4, 8, 15, 15 and 15 s"


def entered(phase: str) -> At:
    return lambda seen: isinstance(seen, LogLines) and seen.phase == phase


def member_of_federation(*members: int) -> Callable[[Stage], Answer]:
    """Redirect to the first of these hubs, having listed all of them as members."""

    def told(stage: Stage) -> Answer:
        hub = stage.hubs[0]
        listed = {str(at): {"url": stage.hubs[at].url, "weight": 1} for at in members}
        hub.pages["/active_hosts"] = json_page(200, {"active_hosts": listed})
        path = hub.builds[-1].path
        return moved(stage.hubs[members[0]].origin + path, 307)

    return told


def silent_federation(stage: Stage) -> Answer:
    """Redirect to the second hub, and never list the members."""
    stage.hubs[0].pages["/active_hosts"] = mute(stage)
    return to_second(stage)


def fails_later(stage: Stage) -> Answer:
    """A launch that fails a second after it began."""
    spawn = event(phase="failed", message="Spawn failed: no\n")
    return Answer((BUILDING + LAUNCHING, Silence(stage.clock, 0.05, 1.0), spawn))


def to_itself(stage: Stage) -> Answer:
    return moved(stage.hubs[0].origin + stage.hubs[0].builds[-1].path, 307)


def to_second(stage: Stage) -> Answer:
    return moved(stage.hubs[1].origin + stage.hubs[0].builds[-1].path, 307)


SAYS = (
    Fault("The hub has no such provider", "ends", ((transcript("bad-prefix"),),), 3, "lists the"),
    Fault("The spec is malformed", "ends", ((transcript("bad-spec-short"),),), 3, "forms that"),
    Fault("The ref does not exist", "ends", ((transcript("bad-ref"),),), 3, "is pushed"),
    Fault(
        "The repository does not exist, or is private",
        "ends",
        ((transcript("bad-repo"),),),
        3,
        "is public",
    ),
    Fault("The hub does not launch this repository", "ends", ((transcript("banned-spec"),),), 3),
    Fault(
        "The build token is wrong or too old",
        "ends",
        ((failed("Invalid build token"),),),
        3,
        "Get a new one",
    ),
    Fault(
        "The hub needs a login",
        "tries the next hub; it is the only one",
        ((transcript("auth-noauth"),),),
        3,
        "requires no login",
    ),
    Fault(
        "The hub refuses this network",
        "tries the next hub; it is the only one",
        ((transcript("net-banned"),),),
        3,
        "another network",
    ),
    Fault(
        "The hub refuses this network, a second hub does not",
        "tries the next hub",
        ((transcript("net-banned"),), (Launch(),)),
        0,
        requests=(1, 1),
    ),
    Fault(
        "The hub takes clinder for a robot",
        "tries the next hub; it is the only one",
        ((failed("Bots not allowed"),),),
        3,
        "report this",
    ),
    Fault(
        "The hub cannot ask GitHub, which limits it",
        AGAIN,
        ((transcript("github-ratelimited"),) * 3,),
        6,
        "later",
        requests=(3,),
        within=12,
    ),
    Fault(
        "The hub cannot ask the repository's host, once",
        AGAIN,
        ((transcript("git-provider-bad"), Launch()),),
        0,
        requests=(2,),
        within=8,
    ),
    Fault(
        "The hub builds only (API-only mode)",
        "ends",
        ((transcript("apionly-buildonly-new"),),),
        6,
        "another hub",
    ),
    Fault("The build fails", "ends", ((transcript("build-fail"),),), 4, "last log lines"),
    Fault(
        "The builder is killed, and nobody says so",
        "ends, with the last log lines",
        ((transcript("build-killed"),),),
        4,
        "last log lines",
    ),
    Fault(
        "The hub fails without a word",
        AGAIN,
        ((Answer(event(phase="failed")),) * 3,),
        6,
        "fault lies with the hub",
        requests=(3,),
        within=12,
    ),
    Fault(
        "The hub fails with an error of its own, twice",
        AGAIN,
        ((page(500), page(502), Launch()),),
        0,
        requests=(3,),
        within=12,
    ),
    Fault(
        "The hub fails with an error of its own, always",
        AGAIN,
        ((page(500),) * 3,),
        6,
        "fault lies with the hub",
        requests=(3,),
        within=12,
    ),
    Fault(
        "The server cannot be launched; the hub has tried four times",
        "tries the next hub; it is the only one",
        ((transcript("launch-fail"),),),
        8,
        "another hub",
    ),
    Fault(
        "The server takes the hub too long to launch",
        "tries the next hub; it is the only one",
        ((transcript("launchtimeout"),),),
        8,
        "another hub",
    ),
    Fault(
        "The server cannot be launched, at a second hub it can",
        "tries the next hub",
        ((transcript("launch-fail"),), (Launch(),)),
        0,
        requests=(1, 1),
    ),
    Fault(
        "The hub's JupyterHub is down",
        "tries the next hub; it is the only one",
        ((transcript("nohub"),),),
        8,
        "another hub",
    ),
    Fault(
        "`master` does not exist, and the hub takes HEAD",
        "warns of it",
        ((Launch(before=INSTEAD),),),
        0,
        ref="master",
        warns="launches HEAD instead",
    ),
    Fault(
        "The hub launches another commit than the one asked for",
        "stops the session and ends",
        ((Launch(commit="2e" * 20),),),
        3,
        "pushed to that repository",
        ref=COMMIT,
        stopped=1,
    ),
    Fault(
        "`ready` comes without a token",
        "tries the next hub; it is the only one",
        ((Launch(token=""),),),
        6,
        "fault lies with the hub",
        warns="nobody holds its token",
    ),
    Fault(
        "`ready` comes with a URL that is not http(s)",
        "tries the next hub; it is the only one",
        ((Launch(url="ftp://127.0.0.1/user/x/"),),),
        6,
        "fault lies with the hub",
        warns="nobody holds its token",
    ),
    Fault(
        "The stream stays open after `failed`",
        "ends at the verdict",
        ((Answer(event(phase="failed", message="x"), ending=Ending.HELD),),),
        3,
    ),
    Fault(
        "Nothing comes for 30 s, then the launch goes on",
        "waits",
        ((Launch(quiet=30),),),
        0,
        within=40,
    ),
    Fault(
        "Events are lists, numbers, nested without end, not UTF-8",
        "passes them over",
        (
            (
                Launch(
                    before=b"\xef\xbb\xbfdata: [1]\r\n\r\ndata: 7\n\ndata: \xff\xfe\n\ndata: "
                    + b"[" * 100_000
                    + b"\n\n: a comment\n\n"
                    + WAITING
                ),
            ),
        ),
        0,
    ),
)

BUSY = (
    Fault(
        "Rate limit exceeded (429) on the only hub",
        "never asks that hub again",
        ((RATE,),),
        5,
        "ten build requests an hour",
    ),
    Fault(
        "Rate limit exceeded (429) on the first hub",
        "tries the next hub at once",
        ((RATE,), (Launch(),)),
        0,
        requests=(1, 1),
    ),
    Fault(
        "Rate limit exceeded (429), in an event stream that says nothing",
        "never asks that hub again",
        ((Answer(b"", 429),),),
        5,
        "ten build requests an hour",
    ),
    Fault(
        "Rate limit exceeded (429) in front of the hub, as a page",
        "never asks that hub again",
        ((page(429),),),
        5,
        "ten build requests an hour",
    ),
    Fault(
        "The first hub is full, the second is not",
        "tries the next hub at once",
        ((FULL,), (Launch(),)),
        0,
        requests=(1, 1),
    ),
    Fault(
        "The only hub is full, a minute later it is not",
        "waits 60 s",
        ((FULL, Launch()),),
        0,
        requests=(2,),
        within=65,
    ),
    Fault(
        "The only hub stays full",
        "waits 60 s, then 240 s",
        ((FULL,) * 3,),
        5,
        "second hub",
        requests=(3,),
        within=310,
    ),
    Fault(
        "Both hubs stay full",
        "waits 60 s, then 240 s, and asks both each time",
        ((FULL,) * 3, (FULL,) * 3),
        5,
        "second hub",
        requests=(3, 3),
        within=310,
    ),
    Fault(
        "The repository's quota is used up",
        "waits 60 s, then 240 s",
        ((QUOTA,) * 3,),
        5,
        "Stop sessions",
        requests=(3,),
        within=310,
    ),
    Fault(
        "The only hub is full, and a wait would be beyond the timeout",
        "ends, saying how long",
        ((FULL,),),
        5,
        "second hub",
        timeout=30,
    ),
    Fault(
        "A member of a federation is full, another is not",
        "asks another member, from the federation's list",
        ((member_of_federation(1, 2),), (FULL,), (Launch(),)),
        0,
        requests=(1, 1, 1),
        named=1,
    ),
    Fault(
        "A member of a federation is full, and the others cannot be learned",
        "waits 60 s",
        ((silent_federation, to_second), (FULL, Launch())),
        0,
        requests=(2, 2),
        named=1,
        within=90,
    ),
    Fault(
        "All members of a federation are full",
        "asks one other member, then the federation once more after 60 s",
        (
            (member_of_federation(1, 2), member_of_federation(1, 2)),
            (FULL, FULL),
            (FULL,),
        ),
        5,
        "second hub",
        requests=(2, 2, 1),
        named=1,
        within=70,
    ),
)

NETWORK = (
    Fault(
        "Nothing listens at the hub's address, on this machine",
        AGAIN,
        (),
        6,
        "Check the hub's address",
        requests=(),
        within=12,
        address="http://127.0.0.1:1/",
    ),
    Fault(
        "Nothing listens at the hub's address, on another machine",
        A_MINUTE,
        (),
        6,
        "restarting",
        requests=(),
        within=80,
        address="http://0.0.0.0:1/",
    ),
    Fault(
        "The hub's proxy answers 503, as the hub is away",
        A_MINUTE,
        ((page(503),) * 7,),
        6,
        "restarting",
        requests=(7,),
        within=80,
    ),
    Fault(
        "The hub restarts: the stream drops, then its proxy answers 503 for half a minute",
        A_MINUTE + ". What found it away is no build request",
        ((DROPPED, *(page(503),) * 5, DROPPED, Launch()),),
        0,
        requests=(8,),
        within=70,
    ),
    Fault(
        "The first hub's proxy answers 503, and the second hub is there",
        AGAIN + ", then the next one",
        ((page(503),) * 3, (Launch(),)),
        0,
        requests=(3, 1),
        within=12,
    ),
    Fault(
        "The hub's name does not resolve",
        AGAIN,
        (),
        6,
        "Check the hub's address",
        requests=(),
        within=20,
        address="http://clinder.invalid/",
    ),
    Fault(
        "The hub's certificate is of another name",
        "never asks that hub again",
        ((),),
        6,
        "REQUESTS_CA_BUNDLE",
        requests=(0,),
        certificate="other.test",
    ),
    Fault(
        "The hub is https, and its server plain http",
        "never uses it, as others could see the token",
        ((Launch(),),),
        6,
        "fault lies with the hub",
        warns="nobody holds its token",
        certificate="127.0.0.1",
    ),
    Fault(
        "A page comes in place of a stream: a wrong address",
        "ends",
        ((page(200),),),
        6,
        "path prefix",
    ),
    Fault(
        "404: the hub is behind a path prefix",
        "ends",
        ((Answer((TRANSCRIPTS / "baseurl-noslash.sse").read_bytes(), 404, "text/html"),),),
        6,
        "path prefix",
    ),
    Fault("The hub redirects in circles", "ends", ((to_itself,) * 2,), 6, "path prefix"),
    Fault(
        "The hub redirects to something that is not http(s)",
        "ends",
        ((moved("ftp://127.0.0.1/", 307),),),
        6,
        "path prefix",
    ),
    Fault(
        "The hub redirects to another host",
        "follows",
        ((to_second,), (Launch(),)),
        0,
        requests=(1, 1),
        named=1,
    ),
    Fault(
        "The connection is reset before the answer",
        AGAIN,
        ((Raw((), Ending.RESET),) * 3,),
        6,
        "network",
        requests=(3,),
        within=12,
    ),
    Fault(
        "The connection is reset after the headers",
        AGAIN,
        ((Answer(ending=Ending.RESET),) * 3,),
        6,
        "network",
        requests=(3,),
        within=12,
    ),
    Fault(
        "The stream drops during the build, then the build goes on",
        AGAIN + ", and attaches to the same build",
        ((DROPPED, Launch()),),
        0,
        requests=(2,),
        within=8,
    ),
    Fault(
        "The stream drops during each build request",
        AGAIN,
        ((DROPPED,) * 3,),
        6,
        "network",
        requests=(3,),
        within=12,
    ),
    Fault(
        "The stream drops while launching, then the launch goes on",
        "asks once more, having said that a server may be left to the culler",
        ((DROPPED_LAUNCHING, Launch()),),
        0,
        requests=(2,),
        within=8,
        warns="nobody holds its token",
    ),
    Fault(
        "The stream drops once the image is built, twice",
        "asks once more",
        ((Answer(BUILDING + BUILT, ending=Ending.BROKEN),) * 2,),
        6,
        "network",
        requests=(2,),
        within=8,
        warns="nobody holds its token",
    ),
    Fault(
        "The stream drops while launching, twice",
        "asks once more",
        ((DROPPED_LAUNCHING,) * 2,),
        6,
        "network",
        requests=(2,),
        within=8,
        warns="nobody holds its token",
    ),
    Fault(
        "The stream ends without a verdict",
        AGAIN,
        ((Answer(BUILDING, framing=Framing.CLOSE), Answer(BUILDING), Launch()),),
        0,
        requests=(3,),
        within=12,
    ),
    Fault(
        "A chunk is cut short",
        AGAIN,
        ((Raw((CHUNKED + b"40\r\ndata: ",)), Launch()),),
        0,
        requests=(2,),
        within=8,
    ),
    Fault(
        "A chunk's size is no number",
        AGAIN,
        ((Raw((CHUNKED + b"zz\r\ndata: ",)), Launch()),),
        0,
        requests=(2,),
        within=8,
    ),
    Fault(
        "The headers end early",
        AGAIN,
        ((Raw((HEAD,)), Launch()),),
        0,
        requests=(2,),
        within=8,
    ),
    Fault(
        "The answer is no HTTP",
        AGAIN,
        ((Raw((b"SSH-2.0-OpenSSH_9.6\r\n",)), Launch()),),
        0,
        requests=(2,),
        within=8,
    ),
    Fault(
        "A compressed stream is cut",
        AGAIN,
        (
            (
                Answer(
                    gzip.compress(BUILDING * 20)[:60],
                    headers={"Content-Encoding": "gzip"},
                    ending=Ending.BROKEN,
                ),
                Launch(),
            ),
        ),
        0,
        requests=(2,),
        within=8,
    ),
    Fault(
        "A line never ends",
        "ends when it is over 256 KiB",
        ((Answer(b"data: " + b"x" * 600_000, ending=Ending.HELD),),),
        6,
        "hub's page opens",
    ),
    Fault(
        "The hub accepts the connection and never answers",
        "gives each of three requests 75 s",
        ((mute,) * 3,),
        6,
        "network",
        requests=(3,),
        within=300,
    ),
    Fault(
        "The hub falls silent during the build",
        "gives each of three requests 75 s",
        ((silent(BUILDING),) * 3,),
        6,
        "network",
        requests=(3,),
        within=300,
    ),
    Fault(
        "The hub falls silent while launching",
        "gives each of two requests 75 s",
        ((silent(BUILDING, LAUNCHING),) * 2,),
        6,
        "network",
        requests=(2,),
        within=180,
        warns="nobody holds its token",
    ),
    Fault(
        "The hub sends keepalives and nothing else",
        "ends after 1200 s",
        ((trickling(CHUNKED, b"c\r\n:keepalive\n\n\r\n", 2.0),),),
        7,
        "--timeout",
        within=1300,
    ),
    Fault(
        "The hub sends a byte a second in the body",
        "ends after 1200 s",
        ((trickling(CHUNKED, b"1\r\n:\r\n", 2.0),),),
        7,
        "--timeout",
        within=1300,
    ),
    Fault(
        "The hub sends a byte a second in a chunk's size",
        "gives each of three requests 75 s",
        ((trickling(CHUNKED, b"0"),) * 3,),
        6,
        "network",
        requests=(3,),
        within=300,
    ),
    Fault(
        "The hub sends a byte a second in the headers",
        "gives each of three requests 75 s",
        ((trickling(HEAD + b"X: ", b"x"),) * 3,),
        6,
        "network",
        requests=(3,),
        within=300,
    ),
)

SERVER = (
    Fault(
        "The proxy does not know the server at first",
        "asks again until it does",
        ((Launch(Jupyter(TOKEN, before=(404, 503, 302, 502, 424))),),),
        0,
    ),
    Fault(
        "The server never answers",
        "stops it after 120 s and tries the next hub; it is the only one",
        ((Launch(Jupyter(TOKEN, before=(503,) * 1000)),),),
        8,
        "another hub",
        within=140,
        left=1,
    ),
    Fault(
        "The server refuses its own token",
        "ends after 120 s; it cannot stop it either",
        ((Launch(Jupyter("another-token")),),),
        8,
        "another hub",
        within=140,
        left=1,
    ),
    Fault(
        "The first kernel answers",
        "removes it and hands out the session",
        ((Launch(),),),
        0,
        kernel="",
    ),
    Fault(
        "The image lacks the kernelspec",
        "stops the session and ends, naming those that it has",
        ((Launch(),),),
        3,
        "image's kernelspecs",
        kernel="julia-1.10",
        stopped=1,
    ),
    Fault(
        "The first kernel dies",
        "stops the session and tries the next hub; it is the only one",
        ((Launch(Jupyter(TOKEN, kernel=Kernel(Mood.DEAD))),),),
        8,
        kernel="",
        within=20,
        stopped=1,
    ),
    Fault(
        "The first kernel's websocket cannot be reached",
        "tries three times, stops the session and tries the next hub; it is the only one",
        ((Launch(Jupyter(TOKEN, kernel=Kernel(Mood.UNREACHABLE))),),),
        8,
        kernel="",
        within=20,
        stopped=1,
    ),
)

CANCELLED = (
    Fault(
        "Ctrl-C while waiting for the build",
        "ends at once",
        ((silent(WAITING),),),
        130,
        cancel=entered("waiting"),
        within=7,
    ),
    Fault(
        "Ctrl-C during the build",
        "ends at once",
        ((silent(BUILDING),),),
        130,
        cancel=entered("building"),
        within=7,
    ),
    Fault(
        "Ctrl-C while launching, and the server comes up",
        "waits for the server up to 5 s and stops it",
        ((Launch(quiet=2),),),
        130,
        cancel=entered("launching"),
        within=7,
        stopped=1,
    ),
    Fault(
        "Ctrl-C while launching, and no server comes up",
        "waits 5 s, and says that one may be left to the culler",
        ((silent(BUILDING, LAUNCHING, each=0.05),),),
        130,
        cancel=entered("launching"),
        within=7,
        warns="nobody holds its token",
    ),
    Fault(
        "Ctrl-C while launching, and the launch fails",
        "ends as cancelled",
        ((fails_later,),),
        130,
        cancel=entered("launching"),
        within=7,
    ),
    Fault(
        "Ctrl-C when the session is known",
        "stops it",
        ((Launch(),),),
        130,
        cancel=lambda seen: isinstance(seen, SessionLaunched),
        within=7,
        stopped=1,
    ),
    Fault(
        "Ctrl-C while the server is not usable yet, and it does not stop",
        "says that it may still run, and how to stop it",
        ((Launch(Jupyter(TOKEN, stays=True)),),),
        130,
        cancel=lambda seen: seen == PhaseStarted("readiness"),
        within=7,
        left=1,
    ),
    Fault(
        "Ctrl-C while waiting for a full hub",
        "ends at once",
        ((FULL,),),
        130,
        cancel=lambda seen: isinstance(seen, Waiting),
        within=7,
    ),
    Fault(
        "Ctrl-C while waiting for a hub that is away",
        "ends at once",
        ((page(503),),),
        130,
        cancel=lambda seen: isinstance(seen, Waiting),
        within=7,
    ),
    Fault(
        "The time is over during the build",
        "ends",
        ((silent(BUILDING),),),
        7,
        "--timeout",
        timeout=60,
        within=70,
    ),
    Fault(
        "The time is over while launching",
        "ends, and says that a server may be left to the culler",
        ((silent(BUILDING, LAUNCHING),),),
        7,
        "--timeout",
        timeout=60,
        within=70,
        warns="nobody holds its token",
    ),
)

TABLE: dict[str, tuple[Fault, ...]] = {
    "What a hub says": SAYS,
    "A hub that has no room": BUSY,
    "The way to the hub": NETWORK,
    "The server, once it is launched": SERVER,
    "Cancelling, and the end of the time": CANCELLED,
}
"""Every row, by the heading under which the documentation shows it."""


@dataclass(frozen=True)
class StopFault:
    """What a session's address answers, and how ``clinder stop`` and ``clinder status`` end.

    ``answers`` is a server, or the answer to everything, ``None`` that nothing listens there.
    ``asked`` is how often it was told to shut down.
    """

    happens: str
    does: str
    answers: Jupyter | Told | None
    stop: int
    status: int
    asked: int = 0
    within: float = 5.0


STOPPING = (
    StopFault(
        "It runs, and shuts down as behind a hub: 503, then 302 to the hub",
        "is gone when 503 came twice",
        Jupyter(TOKEN),
        0,
        0,
        1,
    ),
    StopFault(
        "It runs, and then answers 404 or 502",
        "is gone when that came twice",
        Jupyter(TOKEN, after=(502, 404)),
        0,
        0,
        1,
    ),
    StopFault(
        "It runs, and the proxy has a hiccup at first",
        "asks again until the answer is clear",
        Jupyter(TOKEN, before=(502, 503, 404)),
        0,
        0,
        1,
    ),
    StopFault(
        "It runs, and the first shutdown fails",
        "tells it again",
        Jupyter(TOKEN, shutdown=(500, 200)),
        0,
        0,
        2,
    ),
    StopFault(
        "It runs, and goes on running",
        "tells it again every 5 s",
        Jupyter(TOKEN, stays=True),
        9,
        0,
        6,
        within=32,
    ),
    StopFault("302 to a `/hub/` page", "is gone", moved("/hub/user/x/"), 0, 10),
    StopFault("424 (mybinder.org)", "is gone", page(424), 0, 10),
    StopFault("Nothing listens there, on this machine", "is gone", None, 0, 10),
    StopFault("403: the token is refused", "ends at once", Jupyter("another"), 9, 9),
    StopFault("502 for ever", "asks until the time is over", page(502), 9, 6, within=32),
    StopFault("404 for ever", "asks until the time is over", page(404), 9, 6, within=32),
    StopFault(
        "A redirect to another page than the hub's",
        "does not follow, and asks until the time is over",
        moved("/login"),
        9,
        6,
        within=32,
    ),
    StopFault("A page, not a server's JSON", "asks until the time is over", page(200), 9, 6, 0, 32),
    StopFault("Silence", "gives each request 10 s", mute, 9, 6, within=42),
)
