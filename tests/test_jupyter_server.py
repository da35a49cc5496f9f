"""The requests to one session's server, and what each response proves about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import responses

from answers import Ending, Raw, json_page, page
from clinder._deadline import Deadline
from clinder.errors import (
    Cancelled,
    KernelspecMissing,
    RequestRefused,
    ServerNotReady,
    ServerUnreachable,
    StopFailed,
    TimedOut,
    TokenRefused,
)
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Server, State, Status
from hubs import XSRF, XSRF_PAGE, Jupyter, ScriptedHub

URL = "https://hub.test/user/x/"
TOKEN = "s3cret-token"
SERVER = Server(Session(URL, TOKEN), Transport())

pytestmark = pytest.mark.usefixtures("_no_threads_left")

Probe = Callable[[Server], Status]


def status(server: Server) -> Status:
    return server.status(Deadline(60))


def keep_alive(server: Server) -> Status:
    return server.keep_alive(Deadline(60))


@pytest.fixture
def web() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def local(hub: ScriptedHub, name: str = "x") -> Server:
    """A server on this machine, with a short idle limit."""
    return Server(Session(f"{hub.origin}/user/{name}/", TOKEN), Transport(Timeouts(idle=0.3)))


# Status.


@pytest.mark.parametrize(
    ("data", "values"),
    [
        ({"kernels": 2, "started": "2026", "last_activity": "2027"}, (2, "2026", "2027")),
        ({}, (0, "", "")),
        ({"kernels": None, "started": None, "new": 1}, (0, "", "")),
        ({"started": "\x1b[2Jnow\n", "last_activity": "\x07then"}, (0, "now", "then")),
        ({"started": "x" * 500_000, "kernels": 10**40}, (10**40, "x" * 598 + " …", "")),
    ],
    ids=["all", "none", "wrong types", "controls", "too long"],
)
def test_a_running_server_reports_its_kernels_and_times(
    web: responses.RequestsMock, data: Any, values: tuple[int, str, str]
) -> None:
    web.get(URL + "api/status", json=data)
    assert status(SERVER) == Status(State.RUNNING, "running", *values)
    assert web.calls[0].request.headers["Authorization"] == f"token {TOKEN}"


OTHER_RESPONSES: list[tuple[int, str, State]] = [
    (302, "/hub/user/x/", State.GONE),
    (302, "https://hub.test/prefix/hub/user/x/api/status?next=x", State.GONE),
    (302, "/login", State.UNCLEAR),
    (302, "http://[::1", State.UNCLEAR),
    (302, "", State.UNCLEAR),
    (424, "", State.GONE),
    (404, "", State.ABSENT),
    (502, "", State.ABSENT),
    (503, "", State.ABSENT),
    (500, "", State.UNCLEAR),
    (504, "", State.UNCLEAR),
    (204, "", State.UNCLEAR),
]


@pytest.mark.parametrize(("probe", "path"), [(status, "api/status"), (keep_alive, "api/kernels")])
@pytest.mark.parametrize("response", OTHER_RESPONSES)
def test_the_state_that_another_response_proves(
    web: responses.RequestsMock, probe: Probe, path: str, response: tuple[int, str, State]
) -> None:
    code, location, state = response
    web.get(URL + path, status=code, headers={"Location": location} if location else {})
    result = probe(SERVER)
    assert result.state is state
    assert result.certain == (state is not State.GONE), "a restarted proxy sends it to the hub"
    assert result.message
    assert len(web.calls) == 1, "a redirect is not followed"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (500, "it responded with 500"),  # by a Jupyter Server while a kernel starts
        (418, "it responded with 418, which no Jupyter Server does"),
    ],
)
def test_the_message_about_a_response_that_proves_nothing(
    web: responses.RequestsMock, code: int, message: str
) -> None:
    web.get(URL + "api/status", status=code)
    assert status(SERVER).message == message


def test_a_server_that_lists_its_kernels_is_running(web: responses.RequestsMock) -> None:
    web.get(URL + "api/kernels", json=[])
    assert keep_alive(SERVER).state is State.RUNNING


@pytest.mark.parametrize(
    "body", ["<html>", "[]", "", "[" * 100_000, '{"started": "' + "x" * 1024 * 1024 + '"}']
)
def test_a_body_that_is_not_a_status_is_unclear(web: responses.RequestsMock, body: str) -> None:
    """A mistyped URL can lead to any page."""
    web.get(URL + "api/status", body=body)
    assert status(SERVER).state is State.UNCLEAR


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_token_is_an_error(web: responses.RequestsMock, code: int) -> None:
    web.get(URL + "api/status", status=code)
    with pytest.raises(TokenRefused) as refused:
        status(SERVER)
    assert TOKEN not in f"{refused.value} {refused.value!r}"


def start_kernel(server: Server) -> object:
    return server.start_kernel("", "ours", Deadline(60))


def shut_down(server: Server) -> object:
    return server.shutdown(Deadline(60))


@pytest.mark.parametrize("call", [status, start_kernel, shut_down])
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (json.dumps({"message": XSRF, "reason": None}).encode(), XSRF),
        (XSRF_PAGE, XSRF),
        (b'{"message": "Blocking request with non-local \'Host\' x.test (x.test)."}', "non-local"),
        (b"<pre" * 100_000 + b">_xsrf</pre>", ""),
    ],
    ids=["xsrf", "xsrf page", "host", "hostile"],
)
def test_a_403_that_is_not_about_the_token_is_shown_with_its_reason(
    web: responses.RequestsMock, call: Callable[[Server], object], body: bytes, reason: str
) -> None:
    web.get(URL + "api/status", status=403, body=body)
    web.post(URL + "api/sessions", status=403, body=body)
    web.post(URL + "api/shutdown", status=403, body=body)
    web.assert_all_requests_are_fired = False
    with pytest.raises(StopFailed) as refused:
        call(SERVER)
    expected = RequestRefused if reason or call is shut_down else TokenRefused
    assert type(refused.value) is expected
    assert reason in refused.value.message
    assert TOKEN not in str(refused.value)


def test_a_refused_connection_proves_only_that_the_embedded_hubs_server_is_gone() -> None:
    with ScriptedHub() as hub:
        pass
    assert status(local(hub)).state is State.ABSENT
    embedded = Server(Session(f"{hub.origin}/clinder-hub/user/x/", TOKEN), Transport())
    for probe in (status, keep_alive):
        assert probe(embedded) == Status(State.GONE, "nothing listens at its address")


@pytest.mark.parametrize("url", [URL, "https://hub.test/clinder-hub/user/x/"])
def test_a_refused_connection_elsewhere_proves_nothing(
    web: responses.RequestsMock, url: str
) -> None:
    web.get(url + "api/status", body=requests.ConnectionError(ConnectionRefusedError()))
    assert status(Server(Session(url, TOKEN), Transport())).state is State.ABSENT


@pytest.mark.parametrize("answer", [Raw([], Ending.HELD), Raw([], Ending.RESET), Raw([b"no"])])
def test_a_broken_response_is_unclear(answer: Raw) -> None:
    with ScriptedHub(pages={"/user/x/api/status": answer}) as hub:
        assert status(local(hub)).state is State.UNCLEAR


def test_the_deadlines_errors_are_passed_on() -> None:
    with ScriptedHub(pages={"/user/x/api/status": Raw([], Ending.HELD)}) as hub:
        with pytest.raises(TimedOut):
            Server(local(hub).session, Transport()).status(Deadline(0.2))
        deadline = Deadline(60)
        deadline.cancel.set()
        with pytest.raises(Cancelled):
            local(hub).shutdown(deadline)


# Shutdown.


def test_a_shutdown_is_one_post_with_the_token() -> None:
    with ScriptedHub(servers={"x": Jupyter(TOKEN)}) as hub:
        assert local(hub).shutdown(Deadline(60))
        (request,) = hub.requests
    assert (request.method, request.path) == ("POST", "/user/x/api/shutdown")
    assert request.headers["authorization"] == f"token {TOKEN}"


@pytest.mark.parametrize("answer", [page(500), page(302, Location="/hub/"), Raw([], Ending.RESET)])
def test_a_shutdown_that_the_server_does_not_accept_is_reported(answer: Any) -> None:
    with ScriptedHub(pages={"/user/x/api/shutdown": answer}) as hub:
        assert not local(hub).shutdown(Deadline(60))


# Kernelspecs.


SPECS = {"default": "python3", "kernelspecs": {"python3": {}, "ir": {}}}


def test_only_a_kernelspec_of_the_server_is_accepted(web: responses.RequestsMock) -> None:
    web.get(URL + "api/kernelspecs", json=SPECS)
    assert SERVER.kernelspec("", Deadline(60)) == "python3"
    assert SERVER.kernelspec("ir", Deadline(60)) == "ir"
    with pytest.raises(KernelspecMissing, match="'julia', only: ir, python3"):
        SERVER.kernelspec("julia", Deadline(60))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"kernelspecs": {f"kernel-{n:05}-\x1b[31m": {} for n in range(30_000)}},
            r"kernel-00000-, .* and 29980 more\.$",
        ),
        ({"kernelspecs": {"x" * 500_000: {}}, "default": "y" * 500_000}, "only: xxx"),
        ({"kernelspecs": [], "default": 5}, "only: none"),
        ({"kernelspecs": None}, "only: none"),
        ({"kernelspecs": "x"}, "only: none"),
    ],
    ids=["many", "long", "list", "null", "text"],
)
def test_the_message_about_a_missing_kernelspec_is_readable(
    web: responses.RequestsMock, data: object, message: str
) -> None:
    web.get(URL + "api/kernelspecs", json=data)
    with pytest.raises(KernelspecMissing, match=message) as raised:
        SERVER.kernelspec("julia", Deadline(60))
    assert len(raised.value.message) < 1000
    assert "\x1b" not in raised.value.message


def test_a_long_error_of_a_server_is_truncated(web: responses.RequestsMock) -> None:
    web.get(URL + "api/kernelspecs", json={"message": "no " * 200_000}, status=500)
    with pytest.raises(ServerUnreachable, match="no no") as raised:
        SERVER.kernelspec("", Deadline(60))
    assert len(raised.value.message) < 1000


# Kernels.


@pytest.mark.parametrize(("kernelspec", "kernel"), [("", {}), ("ir", {"name": "ir"})])
def test_starting_a_kernel_returns_its_id(
    web: responses.RequestsMock, kernelspec: str, kernel: dict[str, str]
) -> None:
    session = {"path": "ours", "name": "ours", "type": "console", "kernel": kernel}
    web.post(
        URL + "api/sessions",
        json={"id": "s-1", "path": "ours", "kernel": {"id": "k-1"}},
        status=201,
        match=[responses.matchers.json_params_matcher(session)],
    )
    assert SERVER.start_kernel(kernelspec, "ours", Deadline(60)) == "k-1"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (json_page(502, {"message": "no\x1b[31m kernel\nat all"}), "502 to .*: no kernel at all"),
        (page(500), "500"),
        (page(200), "200"),
        (page(302, Location="/hub/"), "302"),
        (Raw([], Ending.RESET), "unreachable: "),
        (json_page(200, {}), "no reason"),
        *(
            (json_page(200, {"kernel": {"id": kernel_id}}), "no reason")
            for kernel_id in ("x" * 500_000, "", 5, None, ["x"])
        ),
    ],
)
def test_a_kernel_that_cannot_be_started_is_an_error(answer: Any, message: str) -> None:
    pages = {"/user/x/api/sessions": answer}
    with ScriptedHub(pages=pages) as hub, pytest.raises(ServerUnreachable, match=message) as error:
        local(hub).start_kernel("", "ours", Deadline(60))
    assert "\x1b" not in error.value.message
    assert TOKEN not in str(error.value)


@pytest.mark.parametrize(("status", "message"), [(500, "Unhandled error"), (500, 5), (404, "No")])
def test_a_server_that_refuses_to_start_a_kernel_is_not_ready(status: int, message: object) -> None:
    pages = {"/user/x/api/sessions": json_page(status, {"message": message})}
    with (
        ScriptedHub(pages=pages) as hub,
        pytest.raises(ServerNotReady, match=f"responded with {status}"),
    ):
        local(hub).start_kernel("", "ours", Deadline(60))


@pytest.mark.parametrize(
    ("kernelspec", "specs", "message"),
    [
        ("", {**SPECS, "default": "conda"}, "'conda' is not installed, only: ir, python3"),
        ("conda", {**SPECS, "default": "conda"}, "default kernelspec 'conda' is not"),
        ("julia", SPECS, "session's kernelspec 'julia' is not installed, only: ir, python3"),
    ],
)
def test_a_kernelspec_that_is_not_installed_is_reported_with_those_that_are(
    web: responses.RequestsMock, kernelspec: str, specs: object, message: str
) -> None:
    web.post(URL + "api/sessions", json={"message": "The 'None' kernel"}, status=501)
    web.get(URL + "api/kernelspecs", json=specs)
    with pytest.raises(KernelspecMissing, match=message):
        SERVER.start_kernel(kernelspec, "ours", Deadline(60))


def test_a_kernelspec_that_is_installed_but_refused_is_an_error_of_the_server(
    web: responses.RequestsMock,
) -> None:
    web.post(URL + "api/sessions", json={"message": "No kernel"}, status=501)
    web.get(URL + "api/kernelspecs", json=SPECS)
    with pytest.raises(ServerNotReady, match="responded with 501 to POST api/sessions: No kernel"):
        SERVER.start_kernel("ir", "ours", Deadline(60))


@pytest.mark.parametrize(
    ("sessions", "kernel_id"),
    [
        ([{"path": "theirs", "kernel": {"id": "k"}}, {"path": "ours", "kernel": {"id": "o"}}], "o"),
        ([{"path": "theirs", "kernel": {"id": "k"}}], ""),
        ([], ""),
        ([5, None, {}, {"path": ["ours"]}, {"path": "ours"}], ""),
        ([{"path": "ours", "kernel": {"id": 5}}], ""),
        ([{"path": "ours", "kernel": {"id": "x" * 1000}}], ""),
        ({"message": "no"}, ""),
    ],
)
def test_a_kernel_is_found_only_by_its_own_label(
    web: responses.RequestsMock, sessions: object, kernel_id: str
) -> None:
    web.get(URL + "api/sessions", json=sessions)
    assert SERVER.find_kernel("ours", Deadline(60)) == kernel_id


@pytest.mark.parametrize(("code", "gone"), [(204, True), (404, True), (500, False)])
def test_deleting_a_kernel_returns_whether_it_is_gone(
    web: responses.RequestsMock, code: int, gone: bool
) -> None:
    web.delete(URL + "api/kernels/a%2Fb", status=code)
    assert SERVER.delete_kernel("a/b", Deadline(60)) is gone


@pytest.mark.parametrize(
    ("code", "body", "dead"),
    [
        (404, '{"message": "Kernel does not exist: k"}', True),
        (404, "<html>", False),
        (200, '{"execution_state": "dead"}', True),
        (200, '{"execution_state": "starting"}', False),
        (200, '{"execution_state": ["dead"]}', False),
        (200, "[]", False),
        (500, '{"execution_state": "dead"}', False),
    ],
)
def test_a_kernel_is_dead_only_if_the_server_itself_reports_it(
    web: responses.RequestsMock, code: int, body: str, dead: bool
) -> None:
    web.get(URL + "api/kernels/a%2Fb", status=code, body=body)
    assert SERVER.kernel_is_dead("a/b", Deadline(60)) is dead


def test_a_kernel_is_not_dead_because_its_server_is_unreachable() -> None:
    with ScriptedHub() as hub:
        pass
    assert not local(hub).kernel_is_dead("k", Deadline(60))
