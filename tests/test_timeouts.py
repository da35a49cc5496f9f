"""Connecting and idling have separate limits, and every command and function uses the user's."""

from __future__ import annotations

import math
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

import channels
import clinder
from answers import Answer, Ending, Raw, ready
from clinder import session_file
from clinder._deadline import Deadline
from clinder.cli.main import main
from clinder.errors import UsageError
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.http import Transport
from clinder.wire.http_errors import TransportError
from clinder.wire.kernel_channel import KernelChannel
from hubs import Jupyter, ScriptedHub
from proxies import Encrypted

TOKEN = channels.TOKEN
AUTHORITY = trustme.CA()


@pytest.mark.parametrize("name", ["connect", "idle", "build_idle", "readiness", "stop"])
@pytest.mark.parametrize("seconds", [0, -1, math.inf, math.nan])
def test_a_limit_is_positive_and_finite(name: str, seconds: float) -> None:
    shown = name.replace("_", "-")
    with pytest.raises(UsageError, match=f"The {shown} timeout must be more than 0 seconds"):
        Timeouts(**{name: seconds})
    Timeouts(**{name: 0.001})


@pytest.mark.parametrize(
    ("timeouts", "limit"),
    [
        (Timeouts(), 60),
        (Timeouts(connect=30), 120),
        (Timeouts(connect=1), 60),
        (Timeouts(30, stop=2), 2),
    ],
)
def test_the_default_limit_for_stopping_leaves_time_for_three_slow_connections(
    timeouts: Timeouts, limit: float
) -> None:
    assert Timeouts() == Timeouts(connect=10, build_idle=900, readiness=120)
    assert timeouts.stop_limit(60) == limit


# Who uses the limits.

LIMITS = Timeouts(connect=3, idle=4)
OPTIONS = ("--connect-timeout", "3", "--idle-timeout", "4")
VARIABLES = {"CLINDER_CONNECT_TIMEOUT": "3", "CLINDER_IDLE_TIMEOUT": "4"}


def launchable(hub: ScriptedHub) -> str:
    """Let the hub's next build request launch a server; return its URL."""
    url = hub.serve("x", Jupyter(TOKEN))
    hub.then(Answer(ready(url, TOKEN)))
    return url


@pytest.fixture
def hub() -> Iterator[ScriptedHub]:
    with ScriptedHub() as scripted:
        yield scripted


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[Timeouts]:
    """The limits of every transport that was made."""
    limits: list[Timeouts] = []
    init = Transport.__init__

    def record(self: Transport, timeouts: Timeouts | None = None) -> None:
        init(self, timeouts)
        limits.append(self.timeouts)

    monkeypatch.setattr(Transport, "__init__", record)
    return limits


def start(hub: ScriptedHub, folder: Path, *options: str) -> int:
    """Start a session; the session file is that of one that is gone."""
    file = folder / "session.json"
    session_file.write(file, Session(f"{hub.url}user/old/", "old-token"))
    launchable(hub)
    return main(["start", "o/r", "--hub", hub.url, "--session-file", str(file), *options])


def start_another_commit(hub: ScriptedHub, folder: Path, *options: str) -> int:
    """Start a session that clinder stops, because it is not of the requested commit."""
    launchable(hub)
    assert main(["start", f"o/r@{'a' * 40}", "--hub", hub.url, *options]) > 0
    return 0 if hub.calls("POST", "api/shutdown") else 1


def run(hub: ScriptedHub, folder: Path, *options: str) -> int:
    launchable(hub)
    command = [sys.executable, "-c", "import time; time.sleep(0.2)"]
    return main(["run", "o/r", "--hub", hub.url, *options, "--", *command])


def status(hub: ScriptedHub, folder: Path, *options: str) -> int:
    return main(["status", f"{launchable(hub)}?token={TOKEN}", *options])


def stop(hub: ScriptedHub, folder: Path, *options: str) -> int:
    return main(["stop", f"{launchable(hub)}?token={TOKEN}", *options])


def execute(hub: ScriptedHub, folder: Path, *options: str) -> int:
    def answers(parent: str) -> list[str | bytes | None]:
        idle = channels.status("idle", parent)
        return [channels.info(parent), channels.reply(parent), idle]

    with channels.serving(channels.Server(answers)) as server:
        return main(["exec", "--session", server.session.uri, "-c", "1", *options])


@pytest.fixture(params=["options", "variables"])
def options(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """The options that set the limits; none if variables set them."""
    if request.param == "options":
        return OPTIONS
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    return ()


@pytest.mark.parametrize(
    ("command", "transports"),
    [(start, 4), (start_another_commit, 2), (run, 6), (status, 1), (stop, 1), (execute, 1)],
)
def test_every_connection_of_a_command_has_the_users_limits(
    *,
    command: Callable[..., int],
    transports: int,
    options: tuple[str, ...],
    hub: ScriptedHub,
    used: list[Timeouts],
    tmp_path: Path,
) -> None:
    assert command(hub, tmp_path, *options) == 0
    assert used == [LIMITS] * transports


def test_every_connection_of_a_function_has_the_users_limits(
    hub: ScriptedHub, used: list[Timeouts]
) -> None:
    launchable(hub)
    assert clinder.stop(clinder.start("o/r", hub=hub.url, timeouts=LIMITS), timeouts=LIMITS)
    launchable(hub)
    with clinder.open_session("o/r", hub=hub.url, timeouts=LIMITS):
        pass
    assert len(hub.calls("POST", "api/shutdown")) == 2
    assert used == [LIMITS] * 8


# What the limits apply to. A TLS handshake is part of connecting.


@contextmanager
def slow_to_connect(seconds: float, hub: ScriptedHub) -> Iterator[Session]:
    """A session whose server takes ``seconds`` for each TLS handshake."""
    hub.serve("x", Jupyter(TOKEN, after=(302,)))
    done = threading.Event()

    def wait() -> None:
        done.wait(seconds)

    with Encrypted(hub.origin, AUTHORITY.issue_cert("127.0.0.1"), before=wait) as front:
        yield Session(f"{front.origin}/user/x/", TOKEN)
        done.set()


@pytest.fixture(autouse=True)
def _trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))


@pytest.mark.parametrize("command", ["status", "stop"])
def test_connecting_can_take_longer_than_the_idle_limit(command: str, hub: ScriptedHub) -> None:
    with slow_to_connect(0.6, hub) as session:
        limits = ("--connect-timeout", "5", "--idle-timeout", "0.2")
        assert main([command, session.uri, *limits]) == 0


COMMANDS = (
    ("status", "--timeout", "1"),
    ("stop", "--timeout", "1"),
    ("exec", "-c", "1", "--session"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_connecting_has_its_own_limit(
    command: tuple[str, ...], hub: ScriptedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    with slow_to_connect(60, hub) as session:
        limits = ("--connect-timeout", "0.2", "--idle-timeout", "5")
        assert main([*command, session.uri, *limits]) > 0
    assert re.search(r"no connection (within 0\.2 s|in time)", capsys.readouterr().err)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_silent_server_has_the_idle_limit(
    command: tuple[str, ...], hub: ScriptedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in ("api/status", "api/kernelspecs"):
        hub.pages[f"/user/x/{path}"] = Raw([], Ending.HELD)
    limits = ("--connect-timeout", "5", "--idle-timeout", "0.2")
    assert main([*command, f"{hub.origin}/user/x/?token={TOKEN}", *limits]) > 0
    assert re.search(r"sent nothing (for 0\.2 s|in time)", capsys.readouterr().err)


def test_connecting_to_a_kernel_has_its_own_limit(hub: ScriptedHub) -> None:
    with (
        slow_to_connect(60, hub) as session,
        pytest.raises(TransportError, match=r"no connection to .* (within 0\.2 s|in time)"),
    ):
        KernelChannel(session, "k1", deadline=Deadline(20), timeouts=Timeouts(0.2, 5))


def test_a_kernel_can_take_longer_to_answer_than_the_limits_of_a_connection() -> None:
    """A server opens the websocket only once the kernel answers."""
    server = channels.Server(lambda parent: [channels.info(parent)], opens_after=0.4)
    with (
        channels.serving(server),
        KernelChannel(
            server.session, "k", deadline=Deadline(20), timeouts=Timeouts(0.2, 0.1)
        ) as kernel,
    ):
        kernel.wait_until_ready(Deadline(20))
