"""What comes from outside does no harm, and what is secret stays so.

The token of a session, the build token and passwords are looked for in all that whole runs of the
command line write, print and spawn; hostile answers are given to each way of asking.
"""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from answers import Answer, event, json_page, moved, ready
from clinder._deadline import Deadline
from clinder._text import MAX_LINE, printable_lines
from clinder.errors import (
    BuildTokenRefused,
    ClinderError,
    HubError,
    HubUnreachable,
    ServerUnreachable,
)
from clinder.events import SessionLaunched
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.binderhub import Progress, Ready, request_build
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Server
from e2e.world import CLINDER, MARK, Result, World, until
from hubs import Jupyter, ScriptedHub

pytestmark = pytest.mark.usefixtures("_no_threads_left")

TOKEN = "s3cret-t0ken-of-the-session"
BUILD_TOKEN = "s3cret.build.t0ken"
URL = "https://hub.test/user/x/"


def came_of(*parts: bytes, headers: Mapping[str, str] | None = None) -> list[object]:
    """The events of one build request that a hub answers so, at last the error that ended it."""
    found: list[object] = []
    with ScriptedHub(Answer(b"".join(parts), headers=headers or {})) as hub:
        events = request_build(
            Transport(Timeouts(5, 5)), hub.url, "gh/a/b/HEAD", deadline=Deadline(60)
        )
        try:
            found += (each for each in events if isinstance(each, Progress | Ready))
        except ClinderError as error:
            found.append(error)
    ends = [each.message for each in found if isinstance(each, ClinderError)]
    assert all(what.isprintable() and len(what) < 1000 for what in ends)
    return found


# What a hub sends.


ODD = {
    "a list": b"data: []\n\n",
    "a number": b"data: 5\n\n",
    "a text": b'data: "failed"\n\n',
    "null": b"data: null\n\n",
    "nothing": b"data:\n\n",
    "no JSON": b"data: {phase: failed}\n\n",
    "not a number": b"data: NaN\n\n",
    "nested without end": b"data: " + b"[" * 100_000 + b"\n\n",
    "objects without end": b"data: " + b'{"a":' * 40_000 + b"\n\n",
    "a number without end": b"data: " + b"9" * 100_000 + b"\n\n",
    "no UTF-8": b"data: \xff\xfe\n\n",
    "half of a surrogate pair": b'data: "\\ud800"\n\n',
    "a keepalive": b":keepalive\n\n",
    "another field": b"event: other\n\n",
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_event_that_is_no_object_is_ignored(odd: bytes) -> None:
    (last,) = came_of(odd, odd, ready(URL, TOKEN))
    assert isinstance(last, Ready)


JUNK: list[object] = [None, 5, -1.5, True, [], {}, ["failed"], {"phase": "failed"}, 10**30, "\x00"]


@pytest.mark.parametrize("junk", JUNK, ids=str)
@pytest.mark.parametrize("name", ["phase", "message", "status_code", "url", "token", "image"])
def test_a_field_of_the_wrong_kind_ends_nothing_by_a_bug(name: str, junk: object) -> None:
    for phase in ("building", "failed", "ready"):
        fields = {"phase": phase, "message": "m", "url": URL, "token": TOKEN, name: junk}
        *_, last = came_of(event(**fields), event(phase="failed", message="at last"))
        assert isinstance(last, ClinderError | Ready)


def test_an_event_over_256_kib_is_refused() -> None:
    (last,) = came_of(event(message="x" * 300_000), ready(URL, TOKEN))
    assert isinstance(last, HubError)


@pytest.mark.parametrize("name", ["image", "repo_url", "binder_ref_url", "binder_launch_host"])
def test_a_field_of_ready_is_one_plain_line_that_is_not_too_long(name: str) -> None:
    fields: dict[str, object] = {name: "\x1b]0;title\x07a\nb\u202e" + "c" * 200_000}
    (last,) = came_of(ready(URL, TOKEN, **fields))
    value = getattr(last, name)
    assert value.startswith("a bccc")
    assert len(value) == 1000


@pytest.mark.parametrize(
    ("url", "token"), [(URL + "x" * 100_000, TOKEN), (URL, "x" * 100_000)], ids=["url", "token"]
)
def test_a_url_or_token_that_no_server_takes_is_refused(url: str, token: str) -> None:
    (last,) = came_of(ready(url, token))
    assert isinstance(last, HubError)
    assert "too long" in str(last)


def test_an_endless_error_is_told_in_short() -> None:
    (last,) = came_of(event(phase="failed", message="no\x1b[2J " * 20_000))
    assert isinstance(last, ClinderError)
    assert "no no no" in last.message


def test_log_lines_are_not_longer_than_anybody_reads() -> None:
    (progress, _) = came_of(event(message="x" * 200_000 + "\r50%\n"), event(phase="failed"))
    assert isinstance(progress, Progress)
    assert [len(line) for line in printable_lines(progress.message)] == [MAX_LINE, 3]


def test_phases_without_end_do_not_fill_the_memory() -> None:
    """Whoever observes a launch keeps the seconds of each."""
    many = b"".join(event(phase=f"phase-{n}" + "x" * 100, message="") for n in range(3000))
    *found, last = came_of(many, event(phase="launching"), event(phase="failed", message="no"))
    phases = {each.phase for each in found if isinstance(each, Progress)}
    assert len(phases) < 25
    assert max(map(len, phases)) == 40
    assert {"unknown", "launching"} < phases
    assert type(last).__name__ == "LaunchFailed"


@pytest.mark.parametrize(
    "headers",
    [{"X-Long": "x" * 10_000_000}, {f"X-{n}": "y" for n in range(100_000)}],
    ids=["a long one", "many"],
)
def test_headers_without_end_are_a_broken_answer(headers: dict[str, str]) -> None:
    (last,) = came_of(ready(URL, TOKEN), headers=headers)
    assert isinstance(last, HubUnreachable)


# What a whole run writes, prints and spawns.


class Watch:
    """Looks at all processes of a world, and at all its files, again and again until it ends."""

    def __init__(self, world: World):
        self._world = world
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.commands: set[str] = set()
        self.environments: dict[str, str] = {}
        self.files: dict[tuple[Path, int], bytes] = {}

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            for process in psutil.process_iter():
                with suppress(psutil.Error, OSError):
                    environment = process.environ()
                    if environment.get(MARK) == self._world.mark:
                        command = " ".join(process.cmdline())
                        if not command:  # it is about to become another
                            continue
                        self.commands.add(command)
                        self.environments[command] = json.dumps(environment)
            with suppress(OSError):  # a folder that vanishes while it is listed
                self._look_at(self._world.root.rglob("*"))

    def _look_at(self, paths: Iterable[Path]) -> None:
        for path in paths:
            with suppress(OSError):
                if path.is_file():
                    mode = stat.S_IMODE(path.stat().st_mode)
                    self.files[path, mode] = path.read_bytes()

    def saw(self, words: str) -> bool:
        """Whether a command with these words has run."""
        return any(words in command for command in tuple(self.commands))

    def holders(self, secret: str) -> set[tuple[str, int]]:
        """The names and modes of the files that held a secret."""
        found = {
            (path, mode) for (path, mode), data in self.files.items() if secret.encode() in data
        }
        return {(path.name, mode) for path, mode in found}

    def environments_with(self, secret: str) -> set[str]:
        """The commands in whose environment a secret was."""
        return {command for command, each in self.environments.items() if secret in each}


HOLDER = "import os, sys; print(len(os.environ['JUPYTER_TOKEN'])); sys.stdin.read()  # the user's"


def whole_run(world: World, watch: Watch, *hub: str) -> tuple[list[str], dict[str, Result]]:
    """Do all that there is to do with a session; return the URIs handed out, and what was said."""
    file = ["--session-file", "session.json"]
    (world.home / ".netrc").write_text("machine 127.0.0.1 login someone password hidden\n")
    (world.home / ".netrc").chmod(0o600)
    done = {"start": world.run("start", "-v", *hub, *file)}
    session = json.loads((world.directory / "session.json").read_text())
    done |= world.together(
        {
            "status": ["status", *file],
            "status in JSON": ["status", *file, "-o", "json"],
            "exec": ["exec", "--session", "@session.json", "--timeout", "10", "-c", "print(6 * 7)"],
            "exec of an unknown kernel": [
                "exec",
                "--session",
                "@session.json",
                "--kernel",
                "x",
                "-c",
                "1",
            ],
            "start again": ["start", *hub, *file],
        }
    )
    done["stop"] = world.run("stop", *file)
    running = world.clinder(
        "run", "-v", *hub, "--", sys.executable, "-c", HOLDER, stdin=subprocess.PIPE
    )
    until(lambda: watch.saw(HOLDER) and bool(watch.environments_with("JUPYTER_TOKEN")))
    done["run"] = world.finish(running, "")
    uris = [done["start"].out.strip(), session["uri"]]
    return uris, done


def assert_kept(watch: Watch, done: Mapping[str, Result], token: str) -> None:
    """The token was only where it is to be: on one line of stdout, in private files."""
    assert done["start"].out.count(token) == 1
    assert len(done["start"].out.splitlines()) == 1
    for name, result in done.items():
        assert token not in result.err, name
        assert token not in result.out or name == "start"
    assert not [command for command in watch.commands if token in command]
    assert {mode for _, mode in watch.holders(token)} <= {0o600}
    assert {name for name, _ in watch.holders(token)} >= {"session.json"}
    assert all("user's" in command for command in watch.environments_with(token))


@pytest.mark.posix
def test_a_whole_run_on_the_embedded_hub(world: World) -> None:
    with Watch(world) as watch:
        uris, done = whole_run(world, watch, "--hub", "local")
    token = uris[0].partition("token=")[2]
    assert uris == [uris[0]] * 2
    assert [done[name].code for name in ("start", "status", "exec", "stop", "run")] == [0] * 5
    assert done["exec"].out == "42\n"
    assert done["exec of an unknown kernel"].code == 3
    assert_kept(watch, done, token)
    assert watch.saw("clinder.embedded.jupyter_process")
    assert watch.saw("ipykernel")
    names = {name for name, _ in watch.holders(token)}
    assert names - {"token"} <= {name for name in names if "session.json" in name}


@pytest.mark.posix
def test_a_whole_run_on_a_hub(world: World) -> None:
    """With a build token, by way of a redirect to a member, on a hub that echoes what it gets."""
    world.variables["CLINDER_BUILD_TOKEN"] = BUILD_TOKEN
    built = [event(phase="building", message=f"built with {BUILD_TOKEN}\n"), event(phase="built")]
    with ScriptedHub() as member, ScriptedHub(servers={}) as hub:
        for name in ("one", "two"):
            url = hub.serve(name, Jupyter(TOKEN))
            member.then(Answer(b"".join([*built, ready(url, TOKEN)])))
            asked = f"build/gh/org/repo/HEAD?build_token={BUILD_TOKEN}"
            hub.then(moved(member.url + asked, 307))
        with Watch(world) as watch:
            uris, done = whole_run(world, watch, "org/repo", "--hub", hub.url)
        requests = [*hub.requests, *member.requests]
    assert uris == [f"{hub.origin}/user/one/?token={TOKEN}"] * 2
    assert [done[name].code for name in ("start", "status", "stop", "run")] == [0] * 4
    assert_kept(watch, done, TOKEN)
    for name, result in done.items():
        assert BUILD_TOKEN not in result.out + result.err, name
    assert not [command for command in watch.commands if BUILD_TOKEN in command]
    assert not watch.holders(BUILD_TOKEN)
    assert all(request.path.endswith(f"?build_token={BUILD_TOKEN}") for request in hub.builds)
    for request in requests:
        authorization = request.headers.get("authorization")
        assert TOKEN not in request.path
        assert authorization == (f"token {TOKEN}" if "/user/" in request.path else None)
        others = {key: value for key, value in request.headers.items() if key != "authorization"}
        assert TOKEN not in json.dumps(others)


@pytest.mark.posix
def test_a_terminal_shows_no_token_either(world: World) -> None:
    from e2e.terminal import Terminal  # which is POSIX

    with ScriptedHub() as hub:
        hub.then(Answer(ready(hub.serve("x", Jupyter(TOKEN)), TOKEN)))
        start = [*CLINDER, "start", "org/repo", "--hub", hub.url, "-v"]
        terminal = Terminal(world, start, columns=200, stdout=subprocess.PIPE)
        assert terminal.process.stdout
        assert TOKEN in terminal.process.stdout.readline()
        assert terminal.finish() == 0
    assert f"The session is at {hub.origin}/user/x/" in terminal.drawn
    assert TOKEN not in terminal.drawn


def test_what_a_hub_says_of_a_build_token_is_said_without_it() -> None:
    echo = f"Invalid build token {BUILD_TOKEN}, {BUILD_TOKEN}"
    with ScriptedHub(Answer(event(phase="failed", message=echo))) as hub:
        events = request_build(
            Transport(), hub.url, "gh/a/b/HEAD", deadline=Deadline(60), build_token=BUILD_TOKEN
        )
        with pytest.raises(BuildTokenRefused, match="Invalid build token …, …") as raised:
            list(events)
    assert BUILD_TOKEN not in "".join(traceback.format_exception(raised.value))


def test_what_a_server_says_of_a_token_is_said_without_it() -> None:
    echo = json_page(500, {"message": f"no {TOKEN} here"})
    with ScriptedHub(pages={"/user/x/api/kernelspecs": echo}) as hub:
        server = Server(Session(f"{hub.url}user/x/", TOKEN), Transport())
        with pytest.raises(ServerUnreachable, match="no … here") as raised:
            server.kernelspecs(Deadline(60))
    assert TOKEN not in "".join(traceback.format_exception(raised.value))


def test_values_do_not_show_what_is_secret() -> None:
    session = Session(URL, TOKEN)
    last = came_of(ready(URL, TOKEN))[0]
    for value in (session, last, Server(session, Transport()), SessionLaunched(session)):
        assert TOKEN not in f"{value!r} {value}"
