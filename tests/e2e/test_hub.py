"""hub: the embedded hub in the foreground, and the end of what it started."""

from __future__ import annotations

import signal
import socket

import pytest

from e2e.world import World, line_with


@pytest.mark.posix
def test_hubs_end_with_their_sessions(world: World) -> None:
    """By either signal; two hubs at once, each with its own."""
    hubs = {name: world.clinder("hub", "--port", "0") for name in ("SIGINT", "SIGTERM")}
    urls = {name: line_with(hub.stdout, "http://").strip() for name, hub in hubs.items()}
    start = ["start", "o/r", "-o", "json", "-q", "--hub"]
    results = world.together({name: [*start, url] for name, url in urls.items()})
    for name, hub in hubs.items():
        session = world.known(results[name].out)
        assert (session["hub"], session["spec"]) == (urls[name], "gh/o/r/HEAD")
        before = len(world.servers())
        hub.send_signal(getattr(signal, name))
        result = world.finish(hub)
        assert (result.code, result.out) == (0, "")
        assert "Press Ctrl-C to stop it and its sessions." in result.err
        assert "Stopping the sessions that this hub started." in result.err
        world.wait_for_servers(before - 1)
        assert world.run("status", "-", given=session["uri"]).code == 10


@pytest.mark.posix
def test_a_second_signal_ends_a_hub_that_still_stops_its_sessions(world: World) -> None:
    hub = world.clinder("hub", "--port", "0")
    url = line_with(hub.stdout, "http://").strip()
    world.known(world.run("start", "o/r", "-o", "json", "-q", "--hub", url).out)
    (server,) = world.servers()
    server.suspend()  # it is waited for
    hub.send_signal(signal.SIGINT)
    line_with(hub.stderr, "Stopping the sessions that this hub started.")

    hub.send_signal(signal.SIGTERM)

    result = world.finish(hub)
    assert result.code == 143
    assert "Ended immediately" in result.err
    world.kill_servers()


def test_a_port_that_is_taken(world: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = world.run("hub", "--port", str(port))
    assert (result.code, result.out) == (2, "")
    assert f"The hub cannot listen on port {port}" in result.err


@pytest.mark.posix
def test_a_hub_whose_address_nobody_reads(world: World) -> None:
    result = world.sh("$CLINDER hub --port 0 >&-")
    assert result.code == 2
    assert "clinder: The output could not be written: closed." in result.err
