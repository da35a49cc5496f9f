"""Wrong addresses and unresponsive servers end in one clear message and the right exit code."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator

import pytest

from answers import Answer, Ending, Raw, event, json_page, page
from e2e.world import CLINDER, World, line_with
from hubs import Jupyter, ScriptedHub
from kernels import Kernel, Mood


@pytest.fixture(scope="module")
def site() -> Iterator[ScriptedHub]:
    """A site that answers each of these tests' requests with a web page."""
    api = (f"/user/x/api/{name}" for name in ("status", "shutdown", "kernelspecs", "sessions"))
    with ScriptedHub(pages=dict.fromkeys(["/build/gh/o/r/HEAD", *api], page(200))) as site:
        yield site


UNREACHABLE = {"start": 6, "run": 6, "status": 6, "stop": 9, "exec": 6}


def check(world: World, url: str, expected: dict[str, tuple[int, str]]) -> None:
    """Run all commands against a URL, and check each one's exit code and last message."""
    session = f"{url}/user/x/?token=secret-token"
    results = world.together(
        {
            "start": ["start", "o/r", "--attempts", "1", "--hub", url],
            "run": ["run", "o/r", "--attempts", "1", "--hub", url, "--", "echo", "begun"],
            "status": ["status", "--timeout", "2", session],
            "stop": ["stop", "--timeout", "2", session],
            "exec": ["exec", "-c", "1", "--timeout", "20", "--session", session],
        }
    )
    for name, (code, message) in expected.items():
        result = results[name]
        messages = [line for line in result.err.splitlines() if line.startswith("clinder: ")]
        assert (result.code, result.out) == (code, ""), result.err
        assert message in messages[-1]
        assert "secret-token" not in result.err


def test_a_web_page_is_neither_a_hub_nor_a_server(world: World, site: ScriptedHub) -> None:
    expected = {
        "start": (6, "BinderHub"),
        "run": (6, "BinderHub"),
        "status": (6, "it responded with 200, which no Jupyter Server does"),
        "stop": (9, "it responded with 200, which no Jupyter Server does"),
        "exec": (6, "responded with 200"),
    }
    check(world, site.origin, expected)


def test_an_address_where_nothing_listens_refuses_the_connection(world: World) -> None:
    expected = {
        "start": (6, "connection refused"),
        "run": (6, "connection refused"),
        "status": (6, "It is unknown whether the session runs: nothing listens at its address"),
        "stop": (9, "It is unknown whether the session still runs: nothing listens"),
        "exec": (6, "connection refused"),
    }
    check(world, "http://127.0.0.1:1", expected)


def test_a_name_that_does_not_resolve_is_reported(world: World) -> None:
    message = "its name does not resolve"
    expected = {name: (code, message) for name, code in UNREACHABLE.items()}
    check(world, "http://no-such-host.invalid", expected)


def test_https_to_a_port_that_speaks_http_is_reported(world: World, site: ScriptedHub) -> None:
    message = "it does not use TLS, which https requires"
    expected = {name: (code, message) for name, code in UNREACHABLE.items()}
    check(world, f"https://127.0.0.1:{site.port}", expected)


@pytest.mark.posix
@pytest.mark.parametrize(("command", "sessions"), [("status", "x"), ("stop", "xy")])
def test_waiting_for_a_clear_status_can_be_cancelled(
    world: World, command: str, sessions: str
) -> None:
    with ScriptedHub(pages={"/user/x/api/status": json_page(503, {})}) as hub:
        uris = [f"{hub.url}user/{name}/?token=secret-token" for name in sessions]
        process = world.clinder(command, *uris)
        line_with(process.stderr, "it responded with 503; checking again for up to ")
        process.send_signal(signal.SIGINT)
        result = world.finish(process)
        paths = {request.path for request in hub.requests}
    assert (result.code, result.out) == (130, "")
    message, *hint = result.err.splitlines()
    assert message == "clinder: Cancelled by SIGINT."
    if command == "stop":
        (line,) = hint
        assert all(uri.partition("?")[0] in line for uri in uris)
        assert line.endswith("might still be running. To stop them, run the same command again.")
    assert paths == {"/user/x/api/status"}


def test_a_kernel_that_cannot_be_shut_down_might_still_be_running(world: World) -> None:
    servers = {"x": Jupyter("secret-token", kernel=Kernel(Mood.SILENT))}
    silent = Raw([], Ending.HELD)
    with ScriptedHub(servers=servers, pages={"/user/x/api/kernels/k1": silent}) as hub:
        uri = f"{hub.url}user/x/?token=secret-token"
        result = world.run("exec", "-c", "1", "--timeout", "1", "--session", uri)
    assert (result.code, result.out) == (7, "")
    assert "The code did not end within 1 s. Its kernel might still be running" in result.err
    assert "`clinder stop` stops the session and everything that runs in it." in result.err


@pytest.mark.posix
def test_a_second_signal_ends_a_launch_immediately_without_a_stderr(world: World) -> None:
    """Otherwise the launch waits for the server that is about to appear."""
    launching = event(phase="launching", message="Launching server...\n")
    with ScriptedHub(Answer(launching, ending=Ending.HELD)) as hub:
        start = [*CLINDER, "start", "o/r", "--hub", hub.url, "-o", "shell"]
        script = f"exec {shlex.join(start)} 2>&-"
        process = world.popen(["sh", "-c", script], start_new_session=True)
        hub.awaited("GET", "build/gh/o/r/HEAD")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        result = world.finish(process)
    assert result.code in (130, 143)
    assert result.out == "false\n", "a shell that evaluates it must fail"
