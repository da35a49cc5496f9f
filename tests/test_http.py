"""Bounded HTTP, against real servers on this machine that misbehave.

What is about answers alone uses ``responses``; what is about bytes on a wire cannot.
"""

from __future__ import annotations

import gzip
import itertools
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import responses
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import NewConnectionError, ReadTimeoutError

from answers import Answer, Ending, Framing, Raw, at_random, bytewise, moved, page
from clinder._deadline import Deadline, run_bounded
from clinder._urls import is_loopback
from clinder._version import USER_AGENT
from clinder.errors import Cancelled, TimedOut
from clinder.timeouts import Timeouts
from clinder.wire import http as module
from clinder.wire.http import Transport
from clinder.wire.http_errors import TransportError, to_transport_error
from hubs import ScriptedHub

TOKEN = "s3cret-token"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SHORT = Timeouts(connect=5, idle=0.3)
LONG = 60.0

pytestmark = pytest.mark.usefixtures("_no_threads_left")


def streamed(
    url: str, *, timeouts: Timeouts = SHORT, deadline: Deadline | None = None, **headers: str
) -> bytes:
    """The whole body of a stream."""
    within = deadline or Deadline(LONG)
    with Transport(timeouts).stream(url, deadline=within, headers=headers) as stream:
        return b"".join(stream.chunks)


def requested(url: str, *, timeouts: Timeouts = SHORT, seconds: float = LONG) -> module.Response:
    return Transport(timeouts).request("GET", url, deadline=Deadline(seconds), token=TOKEN)


def forever(part: bytes) -> itertools.repeat[bytes]:
    return itertools.repeat(part)


# Whole answers.


@pytest.mark.parametrize("cut", [bytewise, at_random(1)], ids=["bytewise", "random"])
@pytest.mark.parametrize("framing", Framing)
def test_a_body_comes_whole_however_it_is_framed_and_cut(framing: Framing, cut: Any) -> None:
    body = bytes(range(256)) * 8
    with ScriptedHub(pages={"/x": Answer(body, framing=framing, cut=cut)}) as hub:
        assert streamed(hub.url + "x") == body
        assert requested(hub.url + "x").body == body


@pytest.mark.parametrize("framing", Framing)
def test_a_stream_is_read_live(framing: Framing) -> None:
    """What was sent is here before anything more is."""
    more = threading.Event()
    with (
        ScriptedHub(pages={"/x": Answer((b"one", more, b"two"), framing=framing)}) as hub,
        Transport().stream(hub.url + "x", deadline=Deadline(LONG), headers={}) as stream,
    ):
        assert (stream.status, stream.url) == (200, hub.url + "x")
        assert next(stream.chunks) == b"one"
        more.set()
        assert b"".join(stream.chunks) == b"two"


def test_an_answer_is_its_status_headers_and_body() -> None:
    with ScriptedHub(pages={"/x": page(404, b"no", X_Some="thing")}) as hub:
        answer = requested(hub.url + "x")
    assert (answer.status, answer.headers["x-some"], answer.body) == (404, "thing", b"no")


def test_a_compressed_answer_is_read() -> None:
    body = b"data: one\n\n" * 1000
    zipped = Answer(gzip.compress(body), headers={"Content-Encoding": "gzip"}, cut=at_random(1))
    with ScriptedHub(pages={"/x": zipped}) as hub:
        assert streamed(hub.url + "x") == requested(hub.url + "x").body == body


def test_we_say_who_we_are_and_ask_as_we_were_told() -> None:
    with ScriptedHub(Answer(b"")) as hub:
        streamed(hub.url + "build/gh/a/b/c%2Fd?build_token=x", Accept="text/event-stream")
        (request,) = hub.builds
    assert request.path == "/build/gh/a/b/c%2Fd?build_token=x"
    assert request.headers["accept"] == "text/event-stream"
    assert request.headers["user-agent"] == USER_AGENT
    for refused in ("bot", "crawler", "spider", "gpt"):  # binderhub#2107
        assert refused not in USER_AGENT.lower()


# Broken answers: each ends in an error that says what happened, soon.


BROKEN: dict[str, tuple[Answer | Raw, str]] = {
    "silent": (Raw([], Ending.HELD), "sent nothing"),
    "silent after the head": (Answer(b"", ending=Ending.HELD), "sent nothing"),
    "silent in the body": (Answer(b"one", ending=Ending.HELD), "sent nothing"),
    "trickling in the head": (Raw(forever(b"X"), every=0.05), "sent nothing"),
    "trickling in a header": (
        Raw(itertools.chain([HEAD + b"X: "], forever(b"x")), every=0.05),
        "sent nothing",
    ),
    "trickling in a chunk's size": (
        Raw(itertools.chain([CHUNKED], forever(b"0")), every=0.05),
        "sent nothing",
    ),
    "reset before the head": (Raw([b"HTTP/1.1"], Ending.RESET), "connection broke"),
    "reset in the body": (Answer(b"one", ending=Ending.RESET), "connection broke"),
    "closed without an answer": (Raw([]), "connection broke"),
    "no HTTP": (Raw([b"SSH-2.0-OpenSSH_9.6\r\n"]), "connection broke"),
    "a chunk cut": (Raw([CHUNKED + b"10\r\nabc"]), "connection broke"),
    "no last chunk": (Answer(b"one", ending=Ending.BROKEN), "connection broke"),
    "no size of a chunk": (Raw([CHUNKED + b"zz\r\nabc\r\n"]), "connection broke"),
    "less than its length": (
        Answer(b"one", framing=Framing.LENGTH, ending=Ending.BROKEN),
        "connection broke",
    ),
    "an endless status line": (Raw(forever(b"x" * 65536)), "connection broke"),
    "an endless header": (Raw(itertools.chain([HEAD], forever(b"x" * 65536))), "connection broke"),
    "endless headers": (Raw(itertools.chain([HEAD], forever(b"X: y\r\n"))), "connection broke"),
    "an endless chunk size": (
        Raw(itertools.chain([CHUNKED], forever(b"0" * 65536))),
        "connection broke",
    ),
    "a trailer without end": (
        Raw(itertools.chain([CHUNKED + b"0\r\n"], forever(b"x" * 65536))),
        "sent nothing|connection broke",
    ),
    "trailers without end": (
        Raw(itertools.chain([CHUNKED + b"0\r\n"], forever(b"X: y\r\n"))),
        "sent nothing|connection broke",
    ),
    "interim answers without end": (
        Raw(forever(b"HTTP/1.1 100 Continue\r\n\r\n"), every=0.001),
        "sent nothing|connection broke",
    ),
    "no gzip": (Answer(b"one", headers={"Content-Encoding": "gzip"}), "not be decompressed"),
    "gzip cut": (
        Answer(
            gzip.compress(b"x" * 1000)[:20],
            headers={"Content-Encoding": "gzip"},
            framing=Framing.LENGTH,
            ending=Ending.BROKEN,
        ),
        "connection broke",
    ),
}


@pytest.mark.parametrize("ask", [streamed, requested])
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_answer_is_an_error_in_words(case: str, ask: Callable[[str], object]) -> None:
    answer, words = BROKEN[case]
    with ScriptedHub(pages={"/x": answer}) as hub:
        with pytest.raises(TransportError, match=words):
            ask(hub.url + "x")
        assert hub.awaited().left.wait(20)


def test_it_is_known_whether_the_head_had_come() -> None:
    with ScriptedHub(pages={"/x": BROKEN["reset in the body"][0], "/y": Raw([])}) as hub:
        with pytest.raises(TransportError) as broken:
            streamed(hub.url + "x")
        assert broken.value.answered
        with pytest.raises(TransportError) as broken:
            streamed(hub.url + "y")
        assert not broken.value.answered


def test_a_huge_answer_is_given_up() -> None:
    endless = Raw(itertools.chain([HEAD + b"\r\n"], forever(b"x" * 65536)))
    with ScriptedHub(pages={"/x": endless}) as hub, pytest.raises(TransportError, match="large"):
        requested(hub.url + "x")


def test_a_stream_that_never_ends_lasts_until_the_deadline() -> None:
    keepalives = Raw(itertools.chain([CHUNKED], forever(b"c\r\n:keepalive\n\n\r\n")), every=0.02)
    with ScriptedHub(pages={"/x": keepalives}) as hub:
        with pytest.raises(TimedOut):
            streamed(hub.url + "x", deadline=Deadline(0.5))
        assert hub.awaited().left.wait(20)


def test_a_reader_that_stops_reading_is_not_read_ahead_for() -> None:
    """The queue is bounded: an endless stream does not fill the memory."""
    all_sent = threading.Event()

    def parts() -> Iterator[bytes]:
        yield HEAD + b"\r\n"
        yield from itertools.repeat(b"x" * 65536, 1000)
        all_sent.set()

    with ScriptedHub(pages={"/x": Raw(parts())}) as hub:
        with Transport().stream(hub.url + "x", deadline=Deadline(LONG), headers={}) as stream:
            next(stream.chunks)
            assert not all_sent.wait(0.5)
        assert hub.awaited().left.wait(20)


def test_nothing_listens_there() -> None:
    with ScriptedHub() as hub:
        pass
    with pytest.raises(TransportError, match="connection refused") as refused:
        requested(hub.url)
    assert refused.value.refused


def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(TransportError, match="name does not resolve") as broken:
        requested("http://clinder.invalid/", timeouts=Timeouts(connect=30, idle=30))
    assert not broken.value.refused


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/", "http://.example.org/", "http://a..b/"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(TransportError):
        requested(url)


def test_no_tls_where_tls_was_meant() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer() -> None:
            connection, _ = plain.accept()
            with connection, suppress(ConnectionResetError):
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(TransportError, match="it does not use TLS"):
            requested(f"https://127.0.0.1:{plain.getsockname()[1]}/", timeouts=Timeouts(5, 5))
        thread.join(20)


def test_a_listener_that_answers_no_handshake() -> None:
    """A TLS handshake is part of connecting."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(TransportError, match=r"no connection (within|in time)"):
            requested(url, timeouts=Timeouts(connect=0.3, idle=5))


# The end, at any moment.


@pytest.mark.parametrize(
    "answer",
    [Raw([], Ending.HELD), Answer(b"one", ending=Ending.HELD)],
    ids=["before the head", "in the body"],
)
def test_cancelling_ends_it_and_closes_the_connection(answer: Answer | Raw) -> None:
    deadline = Deadline(LONG)
    ended: list[type[BaseException]] = []

    def reading(url: str) -> None:
        try:
            streamed(url, timeouts=Timeouts(idle=LONG), deadline=deadline)
        except Cancelled as error:
            ended.append(type(error))

    with ScriptedHub(pages={"/x": answer}) as hub:
        thread = threading.Thread(target=reading, args=(hub.url + "x",))
        thread.start()
        request = hub.awaited()
        deadline.cancel.set()
        thread.join(20)
        assert ended == [Cancelled]
        assert request.left.wait(20)


def test_leaving_the_context_closes_the_connection() -> None:
    with ScriptedHub(pages={"/x": Answer(b"one", ending=Ending.HELD)}) as hub:
        with Transport().stream(hub.url + "x", deadline=Deadline(LONG), headers={}) as stream:
            next(stream.chunks)
            assert not hub.requests[0].left.is_set()
        assert hub.requests[0].left.wait(20)


def test_an_error_of_the_reader_closes_the_connection() -> None:
    with ScriptedHub(pages={"/x": Answer(b"one", ending=Ending.HELD)}) as hub:
        with (
            pytest.raises(ZeroDivisionError),
            Transport().stream(hub.url + "x", deadline=Deadline(LONG), headers={}),
        ):
            raise ZeroDivisionError
        assert hub.requests[0].left.wait(20)


def test_an_interrupt_as_it_begins_closes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who uses clinder from Python gets a Ctrl-C as an exception, at any moment."""
    begin = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        begin(thread)
        if thread.name == "clinder-exchange":
            hub.awaited()
            raise KeyboardInterrupt

    with ScriptedHub(pages={"/x": Answer(b"one", ending=Ending.HELD)}) as hub:
        monkeypatch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            requested(hub.url + "x", timeouts=Timeouts(idle=LONG))
        assert hub.requests[0].left.wait(20)


def test_work_that_cannot_be_bounded_is_left_behind() -> None:
    enough = threading.Event()
    with pytest.raises(TimedOut):
        run_bounded(enough.wait, Deadline(0.2))
    enough.set()


def test_work_returns_or_raises_what_it_does() -> None:
    assert run_bounded(lambda: 6 * 7, Deadline(LONG)) == 42
    with pytest.raises(ZeroDivisionError):
        run_bounded(lambda: 1 // 0, Deadline(LONG))


# Redirects.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_stream_follows_a_redirect(status: int) -> None:
    with ScriptedHub(pages={"/x": moved("there", status), "/there": Answer(b"one")}) as hub:
        assert streamed(hub.url + "x") == b"one"
        assert [request.path for request in hub.requests] == ["/x", "/there"]


def test_a_member_of_a_federation_is_kept_by_its_cookie() -> None:
    """As on mybinder.org: a cookie for that path, without which the draw is random."""
    with ScriptedHub(Answer(b"one"), Answer(b"two")) as member, ScriptedHub() as hub:
        there = f"{member.url}build/gh/a/b/c"
        cookie = "host=member; Path=/build/gh/a/b/c"
        hub.then(page(307, b"", Location=there, Set_Cookie=cookie), moved(there, 307))
        transport = Transport()
        for _ in range(2):
            with transport.stream(
                f"{hub.url}build/gh/a/b/c", deadline=Deadline(LONG), headers={}
            ) as stream:
                assert stream.url == there
        assert [request.headers.get("cookie") for request in hub.builds] == [None, "host=member"]
        assert len(member.builds) == 2


def test_a_redirect_in_circles_ends() -> None:
    with ScriptedHub(pages={"/x": moved("/x")}) as hub:
        with pytest.raises(TransportError, match="in circles"):
            streamed(hub.url + "x")
        assert len(hub.requests) == 1


def test_a_redirect_from_place_to_place_ends() -> None:
    pages = {f"/{at}": moved(f"/{at + 1}") for at in range(9)}
    with ScriptedHub(pages=pages) as hub:
        with pytest.raises(TransportError, match="in circles"):
            streamed(hub.url + "0")
        assert len(hub.requests) == 6


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "javascript:alert(1)", "http://[::1", "ftp://example.org/"]
)
def test_a_redirect_to_what_is_no_page_is_refused(location: str) -> None:
    with (
        ScriptedHub(pages={"/x": moved(location)}) as hub,
        pytest.raises(TransportError, match="not http"),
    ):
        streamed(hub.url + "x")


@responses.activate
def test_a_redirect_from_https_to_http_is_refused() -> None:
    responses.get("https://hub.test/x", status=302, headers={"Location": "http://hub.test/x"})
    with pytest.raises(TransportError, match="from https to http"):
        streamed("https://hub.test/x")
    assert len(responses.calls) == 1


@responses.activate
def test_a_redirect_from_https_to_https_is_followed() -> None:
    responses.get("https://hub.test/x", status=307, headers={"Location": "//member.test/x"})
    responses.get("https://member.test/x", body=b"one")
    assert streamed("https://hub.test/x") == b"one"


def test_a_redirect_without_a_place_is_an_answer() -> None:
    with ScriptedHub(pages={"/x": page(302)}) as hub:
        assert streamed(hub.url + "x") == b"<html></html>"


def test_a_call_with_a_token_follows_nothing() -> None:
    with ScriptedHub(pages={"/x": moved("/there")}) as hub:
        assert requested(hub.url + "x").status == 302
        assert [request.path for request in hub.requests] == ["/x"]


# Credentials.


def test_the_token_goes_out_in_one_header_of_one_kind_of_call() -> None:
    with ScriptedHub(Answer(b""), pages={"/x": page(200)}) as hub:
        requested(hub.url + "x")
        streamed(hub.url + "build/gh/a/b/c")
        asked, built = hub.requests
    assert asked.headers["authorization"] == f"token {TOKEN}"
    assert TOKEN not in asked.path
    assert "authorization" not in built.headers


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry for this machine in a ``~/.netrc``."""
    entry = "machine 127.0.0.1 login someone password hidden\n"
    for name in (".netrc", "_netrc"):
        (tmp_path / name).write_text(entry)
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))


@pytest.mark.usefixtures("netrc")
def test_netrc_neither_replaces_the_token_nor_goes_out() -> None:
    """requests would do both (psf/requests#3929)."""
    with ScriptedHub(pages={"/x": moved("/there"), "/there": Answer(b"one")}) as hub:
        streamed(hub.url + "x")
        requested(hub.url + "there")
        sent = [request.headers.get("authorization") for request in hub.requests]
    assert sent == [None, None, f"token {TOKEN}"]


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_no_proxy_stands_between_us_and_this_machine(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedHub(pages={"/x": Answer(b"one")}) as hub, ScriptedHub() as proxy:
        monkeypatch.setenv(name, proxy.origin)
        assert streamed(hub.url + "x") == b"one"
        assert not proxy.requests


def test_a_proxy_is_used_for_the_rest_of_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedHub(pages={"http://hub.test/x": Answer(b"one")}) as proxy:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.origin)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert streamed("http://hub.test/x") == b"one"


def test_a_proxy_that_does_not_answer_is_named_as_the_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ScriptedHub() as gone:
        pass
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, gone.origin)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(TransportError, match="proxy") as broken:
        streamed("http://hub.test/x")
    assert not broken.value.refused, "the proxy refused, which says nothing about the server"


@pytest.mark.parametrize(
    ("error", "connected", "message"),
    [
        (NewConnectionError(HTTPConnection("hub.test"), "no route"), False, "could be made"),
        (ReadTimeoutError(HTTPConnectionPool("hub.test"), "/", "2 s"), False, "no connection in"),
        (ReadTimeoutError(HTTPConnectionPool("hub.test"), "/", "2 s"), True, "it sent nothing in"),
    ],
)
def test_urllib3s_timeouts_are_told_apart(error: Exception, connected: bool, message: str) -> None:
    """In urllib3 every NewConnectionError is a TimeoutError, and so is a slow TLS handshake."""
    failure = to_transport_error(error, connected=connected, answered=False, url="http://hub.test/")
    assert message in failure.message


def test_what_is_no_failure_of_a_connection_is_a_bug_and_is_raised_as_it_is() -> None:
    bug = KeyError("a bug")
    with pytest.raises(KeyError) as raised:
        to_transport_error(bug, connected=True, answered=False, url="http://hub.test/")
    assert raised.value is bug


@pytest.mark.parametrize("case", ["reset in the body", "no HTTP", "less than its length"])
def test_no_error_holds_the_token_or_the_address(case: str) -> None:
    with ScriptedHub(pages={"/x": BROKEN[case][0]}) as hub:
        url = f"{hub.url}x?build_token={TOKEN}"
        for ask in (streamed, requested):
            with pytest.raises(TransportError) as broken:
                ask(url)
            shown = "".join(traceback.format_exception(broken.value))
            assert TOKEN not in shown
            assert hub.origin not in shown


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8585/", True),
        ("http://127.9.9.9/", True),
        ("http://[::1]:8585/", True),
        ("http://localhost/", True),
        ("http://hub.localhost/", True),
        ("http://localhost.example.org/", False),
        ("https://mybinder.org/", False),
        ("https://10.0.0.1/", False),
        ("http://127.0.0.1.example.org/", False),
        ("http:///", False),
    ],
)
def test_this_machine_is_known_by_name_alone(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback
