"""One kernel's websocket and life, against a loopback server with scripted answers."""

from __future__ import annotations

import itertools
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels import TOKEN, Message, Server, info, message, reply, serving, status, stream
from clinder._deadline import Deadline, no_op
from clinder._version import USER_AGENT
from clinder.errors import Cancelled, OutputDropped, ServerNotReady, ServerUnreachable, TimedOut
from clinder.running.kernels import READY_TIMEOUT, KernelNotRemoved, running_kernel
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire import kernel_channel
from clinder.wire.http_errors import TransportError
from clinder.wire.kernel_channel import KernelChannel, KernelDied
from clinder.wire.kernel_messages import KernelError, Output
from clock import Clock, StoppedClock
from e2e.world import World
from kernels import handshake


def execute(*answers: Callable[[str], str | bytes | None]) -> list[Output | KernelError]:
    """Run code on a kernel that gives these answers, and return its output."""
    with serving(Server(lambda parent: [answer(parent) for answer in answers])) as server:
        deadline = Deadline(10)
        with KernelChannel(server.session, "k", deadline=deadline) as kernel:
            return [*kernel.execute("code", deadline)]


def connect(server: Server, deadline: Deadline | None = None) -> None:
    """Open a kernel's websocket and wait until the kernel is ready."""
    with serving(server):
        wait_until_ready(server.session, deadline or Deadline(10))


def wait_until_ready(
    session: Session, deadline: Deadline, poll: Callable[[], None] = no_op
) -> None:
    with KernelChannel(session, "k", deadline=deadline, poll=poll) as kernel:
        kernel.wait_until_ready(deadline)


def idle(parent: str) -> str:
    return status("idle", parent)


def test_the_token_is_only_in_a_header() -> None:
    server = Server(lambda parent: [info(parent)])
    with serving(server), KernelChannel(server.session, "a/b?c", deadline=Deadline(10)) as kernel:
        kernel.wait_until_ready(Deadline(10))
    (path,), (headers,), (request,) = server.paths, server.headers, server.requests
    assert path.startswith("/user/x/api/kernels/a%2Fb%3Fc/channels?session_id=")
    assert headers["Authorization"] == f"token {TOKEN}"
    assert headers["User-Agent"] == USER_AGENT
    assert "Origin" not in headers
    assert TOKEN not in path + json.dumps(request)


def test_a_kernel_is_ready_once_it_has_answered_our_request() -> None:
    connect(
        Server(lambda parent: [info("another's"), status("starting", ""), b"\0\1", info(parent)])
    )


@pytest.mark.parametrize("state", ["restarting", "dead"])
def test_a_kernel_that_dies_while_it_starts_is_an_error(state: str) -> None:
    with pytest.raises(KernelDied, match="while it started"):
        connect(Server(lambda parent: [status(state, "")]))


@pytest.mark.parametrize(
    ("refuse", "error", "message"),
    [
        (404, KernelDied, "died while it started"),
        (500, KernelDied, "died while it started"),
        (302, TransportError, "no connection"),
        (403, TransportError, "responded with 403"),
        (503, TransportError, "responded with 503"),
    ],
)
def test_a_refused_websocket_is_an_error(refuse: int, error: type[Exception], message: str) -> None:
    server = Server(lambda _: [], refuse=refuse)
    with pytest.raises(error, match=message) as raised:
        connect(server)
    assert TOKEN not in str(raised.value)
    assert len(server.paths) == 1, "a redirect is not followed"


def test_a_refused_connection_is_an_error() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        session = Session(f"http://127.0.0.1:{bound.getsockname()[1]}/", TOKEN)
        with pytest.raises(TransportError, match="no connection"):
            KernelChannel(session, "k", deadline=Deadline(10))


@pytest.mark.parametrize("junk", ["no JSON", "[]", "null", "[" * 100_000])
def test_text_that_is_not_a_message_is_an_error(junk: str) -> None:
    with pytest.raises(TransportError, match="is not a kernel's message"):
        connect(Server(lambda _: [junk]))


def test_text_that_is_not_utf_8_is_an_error() -> None:
    frame = b'\x81\x04"\xff\xfe"'
    with pytest.raises(TransportError, match="is not a kernel's message"):
        connect(Server(lambda _: [], head=frame))


@pytest.mark.parametrize(
    "odd", [{}, {"header": 1}, {"header": {"msg_type": "status"}, "content": []}]
)
def test_a_message_without_the_usual_fields_is_ignored(odd: Message) -> None:
    connect(Server(lambda parent: [json.dumps(odd), info(parent)]))


def test_output_is_in_order_and_only_from_our_code() -> None:
    result = execute(
        lambda parent: status("busy", parent),
        lambda _: stream("another's", "another"),
        lambda parent: stream("one\n", parent),
        lambda parent: stream("two\n", parent, "stderr"),
        lambda parent: message("execute_result", {"data": {"text/plain": "3"}}, parent),
        lambda parent: message("display_data", {"data": {"text/html": "<b>"}}, parent),
        lambda parent: message("display_data", {"data": {"text/plain": "4"}}, parent),
        lambda parent: message("display_data", {}, parent),
        reply,
        idle,
    )
    assert result == [
        Output("stdout", "one\n"),
        Output("stderr", "two\n"),
        Output("stdout", "3\n"),
        Output("stdout", "4\n"),
    ]


def test_output_between_the_reply_and_idle_is_not_lost() -> None:
    assert execute(reply, lambda parent: stream("late", parent), idle) == [Output("stdout", "late")]
    assert execute(idle, reply) == []


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"ename": "E", "evalue": "v", "traceback": ["a", "b"]}, KernelError("E", "v", ("a", "b"))),
        (
            {"ename": "\x1b[31mE\r\nx\x07", "evalue": "\x1b]0;title\x07v"},
            KernelError("E x", "v", ()),
        ),
        ({}, KernelError("", "", ())),
    ],
)
def test_an_exception_is_passed_on_without_controls(content: Message, error: KernelError) -> None:
    assert execute(lambda parent: message("error", content, parent), idle, reply) == [error]


def test_a_message_of_ten_megabytes_is_whole() -> None:
    (output,) = execute(lambda parent: stream("x" * 10_000_000, parent), idle, reply)
    assert isinstance(output, Output)
    assert output.text == "x" * 10_000_000


@pytest.mark.parametrize("state", ["restarting", "dead"])
def test_a_kernel_that_dies_while_it_runs_the_code_is_an_error(state: str) -> None:
    with pytest.raises(KernelDied, match="while it ran the code"):
        execute(lambda parent: status("busy", parent), lambda _: status(state, ""))


def test_a_connection_that_closes_while_code_runs_is_an_error() -> None:
    with pytest.raises(TransportError):
        execute(lambda parent: stream("1", parent), lambda _: None)


@pytest.mark.parametrize(
    ("output", "lost"),
    [
        (Output("stderr", "IOPub data rate exceeded.\nThe Jupyter server will stop"), True),
        (Output("stderr", "\nIOPub message rate exceeded.\nThe Jupyter server"), True),
        (Output("stdout", "IOPub data rate exceeded.\n"), False),
        (Output("stderr", "no: IOPub data rate exceeded.\n"), False),
    ],
)
def test_only_the_servers_own_message_reports_dropped_output(output: Output, lost: bool) -> None:
    assert output.reports_dropped_output is lost


ENDLESS = {
    "a trickled frame": (b"\x81\x7f" + (1 << 20).to_bytes(8, "big"), b"x"),
    "pings": (b"", b"\x89\x00"),
}


@pytest.mark.parametrize(("head", "chunk"), ENDLESS.values(), ids=ENDLESS)
def test_an_endless_message_ends_with_the_deadline_or_a_cancellation(
    head: bytes, chunk: bytes
) -> None:
    server = Server(lambda _: [], head=head, chunk=chunk)
    with pytest.raises(TimedOut):
        connect(server, Deadline(0.5))
    deadline = Deadline(60)
    server.on_chunk = deadline.cancel.set
    with pytest.raises(Cancelled):
        connect(server, deadline)


def test_pings_between_the_parts_of_a_message_are_ignored() -> None:
    before, after = info("PARENT").split("PARENT")

    def answers(parent: str) -> list[str | bytes | None]:
        first, last = (before + parent).encode(), after.encode()
        server.head = bytes([0x01, len(first)]) + first + b"\x89\x00"
        server.head += bytes([0x80, len(last)]) + last
        return []

    server = Server(answers)
    connect(server)
    assert len(server.requests) == 1


def test_a_message_that_is_too_large_counts_as_dropped_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is the code's fault, so it is not reported as a network error."""
    monkeypatch.setattr(kernel_channel, "_MESSAGE_LIMIT", 1000)
    connect(Server(lambda parent: [*[stream("x" * 500, parent)] * 5, info(parent)]))
    with pytest.raises(OutputDropped, match="too large"):
        start(Server(lambda parent: [stream("x" * 1000, parent), info(parent)]), Deadline(60))


LARGE = "#" * 9_000_000
"""More than the sockets' buffers take while the server does not read."""


def test_large_code_reaches_a_slow_server() -> None:
    server = Server(lambda parent: [info(parent), reply(parent), idle(parent)], reads_after=0.5)
    deadline = Deadline(30)
    with serving(server), KernelChannel(server.session, "k", deadline=deadline) as kernel:
        kernel.wait_until_ready(deadline)
        assert [*kernel.execute(LARGE, deadline)] == []
    assert server.requests[-1]["content"]["code"] == LARGE


def test_code_that_a_server_does_not_read_is_bounded_by_the_deadline() -> None:
    server = Server(lambda parent: [info(parent)], reads_after=60)
    with serving(server), KernelChannel(server.session, "k", deadline=Deadline(10)) as kernel:
        kernel.wait_until_ready(Deadline(10))
        with pytest.raises(TimedOut):
            next(kernel.execute(LARGE, Deadline(0.5)))


PATIENT = Timeouts(connect=200, idle=200)
"""Limits that do not matter even if a test advances the clock."""


def start(server: Server, deadline: Deadline, ready_timeout: float = READY_TIMEOUT) -> None:
    """Start a kernel that must not become usable."""
    with (
        serving(server),
        running_kernel(server.session, "", deadline, timeouts=PATIENT, ready_timeout=ready_timeout),
    ):
        raise AssertionError("it is usable")


def quick(seconds: float) -> Deadline:
    """A deadline on a clock that runs twenty times as fast."""
    return Deadline(
        seconds,
        now=lambda: 20 * time.monotonic(),
        pause=lambda event, pause: event.wait(pause / 20),
    )


DEAD = {
    "given up": (404, '{"message": "Kernel does not exist: k"}'),
    "dead": (200, '{"execution_state": "dead"}'),
}


@pytest.mark.parametrize("opens_after", [0, 600], ids=["after the handshake", "before it"])
@pytest.mark.parametrize("answer", DEAD.values(), ids=DEAD)
def test_a_kernel_that_its_server_gave_up_on_is_an_error(
    answer: tuple[int, str], opens_after: float
) -> None:
    server = Server(lambda _: [], last_state=answer, opens_after=opens_after)
    with pytest.raises(ServerNotReady, match="died while it started"):
        start(server, quick(600))
    assert server.deleted == ["k", "k"]  # a server cannot delete a kernel while it restarts


def test_a_response_that_proves_nothing_does_not_end_the_wait() -> None:
    starting = (200, '{"execution_state": "starting"}')
    page, none, broken = (404, "<html>"), (200, "[]"), (500, '{"message": "no"}')
    server = Server(lambda parent: [info(parent)], states=[starting, page, none, broken, starting])
    with serving(server), running_kernel(server.session, "", quick(600), timeouts=PATIENT):
        pass
    assert server.deleted == ["k"]
    assert server.states == []


@pytest.mark.parametrize("opens_after", [0, 600], ids=["after the handshake", "before it"])
def test_a_kernel_that_never_answers_is_an_error(opens_after: float) -> None:
    server = Server(lambda _: [], opens_after=opens_after)
    with pytest.raises(ServerNotReady, match="it did not respond within 10 s"):
        start(server, quick(600), ready_timeout=10)
    assert set(server.deleted) == {"k"}


def test_kernels_that_a_real_server_cannot_start_are_errors(tmp_path: Path) -> None:
    """A Jupyter Server restarts a kernel five times, three seconds apart, before it gives up."""
    world = World(tmp_path)
    world.variables["JUPYTER_PATH"] = str(tmp_path / "jupyter")
    dies = [sys.executable, "-c", "raise SystemExit(1)"]
    for name, argv in {"dies": dies, "missing": [str(tmp_path / "missing")]}.items():
        spec = tmp_path / "jupyter" / "kernels" / name
        spec.mkdir(parents=True)
        content = {"argv": [*argv, "{connection_file}"], "display_name": name, "language": "python"}
        (spec / "kernel.json").write_text(json.dumps(content))
    session = world.start()
    world.variables |= {"JUPYTER_BASE_URL": session["url"], "JUPYTER_TOKEN": session["token"]}
    results = world.together(
        {name: ["exec", "--kernel", name, "-c", "1"] for name in ("dies", "missing")}
    )
    kernels = json.loads(world.run("status", "-o", "json").out)["kernels"]
    assert world.run("stop", "-q").code == 0
    world.end()
    assert results["dies"].code == results["missing"].code == 8
    assert "The kernel cannot be used: the kernel died while it started." in results["dies"].err
    assert "The session's server responded with 500 to POST api/sessions" in results["missing"].err
    assert kernels == 0


def test_a_silent_kernels_websocket_that_its_server_resets_is_opened_again() -> None:
    """Jupyter Server does so after two minutes, but the kernel may take longer."""
    clock = Clock()

    def answers(parent: str) -> list[str | bytes | None]:
        if len(server.paths) > 1:
            return [info(parent)]
        clock.jump(120)
        return [None]

    server = Server(answers)
    deadline = Deadline(600, now=clock.now, pause=clock.pause)
    with serving(server), running_kernel(server.session, "", deadline, timeouts=PATIENT):
        assert len(server.paths) == 2


def test_a_kernel_is_deleted_if_its_start_is_cancelled() -> None:
    cancel = threading.Event()
    server = Server(lambda _: [], on_start=cancel.set, start_takes=0.3)
    with pytest.raises(Cancelled):
        start(server, Deadline(60, cancel=cancel))
    assert server.deleted == ["k"]


def test_after_a_cancellation_starting_and_deleting_share_one_allowance() -> None:
    """Starting the kernel takes 4.9 of the 5 seconds, so deleting it gets the minimum of 1.5."""
    clock = StoppedClock()
    deadline = Deadline(60, now=clock.now, pause=clock.pause)

    def starts() -> None:
        deadline.cancel.set()
        with suppress(Cancelled):
            deadline.raise_if_expired()
        clock.jump(4.9)

    server = Server(
        lambda _: [], on_start=starts, on_delete=lambda: clock.jump(1.6), delete_takes=60
    )
    with pytest.raises(Cancelled):
        start(server, deadline)
    assert server.deleted == []


@pytest.mark.parametrize(("deletes", "error"), [(True, TimedOut), (False, KernelNotRemoved)])
def test_a_kernel_that_starts_after_the_deadline_is_deleted(
    deletes: bool, error: type[TimedOut]
) -> None:
    times = [0.0]
    server = Server(lambda _: [], on_start=lambda: times.append(61), deletes=deletes)
    with pytest.raises(TimedOut) as raised:
        start(server, Deadline(60, now=lambda: times[-1]))
    assert raised.type is error
    assert server.deleted == ["k"] * deletes


def test_deleting_a_kernel_has_the_time_that_remains() -> None:
    clock = Clock()
    server = Server(lambda _: [], refuse=404, on_delete=lambda: clock.jump(8), delete_takes=0.3)
    with pytest.raises(ServerNotReady):
        start(server, Deadline(600, now=clock.now, pause=clock.pause))
    assert server.deleted == ["k", "k"]


@pytest.mark.parametrize("unlisted", [0, 3])
def test_a_kernel_is_found_and_deleted_if_the_response_is_lost(unlisted: int) -> None:
    clock = Clock()
    server = Server(lambda _: [], breaks=True, unlisted=unlisted)
    with pytest.raises(ServerUnreachable, match="connection broke"):
        start(server, Deadline(60, now=clock.now, pause=clock.pause))
    assert server.deleted == ["k"]
    assert clock.pauses == [0.5] * unlisted


def test_a_kernel_is_found_and_deleted_if_the_response_comes_too_late() -> None:
    clock = Clock()
    server = Server(lambda _: [], on_start=lambda: clock.jump(70), start_takes=0.5, unlisted=1)
    with pytest.raises(TimedOut) as raised:
        start(server, Deadline(60, now=clock.now, pause=lambda event, _: event.wait(0.5)))
    assert raised.type is TimedOut
    assert server.deleted == ["k"]


def test_a_kernel_is_found_and_deleted_if_the_start_is_cancelled_and_the_response_lost() -> None:
    clock, cancel = Clock(), threading.Event()

    def starts() -> None:
        cancel.set()
        clock.jump(0.1)

    server = Server(lambda _: [], on_start=starts, breaks=True)
    with pytest.raises(ServerUnreachable):
        start(server, Deadline(60, cancel=cancel, now=clock.now, pause=clock.pause))
    assert server.deleted == ["k"]


def test_a_kernel_that_the_server_never_lists_cannot_be_deleted() -> None:
    clock = Clock()
    server = Server(lambda _: [], on_start=lambda: clock.jump(70), start_takes=0.5, unlisted=1000)
    with pytest.raises(KernelNotRemoved, match="did not report which kernel"):
        start(server, Deadline(60, now=clock.now, pause=clock.pause))
    assert server.deleted == []


@pytest.mark.parametrize(
    ("value", "clean"),
    [("0", True), (None, True), (1, False), ("0\x1b[0m", False), ("\x07", False)],
)
def test_only_a_clean_exit_counts_as_one(value: object, clean: bool) -> None:
    error = {"ename": "SystemExit", "evalue": value, "traceback": []}
    (raised,) = execute(lambda parent: message("error", error, parent), idle, reply)
    assert isinstance(raised, KernelError)
    assert raised.is_clean_exit is clean


# Arbitrary bytes, which no Jupyter Server sends.


@contextmanager
def sending(answer: Callable[[bytes], Iterable[bytes]]) -> Iterator[Session]:
    """A session whose server sends some bytes for one request, and closes the connection.

    ``answer`` receives the response that would open the websocket.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError), listener.accept()[0] as connection:
                head = connection.recv(65536).decode()
                key = re.search("Sec-WebSocket-Key: (.*)\r\n", head, re.IGNORECASE)
                for chunk in answer(handshake(key[1] if key else "")):
                    connection.sendall(chunk)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Session(f"http://127.0.0.1:{listener.getsockname()[1]}/", TOKEN)
        thread.join(20)
        assert not thread.is_alive(), "the client has not left"


def message_of_failure(answer: Callable[[bytes], Iterable[bytes]]) -> str:
    """The message of the error that a server's bytes cause."""
    with sending(answer) as session, pytest.raises((TransportError, KernelDied)) as raised:
        wait_until_ready(session, Deadline(20))
    error = raised.value
    assert isinstance(error, TransportError | KernelDied)
    assert error.message.isprintable()
    return error.message


def forever(first: bytes, rest: bytes) -> Callable[[bytes], Iterable[bytes]]:
    return lambda _: itertools.chain([first], itertools.repeat(rest))


@pytest.mark.parametrize(
    "answer",
    [
        forever(b"HTTP/1.1 101 ", b"x" * 65536),
        forever(b"HTTP/1.1 101 Yes\r\nX: ", b"x" * 65536),
        forever(b"HTTP/1.1 101 Yes\r\n", b"X: y\r\n" * 10_000),
        forever(b"HTTP/1.1 500 No\r\nContent-Length: 99999999999\r\n\r\n", b"x" * 65536),
    ],
    ids=["a status line", "a header", "headers", "an error's page"],
)
def test_an_endless_handshake_is_limited(answer: Callable[[bytes], Iterable[bytes]]) -> None:
    assert message_of_failure(answer) in (
        "the response on the kernel's websocket was too large",
        "the kernel died while it started",  # its page was read only in part
    )


@pytest.mark.parametrize("way", ["deadline", "event", "poll"])
def test_an_abandoned_handshake_closes_its_connection(way: str) -> None:
    never, cancel = threading.Event(), threading.Event()

    def answer(_: bytes) -> Iterator[bytes]:
        yield b"HTTP/1.1 101 Yes\r\n"
        cancel.set()
        while not never.wait(0.01):
            yield b"X: y\r\n"

    def poll() -> None:
        if cancel.is_set():
            raise KernelDied("polled")

    deadline = Deadline(0.3 if way == "deadline" else 60)
    if way == "event":
        deadline.cancel = cancel
    with sending(answer) as session, pytest.raises((TimedOut, Cancelled, KernelDied)):
        wait_until_ready(session, deadline, poll if way == "poll" else no_op)


HEADS = [
    b"HTTP/1.1 101 Switching Protocols\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 500 No\r\n",
    b"HTTP/1.1 x\r\n",
    b"HTTP/1.1\r\n",
    b"Content-Length: x\r\n",
    b"Content-Length: -5\r\n",
    b"Content-Length: 3\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
    b"Sec-WebSocket-Accept: \xff\r\n",
    b"Set-Cookie: ;;=\r\n",
    b"Location: http://[::1\r\n",
    b": \r\n",
    b"\r\n",
]


@given(st.lists(st.one_of(st.sampled_from(HEADS), st.binary(max_size=20)), max_size=8))
@settings(max_examples=200, deadline=None)
def test_no_handshake_of_arbitrary_bytes_causes_a_crash(pieces: list[bytes]) -> None:
    message_of_failure(lambda _: pieces)


FRAMES = [
    b"\x81\x02{}",
    b"\x81\x02[]",
    b"\x81\x01\xff",
    b"\x81\x03\xed\xa0\x80",
    b"\x01\x01{",
    b"\x80\x01}",
    b"\x82\x01x",
    b"\x89\x00",
    b"\x8a\x00",
    b"\x88\x00",
    b"\x88\x02\x03\xe8",
    b"\x88\x01x",
    b"\x83\x00",
    b"\xf1\x00",
    b"\x81\x81abcdx",
    b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x81\x7e\x00",
]


@given(st.lists(st.one_of(st.sampled_from(FRAMES), st.binary(max_size=20)), max_size=8))
@settings(max_examples=200, deadline=None)
def test_no_frames_of_arbitrary_bytes_cause_a_crash(pieces: list[bytes]) -> None:
    message_of_failure(lambda opened: [opened, *pieces])
