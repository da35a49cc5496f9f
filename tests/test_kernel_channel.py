"""One kernel's websocket, against a loopback server that says what it is told to."""

from __future__ import annotations

import base64
import hashlib
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
from clinder.running.kernels import KernelNotRemoved, running_kernel
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire import kernel_channel as wire
from clinder.wire.http_errors import TransportError
from clinder.wire.kernel_channel import KernelChannel, KernelDied
from clinder.wire.kernel_messages import KernelError, Output
from clock import Clock, StoppedClock
from e2e.world import World


def executed(*answers: Callable[[str], str | bytes | None]) -> list[Output | KernelError]:
    """Run code on a kernel that gives these answers to it, and return what comes of it."""
    with serving(Server(lambda parent: [make(parent) for make in answers])) as server:
        deadline = Deadline(10)
        with KernelChannel(server.session, "k", deadline=deadline) as kernel:
            return [*kernel.execute("code", deadline)]


def opened(server: Server, deadline: Deadline | None = None, connect: float = 10) -> None:
    """Open a kernel and wait until it is ready."""
    with serving(server):
        deadline = deadline or Deadline(10)
        with KernelChannel(
            server.session, "k", deadline=deadline, timeouts=Timeouts(connect=connect)
        ) as kernel:
            kernel.wait_until_ready(deadline)


def idle(parent: str) -> str:
    return status("idle", parent)


def test_the_token_is_in_a_header_and_nowhere_else() -> None:
    server = Server(lambda parent: [info(parent)])
    with serving(server), KernelChannel(server.session, "a/b?c", deadline=Deadline(10)) as kernel:
        kernel.wait_until_ready(Deadline(10))
    (path,), (headers,), (request,) = server.paths, server.headers, server.requests
    assert path.startswith("/user/x/api/kernels/a%2Fb%3Fc/channels?session_id=")
    assert headers["Authorization"] == f"token {TOKEN}"
    assert headers["User-Agent"] == USER_AGENT
    assert "Origin" not in headers
    assert TOKEN not in path + json.dumps(request)


def test_a_kernel_is_ready_when_it_has_answered_us() -> None:
    opened(
        Server(lambda parent: [info("another's"), status("starting", ""), b"\0\1", info(parent)])
    )


@pytest.mark.parametrize("state", ["restarting", "dead"])
def test_a_kernel_that_dies_while_it_starts(state: str) -> None:
    with pytest.raises(KernelDied, match="while it started"):
        opened(Server(lambda parent: [status(state, "")]))


@pytest.mark.parametrize("refuse", [404, 500])
def test_a_kernel_that_is_gone_before_its_websocket_opens(refuse: int) -> None:
    with pytest.raises(KernelDied, match="while it started"):
        opened(Server(lambda _: [], refuse=refuse))


@pytest.mark.parametrize(
    ("refuse", "words"), [(302, "no connection"), (403, "answered 403"), (503, "answered 503")]
)
def test_a_refused_websocket(refuse: int, words: str) -> None:
    server = Server(lambda _: [], refuse=refuse, location="/elsewhere")
    with pytest.raises(TransportError) as raised:
        opened(server)
    assert words in raised.value.message
    assert TOKEN not in raised.value.message
    assert len(server.paths) == 1, "a redirect is not followed"


def test_nothing_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        session = Session(f"http://127.0.0.1:{bound.getsockname()[1]}/", TOKEN)
        with pytest.raises(TransportError, match="no connection"):
            KernelChannel(session, "k", deadline=Deadline(10))


@pytest.mark.parametrize("junk", ["no JSON", "[]", "null", "[" * 100_000])
def test_what_is_no_message(junk: str) -> None:
    with pytest.raises(TransportError, match="is not a kernel's message"):
        opened(Server(lambda _: [junk]))


def test_a_text_that_is_not_utf_8_is_no_message() -> None:
    frame = b'\x81\x04"\xff\xfe"'
    with pytest.raises(TransportError, match="is not a kernel's message"):
        opened(Server(lambda _: [], head=frame))


@pytest.mark.parametrize(
    "odd", [{}, {"header": 1}, {"header": {"msg_type": "status"}, "content": []}]
)
def test_a_message_without_what_messages_have_is_passed_over(odd: Message) -> None:
    opened(Server(lambda parent: [json.dumps(odd), info(parent)]))


def test_a_silent_kernel_is_bounded_by_the_deadline() -> None:
    with pytest.raises(TimedOut):
        opened(Server(lambda _: []), Deadline(0.3))


def test_a_handshake_that_does_not_come_is_bounded_by_the_deadline() -> None:
    with pytest.raises(TimedOut):
        opened(Server(lambda _: [], opens_after=1.0), Deadline(0.3))


def test_waiting_for_a_kernel_is_ended_by_the_event() -> None:
    cancel = threading.Event()

    def answers(_: str) -> list[str | bytes | None]:
        cancel.set()
        return []

    with pytest.raises(Cancelled):
        opened(Server(answers), Deadline(10, cancel=cancel))


def test_output_in_its_order_and_only_ours() -> None:
    result = executed(
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


def test_what_comes_after_the_reply_and_before_idle_is_not_lost() -> None:
    assert executed(reply, lambda parent: stream("late", parent), idle) == [
        Output("stdout", "late")
    ]
    assert executed(idle, reply) == []


def test_an_exception() -> None:
    raised = {"ename": "E", "evalue": "v", "traceback": ["a", "b"]}
    assert executed(lambda parent: message("error", raised, parent), idle, reply) == [
        KernelError("E", "v", ("a", "b"))
    ]
    assert executed(lambda parent: message("error", {}, parent), idle, reply) == [
        KernelError("", "", ())
    ]


def test_a_message_of_ten_megabytes_is_whole() -> None:
    (output,) = executed(lambda parent: stream("x" * 10_000_000, parent), idle, reply)
    assert isinstance(output, Output)
    assert output.text == "x" * 10_000_000


@pytest.mark.parametrize("state", ["restarting", "dead"])
def test_a_kernel_that_dies_while_it_runs_the_code(state: str) -> None:
    with pytest.raises(KernelDied, match="while it ran the code"):
        executed(lambda parent: status("busy", parent), lambda _: status(state, ""))


def test_a_connection_that_is_closed_while_code_runs() -> None:
    with pytest.raises(TransportError):
        executed(lambda parent: stream("1", parent), lambda _: None)


@pytest.mark.parametrize(
    ("output", "lost"),
    [
        (Output("stderr", "IOPub data rate exceeded.\nThe Jupyter server will stop"), True),
        (Output("stderr", "\nIOPub message rate exceeded.\nThe Jupyter server"), True),
        (Output("stdout", "IOPub data rate exceeded.\n"), False),
        (Output("stderr", "no: IOPub data rate exceeded.\n"), False),
    ],
)
def test_the_servers_word_that_output_was_dropped(output: Output, lost: bool) -> None:
    assert output.reports_dropped_output is lost


ENDLESS = {
    "a trickled frame": (b"\x81\x7f" + (1 << 20).to_bytes(8, "big"), b"x"),
    "pings": (b"", b"\x89\x00"),
}


@pytest.mark.parametrize(("head", "piece"), ENDLESS.values(), ids=ENDLESS)
def test_a_server_that_never_ends_a_message_is_bounded_by_the_deadline(
    head: bytes, piece: bytes
) -> None:
    with pytest.raises(TimedOut):
        opened(Server(lambda _: [], head=head, piece=piece), Deadline(0.5))


@pytest.mark.parametrize(("head", "piece"), ENDLESS.values(), ids=ENDLESS)
def test_a_server_that_never_ends_a_message_is_left_by_the_event(head: bytes, piece: bytes) -> None:
    cancel = threading.Event()
    server = Server(lambda _: [], head=head, piece=piece, wrote=cancel.set)
    with pytest.raises(Cancelled):
        opened(server, Deadline(60, cancel=cancel))


def test_pings_between_the_parts_of_a_message() -> None:
    said = info("PARENT").split("PARENT")

    def answers(parent: str) -> list[str | bytes | None]:
        first, last = (said[0] + parent).encode(), said[1].encode()
        server.head = b"\x01\x7e" + len(first).to_bytes(2, "big") + first + b"\x89\x00"
        server.head += bytes([0x80, len(last)]) + last
        return []

    server = Server(answers)
    opened(server)
    assert len(server.requests) == 1


def test_a_message_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_MESSAGE_LIMIT", 1000)
    opened(Server(lambda parent: [*[stream("x" * 500, parent)] * 5, info(parent)]))
    with pytest.raises(TransportError, match="a message was too large"):
        opened(Server(lambda parent: [stream("x" * 1000, parent), info(parent)]))


def test_a_message_that_is_too_large_is_the_output_s_fault_not_the_network_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "_MESSAGE_LIMIT", 1000)
    with (
        pytest.raises(OutputDropped, match="too large"),
        serving(Server(lambda parent: [stream("x" * 1000, parent), info(parent)])) as server,
        running_kernel(server.session, "", Deadline(60)),
    ):
        raise AssertionError("it is no usable kernel")


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


def started(server: Server, deadline: Deadline) -> None:
    """Start a kernel that is not to become usable."""
    with serving(server):
        kernel = running_kernel(server.session, "", deadline, timeouts=Timeouts(idle=75))
        with kernel:
            raise AssertionError("it is usable")


def quick(seconds: float) -> Deadline:
    """A deadline by a clock that runs twenty times as fast."""
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
@pytest.mark.parametrize("said", DEAD.values(), ids=DEAD)
def test_a_kernel_that_its_server_gave_up_is_not_waited_for(
    said: tuple[int, str], opens_after: float
) -> None:
    server = Server(lambda _: [], looked=said, opens_after=opens_after)
    with pytest.raises(ServerNotReady, match="died while it started"):
        started(server, quick(600))
    assert server.removed == ["k", "k"], "once more, for a kernel that was being restarted"


def test_what_says_nothing_of_a_kernel_is_no_reason_to_give_it_up() -> None:
    starting = (200, '{"execution_state": "starting"}')
    page, none, broken = (404, "<html>"), (200, "[]"), (500, '{"message": "no"}')
    server = Server(lambda parent: [info(parent)], looks=[starting, page, none, broken, starting])
    with (
        serving(server),
        running_kernel(server.session, "", quick(600)) as kernel,
    ):
        assert isinstance(kernel, KernelChannel)
    assert server.removed == ["k"]
    assert server.looks == []


@pytest.mark.parametrize("opens_after", [0, 600], ids=["after the handshake", "before it"])
def test_a_kernel_that_never_answers_is_given_up_in_the_end(opens_after: float) -> None:
    with (
        pytest.raises(ServerNotReady, match="it did not answer within 10 s"),
        serving(Server(lambda _: [], opens_after=opens_after)) as server,
        running_kernel(server.session, "", quick(600), ready_timeout=10),
    ):
        raise AssertionError("it is usable")
    assert set(server.removed) == {"k"}


def test_kernels_of_real_servers_that_cannot_start(tmp_path: Path) -> None:
    """A Jupyter Server restarts one that dies five times, three seconds apart, then gives it up."""
    world = World(tmp_path)
    world.variables["JUPYTER_PATH"] = str(tmp_path / "jupyter")
    dies = [sys.executable, "-c", "raise SystemExit(1)"]
    for name, argv in {"dies": dies, "missing": [str(tmp_path / "missing")]}.items():
        spec = tmp_path / "jupyter" / "kernels" / name
        spec.mkdir(parents=True)
        told = {"argv": [*argv, "{connection_file}"], "display_name": name, "language": "python"}
        (spec / "kernel.json").write_text(json.dumps(told))
    session = world.start()
    world.variables |= {"JUPYTER_BASE_URL": session["url"], "JUPYTER_TOKEN": session["token"]}
    results = world.together(
        {name: ["exec", "--kernel", name, "-c", "1"] for name in ("dies", "missing")}
    )
    left = json.loads(world.run("status", "-o", "json").out)["kernels"]
    assert world.run("stop", "-q").code == 0
    world.end()
    assert results["dies"].code == results["missing"].code == 8
    assert "The kernel cannot be used: the kernel died while it started." in results["dies"].err
    assert "The session's server answered 500 to POST api/sessions" in results["missing"].err
    assert left == 0


def test_a_kernel_whose_start_is_cancelled_is_removed() -> None:
    cancel = threading.Event()
    server = Server(lambda _: [], starts=cancel.set, starts_after=0.3)
    with pytest.raises(Cancelled):
        started(server, Deadline(60, cancel=cancel))
    assert server.removed == ["k"]


def test_who_cancels_does_not_wait_for_the_start_and_then_as_long_for_the_end() -> None:
    """Of the seven seconds that a cancellation may take, five have gone by with the start."""
    clock = StoppedClock()
    deadline = Deadline(60, now=clock.now, pause=clock.pause)

    def starts() -> None:
        deadline.cancel.set()
        with suppress(Cancelled):
            deadline.raise_if_expired()
        clock.jump(4.9)

    server = Server(lambda _: [], starts=starts, removing=lambda: clock.jump(1.6), removes_after=60)
    with pytest.raises(Cancelled):
        started(server, deadline)
    assert server.removed == []


@pytest.mark.parametrize(
    ("late", "removes", "raises"), [(1, True, TimedOut), (1, False, KernelNotRemoved)]
)
def test_a_kernel_that_starts_too_late_is_removed(
    late: float, removes: bool, raises: type[TimedOut]
) -> None:
    times = [0.0]
    server = Server(lambda _: [], starts=lambda: times.append(60 + late), removes=removes)
    with pytest.raises(TimedOut) as raised:
        started(server, Deadline(60, now=lambda: times[-1]))
    assert raised.type is raises
    assert server.removed == ["k"] * removes


@pytest.mark.parametrize("looks", [0, 3])
def test_a_kernel_whose_start_is_answered_by_a_broken_connection_is_looked_for(looks: int) -> None:
    clock = Clock()
    server = Server(lambda _: [], breaks=True, listed_after=looks)
    with pytest.raises(ServerUnreachable, match="connection broke"):
        started(server, Deadline(60, now=clock.now, pause=clock.pause))
    assert server.removed == ["k"]
    assert clock.pauses == [0.5] * looks


def test_a_kernel_whose_start_is_answered_too_late_is_looked_for() -> None:
    clock = Clock()
    server = Server(lambda _: [], starts=lambda: clock.jump(70), starts_after=0.5, listed_after=1)
    with pytest.raises(TimedOut) as raised:
        started(server, Deadline(60, now=clock.now, pause=lambda event, _: event.wait(0.5)))
    assert raised.type is TimedOut
    assert server.removed == ["k"]


def test_a_kernel_whose_start_is_cancelled_and_not_answered_is_looked_for() -> None:
    clock, cancel = Clock(), threading.Event()

    def starts() -> None:
        cancel.set()
        clock.jump(0.1)

    server = Server(lambda _: [], starts=starts, breaks=True)
    with pytest.raises(ServerUnreachable):
        started(server, Deadline(60, cancel=cancel, now=clock.now, pause=clock.pause))
    assert server.removed == ["k"]


def test_a_kernel_that_a_server_never_lists_may_be_left() -> None:
    clock = Clock()
    server = Server(
        lambda _: [], starts=lambda: clock.jump(70), starts_after=0.5, listed_after=1000
    )
    with pytest.raises(KernelNotRemoved, match="did not report which kernel"):
        started(server, Deadline(60, now=clock.now, pause=clock.pause))
    assert server.removed == []


def test_what_an_exception_says_is_made_plain() -> None:
    error = {"ename": "\x1b[31mE\r\nx\x07", "evalue": "\x1b]0;title\x07v", "traceback": []}
    assert executed(lambda parent: message("error", error, parent), idle, reply) == [
        KernelError("E x", "v", ())
    ]


@pytest.mark.parametrize(("value", "clean"), [("0", True), ("0\x1b[0m", False), ("\x07", False)])
def test_only_a_clean_exit_is_one(value: str, clean: bool) -> None:
    error = {"ename": "SystemExit", "evalue": value, "traceback": []}
    (raised,) = executed(lambda parent: message("error", error, parent), idle, reply)
    assert isinstance(raised, KernelError)
    assert raised.is_clean_exit is clean


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_of_certificates_that_is_none(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    (tmp_path / "bundle").write_text("no certificate")
    monkeypatch.setenv(variable, str(tmp_path / "bundle"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        session = Session(f"https://127.0.0.1:{server.getsockname()[1]}/", TOKEN)
        with pytest.raises(TransportError, match="names no certificates"):
            KernelChannel(session, "k", deadline=Deadline(10))


# Bytes that no Jupyter Server sends.


@contextmanager
def saying(answer: Callable[[str], Iterable[bytes]]) -> Iterator[Session]:
    """A session whose server says some bytes to one request, whatever that is, and hangs up.

    ``answer`` is given what a websocket's handshake has to contain.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError), listener.accept()[0] as connection:
                head = connection.recv(65536).decode()
                key = re.search("Sec-WebSocket-Key: (.*)\r\n", head, re.IGNORECASE)
                for piece in answer(accepting(key[1]) if key else ""):
                    connection.sendall(piece)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Session(f"http://127.0.0.1:{listener.getsockname()[1]}/", TOKEN)
        thread.join(20)
        assert not thread.is_alive(), "the client has not left"


def accepting(key: str) -> str:
    """What answers the key of a handshake (RFC 6455)."""
    together = f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()
    return base64.b64encode(hashlib.sha1(together).digest()).decode()


def reached(session: Session, deadline: Deadline, watch: Callable[[], None] = no_op) -> None:
    """Open a kernel's websocket and wait for the kernel."""
    with KernelChannel(session, "k", deadline=deadline, poll=watch) as kernel:
        kernel.wait_until_ready(deadline)


def broken(answer: Callable[[str], Iterable[bytes]]) -> str:
    """What is said of a kernel whose server answers so."""
    with saying(answer) as session, pytest.raises((TransportError, KernelDied)) as raised:
        reached(session, Deadline(20))
    error = raised.value
    assert isinstance(error, TransportError | KernelDied)
    assert error.message.isprintable()
    return error.message


def forever(first: bytes, rest: bytes) -> Callable[[str], Iterable[bytes]]:
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
def test_an_endless_handshake_is_given_up(answer: Callable[[str], Iterable[bytes]]) -> None:
    assert broken(answer) in (
        "the answer on the kernel's websocket was too large",
        "the kernel died while it started",  # its page was read in part, and left
    )


@pytest.mark.parametrize("way", ["by the deadline", "by the event", "by the watch"])
def test_a_handshake_that_is_given_up_is_over(way: str) -> None:
    """The connection is closed, not left behind."""
    never, cancel = threading.Event(), threading.Event()

    def answer(_: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 101 Yes\r\n"
        cancel.set()
        while not never.wait(0.01):
            yield b"X: y\r\n"

    def watch() -> None:
        if cancel.is_set():
            raise KernelDied("it was watched")

    deadline = Deadline(0.3 if "deadline" in way else 60)
    if "event" in way:
        deadline.cancel = cancel
    with saying(answer) as session, pytest.raises((TimedOut, Cancelled, KernelDied)):
        reached(session, deadline, watch if "watch" in way else no_op)


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
def test_no_bytes_in_the_place_of_a_handshake_crash_it(pieces: list[bytes]) -> None:
    broken(lambda _: pieces)


def opening(accept: str) -> bytes:
    """The end of a handshake, after which there are frames."""
    head = "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()


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
def test_no_bytes_in_the_place_of_frames_crash_it(pieces: list[bytes]) -> None:
    broken(lambda accept: [opening(accept), *pieces])
