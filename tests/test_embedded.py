"""The embedded hub over HTTP, with real Jupyter Servers, whose processes are counted."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from clinder._deadline import Deadline
from clinder.embedded.hub import HOST, Hub
from clinder.embedded.servers import Server, name_for, prepare, server_environ
from clinder.errors import UsageError
from clinder.session import Session
from clinder.wire.kernel_channel import KernelChannel
from e2e.world import until

COMMIT = "dc436b39f6ea56b46170624f330d57936d8452af"
STREAM = {"Accept": "text/event-stream", "User-Agent": "tests"}
Event = dict[str, Any]


def events(
    hub: Hub, path: str, headers: dict[str, str] | None = None
) -> Generator[Event, None, None]:
    """Yield the events of a build request; closing this closes the connection."""
    with requests.get(
        f"{hub.url}build/{path}", headers=headers or STREAM, stream=True, timeout=30
    ) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        for line in response.iter_lines():
            if line.startswith(b"data: "):
                yield json.loads(line[6:])


def ready(hub: Hub, path: str = "gh/org/repo/HEAD") -> Event:
    *_, last = events(hub, path)
    assert last["phase"] == "ready", last
    return last


def get(session: Event, path: str = "api/status") -> requests.Response:
    return requests.get(session["url"] + path, headers=authorization(session), timeout=60)


def post(session: Event, path: str) -> requests.Response:
    return requests.post(session["url"] + path, headers=authorization(session), timeout=60)


def authorization(session: Event) -> dict[str, str]:
    return {"Authorization": f"token {session['token']}"}


@dataclass
class Process:
    """A server's process and its folder."""

    server: psutil.Process
    folder: Path

    @property
    def gone(self) -> bool:
        """Whether there is no process, zombie or folder. (Waiting would reap a zombie.)"""
        return not psutil.pid_exists(self.server.pid) and not self.folder.exists()


def processes() -> list[Process]:
    """Return the Jupyter Servers that this process has started and not yet reaped."""
    running = []
    for child in psutil.Process().children():
        try:
            command = child.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if "clinder.embedded.jupyter_process" in command:
            running.append(Process(child, Path(command[-1])))
    return running


def process_of(session: Event) -> Process:
    port = urlsplit(session["url"]).port
    return next(each for each in processes() if (each.folder / "port").read_text() == str(port))


@pytest.fixture(autouse=True)
def _no_servers_remain(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a server running."""
    before = {each.server.pid for each in processes()}
    yield
    if "session" in request.fixturenames:  # its server lives as long as the module
        return
    remaining = [each for each in processes() if each.server.pid not in before]
    for each in remaining:
        each.server.kill()
    assert not remaining


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """The lines that the module's hub reports."""
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
    return list(events(hub, f"gl/a%2Fb%2Fc/{COMMIT}/"))


@pytest.fixture(scope="module")
def session(stream: list[Event]) -> Event:
    return stream[-1]


# A launch


def test_a_launch_sends_the_events_of_a_hub(stream: list[Event], session: Event) -> None:
    phases = list(dict.fromkeys(event["phase"] for event in stream))
    assert phases == ["waiting", "building", "built", "launching", "ready"]
    built = next(event for event in stream if event["phase"] == "built")
    assert built["imageName"] == f"localhost/embedded-a-b-c:{COMMIT}"
    assert all(event["message"].endswith("\n") for event in stream)
    log = "".join(event["message"] for event in stream if event["phase"] == "building")
    assert "builds no image and fetches no repository" in log
    assert sys.executable in log


def test_ready_has_every_field_of_a_real_hub(hub: Hub, session: Event) -> None:
    """The spec keeps its percent-encoding."""
    path = urlsplit(session["url"]).path
    assert path.startswith("/clinder-hub/user/a-b-c-")
    assert path.endswith("/")
    assert session["url"].startswith("http://127.0.0.1:")
    assert session["token"]
    assert {key: session[key] for key in session.keys() - {"url", "token"}} == {
        "phase": "ready",
        "message": f"server running at {session['url']}\n",
        "image": f"localhost/embedded-a-b-c:{COMMIT}",
        "repo_url": "https://gitlab.com/a/b/c.git",
        "binder_ref_url": f"https://gitlab.com/a/b/c/tree/{COMMIT}",
        "binder_launch_host": hub.url,
        "binder_request": f"v2/gl/a%2Fb%2Fc/{COMMIT}",
        "binder_persistent_request": f"v2/gl/a%2Fb%2Fc/{COMMIT}",
        "binder_client_ip": "127.0.0.1",
    }


# The server


def test_only_the_token_opens_the_server_and_its_files(session: Event) -> None:
    names = [entry["name"] for entry in get(session, "api/contents").json()["content"]]
    assert names == ["page.md"]
    assert requests.get(session["url"] + "api/status", timeout=60).status_code == 403
    assert get({**session, "token": "another"}).status_code == 403


def test_a_kernel_does_not_know_the_token(session: Event) -> None:
    response = post(session, "api/kernels")
    assert response.status_code == 201
    process = process_of(session)
    (kernel,) = process.server.children()
    variables = kernel.environ()
    assert variables["BINDER_REPO_URL"] == "https://gitlab.com/a/b/c.git"
    assert variables["BINDER_CLIENT_IP"] == "127.0.0.1"
    assert not [name for name in variables if name.startswith("JUPYTER_TOKEN")]
    assert session["token"] not in " ".join([*variables.values(), *kernel.cmdline()])
    kernels = session["url"] + "api/kernels/" + response.json()["id"]
    assert requests.delete(kernels, headers=authorization(session), timeout=60).status_code == 204


def test_the_token_appears_nowhere(session: Event, lines: list[str]) -> None:
    process = process_of(session)
    shown = [*process.server.cmdline(), *process.server.environ().values(), *lines]
    shown += [file.read_text() for file in process.folder.rglob("*") if file.is_file()]
    assert session["token"] not in " ".join(shown)
    server = Server("name", "/", session["token"], process.folder, cast("Any", None))
    assert session["token"] not in repr(server)


@pytest.mark.posix
def test_the_servers_folder_and_files_are_private(session: Event, tmp_path: Path) -> None:
    process = process_of(session)
    assert process.folder.stat().st_mode & 0o777 == 0o700
    assert (process.folder / "log").stat().st_mode & 0o777 == 0o600
    token = prepare(tmp_path, "name", tmp_path, 3600.0)
    assert {each.name for each in tmp_path.iterdir()} == {"token", "settings.json"}
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}
    assert (tmp_path / "token").read_text() == token


NODELAY = """
import os, pathlib, socket
from tornado.websocket import WebSocketHandler

def write_message(self, *arguments, **options):
    option = self.ws_connection.stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    pathlib.Path(os.environ["NODELAY"]).write_text(str(bool(option)))
    return write(self, *arguments, **options)

write, WebSocketHandler.write_message = WebSocketHandler.write_message, write_message
"""


def run_at_startup(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each Python process that is started from now on run code before anything else."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)


def test_a_kernels_websocket_sends_without_delay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nagle's algorithm would cost 40 ms per cell."""
    monkeypatch.setenv("NODELAY", str(tmp_path / "nodelay"))
    run_at_startup(NODELAY, tmp_path / "startup", monkeypatch)
    with Hub(tmp_path, stop_servers=True) as hub:
        session = ready(hub)
        kernel = post(session, "api/kernels").json()["id"]
        deadline = Deadline(60)
        client = Session(session["url"], session["token"])
        with KernelChannel(client, kernel, deadline=deadline) as channel:
            channel.wait_until_ready(deadline)

    assert (tmp_path / "nodelay").read_text() == "True"


@pytest.mark.posix
def test_the_server_is_out_of_the_terminals_reach(session: Event) -> None:
    pid = process_of(session).server.pid
    assert os.getsid(pid) == pid


def test_only_those_jupyter_variables_that_find_kernelspecs_are_inherited() -> None:
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
def test_a_servers_name_is_derived_from_its_repository(repo_url: str, prefix: str) -> None:
    name = name_for(repo_url)
    assert name.startswith(prefix)
    assert len(name) == len(prefix) + 8


# The end of a server


def test_shutdown_ends_the_server_and_its_kernel(hub: Hub) -> None:
    session = ready(hub)
    process = process_of(session)
    post(session, "api/kernels")
    (kernel,) = process.server.children()
    assert post(session, "api/shutdown").status_code == 200
    until(lambda: process.gone)
    until(lambda: not kernel.is_running())


@pytest.mark.posix
def test_the_folder_of_a_killed_server_is_removed(hub: Hub) -> None:
    process = process_of(ready(hub))
    process.server.kill()
    until(lambda: process.gone)


def test_two_servers_at_once_are_independent(hub: Hub) -> None:
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


@pytest.mark.posix
def test_a_hub_kills_a_server_that_ignores_sigterm(tmp_path: Path) -> None:
    with Hub(tmp_path, stop_servers=True) as hub:
        process = process_of(ready(hub))
        process.server.suspend()
    assert process.gone


PROGRAM = """
import os, pathlib, requests, sys
from clinder.embedded.hub import Hub

def report(line):
    if line.endswith(sys.argv[2]):
        os._exit(0)

with Hub(pathlib.Path(sys.argv[1]), stop_servers=False, report=report) as hub:
    headers = {"Accept": "text/event-stream"}
    response = requests.get(f"{hub.url}build/gh/o/r/HEAD", headers=headers, timeout=60)
    print(response.text.strip().splitlines()[-1].removeprefix("data: "))
"""


def run_program(folder: Path, exit_at: str = "never") -> bytes:
    """Run a program whose temporary files are in a folder, and return the last event it receives.

    It exits at once when its hub reports a line with the ending ``exit_at``.
    """
    program = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(folder), exit_at],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert program.stderr == b""
    return program.stdout


def runs_in(folder: Path) -> bool:
    """Return whether any process, of whatever parent, has this folder in its command line."""
    processes = psutil.process_iter(["cmdline"])
    return any(str(folder) in (each.info["cmdline"] or []) for each in processes)


def test_a_server_outlives_the_program_and_holds_none_of_its_pipes(tmp_path: Path) -> None:
    session = json.loads(run_program(tmp_path))
    assert get(session).status_code == 200
    (folder,) = tmp_path.glob("clinder-*")
    post(session, "api/shutdown")
    until(lambda: not folder.exists() and not runs_in(folder))


# A launch whose client leaves, or that fails


def launching(hub: Hub) -> tuple[Generator[Event, None, None], Process]:
    """Return a build request, and its server, which is not ready yet."""
    before = {each.server.pid for each in processes()}
    stream = events(hub, "gh/org/repo/HEAD")
    while next(stream)["message"] != "Server requested\n":
        pass
    started: list[Process] = []

    def one_started() -> bool:
        started[:] = [each for each in processes() if each.server.pid not in before]
        return bool(started)

    until(one_started)
    return stream, started[0]


def test_a_server_whose_client_goes_away_is_stopped(hub: Hub, lines: list[str]) -> None:
    stream, process = launching(hub)
    count = len(lines)
    stream.close()
    until(lambda: process.gone)
    assert not [line for line in lines[count:] if "server ready" in line]


@pytest.mark.posix
def test_a_server_whose_token_no_client_has_ends_with_the_program(tmp_path: Path) -> None:
    run_program(tmp_path, exit_at="started")
    (folder,) = tmp_path.glob("clinder-*")  # the server is still starting
    until(lambda: not folder.exists() and not runs_in(folder))


def test_a_launch_ends_with_the_hub(tmp_path: Path) -> None:
    hub = Hub(tmp_path, stop_servers=False)
    hub.start()
    stream, process = launching(hub)
    hub.close()
    assert process.gone
    with pytest.raises(requests.RequestException):
        list(stream)


ENDS_EARLY = "import os\nos.write(2, b'the cause')\nos._exit(1)"
ENDS_LATE = """
import os
from tornado.platform.asyncio import BaseAsyncIOLoop
BaseAsyncIOLoop.start = lambda self: os._exit(1)
"""


@pytest.mark.parametrize(
    ("executable", "startup", "log"),
    [
        ("/nonexistent/python", "", "The server cannot be started: [Errno 2] No such file"),
        (sys.executable, ENDS_EARLY, "the cause"),
        (sys.executable, ENDS_LATE, ""),
    ],
    ids=["cannot be executed", "ends before it runs clinder", "ends after it wrote its port"],
)
def test_a_server_that_cannot_start_shows_its_log_and_leaves_no_folder(
    executable: str, startup: str, log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run_at_startup(startup, tmp_path / "startup", monkeypatch)
    with Hub(tmp_path, stop_servers=True) as hub:
        *before, last = events(hub, "gh/org/repo/HEAD")
        assert list(tmp_path.glob("clinder-*")) == []
    assert (last["phase"], last["status_code"]) == ("failed", 500)
    assert last["message"].endswith(" failed to launch\n")
    assert log in "".join(event["message"] for event in before if event["phase"] == "launching")


def test_a_server_whose_client_leaves_when_it_is_ready_is_stopped(tmp_path: Path) -> None:
    before = {each.server.pid for each in processes()}
    stopping = threading.Event()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def report(line: str) -> None:
        if "server ready" in line:
            client.close()  # which resets the connection
        if line.endswith(": stopping"):
            stopping.set()

    with Hub(tmp_path, stop_servers=False, report=report) as hub:
        client.connect((HOST, urlsplit(hub.url).port))
        head = f"GET /build/gh/o/r/HEAD HTTP/1.1\r\nHost: {HOST}\r\nAccept: text/event-stream\r\n"
        client.sendall(f"{head}\r\n".encode())
        assert stopping.wait(60)
        until(lambda: {each.server.pid for each in processes()} <= before)


def test_a_bug_in_the_hub_is_reported_and_sent_as_an_event(tmp_path: Path) -> None:
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        if line.endswith(" started"):
            raise KeyError("a bug")

    with Hub(tmp_path, stop_servers=True, report=report) as hub:
        *_, last = events(hub, "gh/org/repo/HEAD")

    assert (last["phase"], last["status_code"]) == ("failed", 500)
    assert last["message"] == "Internal Server Error\n"
    assert [line for line in lines if "KeyError: 'a bug'" in line]


def test_a_launch_fails_once_its_time_is_up(tmp_path: Path) -> None:
    with Hub(tmp_path, stop_servers=True, launch_timeout=0.1) as hub:
        *_, last = events(hub, "gh/org/repo/HEAD")
    assert last["phase"] == "failed"
    assert last["message"].endswith(" took too long to launch\n")


def test_the_hub_sends_comments_during_silence(tmp_path: Path) -> None:
    with Hub(tmp_path, stop_servers=True, keepalive=0.1) as hub:
        body = requests.get(f"{hub.url}build/gh/a/b/c", headers=STREAM, timeout=60).text
    assert ":keepalive\n\n" in body
    assert '"ready"' in body


# Refusals


@pytest.mark.parametrize(
    ("path", "headers", "message", "status"),
    [
        ("gh/a/b/c", {"Accept": "*/*"}, "Missing Accept header: text/event-stream", 400),
        ("gh/a/b/c", {"Accept": "text/event-stream, */*"}, "Missing Accept header", 400),
        ("gh/a/b/c", {"Accept": "application/json"}, "Missing Accept header", 400),
        ("gh/a/b/c", {"User-Agent": "a-Bot/1"}, "Bots not allowed", 403),
        ("gh/a/b/c", {"User-Agent": "x (+https://example.org/gpt)"}, "Bots not allowed", 403),
        ("gh/a/b/c?build_only=true", {}, "Building but not launching is not permitted", 400),
        ("gh/a/b/c?build_token=secret", {}, "Invalid build token", 403),
        ("xx/a/b/c", {}, "No provider found for prefix xx", None),
        ("xx/a", {"Accept": "Text/Event-Stream ; q=0.9"}, "No provider found for prefix", None),
    ],
)
def test_a_refusal_is_an_event(
    hub: Hub, path: str, headers: dict[str, str], message: str, status: int | None
) -> None:
    (event,) = events(hub, path, {**STREAM, **headers})
    assert event["phase"] == "failed"
    assert event["message"].startswith(message)
    assert event.get("status_code") == status


def test_a_request_is_reported_without_its_query(hub: Hub, lines: list[str]) -> None:
    list(events(hub, "gh/a/b/reported?build_token=secret"))
    until(lambda: "GET /build/gh/a/b/reported 200" in lines)
    assert "secret" not in "".join(lines)


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
def test_requests_from_pages_of_other_sites_are_refused(
    hub: Hub, path: str, headers: dict[str, str]
) -> None:
    response = requests.get(hub.url + path, headers={**STREAM, **headers}, timeout=60)
    assert response.status_code == 403
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "Access-Control-Allow-Origin" not in response.headers


# The rest of the API


@pytest.mark.parametrize("path", ["", "no/such/path", "build/gh", "v2/gh/a/b/HEAD", "user/x/"])
def test_any_other_path_is_the_page(hub: Hub, path: str) -> None:
    response = requests.get(hub.url + path, timeout=60)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/html")
    assert hub.url.rstrip("/") in response.text


def test_health_versions_and_providers(hub: Hub) -> None:
    health = requests.get(hub.url.replace(HOST, "localhost") + "health", timeout=60).json()
    assert health["ok"] is True
    assert [check["ok"] for check in health["checks"]] == [True]
    assert requests.head(hub.url + "health", timeout=60).status_code == 200
    assert "clinder" in requests.get(hub.url + "versions", timeout=60).json()["binderhub"]
    providers = requests.get(hub.url + "api/repoproviders", timeout=60).json()
    assert [each["id"] for each in providers][:4] == ["gh", "gist", "git", "gl"]


# Starting and closing a hub


def test_a_taken_port_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        hub = Hub(tmp_path, port=port, stop_servers=True)
        with pytest.raises(UsageError, match=f"port {port}"):
            hub.start()
        hub.close()


@pytest.mark.parametrize(
    ("name", "message"), [("none", "does not exist"), ("file", "is not a directory")]
)
def test_a_hub_needs_a_directory(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=message):
        Hub(tmp_path / name, stop_servers=True)


def test_a_hub_can_be_closed_twice(tmp_path: Path) -> None:
    hub = Hub(tmp_path, stop_servers=True)
    hub.start()
    hub.close()
    hub.close()
    with pytest.raises(requests.ConnectionError):
        requests.get(hub.url, timeout=60)


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


def test_without_the_extra_the_error_names_what_to_install() -> None:
    program = subprocess.run(
        [sys.executable, "-c", BLOCKED], capture_output=True, timeout=60, check=True, text=True
    )
    assert program.stdout.startswith("2 ")
    assert "jupyter-server" in program.stdout
    assert "ipykernel" in program.stdout
    assert 'pip install "clinder[local]"' in program.stdout


def test_a_server_does_not_parse_a_grammar_when_it_starts() -> None:
    """It takes a server 2 s of processor time."""
    code = "import sys, clinder.embedded.jupyter_process; print('lark' in sys.modules)"

    program = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=60, check=True
    )

    assert program.stdout == b"False\n"
