"""The calls to one session's server: what each answer says about it."""

from __future__ import annotations

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
    ServerNotReady,
    ServerUnreachable,
    TimedOut,
    TokenRefused,
)
from clinder.session import Session
from clinder.timeouts import Timeouts
from clinder.wire.http import Transport
from clinder.wire.jupyter_server import Kernelspecs, Server, State, Status
from hubs import Jupyter, ScriptedHub

URL = "https://hub.test/user/x/"
TOKEN = "s3cret-token"
SERVER = Server(Session(URL, TOKEN), Transport())

pytestmark = pytest.mark.usefixtures("_no_threads_left")

Ask = Callable[[Server], Status]


def status(server: Server) -> Status:
    return server.status(Deadline(60))


def keep_alive(server: Server) -> Status:
    return server.keep_alive(Deadline(60))


@pytest.fixture
def web() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def local(hub: ScriptedHub, name: str = "x") -> Server:
    """A server on this machine, asked by clocks that run out soon."""
    return Server(Session(f"{hub.origin}/user/{name}/", TOKEN), Transport(Timeouts(idle=0.3)))


# Does it run.


def test_a_running_server_tells_of_itself(web: responses.RequestsMock) -> None:
    started, active = "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"
    told = {"kernels": 2, "started": started, "last_activity": active}
    web.get(URL + "api/status", json=told)
    assert status(SERVER) == Status(State.RUNNING, "running", 2, started, active)
    assert web.calls[0].request.headers["Authorization"] == f"token {TOKEN}"


@pytest.mark.parametrize("told", [{}, {"kernels": None, "started": None, "later": 1}])
def test_a_server_that_tells_nothing_runs(web: responses.RequestsMock, told: Any) -> None:
    web.get(URL + "api/status", json=told)
    assert status(SERVER).state is State.RUNNING
    assert status(SERVER) == Status(State.RUNNING, "running")


def test_what_a_server_tells_is_made_plain(web: responses.RequestsMock) -> None:
    web.get(URL + "api/status", json={"started": "\x1b[2Jnow\n", "last_activity": "\x07then"})
    assert status(SERVER) == Status(State.RUNNING, "running", 0, "now", "then")


ANSWERS: list[tuple[int, str, State]] = [
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


@pytest.mark.parametrize(("ask", "path"), [(status, "api/status"), (keep_alive, "api/kernels")])
@pytest.mark.parametrize("answer", ANSWERS)
def test_what_another_answer_says(
    web: responses.RequestsMock, ask: Ask, path: str, answer: tuple[int, str, State]
) -> None:
    code, location, state = answer
    web.get(URL + path, status=code, headers={"Location": location} if location else {})
    found = ask(SERVER)
    assert found.state is state
    assert found.message
    assert len(web.calls) == 1, "a redirect is an answer, and is not followed"


@pytest.mark.parametrize("body", ["<html>", "[]", "", "[" * 100_000])
def test_a_page_in_place_of_a_status_is_unclear(web: responses.RequestsMock, body: str) -> None:
    """A mistyped URL may lead to anything."""
    web.get(URL + "api/status", body=body)
    assert status(SERVER).state is State.UNCLEAR


@pytest.mark.parametrize("code", [401, 403])
def test_a_token_that_is_refused(web: responses.RequestsMock, code: int) -> None:
    web.get(URL + "api/status", status=code)
    with pytest.raises(TokenRefused) as refused:
        status(SERVER)
    assert TOKEN not in f"{refused.value} {refused.value!r}"


def test_nothing_listens_there_which_is_gone_on_this_machine_only() -> None:
    with ScriptedHub() as hub:
        pass
    assert status(local(hub)).state is State.GONE
    assert keep_alive(local(hub)).state is State.GONE


def test_a_refused_connection_elsewhere_proves_nothing(web: responses.RequestsMock) -> None:
    web.get(URL + "api/status", body=requests.ConnectionError(ConnectionRefusedError()))
    assert status(SERVER).state is State.ABSENT


@pytest.mark.parametrize("answer", [Raw([], Ending.HELD), Raw([], Ending.RESET), Raw([b"no"])])
def test_an_answer_that_breaks_is_unclear(answer: Raw) -> None:
    with ScriptedHub(pages={"/user/x/api/status": answer}) as hub:
        assert status(local(hub)).state is State.UNCLEAR


def test_what_the_deadline_raises_is_passed_on() -> None:
    with ScriptedHub(pages={"/user/x/api/status": Raw([], Ending.HELD)}) as hub:
        with pytest.raises(TimedOut):
            Server(local(hub).session, Transport()).status(Deadline(0.2))
        deadline = Deadline(60)
        deadline.cancel.set()
        with pytest.raises(Cancelled):
            local(hub).shutdown(deadline)


def test_a_scripted_server_is_asked_as_a_real_one() -> None:
    with ScriptedHub(servers={"x": Jupyter(TOKEN, kernels=3)}) as hub:
        assert status(local(hub)).kernels == 3
        assert keep_alive(local(hub)).state is State.RUNNING
        assert status(local(hub, "unknown")).state is State.GONE
        with pytest.raises(TokenRefused):
            status(Server(Session(f"{hub.origin}/user/x/", "wrong"), Transport()))


# Shutting down.


def test_shutting_down_is_one_post_with_the_token() -> None:
    with ScriptedHub(servers={"x": Jupyter(TOKEN)}) as hub:
        assert local(hub).shutdown(Deadline(60))
        (request,) = hub.requests
    assert (request.method, request.path) == ("POST", "/user/x/api/shutdown")
    assert request.headers["authorization"] == f"token {TOKEN}"


@pytest.mark.parametrize("answer", [page(500), page(302, Location="/hub/"), Raw([], Ending.RESET)])
def test_a_shutdown_that_was_not_accepted(answer: Any) -> None:
    with ScriptedHub(pages={"/user/x/api/shutdown": answer}) as hub:
        assert not local(hub).shutdown(Deadline(60))


# Kernels.


SPECS = {"default": "python3", "kernelspecs": {"python3": {}, "ir": {}}}


def test_the_kernelspecs_that_a_server_has(web: responses.RequestsMock) -> None:
    web.get(URL + "api/kernelspecs", json=SPECS)
    assert SERVER.kernelspecs(Deadline(60)) == Kernelspecs("python3", ("ir", "python3"))


@pytest.mark.parametrize(("asked", "found"), [("", "python3"), ("ir", "ir")])
def test_a_kernelspec_is_the_one_asked_for_or_the_default(
    web: responses.RequestsMock, asked: str, found: str
) -> None:
    web.get(URL + "api/kernelspecs", json=SPECS)
    assert SERVER.kernelspec(asked, Deadline(60)) == found


@pytest.mark.parametrize(("kernelspec", "kernel"), [("", {}), ("ir", {"name": "ir"})])
def test_a_kernel_of_a_kernelspec_is_started(
    web: responses.RequestsMock, kernelspec: str, kernel: dict[str, str]
) -> None:
    wanted = {"path": "ours", "name": "ours", "type": "console", "kernel": kernel}
    web.post(
        URL + "api/sessions",
        json={"id": "s-1", "path": "ours", "kernel": {"id": "k-1"}},
        status=201,
        match=[responses.matchers.json_params_matcher(wanted)],
    )
    assert SERVER.start_kernel(kernelspec, "ours", Deadline(60)) == "k-1"


@pytest.mark.parametrize(
    ("listed", "found"),
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
def test_a_kernel_is_found_by_its_label_and_never_anothers(
    web: responses.RequestsMock, listed: object, found: str
) -> None:
    web.get(URL + "api/sessions", json=listed)
    assert SERVER.find_kernel("ours", Deadline(60)) == found


def test_a_kernelspec_that_is_missing_is_told_with_those_that_are_there(
    web: responses.RequestsMock,
) -> None:
    web.get(URL + "api/kernelspecs", json=SPECS)
    with pytest.raises(KernelspecMissing, match="'julia', only: ir, python3"):
        SERVER.kernelspec("julia", Deadline(60))


def test_a_kernel_is_deleted_by_its_id(web: responses.RequestsMock) -> None:
    for code, gone in ((204, True), (404, True), (500, False)):
        web.upsert("DELETE", URL + "api/kernels/a%2Fb", status=code)
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
def test_whether_a_kernel_was_given_up(
    web: responses.RequestsMock, code: int, body: str, dead: bool
) -> None:
    web.get(URL + "api/kernels/a%2Fb", status=code, body=body)
    assert SERVER.kernel_is_dead("a/b", Deadline(60)) is dead


def test_of_a_kernel_of_a_server_that_is_away_nothing_is_known() -> None:
    with ScriptedHub() as hub:
        pass
    assert not local(hub).kernel_is_dead("k", Deadline(60))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (json_page(502, {"message": "no\x1b[31m kernel\nat all"}), "502 to .*: no kernel at all"),
        (page(500), "500"),
        (page(200), "200"),
        (page(302, Location="/hub/"), "302"),
        (Raw([], Ending.RESET), "unreachable: "),
        (json_page(200, {}), "no reason"),
        (json_page(200, {"kernel": {"id": 5}}), "no reason"),
    ],
)
def test_a_kernel_that_cannot_be_started_is_an_error_in_words(answer: Any, words: str) -> None:
    pages = {"/user/x/api/sessions": answer}
    with ScriptedHub(pages=pages) as hub, pytest.raises(ServerUnreachable, match=words) as error:
        local(hub).start_kernel("", "ours", Deadline(60))
    assert "\x1b" not in error.value.message
    assert TOKEN not in str(error.value)


@pytest.mark.parametrize(("status", "message"), [(500, "Unhandled error"), (500, 5), (404, "No")])
def test_a_server_that_refuses_to_start_a_kernel_is_not_ready(status: int, message: object) -> None:
    pages = {"/user/x/api/sessions": json_page(status, {"message": message})}
    with ScriptedHub(pages=pages) as hub, pytest.raises(ServerNotReady, match=f"answered {status}"):
        local(hub).start_kernel("", "ours", Deadline(60))


# What is too much.


def test_very_many_kernelspecs_are_not_all_told(web: responses.RequestsMock) -> None:
    many: dict[str, object] = {f"kernel-{n:05}-\x1b[31m": {} for n in range(30_000)}
    web.get(URL + "api/kernelspecs", json={"kernelspecs": many})
    with pytest.raises(KernelspecMissing, match=r"kernel-00000-, .* and 29980 more\.$") as raised:
        SERVER.kernelspec("julia", Deadline(60))
    assert len(raised.value.message) < 1000


@pytest.mark.parametrize(
    "told",
    [
        {"kernelspecs": {"x" * 500_000: {}}, "default": "y" * 500_000},
        {"kernelspecs": [], "default": 5},
        {"kernelspecs": None},
        {"kernelspecs": "x"},
    ],
)
def test_kernelspecs_that_are_none(web: responses.RequestsMock, told: object) -> None:
    web.get(URL + "api/kernelspecs", json=told)
    with pytest.raises(KernelspecMissing) as raised:
        SERVER.kernelspec("julia", Deadline(60))
    assert len(raised.value.message) < 1000


def test_an_error_of_a_server_is_not_longer_than_anybody_reads(web: responses.RequestsMock) -> None:
    web.get(URL + "api/kernelspecs", json={"message": "no " * 200_000}, status=500)
    with pytest.raises(ServerUnreachable, match="no no") as raised:
        SERVER.kernelspecs(Deadline(60))
    assert len(raised.value.message) < 1000


@pytest.mark.parametrize("identity", ["x" * 500_000, "", 5, None, ["x"]])
def test_an_id_that_no_kernel_has(web: responses.RequestsMock, identity: object) -> None:
    web.post(URL + "api/sessions", json={"kernel": {"id": identity}}, status=201)
    with pytest.raises(ServerUnreachable, match="started no kernel"):
        SERVER.start_kernel("", "ours", Deadline(60))


def test_what_a_status_tells_is_not_longer_than_anybody_reads(
    web: responses.RequestsMock,
) -> None:
    web.get(URL + "api/status", json={"started": "x" * 500_000, "kernels": 10**400})
    found = status(SERVER)
    assert found.state is State.RUNNING
    assert len(found.started) == 600


def test_an_answer_over_a_mebibyte_says_nothing(web: responses.RequestsMock) -> None:
    web.get(URL + "api/status", body=b'{"started": "' + b"x" * 1024 * 1024 + b'"}')
    assert status(SERVER).state is State.UNCLEAR
