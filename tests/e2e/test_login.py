"""A hub that requires a login: the embedded one, with a token file."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from e2e.myst import MYST, OFFLINE, REQUEST, book, page, printed
from e2e.world import World, line_with

FILE = "token"


@dataclass
class Login:
    """The hub's URL, and its user's token."""

    url: str
    token: str

    @property
    def options(self) -> list[str]:
        return ["--hub", self.url, "--hub-token", f"@{FILE}"]

    @property
    def servers(self) -> dict[str, Any]:
        """The user's servers, as JupyterHub lists them."""
        headers = {"Authorization": f"token {self.token}"}
        user = requests.get(f"{self.url}hub/api/user", headers=headers, timeout=60).json()
        servers: dict[str, Any] = user["servers"]
        return servers


@pytest.fixture
def login(world: World) -> Iterator[Login]:
    """A hub, whose user's token nothing is allowed to show."""
    hub = world.clinder("hub", "--port", "0", "--token-file", FILE)
    url = line_with(hub.stdout, "http://").strip()
    token = (world.directory / FILE).read_text().strip()
    world.tokens.append(token)
    yield Login(url, token)
    hub.terminate()
    world.finish(hub)


def test_a_session_under_an_account_is_used_and_stopped(world: World, login: Login) -> None:
    file = world.directory / "session.json"
    started = world.run("start", "o/r", *login.options, "-q", "--session-file", file.name)
    assert started.code == 0, started.err
    assert login.token not in file.read_text() + started.out
    assert len(login.servers) == 1

    session, user = f"@{file.name}", ["--hub-token", f"@{FILE}"]
    results = world.together(
        {
            "status": ["status", session, *user],
            "exec": ["exec", "-c", "print(6 * 7)", session, *user],
            "without": ["stop", session],
        }
    )
    assert {name: each.code for name, each in results.items()} == {
        "status": 0,
        "exec": 0,
        "without": 2,
    }
    assert results["exec"].out == "42\n"
    uri = world.parse_session(file.read_text())["uri"]
    assert world.run("status", "-", stdin_text=uri).code == 0, "the session's own token opens it"

    assert world.run("stop", session, *user).code == 0
    assert login.servers == {}
    assert world.run("status", "-", stdin_text=uri).code == 10


def test_the_command_of_a_run_does_not_see_the_hub_token(world: World, login: Login) -> None:
    code = "import os; print(*os.environ.values())"
    command = ["run", "o/r", "--hub", login.url, "--", sys.executable, "-c", code]
    result = world.run(*command, env={"CLINDER_HUB_TOKEN": login.token})
    assert result.code == 0, result.err
    assert login.token not in result.out
    assert login.servers == {}


def test_myst_executes_a_book_under_an_account(world: World, login: Login) -> None:
    book(world.directory, {"index.md": page(REQUEST)})
    build = [MYST, "build", "--execute", "--html", "--strict"]
    result = world.run("run", "o/r", *login.options, "--", *build, env=OFFLINE)
    assert result.code == 0, result.err
    content = world.directory / "_build" / "site" / "content"
    assert printed(content, "index") == "on v2/gh/o/r/HEAD\n"
    assert login.servers == {}


@pytest.mark.posix
@pytest.mark.parametrize(
    ("number", "phase"),
    [(signal.SIGINT, "Server requested"), (signal.SIGTERM, "Running")],
)
def test_a_signal_leaves_no_server_under_the_account(
    world: World, login: Login, number: signal.Signals, phase: str
) -> None:
    sleep = ["--", sys.executable, "-c", "import time; time.sleep(600)"]
    process = world.clinder("run", "o/r", *login.options, *sleep)
    line_with(process.stderr, phase)
    os.kill(process.pid, number)
    assert world.finish(process).code == 128 + number
    assert login.servers == {}
