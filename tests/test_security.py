"""Hostile input does no harm, and secrets stay secret.

Whole runs of the command line are searched for the session's token, the build token and passwords:
whatever they write, print and start. Hostile responses go through a build request.
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

from accounts import LAUNCH_ID, OWN_TOKEN, USER_TOKEN, Users
from answers import Answer, event, json_page, moved, ready
from clinder._deadline import Deadline
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


def build(*parts: bytes, headers: Mapping[str, str] | None = None) -> list[object]:
    """The events of one build request to a hub that sends these, and the error that ended it."""
    results: list[object] = []
    with ScriptedHub(Answer(b"".join(parts), headers=headers or {})) as hub:
        events = request_build(
            Transport(Timeouts(5, 5)), hub.url, "gh/a/b/HEAD", deadline=Deadline(60)
        )
        try:
            results += (each for each in events if isinstance(each, Progress | Ready))
        except ClinderError as error:
            results.append(error)
    messages = [each.message for each in results if isinstance(each, ClinderError)]
    assert all(message.isprintable() and len(message) < 1000 for message in messages)
    return results


# What a hub sends.


NOT_AN_OBJECT = {
    "a list": b"data: []\n\n",
    "not JSON": b"data: {phase: failed}\n\n",
    "a long number": b"data: " + b"9" * 100_000 + b"\n\n",
    "another field": b"event: other\n\n",
}


@pytest.mark.parametrize("data", NOT_AN_OBJECT.values(), ids=NOT_AN_OBJECT)
def test_an_event_that_is_not_an_object_is_ignored(data: bytes) -> None:
    (last,) = build(data, data, ready(URL, TOKEN))
    assert isinstance(last, Ready)


JUNK: list[object] = [None, 5, -1.5, True, [], {}, ["failed"], {"phase": "failed"}, 10**30, "\x00"]


@pytest.mark.parametrize("junk", JUNK, ids=str)
@pytest.mark.parametrize("name", ["phase", "message", "status_code", "url", "token", "image"])
def test_a_field_of_the_wrong_type_is_not_a_bug(name: str, junk: object) -> None:
    for phase in ("building", "failed", "ready"):
        fields = {"phase": phase, "message": "m", "url": URL, "token": TOKEN, name: junk}
        *_, last = build(event(**fields), event(phase="failed", message="at last"))
        assert isinstance(last, ClinderError | Ready)


@pytest.mark.parametrize("name", ["image", "repo_url", "binder_ref_url", "binder_launch_host"])
def test_a_field_of_ready_is_one_printable_line_of_limited_length(name: str) -> None:
    fields: dict[str, object] = {name: "\x1b]0;title\x07a\nb\u202e" + "c" * 200_000}
    (last,) = build(ready(URL, TOKEN, **fields))
    value = getattr(last, name)
    assert value.startswith("a bccc")
    assert len(value) == 1000


@pytest.mark.parametrize(
    ("url", "token"), [(URL + "x" * 100_000, TOKEN), (URL, "x" * 100_000)], ids=["url", "token"]
)
def test_a_url_or_token_that_is_too_long_is_refused(url: str, token: str) -> None:
    (last,) = build(ready(url, token))
    assert isinstance(last, HubError)
    assert "too long" in str(last)


def test_a_long_message_is_shortened() -> None:
    (last,) = build(event(phase="failed", message="no\x1b[2J " * 20_000))
    assert isinstance(last, ClinderError)
    assert "no no no" in last.message


def test_an_endless_number_of_phases_does_not_fill_the_memory() -> None:
    """Observers keep the duration of each."""
    many = b"".join(event(phase=f"phase-{n}" + "x" * 100, message="") for n in range(3000))
    *results, last = build(many, event(phase="launching"), event(phase="failed", message="no"))
    phases = {each.phase for each in results if isinstance(each, Progress)}
    assert len(phases) < 25
    assert max(map(len, phases)) == 40
    assert {"unknown", "launching"} < phases
    assert type(last).__name__ == "LaunchFailed"


@pytest.mark.parametrize(
    "headers",
    [{"X-Long": "x" * 10_000_000}, {f"X-{n}": "y" for n in range(100_000)}],
    ids=["a long header", "many headers"],
)
def test_endless_headers_break_the_connection(headers: dict[str, str]) -> None:
    (last,) = build(ready(URL, TOKEN), headers=headers)
    assert isinstance(last, HubUnreachable)


# What a whole run writes, prints and starts.


class Watch:
    """Records all processes and files of a world until it ends."""

    def __init__(self, world: World):
        self._world = world
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._record)
        self.commands: set[str] = set()
        self.environs: dict[str, str] = {}
        self.files: dict[tuple[Path, int], bytes] = {}

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _record(self) -> None:
        while not self._ended.wait(0.02):
            for process in psutil.process_iter():
                with suppress(psutil.Error, OSError):
                    environ = process.environ()
                    if environ.get(MARK) == self._world.mark:
                        command = " ".join(process.cmdline())
                        if not command:  # the process is about to run another program
                            continue
                        self.commands.add(command)
                        self.environs[command] = json.dumps(environ)
            with suppress(OSError):  # a folder that vanishes while it is listed
                self._record_files(self._world.root.rglob("*"))

    def _record_files(self, paths: Iterable[Path]) -> None:
        for path in paths:
            with suppress(OSError):
                if path.is_file():
                    mode = stat.S_IMODE(path.stat().st_mode)
                    self.files[path, mode] = path.read_bytes()

    def saw(self, text: str) -> bool:
        """Whether a command that contains this text has run."""
        return any(text in command for command in tuple(self.commands))

    def holders(self, secret: str) -> set[tuple[str, int]]:
        """The names and modes of the files that contained a secret."""
        return {
            (path.name, mode)
            for (path, mode), data in self.files.items()
            if secret.encode() in data
        }

    def environs_with(self, secret: str) -> set[str]:
        """The commands that had a secret in their environment."""
        return {command for command, each in self.environs.items() if secret in each}


HOLDER = "import os, sys; print(len(os.environ['JUPYTER_TOKEN'])); sys.stdin.read()  # the user's"


def whole_run(world: World, watch: Watch, *hub: str) -> tuple[list[str], dict[str, Result]]:
    """Run every command that uses a session; return the URIs they printed, and their results."""
    file, at_file = ["--session-file", "session.json"], "--session @session.json"
    (world.home / ".netrc").write_text("machine 127.0.0.1 login someone password hidden\n")
    (world.home / ".netrc").chmod(0o600)
    done = {"start": world.run("start", "-v", *hub, *file)}
    session = json.loads((world.directory / "session.json").read_text())
    done |= world.together(
        {
            "status": ["status", *file],
            "status in JSON": ["status", *file, "-o", "json"],
            "exec": [*f"exec {at_file} --timeout 60 -c".split(), "print(6 * 7)"],
            "exec of an unknown kernel": f"exec {at_file} --kernel x -c 1".split(),
            "start again": ["start", *hub, *file],
        }
    )
    done["stop"] = world.run("stop", *file)
    running = world.clinder(
        "run", "-v", *hub, "--", sys.executable, "-c", HOLDER, stdin=subprocess.PIPE
    )
    until(lambda: watch.saw(HOLDER) and bool(watch.environs_with("JUPYTER_TOKEN")))
    done["run"] = world.finish(running, "")
    uris = [done["start"].out.strip(), session["uri"]]
    return uris, done


def assert_secret(watch: Watch, done: Mapping[str, Result], token: str) -> None:
    """The token was only on one line of stdout, in private files, and in the user's command."""
    assert done["start"].out.count(token) == 1
    assert len(done["start"].out.splitlines()) == 1
    for name, result in done.items():
        assert token not in result.err, name
        assert token not in result.out or name == "start"
    assert not [command for command in watch.commands if token in command]
    assert {mode for _, mode in watch.holders(token)} <= {0o600}
    assert {name for name, _ in watch.holders(token)} >= {"session.json"}
    assert all("user's" in command for command in watch.environs_with(token))


@pytest.mark.posix
def test_a_whole_run_on_the_embedded_hub_keeps_its_token_secret(world: World) -> None:
    with Watch(world) as watch:
        uris, done = whole_run(world, watch, "--hub", "local")
    token = uris[0].partition("token=")[2]
    assert uris == [uris[0]] * 2
    assert [done[name].code for name in ("start", "status", "exec", "stop", "run")] == [0] * 5
    assert done["exec"].out == "42\n"
    assert done["exec of an unknown kernel"].code == 3
    assert_secret(watch, done, token)
    assert watch.saw("clinder.embedded.jupyter_process")
    assert watch.saw("ipykernel")
    names = {name for name, _ in watch.holders(token)}
    assert names - {"token"} <= {name for name in names if "session.json" in name}


@pytest.mark.posix
def test_a_whole_run_on_a_hub_keeps_its_tokens_secret(world: World) -> None:
    """With a build token, which the hub's redirect and its log repeat."""
    world.variables["CLINDER_BUILD_TOKEN"] = BUILD_TOKEN
    built = [event(phase="building", message=f"built with {BUILD_TOKEN}\n"), event(phase="built")]
    with ScriptedHub() as member, ScriptedHub(servers={}) as hub:
        for name in ("one", "two"):
            url = hub.serve(name, Jupyter(TOKEN))
            member.then(Answer(b"".join([*built, ready(url, TOKEN)])))
            path = f"build/gh/org/repo/HEAD?build_token={BUILD_TOKEN}"
            hub.then(moved(member.url + path, 307))
        with Watch(world) as watch:
            uris, done = whole_run(world, watch, "org/repo", "--hub", hub.url)
        requests = [*hub.requests, *member.requests]
    assert uris == [f"{hub.origin}/user/one/?token={TOKEN}"] * 2
    assert [done[name].code for name in ("start", "status", "exec", "stop", "run")] == [0] * 5
    assert_secret(watch, done, TOKEN)
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
def test_a_whole_run_under_an_account_keeps_its_tokens_secret(world: World) -> None:
    """The user's token is only in the environment of clinder itself, which received it there."""
    world.variables["CLINDER_HUB_TOKEN"] = USER_TOKEN
    echo = event(phase="building", message=f"built with {USER_TOKEN}\n")
    with ScriptedHub() as hub:
        users = Users(hub)
        hub.then(users.launch(before=echo), users.launch(before=echo))
        with Watch(world) as watch:
            uris, done = whole_run(world, watch, "org/repo", "--hub", hub.url)
        requests = [*hub.requests]
    assert uris == [f"{hub.origin}/user/ann/?token={OWN_TOKEN}"] * 2
    assert [done[name].code for name in ("start", "status", "exec", "stop", "run")] == [0] * 5
    assert_secret(watch, done, OWN_TOKEN)
    for name, result in done.items():
        assert USER_TOKEN not in result.out + result.err, name
        assert LAUNCH_ID not in result.out + result.err, name
    assert not [command for command in watch.commands if USER_TOKEN in command]
    assert not watch.holders(USER_TOKEN)
    assert {mode for _, mode in watch.holders(LAUNCH_ID)} == {0o600}
    own = " ".join([*CLINDER, ""])
    assert all(command.startswith(own) for command in watch.environs_with(USER_TOKEN))
    for request in requests:
        assert USER_TOKEN not in request.path + request.body.decode()
    assert not users.active


@pytest.mark.posix
def test_a_terminal_shows_no_token(world: World) -> None:
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


def test_a_build_token_in_a_hubs_message_is_hidden() -> None:
    echo = f"Invalid build token {BUILD_TOKEN}, {BUILD_TOKEN}"
    with ScriptedHub(Answer(event(phase="failed", message=echo))) as hub:
        events = request_build(
            Transport(), hub.url, "gh/a/b/HEAD", deadline=Deadline(60), build_token=BUILD_TOKEN
        )
        with pytest.raises(BuildTokenRefused, match="Invalid build token …, …") as raised:
            list(events)
    assert BUILD_TOKEN not in "".join(traceback.format_exception(raised.value))


def test_a_token_in_a_servers_message_is_hidden() -> None:
    echo = json_page(500, {"message": f"no {TOKEN} here"})
    with ScriptedHub(pages={"/user/x/api/kernelspecs": echo}) as hub:
        server = Server(Session(f"{hub.url}user/x/", TOKEN), Transport())
        with pytest.raises(ServerUnreachable, match="no … here") as raised:
            server.kernelspec("", Deadline(60))
    assert TOKEN not in "".join(traceback.format_exception(raised.value))


def test_values_do_not_show_their_secrets() -> None:
    session = Session(URL, TOKEN)
    last = build(ready(URL, TOKEN))[0]
    for value in (session, last, Server(session, Transport()), SessionLaunched(session)):
        assert TOKEN not in f"{value!r} {value}"
