"""HTTP requests and their limits, against real servers on this machine that misbehave.

Tests that do not depend on bytes and sockets use ``responses`` instead.
"""

from __future__ import annotations

import gzip
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import responses
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import NewConnectionError, ReadTimeoutError

from answers import Answer, Ending, Framing, Raw, at_random, bytewise, moved, page
from clinder._deadline import Deadline
from clinder._version import USER_AGENT
from clinder.errors import Cancelled
from clinder.timeouts import Timeouts
from clinder.wire.http import Response, Transport
from clinder.wire.http_errors import TransportError, to_transport_error
from hubs import ScriptedHub

TOKEN = "s3cret-token"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LONG = 60.0
PATIENT = Timeouts(connect=LONG, idle=LONG)
IMPATIENT = Timeouts(connect=LONG, idle=0.3)

pytestmark = pytest.mark.usefixtures("_no_threads_left")


def stream(
    url: str, *, timeouts: Timeouts = PATIENT, deadline: Deadline | None = None, **headers: str
) -> bytes:
    """Stream a response to its end, and return its body."""
    deadline = deadline or Deadline(LONG)
    with Transport(timeouts).stream(url, deadline=deadline, headers=headers) as stream:
        return b"".join(stream.chunks)


def request(url: str, *, timeouts: Timeouts = PATIENT) -> Response:
    return Transport(timeouts).request("GET", url, deadline=Deadline(LONG), token=TOKEN)


# Complete responses.


@pytest.mark.parametrize("cut", [bytewise, at_random(1)], ids=["bytewise", "random"])
@pytest.mark.parametrize("framing", Framing)
def test_a_body_arrives_complete_however_it_is_framed_and_cut(framing: Framing, cut: Any) -> None:
    body = bytes(range(256)) * 8
    with ScriptedHub(pages={"/x": Answer(body, framing=framing, cut=cut)}) as hub:
        assert stream(hub.url + "x") == body
        assert request(hub.url + "x").body == body


@pytest.mark.parametrize("framing", Framing)
def test_a_stream_yields_data_as_soon_as_it_arrives(framing: Framing) -> None:
    more = threading.Event()
    with (
        ScriptedHub(pages={"/x": Answer((b"one", more, b"two"), framing=framing)}) as hub,
        Transport().stream(hub.url + "x", deadline=Deadline(LONG), headers={}) as response,
    ):
        assert (response.status, response.url) == (200, hub.url + "x")
        assert next(response.chunks) == b"one"
        more.set()
        assert b"".join(response.chunks) == b"two"


def test_a_response_has_a_status_headers_and_a_body() -> None:
    with ScriptedHub(pages={"/x": page(404, b"no", X_Some="thing")}) as hub:
        response = request(hub.url + "x")
    assert (response.status, response.headers["x-some"], response.body) == (404, "thing", b"no")


def test_a_compressed_response_is_decompressed() -> None:
    body = b"data: one\n\n" * 1000
    zipped = Answer(gzip.compress(body), headers={"Content-Encoding": "gzip"}, cut=at_random(1))
    with ScriptedHub(pages={"/x": zipped}) as hub:
        assert stream(hub.url + "x") == request(hub.url + "x").body == body


def test_a_request_has_the_given_url_and_headers_and_names_clinder() -> None:
    with ScriptedHub(Answer(b"")) as hub:
        stream(hub.url + "build/gh/a/b/c%2Fd?build_token=x", Accept="text/event-stream")
        (received,) = hub.builds
    assert received.path == "/build/gh/a/b/c%2Fd?build_token=x"
    assert received.headers["accept"] == "text/event-stream"
    assert received.headers["user-agent"] == USER_AGENT
    for refused in ("bot", "crawler", "spider", "gpt"):  # binderhub#2107
        assert refused not in USER_AGENT.lower()


# Broken responses.


BROKE, SILENT = "connection broke", "sent nothing"
EITHER = f"{BROKE}|{SILENT}"
BROKEN: dict[str, tuple[Answer | Raw, str]] = {
    "silent": (Raw([], Ending.HELD), SILENT),
    "silent after the headers": (Answer(b"", ending=Ending.HELD), SILENT),
    "silent in the body": (Answer(b"one", ending=Ending.HELD), SILENT),
    "trickling status line": (Raw(repeat(b"X"), every=0.05), SILENT),
    "trickling header": (Raw(chain([HEAD + b"X: "], repeat(b"x")), every=0.05), SILENT),
    "trickling chunk size": (Raw(chain([CHUNKED], repeat(b"0")), every=0.05), SILENT),
    "reset before the headers": (Raw([b"HTTP/1.1"], Ending.RESET), BROKE),
    "reset in the body": (Answer(b"one", ending=Ending.RESET), BROKE),
    "closed without a response": (Raw([]), BROKE),
    "not HTTP": (Raw([b"SSH-2.0-OpenSSH_9.6\r\n"]), BROKE),
    "incomplete chunk": (Raw([CHUNKED + b"10\r\nabc"]), BROKE),
    "no last chunk": (Answer(b"one", ending=Ending.BROKEN), BROKE),
    "invalid chunk size": (Raw([CHUNKED + b"zz\r\nabc\r\n"]), BROKE),
    "shorter than its length": (
        Answer(b"one", framing=Framing.LENGTH, ending=Ending.BROKEN),
        BROKE,
    ),
    "endless status line": (Raw(repeat(b"x" * 65536)), BROKE),
    "endless header": (Raw(chain([HEAD], repeat(b"x" * 65536))), BROKE),
    "endless headers": (Raw(chain([HEAD], repeat(b"X: y\r\n"))), BROKE),
    "endless chunk size": (Raw(chain([CHUNKED], repeat(b"0" * 65536))), BROKE),
    "endless trailer": (Raw(chain([CHUNKED + b"0\r\n"], repeat(b"x" * 65536))), EITHER),
    "endless trailers": (Raw(chain([CHUNKED + b"0\r\n"], repeat(b"X: y\r\n"))), EITHER),
    "endless interim responses": (
        Raw(repeat(b"HTTP/1.1 100 Continue\r\n\r\n"), every=0.001),
        EITHER,
    ),
    "not gzip": (Answer(b"one", headers={"Content-Encoding": "gzip"}), "not be decompressed"),
    "incomplete gzip": (
        Answer(
            gzip.compress(b"x" * 1000)[:20],
            headers={"Content-Encoding": "gzip"},
            framing=Framing.LENGTH,
            ending=Ending.BROKEN,
        ),
        BROKE,
    ),
}


@pytest.mark.parametrize("get", [stream, request])
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_response_is_an_error_with_a_message(case: str, get: Callable[..., Any]) -> None:
    answer, message = BROKEN[case]
    with ScriptedHub(pages={"/x": answer}) as hub:
        with pytest.raises(TransportError, match=message):
            get(hub.url + "x", timeouts=IMPATIENT if SILENT in message else PATIENT)
        assert hub.awaited().left.wait(60)


def test_an_error_tells_whether_the_headers_had_arrived() -> None:
    with ScriptedHub(pages={"/x": BROKEN["reset in the body"][0], "/y": Raw([])}) as hub:
        with pytest.raises(TransportError) as broken:
            stream(hub.url + "x")
        assert broken.value.answered
        with pytest.raises(TransportError) as broken:
            stream(hub.url + "y")
        assert not broken.value.answered


def test_a_response_that_is_too_large_is_an_error() -> None:
    endless = Raw(chain([HEAD + b"\r\n"], repeat(b"x" * 65536)))
    with ScriptedHub(pages={"/x": endless}) as hub, pytest.raises(TransportError, match="large"):
        request(hub.url + "x")


def test_a_stream_that_nobody_reads_does_not_fill_the_memory() -> None:
    all_sent = threading.Event()

    def parts() -> Iterator[bytes]:
        yield HEAD + b"\r\n"
        yield from repeat(b"x" * 65536, 1000)
        all_sent.set()

    with ScriptedHub(pages={"/x": Raw(parts())}) as hub:
        with Transport().stream(hub.url + "x", deadline=Deadline(LONG), headers={}) as response:
            next(response.chunks)
            assert not all_sent.wait(0.5)
        assert hub.awaited().left.wait(60)


def test_a_refused_connection_is_reported() -> None:
    with ScriptedHub() as hub:
        pass
    with pytest.raises(TransportError, match="connection refused") as refused:
        request(hub.url)
    assert refused.value.refused


def test_a_name_that_does_not_resolve_is_reported() -> None:
    with pytest.raises(TransportError, match="name does not resolve") as broken:
        request("http://clinder.invalid/")
    assert not broken.value.refused


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/", "http://.example.org/", "http://a..b/"])
def test_an_invalid_address_is_an_error(url: str) -> None:
    with pytest.raises(TransportError):
        request(url)


def test_a_server_without_tls_is_reported() -> None:
    with ScriptedHub() as hub, pytest.raises(TransportError, match="it does not use TLS"):
        request(f"https://127.0.0.1:{hub.port}/")


# Ending a request at any moment.


@pytest.mark.parametrize(
    "answer",
    [Raw([], Ending.HELD), Answer(b"one", ending=Ending.HELD)],
    ids=["before the headers", "in the body"],
)
def test_cancelling_a_request_closes_its_connection(answer: Answer | Raw) -> None:
    deadline = Deadline(LONG)
    with ScriptedHub(pages={"/x": answer}) as hub, ThreadPoolExecutor() as pool:
        reading = pool.submit(stream, hub.url + "x", deadline=deadline)
        received = hub.awaited()
        deadline.cancel.set()
        assert isinstance(reading.exception(20), Cancelled)
        assert received.left.wait(60)


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_leaving_a_stream_closes_its_connection(error: type[Exception] | None) -> None:
    with ScriptedHub(pages={"/x": Answer(b"one", ending=Ending.HELD)}) as hub:
        with (
            pytest.raises(error) if error else nullcontext(),
            Transport().stream(hub.url + "x", deadline=Deadline(LONG), headers={}) as response,
        ):
            next(response.chunks)
            assert not hub.requests[0].left.is_set()
            if error:
                raise error
        assert hub.requests[0].left.wait(60)


def test_ctrl_c_at_the_start_closes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        begin(thread)
        if thread.name == "clinder-exchange":
            hub.awaited()
            raise KeyboardInterrupt

    with ScriptedHub(pages={"/x": Answer(b"one", ending=Ending.HELD)}) as hub:
        monkeypatch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            request(hub.url + "x")
        assert hub.requests[0].left.wait(60)


# Redirects.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_stream_follows_a_redirect(status: int) -> None:
    with ScriptedHub(pages={"/x": moved("there", status), "/there": Answer(b"one")}) as hub:
        assert stream(hub.url + "x") == b"one"
        assert [request.path for request in hub.requests] == ["/x", "/there"]


def test_a_cookie_keeps_the_member_of_a_federation() -> None:
    """mybinder.org sets it for that path. Without it, every redirect goes to a random member."""
    with ScriptedHub(Answer(b"one"), Answer(b"two")) as member, ScriptedHub() as hub:
        there = f"{member.url}build/gh/a/b/c"
        cookie = "host=member; Path=/build/gh/a/b/c"
        hub.then(page(307, b"", Location=there, Set_Cookie=cookie), moved(there, 307))
        transport = Transport()
        for _ in range(2):
            url = f"{hub.url}build/gh/a/b/c"
            with transport.stream(url, deadline=Deadline(LONG), headers={}) as response:
                assert response.url == there
        assert [request.headers.get("cookie") for request in hub.builds] == [None, "host=member"]
        assert len(member.builds) == 2


@pytest.mark.parametrize(
    ("pages", "requests"),
    [({"/0": moved("/0")}, 1), ({f"/{at}": moved(f"/{at + 1}") for at in range(9)}, 6)],
    ids=["circle", "endless"],
)
def test_redirects_are_limited(pages: dict[str, Answer], requests: int) -> None:
    with ScriptedHub(pages=dict(pages)) as hub:
        with pytest.raises(TransportError, match="in a loop"):
            stream(hub.url + "0")
        assert len(hub.requests) == requests


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "javascript:alert(1)", "http://[::1", "ftp://example.org/"]
)
def test_a_redirect_to_another_scheme_is_refused(location: str) -> None:
    with (
        ScriptedHub(pages={"/x": moved(location)}) as hub,
        pytest.raises(TransportError, match="not http"),
    ):
        stream(hub.url + "x")


@responses.activate
def test_a_redirect_from_https_to_http_is_refused() -> None:
    responses.get("https://hub.test/x", status=302, headers={"Location": "http://hub.test/x"})
    with pytest.raises(TransportError, match="from https to http"):
        stream("https://hub.test/x")
    assert len(responses.calls) == 1


def test_a_redirect_without_a_location_is_a_response() -> None:
    with ScriptedHub(pages={"/x": page(302)}) as hub:
        assert stream(hub.url + "x") == b"<html></html>"


def test_a_request_with_a_token_follows_no_redirect() -> None:
    with ScriptedHub(pages={"/x": moved("/there")}) as hub:
        assert request(hub.url + "x").status == 302
        assert [request.path for request in hub.requests] == ["/x"]


# Credentials.


def test_only_a_request_sends_the_token_and_only_in_a_header() -> None:
    with ScriptedHub(Answer(b""), pages={"/x": page(200)}) as hub:
        request(hub.url + "x")
        stream(hub.url + "build/gh/a/b/c")
        requested, streamed = hub.requests
    assert requested.headers["authorization"] == f"token {TOKEN}"
    assert TOKEN not in requested.path
    assert "authorization" not in streamed.headers


def test_credentials_from_netrc_are_never_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requests would send them, even instead of the token (psf/requests#3929)."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password hidden\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with ScriptedHub(pages={"/x": moved("/there"), "/there": Answer(b"one")}) as hub:
        stream(hub.url + "x")
        request(hub.url + "there")
        sent = [each.headers.get("authorization") for each in hub.requests]
    assert sent == [None, None, f"token {TOKEN}"]


LATE = ReadTimeoutError(HTTPConnectionPool("hub.test"), "/", "")


@pytest.mark.parametrize(
    ("error", "connected", "message"),
    [
        (NewConnectionError(HTTPConnection("hub.test"), "no route"), False, "no connection could"),
        (LATE, False, "no connection within 2 s"),
        (LATE, True, "it sent nothing for 2 s"),
    ],
)
def test_a_timeout_is_distinguished_from_a_failed_connection(
    error: Exception, connected: bool, message: str
) -> None:
    """In urllib3 every NewConnectionError is a TimeoutError, and so is a slow TLS handshake."""
    failure = to_transport_error(error, url="http://hub.test/", limit=2, connected=connected)
    assert failure.message.startswith(message)


def test_an_error_that_is_not_a_failed_connection_is_raised_unchanged() -> None:
    bug = KeyError("a bug")
    with pytest.raises(KeyError) as raised:
        to_transport_error(bug, url="http://hub.test/", limit=2)
    assert raised.value is bug


@pytest.mark.parametrize("case", ["reset in the body", "not HTTP", "shorter than its length"])
def test_no_error_contains_the_token_or_the_address(case: str) -> None:
    with ScriptedHub(pages={"/x": BROKEN[case][0]}) as hub:
        url = f"{hub.url}x?build_token={TOKEN}"
        for get in (stream, request):
            with pytest.raises(TransportError) as broken:
                get(url)
            shown = "".join(traceback.format_exception(broken.value))
            assert TOKEN not in shown
            assert hub.origin not in shown
