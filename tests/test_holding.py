"""Starting a kernel through the gateway: the response is held until the kernel responds."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from answers import Answer, Raw, json_page, moved, page
from channels import TOKEN, Server, info, reply, serving, status
from clinder._deadline import Deadline
from clinder.errors import ServerNotReady
from clinder.gateway import held_response, holding, kernels
from clinder.gateway.gateway import Gateway, GatewayOptions
from clinder.gateway.slots import KernelLimit
from clinder.gateway.upstream import Credential
from clinder.running.kernels import execute
from clinder.session import Session
from clinder.wire.http_errors import TransportError
from clinder.wire.kernel_channel import KernelChannel
from e2e.world import until
from hubs import ScriptedHub

SESSION = {"path": "page.md", "name": "page.md", "type": "console", "kernel": {"name": "python3"}}
WARNINGS: list[str] = []


@contextmanager
def gateway(server: Server, **options: Any) -> Iterator[Gateway]:
    WARNINGS.clear()
    with (
        serving(server),
        Gateway(
            Credential(server.url, TOKEN), GatewayOptions(**options), warn=WARNINGS.append
        ) as opened,
    ):
        yield opened


def request(opened: Gateway, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    connection = HTTPConnection(urlsplit(opened.url).netloc, timeout=60)
    headers = {"Authorization": f"token {opened.token}"}
    connection.request(method, f"/{path}", None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content


def start(opened: Gateway, body: object = SESSION) -> tuple[int, Any]:
    code, content = request(opened, "POST", "api/sessions", body)
    return code, json.loads(content)


def test_the_response_is_held_until_the_kernel_responds() -> None:
    may_answer = threading.Event()

    def answers(parent: str) -> list[str | bytes | None]:
        assert may_answer.wait(60)
        return [info(parent)]

    with gateway(Server(answers)) as opened:
        outcome: list[Any] = []
        waiting = threading.Thread(target=lambda: outcome.append(start(opened)))
        waiting.start()
        waiting.join(0.5)
        assert not outcome
        may_answer.set()
        waiting.join(10)
        ((code, model),) = outcome
        (record,) = opened.kernels
    assert (code, model["kernel"]["id"]) == (201, "k")
    assert (record.page, record.requested, record.ready_after is not None) == (
        "page.md",
        "python3",
        True,
    )


def test_the_kernel_has_one_websocket_at_a_time() -> None:
    """The server keeps the output for a websocket that breaks only once none is open."""
    server = Server(lambda parent: [info(parent), reply(parent), status("idle", parent)])
    with gateway(server) as opened:
        run(opened)
    opened_websockets = [each for each in server.paths if "/channels" in each]
    assert (len(opened_websockets), server.most_open) == (2, 1)


def test_a_kernel_that_replaces_that_of_a_session_is_held_and_takes_its_turn() -> None:
    server = Server(lambda parent: [info(parent)])
    with gateway(server, limit=KernelLimit(1)) as opened:
        start(opened)
        renamed, _ = request(opened, "PATCH", "api/sessions/s", {"path": "renamed.md"})
        change = {"kernel": {"name": "conda-env-x-py"}}
        changed, content = request(opened, "PATCH", "api/sessions/s", change)
        records = opened.kernels
        deleted, _ = request(opened, "DELETE", "api/sessions/s")
    assert (renamed, changed, deleted) == (200, 200, 204)
    assert json.loads(content)["kernel"] == {"id": "k2", "name": "python3"}
    assert [each.page for each in records] == ["page.md", "page.md"]
    assert records[1].ready_after is not None


def test_blanks_keep_the_consumer_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_response, "_BLANK_AFTER", 0.05)
    server = Server(lambda parent: [info(parent)], opens_after=0.5)
    with gateway(server) as opened:
        code, content = request(opened, "POST", "api/sessions", SESSION)
    assert code == 201
    assert content.startswith(b"  ")
    assert json.loads(content)["kernel"] == {"id": "k"}


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        (Server(lambda _: [status("dead", "")]), "The kernel cannot be used: the kernel died"),
        (Server(lambda _: []), "The kernel cannot be used: it did not respond within 0.3 s."),
        (Server(lambda _: [], refuse=404), "The kernel cannot be used: the kernel died"),
    ],
    ids=["dies", "never responds", "is not there"],
)
def test_a_kernel_that_does_not_start_explains_that_in_its_cells(
    server: Server, problem: str
) -> None:
    """MyST would lose the whole build if the start failed, or the session was not in the list."""
    with gateway(server, kernel_timeout=0.3) as opened:
        code, model = start(opened)
        _, listed = request(opened, "GET", "api/sessions")
        _, running = request(opened, "GET", "api/kernels")
        with pytest.raises(ServerNotReady, match=problem):
            run(opened)
        gone, _ = request(opened, "DELETE", f"api/sessions/{model.get('id', '')}")
        records = opened.kernels
    assert code == 201
    assert server.deleted[0] == "k"
    assert records[0].problem.startswith(problem)
    assert "k" in {each.get("kernel", {}).get("id") for each in json.loads(listed)}
    assert running
    assert gone in (204, 404)


def test_a_kernel_whose_connection_breaks_while_it_starts_is_connected_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If a proxy restarts while many kernels start, they would all be lost."""
    monkeypatch.setattr(holding, "_RETRY_DELAYS", (0.01, 0.01))
    answers = iter([None, None, info])
    server = Server(lambda parent: [each(parent) if (each := next(answers)) else None])
    with gateway(server) as opened:
        code, model = start(opened)
    assert (code, model["kernel"], "clinder" in model) == (201, {"id": "k"}, False)


def run(opened: Gateway) -> None:
    execute(Session(opened.url, opened.token), "1", Deadline(20), write=lambda _: None)


def test_a_start_that_the_server_cannot_perform_is_a_kernel_that_explains_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(holding, "_RETRY_DELAYS", (0.01, 0.01))
    monkeypatch.setattr(holding, "_OUTAGE", 0.0)
    server = Server(lambda _: [], breaks=True)
    with gateway(server) as opened:
        code, model = start(opened)
        _, listed = request(opened, "GET", "api/sessions")
        deleted, _ = request(opened, "DELETE", f"api/sessions/{model['id']}")
        _, after = request(opened, "GET", "api/sessions")
    assert code == 201
    assert "unreachable" in model["clinder"]["problem"]
    assert model["id"] in {each.get("id") for each in json.loads(listed)}
    assert deleted == 204
    assert model["id"] not in {each.get("id") for each in json.loads(after)}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (json_page(424, {}), "The hub no longer has the session."),
        (moved("/hub/user/x/"), "The hub no longer has the session."),
        (page(503), "The session's server responded with 503."),
        (
            json_page(500, {"message": f"a\x1b[31m {TOKEN}"}),
            "The session's server responded with 500: a ….",
        ),
    ],
)
def test_a_failed_start_is_a_kernel_that_explains_it(
    answer: Answer, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "_RETRY_DELAYS", (0.01, 0.01))
    monkeypatch.setattr(holding, "_OUTAGE", 0.0)
    with (
        ScriptedHub(pages={"/user/x/api/sessions": answer}) as hub,
        Gateway(Credential(f"{hub.url}user/x/", TOKEN)) as opened,
    ):
        code, model = start(opened)
        _, listed = request(opened, "GET", "api/sessions")
    assert (code, model["clinder"]["problem"]) == (201, problem)
    assert json.loads(listed) == [model]


def test_a_server_that_refuses_to_start_a_kernel_is_quoted() -> None:
    pages = {
        "/user/x/api/sessions": json_page(403, {"message": "no"}),
        "/user/x/api/status": json_page(200, {}),
    }
    with (
        ScriptedHub(pages=pages) as hub,
        Gateway(Credential(f"{hub.url}user/x/", TOKEN)) as opened,
    ):
        _, model = start(opened)
    assert model["clinder"]["problem"] == "The session's server responded with 403: no."


@pytest.mark.parametrize(
    "hubs",
    [page(403), json_page(424, {}), moved("/hub/user/x/api/sessions")],
    ids=["refused", "gone", "redirected"],
)
def test_a_start_waits_while_the_hubs_proxy_has_lost_the_session(
    hubs: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub responds in the server's place until it has restored the proxy's routes."""
    monkeypatch.setattr(holding, "_OUTAGE_POLL", 0.01)
    lost: dict[str, Answer | Raw] = {
        "/user/x/api/sessions": hubs,
        "/user/x/api/status": moved("/hub/user/x/api/status"),
    }
    restored: dict[str, Answer | Raw] = {
        "/user/x/api/sessions": json_page(501, {"message": "no such kernel"}),
        "/user/x/api/status": json_page(200, {}),
    }
    with (
        ScriptedHub(pages=lost) as hub,
        Gateway(Credential(f"{hub.url}user/x/", TOKEN)) as opened,
    ):
        outcome: list[Any] = []
        waiting = threading.Thread(target=lambda: outcome.append(start(opened)))
        waiting.start()
        until(opened.hurry.is_set)
        assert not outcome
        hub.pages = restored
        waiting.join(60)
    assert outcome == [(501, {"message": "no such kernel"})]


def test_a_start_stops_waiting_for_a_session_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "_OUTAGE_POLL", 0.01)
    pages = {
        "/user/x/api/sessions": page(403),
        "/user/x/api/status": moved("/hub/user/x/api/status"),
    }
    with (
        ScriptedHub(pages=pages) as hub,
        Gateway(Credential(f"{hub.url}user/x/", TOKEN)) as opened,
    ):
        outcome: list[Any] = []
        waiting = threading.Thread(target=lambda: outcome.append(start(opened)))
        waiting.start()
        until(opened.hurry.is_set)
        opened.lose_session("It was stopped.")
        waiting.join(60)
        ((code, model),) = outcome
    assert (code, model["clinder"]["problem"]) == (201, "It was stopped.")


def test_the_memory_limit_is_known_before_the_first_kernel_starts() -> None:
    metrics = {"pss": 1, "limits": {"memory": {"rss": 3 * 1024**3}}}
    pages = {
        "/user/x/api/metrics/v1": json_page(200, metrics),
        "/user/x/api/sessions": json_page(501, {"message": "no"}),
    }
    with (
        ScriptedHub(pages=pages) as hub,
        Gateway(Credential(f"{hub.url}user/x/", TOKEN)) as opened,
    ):
        start(opened)
        start(opened)
        paths = [each.path for each in hub.requests]
        resources = opened.resources
    assert resources
    assert resources.memory_limit == 3 * 1024**3
    assert paths[0] == "/user/x/api/metrics/v1"
    assert paths.count("/user/x/api/metrics/v1") == 1


def test_a_request_that_the_server_refuses_is_refused() -> None:
    answer = json_page(501, {"message": "no such kernel"})
    with (
        ScriptedHub(pages={"/user/x/api/sessions": answer}) as hub,
        Gateway(Credential(f"{hub.url}user/x/", TOKEN)) as opened,
    ):
        assert start(opened) == (501, {"message": "no such kernel"})


def test_a_kernel_of_a_session_that_is_gone_is_never_requested() -> None:
    server = Server(lambda parent: [info(parent)])
    with gateway(server) as opened:
        opened.lose_session("The hub has no such server.")
        code, model = start(opened)
    assert (code, server.listed[1:]) == (201, [])
    assert model["clinder"] == {"problem": "The hub has no such server."}


def test_a_kernel_whose_consumer_has_left_is_deleted() -> None:
    server = Server(lambda _: [])
    with gateway(server) as opened:
        connection = HTTPConnection(urlsplit(opened.url).netloc, timeout=60)
        headers = {"Authorization": f"token {opened.token}"}
        connection.request("POST", "/api/sessions", json.dumps(SESSION), headers)
        until(lambda: bool(server.requests))
        connection.close()
        until(lambda: server.deleted == ["k"])
        until(lambda: len(opened.kernels) == 1)


def test_a_kernel_whose_consumer_left_just_before_the_response_is_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise it would keep its slot for an hour, and the pages that wait would do so, too."""
    monkeypatch.setattr(held_response, "_TICK", 60.0)  # so that the kernel comes first
    has_left = threading.Event()

    def answers(parent: str) -> list[str | bytes | None]:
        assert has_left.wait(60)
        return [info(parent)]

    server = Server(answers)
    with gateway(server, limit=KernelLimit(1)) as opened:
        connection = HTTPConnection(urlsplit(opened.url).netloc, timeout=60)
        headers = {"Authorization": f"token {opened.token}"}
        connection.request("POST", "/api/sessions", json.dumps(SESSION), headers)
        until(lambda: bool(server.requests))
        connection.close()
        has_left.set()
        until(lambda: server.deleted == ["k"])
        assert start(opened)[0] == 201


def test_a_kernel_waits_until_another_one_ends() -> None:
    server = Server(lambda parent: [info(parent)])
    with gateway(server, limit=KernelLimit(1)) as opened:
        start(opened)
        outcome: list[Any] = []
        waiting = threading.Thread(target=lambda: outcome.append(start(opened)))
        waiting.start()
        until(lambda: bool(WARNINGS))
        assert not outcome
        assert request(opened, "DELETE", "api/kernels/k")[0] == 204
        waiting.join(10)
        assert outcome[0][0] == 201
    assert WARNINGS == ["Pages wait for a kernel: the session runs at most one kernel at a time."]


def test_a_kernel_whose_consumer_deletes_it_is_not_missed() -> None:
    """A busy server takes its time: it has no such kernel any more, but does not say so yet."""
    is_deleting = threading.Event()

    def delete() -> None:
        server.refuse, server.last_state = 404, (404, "{}")
        is_deleting.set()

    def answers(parent: str) -> list[str | bytes | None]:
        return [None if is_deleting.is_set() else info(parent)]

    server = Server(answers, on_delete=delete, delete_takes=1.0)
    with gateway(server) as opened:
        start(opened)
        session, deadline = Session(opened.url, opened.token), Deadline(60)
        with KernelChannel(session, "k", deadline=deadline) as channel:
            channel.wait_until_ready(deadline)
            deleting = threading.Thread(target=request, args=(opened, "DELETE", "api/kernels/k"))
            deleting.start()
            assert is_deleting.wait(60)
            with suppress(TransportError):  # the server closes the websocket
                channel.execute_silently("1", deadline)
            deleting.join()
    assert WARNINGS == []


def test_a_list_is_requested_again_if_the_server_fails_because_a_kernel_starts() -> None:
    answers = iter([json_page(500, {"message": "Unhandled error"}), json_page(200, [])])
    with ScriptedHub() as hub, Gateway(Credential(f"{hub.url}user/x/", TOKEN)) as opened:
        hub.jupyterhub = lambda _: next(answers)
        assert request(opened, "GET", "api/kernels") == (200, b"[]")


def test_another_kernelspec_is_started_if_the_server_lacks_the_requested_one() -> None:
    server = Server(lambda parent: [info(parent)])
    with gateway(server) as opened:
        start(opened, {**SESSION, "kernel": {"name": "conda-env-x-py"}})
    assert server.listed[-1]["kernel"] == {"id": "k"}
    assert WARNINGS == [
        "The session has no kernelspec 'conda-env-x-py', so clinder starts 'python3'."
    ]


@pytest.mark.parametrize("body", [[], {"path": "x", "type": "y", "kernel": {"id": "k"}}])
def test_a_request_that_starts_no_kernel_is_passed_on(body: object) -> None:
    server = Server(lambda parent: [info(parent)])
    with gateway(server) as opened:
        request(opened, "POST", "api/sessions", body)
        assert opened.kernels == ()


def test_a_kernel_that_its_server_cannot_delete_yet_is_deleted_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that restarts the kernel responds with an error, which ends MyST's whole build."""
    monkeypatch.setattr(kernels, "_DELETE", 0.3)
    monkeypatch.setattr(kernels, "_DELETE_DELAY", 0.01)
    tries: list[bool] = []

    def delete_the_third_time() -> None:
        tries.append(len(tries) == 2)
        server.deletes = tries[-1]

    server = Server(lambda parent: [info(parent)], on_delete=delete_the_third_time)
    with gateway(server) as opened:
        start(opened)
        code, _ = request(opened, "DELETE", "api/kernels/k")
        never = Server(lambda parent: [info(parent)], deletes=False)
    assert (code, server.deleted, len(tries)) == (204, ["k"], 3)
    with gateway(never) as opened:
        start(opened)
        code, _ = request(opened, "DELETE", "api/kernels/k")
    assert code == 204
    assert WARNINGS == ["The kernel of page.md could not be deleted. It ends with the session."]
