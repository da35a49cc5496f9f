"""hub: the embedded hub in the foreground, and the end of what it started."""

from __future__ import annotations

import signal
import socket

import pytest

from e2e.world import World, line_with, until


@pytest.mark.posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_hub_ends_with_its_sessions(world: World, name: str) -> None:
    hub = world.clinder("hub", "--port", "0", "--directory", ".")
    url = line_with(hub.stdout, "http://").strip()
    result = world.run("start", "o/r", "--hub", url, "-o", "json", "-q")
    session = world.known(result.out)
    assert (session["hub"], session["spec"]) == (url, "gh/o/r/HEAD")
    assert world.run("status", "-", given=session["uri"]).code == 0
    hub.send_signal(getattr(signal, name))
    result = world.finish(hub)
    assert (result.code, result.out) == (0, "")
    assert f"A hub for this machine, serving {world.directory}" in result.err or "." in result.err
    assert "Stopping the sessions that this hub started." in result.err
    until(lambda: not world.servers())
    assert world.run("status", "-", given=session["uri"]).code == 10


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
