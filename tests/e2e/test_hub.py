"""``clinder hub``: the embedded hub in the foreground, and the end of its sessions."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
import requests

from e2e.world import World, line_with


@pytest.mark.posix
def test_a_signal_ends_a_hub_and_its_sessions(world: World) -> None:
    """Either signal, with two hubs at once that each have their own sessions."""
    hubs = {name: world.clinder("hub", "--port", "0") for name in ("SIGINT", "SIGTERM")}
    urls = {name: line_with(hub.stdout, "http://").strip() for name, hub in hubs.items()}
    start = ["start", "o/r", "-o", "json", "-q", "--hub"]
    results = world.together({name: [*start, url] for name, url in urls.items()})
    for name, hub in hubs.items():
        session = world.parse_session(results[name].out)
        assert (session["hub"], session["spec"]) == (urls[name], "gh/o/r/HEAD")
        before = len(world.servers())
        hub.send_signal(getattr(signal, name))
        result = world.finish(hub)
        assert (result.code, result.out) == (0, "")
        assert "Press Ctrl-C to stop it and its sessions." in result.err
        assert "Stopping the sessions that this hub started." in result.err
        world.wait_for_servers(before - 1)
        assert world.run("status", "-", stdin_text=session["uri"]).code == 10


@pytest.mark.posix
def test_a_second_signal_ends_a_hub_that_is_still_stopping_its_sessions(world: World) -> None:
    hub = world.clinder("hub", "--port", "0")
    url = line_with(hub.stdout, "http://").strip()
    world.parse_session(world.run("start", "o/r", "-o", "json", "-q", "--hub", url).out)
    (server,) = world.servers()
    server.suspend()  # so that the hub waits for it
    hub.send_signal(signal.SIGINT)
    line_with(hub.stderr, "Stopping the sessions that this hub started.")

    hub.send_signal(signal.SIGTERM)

    result = world.finish(hub)
    assert result.code == 143
    assert "Ended immediately" in result.err
    world.kill_servers()


@pytest.mark.posix
def test_a_hub_that_cannot_write_its_url_fails(world: World) -> None:
    result = world.sh("$CLINDER hub --port 0 >&-")
    assert result.code == 74
    assert "clinder: The output could not be written: closed." in result.err


def test_a_hub_with_a_token_file_creates_it_and_never_shows_the_token(world: World) -> None:
    command = ["hub", "--port", "0", "--token-file", "token"]
    hub = world.clinder(*command)
    url = line_with(hub.stdout, "http://").strip()
    file = world.directory / "token"
    token = file.read_text().strip()
    assert len(token) == 32
    if os.name == "posix":
        assert file.stat().st_mode & 0o777 == 0o600
    assert token not in " ".join(psutil.Process(hub.pid).cmdline())
    result = world.run("start", "o/r", "--hub", url, "--session-file", "session.json")
    assert result.code == 3
    headers = {"Authorization": f"token {token}"}
    assert requests.get(f"{url}hub/api/user", headers=headers, timeout=60).status_code == 200
    hub.terminate()
    result = world.finish(hub)
    assert token not in result.out + result.err
    assert "It requires the token in token: use --hub-token @token" in result.err

    again = world.clinder(*command)
    line_with(again.stdout, "http://")
    assert file.read_text().strip() == token
    again.terminate()
    world.finish(again)


@pytest.mark.posix
@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("secret", 0o644, "Other users can read or change the token file token"),
        ("two words", 0o600, "The token file token does not contain a token."),
        ("", 0o600, "The token file token does not contain a token."),
    ],
)
def test_a_hub_refuses_an_unsafe_token_file(
    world: World, text: str, mode: int, message: str
) -> None:
    file = world.directory / "token"
    file.write_text(text)
    file.chmod(mode)
    result = world.run("hub", "--port", "0", "--token-file", "token")
    assert result.code == 2
    assert message in result.err
    assert "secret" not in result.err


@pytest.mark.posix
def test_a_pipe_is_no_token_file(world: World) -> None:
    os.mkfifo(world.directory / "token", 0o600)
    result = world.run("hub", "--port", "0", "--token-file", "token")
    assert result.code == 2
    assert "The token file token is not a regular file." in result.err
