"""The embedded hub, over HTTP, with real Jupyter Servers; processes are counted, not believed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from clinder.embedded.hub import HOST, Hub
from clinder.embedded.servers import Server, name_for, prepare, server_environ
from clinder.errors import UsageError

COMMIT = "dc436b39f6ea56b46170624f330d57936d8452af"
STREAM = {"Accept": "text/event-stream", "User-Agent": "tests"}
Event = dict[str, Any]


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def events(
    hub: Hub, path: str, headers: dict[str, str] | None = None
) -> Generator[Event, None, None]:
    """The events of a build request as they come; closing this closes the connection."""
    with requests.get(
        f"{hub.url}build/{path}", headers=headers or STREAM, stream=True, timeout=30
    ) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        for line in answer.iter_lines():
            if line.startswith(b"data: "):
                yield json.loads(line[6:])


def ready(hub: Hub, path: str = "gh/org/repo/HEAD") -> Event:
    *_, last = events(hub, path)
    assert last["phase"] == "ready", last
    return last


def get(session: Event, path: str = "api/status") -> requests.Response:
    return requests.get(session["url"] + path, headers=authorization(session), timeout=30)


def post(session: Event, path: str) -> requests.Response:
    return requests.post(session["url"] + path, headers=authorization(session), timeout=30)


def authorization(session: Event) -> dict[str, str]:
    return {"Authorization": f"token {session['token']}"}


@dataclass
class Process:
    """The process of a session, found from outside."""

    session: psutil.Process
    folder: Path

    @property
    def gone(self) -> bool:
        """Neither process, nor zombie, nor folder. (Waiting for it would reap it.)"""
        return not psutil.pid_exists(self.session.pid) and not self.folder.exists()


def processes() -> list[Process]:
    """The Jupyter Servers that this test process has started, and not yet reaped."""
    found = []
    for child in psutil.Process().children():
        try:
            command = child.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if "clinder.embedded.jupyter_process" in command:
            found.append(Process(child, Path(command[-1])))
    return found


def process_of(session: Event) -> Process:
    port = urlsplit(session["url"]).port
    return next(each for each in processes() if (each.folder / "port").read_text() == str(port))


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test ends what it started, or the hub does."""
    shared = {each.session.pid for each in processes()}
    yield
    if "session" in request.fixturenames:  # which lives as long as the module
        return
    left = [each for each in processes() if each.session.pid not in shared]
    for each in left:
        each.session.kill()
    assert not left


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """What the module's hub reports."""
    return []


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> Iterator[Hub]:
    directory = tmp_path_factory.mktemp("directory")
    (directory / "page.md").write_text("# A page\n")
    with Hub(directory, stop_servers=True, report=lines.append) as hub:
        yield hub
    assert not processes()


@pytest.fixture(scope="module")
def stream(hub: Hub) -> list[Event]:
    return list(events(hub, f"gh/org/repo/{COMMIT}"))


@pytest.fixture(scope="module")
def session(stream: list[Event]) -> Event:
    return stream[-1]


# A launch, as a hub tells it


def test_the_phases_come_in_their_order(stream: list[Event], session: Event) -> None:
    phases = list(dict.fromkeys(event["phase"] for event in stream))
    assert phases == ["waiting", "building", "built", "launching", "ready"]
    built = next(event for event in stream if event["phase"] == "built")
    assert built["imageName"] == f"localhost/embedded-org-repo:{COMMIT}"
    assert all(event["message"].endswith("\n") for event in stream)


def test_it_says_that_nothing_is_built(hub: Hub, stream: list[Event], session: Event) -> None:
    log = "".join(event["message"] for event in stream if event["phase"] == "building")
    assert "nothing is built and nothing is fetched" in log
    assert sys.executable in log
    assert "only echoed" in log


def test_ready_has_every_field_of_a_real_hub(hub: Hub, session: Event) -> None:
    path = urlsplit(session["url"]).path
    assert path.startswith("/user/org-repo-")
    assert path.endswith("/")
    assert session["url"].startswith("http://127.0.0.1:")
    assert session["token"]
    assert {key: session[key] for key in session.keys() - {"url", "token"}} == {
        "phase": "ready",
        "message": f"server running at {session['url']}\n",
        "image": f"localhost/embedded-org-repo:{COMMIT}",
        "repo_url": "https://github.com/org/repo",
        "binder_ref_url": f"https://github.com/org/repo/tree/{COMMIT}",
        "binder_launch_host": hub.url,
        "binder_request": f"v2/gh/org/repo/{COMMIT}",
        "binder_persistent_request": f"v2/gh/org/repo/{COMMIT}",
        "binder_client_ip": "127.0.0.1",
    }


def test_the_raw_path_is_used(hub: Hub) -> None:
    session = ready(hub, "gl/a%2Fb%2Fc/feature%2Fslash/")
    assert session["binder_request"] == "v2/gl/a%2Fb%2Fc/feature%2Fslash"
    assert session["binder_ref_url"] == "https://gitlab.com/a/b/c/tree/feature/slash"
    assert "/user/a-b-c-" in session["url"]
    process = process_of(session)
    post(session, "api/shutdown")
    until(lambda: process.gone)


# The server


def test_the_server_wants_its_token(session: Event) -> None:
    assert get(session).json()["kernels"] >= 0
    assert requests.get(session["url"] + "api/status", timeout=30).status_code == 403
    assert get({**session, "token": "another"}).status_code == 403


def test_the_files_are_the_directory_s(session: Event) -> None:
    names = [entry["name"] for entry in get(session, "api/contents").json()["content"]]
    assert names == ["page.md"]


def test_a_kernel_runs_and_knows_no_token(session: Event) -> None:
    answer = post(session, "api/kernels")
    assert answer.status_code == 201
    process = process_of(session)
    (kernel,) = process.session.children()
    variables = kernel.environ()
    assert variables["BINDER_REPO_URL"] == "https://github.com/org/repo"
    assert variables["BINDER_CLIENT_IP"] == "127.0.0.1"
    assert not [name for name in variables if name.startswith("JUPYTER_TOKEN")]
    assert session["token"] not in " ".join([*variables.values(), *kernel.cmdline()])
    kernels = session["url"] + "api/kernels/" + answer.json()["id"]
    assert requests.delete(kernels, headers=authorization(session), timeout=30).status_code == 204


def test_the_token_shows_nowhere(session: Event, lines: list[str]) -> None:
    process = process_of(session)
    shown = [*process.session.cmdline(), *process.session.environ().values(), *lines]
    shown += [file.read_text() for file in process.folder.rglob("*") if file.is_file()]
    assert session["token"] not in " ".join(shown)
    server = Server("name", session["token"], process.folder, cast("Any", None))
    assert session["token"] not in repr(server)


@pytest.mark.posix
def test_its_folder_is_private(session: Event) -> None:
    process = process_of(session)
    assert process.folder.stat().st_mode & 0o777 == 0o700
    assert (process.folder / "log").stat().st_mode & 0o777 == 0o600


@pytest.mark.posix
def test_what_it_starts_from_is_private(tmp_path: Path) -> None:
    folder, token = prepare("name", tmp_path, 3600.0)
    try:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {each.name for each in folder.iterdir()} == {"token", "settings.json"}
        assert {each.stat().st_mode & 0o777 for each in folder.iterdir()} == {0o600}
        assert (folder / "token").read_text() == token
    finally:
        shutil.rmtree(folder)


@pytest.mark.posix
def test_the_server_is_out_of_the_terminal_s_reach(session: Event) -> None:
    pid = process_of(session).session.pid
    assert os.getsid(pid) == pid


def test_only_what_names_kernelspecs_is_inherited() -> None:
    caller = {
        "PATH": "/bin",
        "JUPYTER_PATH": "/kernels",
        "JUPYTER_TOKEN": "secret",
        "JUPYTER_BASE_URL": "https://hub/user/x/",
        "JUPYTER_GATEWAY_URL": "https://gateway",
        "JUPYTERHUB_API_TOKEN": "secret",
        "CLINDER_BUILD_TOKEN": "secret",
        "BINDER_REPO_URL": "https://example.org",
    }
    assert server_environ(caller) == {"PATH": "/bin", "JUPYTER_PATH": "/kernels"}


def test_no_configuration_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = tmp_path / "read"
    for folder in (tmp_path / "home" / ".jupyter", tmp_path / "config", tmp_path / "directory"):
        folder.mkdir(parents=True)
        for name in ("jupyter_server_config.py", "jupyter_config.py", "tornado.py"):
            (folder / name).write_text(f"open({str(read)!r}, 'w').close()")
    monkeypatch.chdir(tmp_path / "directory")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("JUPYTER_TOKEN", "the-caller-s")
    with Hub(tmp_path / "directory", stop_servers=True) as hub:
        session = ready(hub)
        assert get(session).status_code == 200
        assert get({**session, "token": "the-caller-s"}).status_code == 403
    assert not read.exists()


@pytest.mark.parametrize(
    ("repo_url", "prefix"),
    [
        ("https://github.com/Org/Repo.git", "org-repo-"),
        ("ssh://git@example.org/a/b c", "a-b-c-"),
        ("10.5281/zenodo.3242074", "10.5281-zenodo.3242074-"),
        ("https://github.com/" + "a" * 20 + "/" + "b" * 20, "a" * 15 + "-" + "b" * 15 + "-"),
    ],
)
def test_a_server_is_named_for_its_repository(repo_url: str, prefix: str) -> None:
    name = name_for(repo_url)
    assert name.startswith(prefix)
    assert len(name) == len(prefix) + 8


# Its end


def test_shutdown_leaves_nothing(hub: Hub) -> None:
    session = ready(hub)
    process = process_of(session)
    post(session, "api/kernels")
    (kernel,) = process.session.children()
    assert post(session, "api/shutdown").status_code == 200
    until(lambda: process.gone)
    until(lambda: not kernel.is_running())


@pytest.mark.posix
def test_a_killed_server_leaves_nothing(hub: Hub) -> None:
    process = process_of(ready(hub))
    process.session.kill()
    until(lambda: process.gone)


def test_two_at_once_are_strangers(hub: Hub) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda path: ready(hub, path), ["gh/a/one/HEAD", "gh/a/other/HEAD"])
    assert "/user/a-one-" in one["url"]
    assert "/user/a-other-" in other["url"]
    assert get({**one, "token": other["token"]}).status_code == 403
    ended = [process_of(one), process_of(other)]
    post(one, "api/shutdown")
    until(lambda: ended[0].gone)
    assert get(other).status_code == 200
    post(other, "api/shutdown")
    until(lambda: ended[1].gone)


def test_idle_kernels_are_culled_and_the_idle_server_ends(tmp_path: Path) -> None:
    with Hub(tmp_path, stop_servers=True, idle=1.0) as hub:
        session = ready(hub)
        process = process_of(session)
        assert post(session, "api/kernels").status_code == 201
        until(lambda: process.gone)


def test_the_servers_end_with_the_hub(tmp_path: Path) -> None:
    with Hub(tmp_path, stop_servers=True) as hub:
        process = process_of(ready(hub))
    assert process.gone


@pytest.mark.posix
def test_a_server_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    with Hub(tmp_path, stop_servers=True) as hub:
        process = process_of(ready(hub))
        process.session.suspend()
    assert process.gone


def test_the_servers_outlive_the_hub_if_asked_to(tmp_path: Path) -> None:
    with Hub(tmp_path, stop_servers=False) as hub:
        session = ready(hub)
    process = process_of(session)
    assert get(session).status_code == 200
    post(session, "api/shutdown")
    until(lambda: process.gone)


PROGRAM = """
import sys, urllib.request
from pathlib import Path
from clinder.embedded.hub import Hub
with Hub(Path(sys.argv[1]), stop_servers=False) as hub:
    request = urllib.request.Request(
        hub.url + "build/gh/org/repo/HEAD", headers={"Accept": "text/event-stream"}
    )
    with urllib.request.urlopen(request) as answer:
        print(answer.read().decode().strip().splitlines()[-1].removeprefix("data: "))
"""


def test_a_server_outlives_the_program_and_holds_none_of_its_pipes(tmp_path: Path) -> None:
    program = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert program.stderr == b""
    session = json.loads(program.stdout)
    assert get(session).status_code == 200
    port = urlsplit(session["url"]).port
    (server,) = (
        each
        for each in psutil.process_iter()
        if any(c.laddr and c.laddr.port == port for c in connections(each))
    )
    folder = Path(server.cmdline()[-1])
    post(session, "api/shutdown")
    until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
    assert not folder.exists()


def connections(process: psutil.Process) -> list[Any]:
    try:
        return [each for each in process.net_connections("tcp4") if each.status == "LISTEN"]
    except psutil.Error:
        return []


# A launch that nobody waits for, or that fails


def launching(hub: Hub) -> tuple[Generator[Event, None, None], Process]:
    """A build request whose server has been started and is not ready yet."""
    before = {each.session.pid for each in processes()}
    stream = events(hub, "gh/org/repo/HEAD")
    while next(stream)["message"] != "Server requested\n":
        pass
    started: list[Process] = []

    def one() -> bool:
        started[:] = [each for each in processes() if each.session.pid not in before]
        return bool(started)

    until(one)
    return stream, started[0]


def test_a_server_whose_client_goes_away_is_stopped(hub: Hub, lines: list[str]) -> None:
    stream, process = launching(hub)
    so_far = len(lines)
    stream.close()
    until(lambda: process.gone)
    assert not [line for line in lines[so_far:] if "server ready" in line]


ENDS_AT_ONCE = """
import os, pathlib, requests
from clinder.embedded.hub import Hub

def report(line):
    if line.endswith("started"):
        os._exit(0)

hub = Hub(pathlib.Path.cwd(), stop_servers=False, report=report)
hub.start()
asked = {"Accept": "text/event-stream"}
requests.get(f"{hub.url}build/gh/o/r/HEAD", headers=asked, timeout=30)
"""


@pytest.mark.posix
def test_a_server_that_nobody_was_given_ends_with_who_started_it(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", ENDS_AT_ONCE],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=True,
        timeout=30,
    )
    (folder,) = tmp_path.glob("clinder-*")  # while it starts: nobody was told its URL

    until(lambda: not folder.exists())
    until(lambda: not [each for each in command_lines() if str(folder) in each])


def command_lines() -> list[list[str]]:
    """The command line of every process."""
    return [each.info["cmdline"] or [] for each in psutil.process_iter(["cmdline"])]


def test_a_launch_ends_with_the_hub(tmp_path: Path) -> None:
    hub = Hub(tmp_path, stop_servers=False)
    hub.start()
    stream, process = launching(hub)
    hub.close()
    assert process.gone
    with pytest.raises(requests.RequestException):
        list(stream)


def test_a_server_that_dies_at_once_says_why(tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    with Hub(directory, stop_servers=True) as hub:
        directory.rmdir()
        *before, last = events(hub, "gh/org/repo/HEAD")
    assert last["phase"] == "failed"
    assert last["status_code"] == 500
    assert last["message"].endswith(" failed to launch\n")
    log = "".join(event["message"] for event in before if event["phase"] == "launching")
    assert "FileNotFoundError" in log


ENDS_WHERE_IT_WOULD_SERVE = """
import os
from tornado.platform.asyncio import BaseAsyncIOLoop
BaseAsyncIOLoop.start = lambda self: os._exit(1)
"""


def test_a_server_that_ends_when_it_can_be_connected_to_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has told its port by then."""
    ends = tmp_path / "ends"
    ends.mkdir()
    (ends / "sitecustomize.py").write_text(ENDS_WHERE_IT_WOULD_SERVE)
    monkeypatch.setenv("PYTHONPATH", str(ends), prepend=os.pathsep)

    with Hub(tmp_path, stop_servers=True) as hub:
        *_, last = events(hub, "gh/org/repo/HEAD")

    assert last["phase"] == "failed"
    assert last["message"].endswith(" failed to launch\n")


class Leaving:
    """A client that leaves, without a word, in the moment that its server is ready."""

    def __init__(self, hub: Hub):
        self._connection = socket.create_connection((HOST, urlsplit(hub.url).port or 0))
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        head = f"GET /build/gh/o/r/HEAD HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/event-stream\r\n"
        self._connection.sendall(f"{head}\r\n".encode())

    def leave(self) -> None:
        self._connection.close()


def test_a_server_whose_client_leaves_when_it_is_ready_is_stopped(tmp_path: Path) -> None:
    before = {each.session.pid for each in processes()}
    clients: list[Leaving] = []
    stopping = threading.Event()

    def report(line: str) -> None:
        if "server ready" in line:
            clients[0].leave()
        if line.endswith(": stopping"):
            stopping.set()

    with Hub(tmp_path, stop_servers=False, report=report) as hub:
        clients.append(Leaving(hub))
        assert stopping.wait(60)
        until(lambda: {each.session.pid for each in processes()} <= before)


def test_a_bug_in_the_hub_is_told_to_who_runs_it_and_is_an_event(tmp_path: Path) -> None:
    told: list[str] = []

    def report(line: str) -> None:
        told.append(line)
        if line.endswith(" started"):
            raise KeyError("a bug")

    with Hub(tmp_path, stop_servers=True, report=report) as hub:
        *_, last = events(hub, "gh/org/repo/HEAD")

    assert (last["phase"], last["status_code"]) == ("failed", 500)
    assert last["message"] == "Internal Server Error\n"
    assert [line for line in told if "KeyError: 'a bug'" in line]


def test_a_launch_has_its_time(tmp_path: Path) -> None:
    with Hub(tmp_path, stop_servers=True, launch_timeout=0.1) as hub:
        *_, last = events(hub, "gh/org/repo/HEAD")
    assert last["phase"] == "failed"
    assert last["message"].endswith(" took too long to launch\n")


def test_silence_is_broken(tmp_path: Path) -> None:
    with Hub(tmp_path, stop_servers=True, keepalive=0.1) as hub:
        body = requests.get(f"{hub.url}build/gh/a/b/c", headers=STREAM, timeout=30).text
    assert ":keepalive\n\n" in body
    assert '"ready"' in body


# Refusals


@pytest.mark.parametrize(
    ("path", "headers", "says", "status"),
    [
        ("gh/a/b/c", {"Accept": "*/*"}, "Missing Accept header: text/event-stream", 400),
        ("gh/a/b/c", {"Accept": "text/event-stream, */*"}, "Missing Accept header", 400),
        ("gh/a/b/c", {"Accept": "application/json"}, "Missing Accept header", 400),
        ("gh/a/b/c", {"User-Agent": "a-Bot/1"}, "Bots not allowed", 403),
        ("gh/a/b/c", {"User-Agent": "x (+https://example.org/gpt)"}, "Bots not allowed", 403),
        ("gh/a/b/c?build_only=true", {}, "Building but not launching is not permitted", 400),
        ("gh/a/b/c?build_token=secret", {}, "Invalid build token", 403),
        ("xx/a/b/c", {}, "No provider found for prefix xx", None),
        ("gh/foo", {}, 'Spec is not of the form "user/repo/ref", provided: "foo".', None),
        ("gl/a", {}, "not enough values to unpack (expected 2, got 1)", None),
    ],
)
def test_a_refusal_is_an_event(
    hub: Hub, path: str, headers: dict[str, str], says: str, status: int | None
) -> None:
    (event,) = events(hub, path, {**STREAM, **headers})
    assert event["phase"] == "failed"
    assert event["message"].startswith(says)
    assert event.get("status_code") == status


def test_a_request_is_reported_without_its_query(hub: Hub, lines: list[str]) -> None:
    list(events(hub, "gh/a/b/reported?build_token=secret"))
    until(lambda: "GET /build/gh/a/b/reported 200" in lines)
    assert "secret" not in "".join(lines)


def test_an_accept_with_parameters_is_understood(hub: Hub) -> None:
    (event,) = events(hub, "xx/a", {**STREAM, "Accept": "Text/Event-Stream ; q=0.9"})
    assert event["message"] == "No provider found for prefix xx\n"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "example.org"},
        {"Host": "127.0.0.1.example.org:8585"},
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["", "health", "build/gh/org/repo/HEAD"])
def test_pages_of_other_sites_are_refused(hub: Hub, path: str, headers: dict[str, str]) -> None:
    answer = requests.get(hub.url + path, headers={**STREAM, **headers}, timeout=30)
    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "Access-Control-Allow-Origin" not in answer.headers


# The rest of the API


@pytest.mark.parametrize("path", ["", "no/such/path", "build/gh", "v2/gh/a/b/HEAD", "user/x/"])
def test_any_other_path_is_the_page(hub: Hub, path: str) -> None:
    answer = requests.get(hub.url + path, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert hub.url.rstrip("/") in answer.text


def test_health_versions_and_providers(hub: Hub) -> None:
    health = requests.get(hub.url + "health", timeout=30).json()
    assert health["ok"] is True
    assert [check["ok"] for check in health["checks"]] == [True]
    assert requests.head(hub.url + "health", timeout=30).status_code == 200
    assert "clinder" in requests.get(hub.url + "versions", timeout=30).json()["binderhub"]
    providers = requests.get(hub.url + "api/repoproviders", timeout=30).json()
    assert [each["id"] for each in providers][:4] == ["gh", "gist", "git", "gl"]


def test_localhost_is_a_name_of_it(hub: Hub) -> None:
    url = hub.url.replace("127.0.0.1", "localhost")
    assert requests.get(url + "health", timeout=30).status_code == 200


# What a hub needs


def test_a_taken_port_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        hub = Hub(tmp_path, port=port, stop_servers=True)
        with pytest.raises(UsageError, match=f"port {port}"):
            hub.start()
        hub.close()


def test_a_directory_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        Hub(tmp_path / "none", stop_servers=True)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="The hub's directory is none"):
        Hub(tmp_path / "file", stop_servers=True)


def test_closing_twice_is_closing(tmp_path: Path) -> None:
    hub = Hub(tmp_path, stop_servers=True)
    hub.start()
    hub.close()
    hub.close()
    with pytest.raises(requests.ConnectionError):
        requests.get(hub.url, timeout=30)


BLOCKED = """
import sys
from pathlib import Path
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tornado", "jupyter_server", "ipykernel"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
import clinder.embedded
from clinder.embedded.hub import Hub
from clinder.errors import UsageError
try:
    Hub(Path("."), stop_servers=True)
except UsageError as error:
    print(error.exit_code, error, error.hint)
"""


def test_without_the_extra_it_says_what_to_install() -> None:
    program = subprocess.run(
        [sys.executable, "-c", BLOCKED], capture_output=True, timeout=30, check=True, text=True
    )
    assert program.stdout.startswith("2 ")
    assert "jupyter-server" in program.stdout
    assert "ipykernel" in program.stdout
    assert 'pip install "clinder[local]"' in program.stdout
