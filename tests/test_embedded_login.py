"""The embedded hub with a login: JupyterHub's API, and a real Jupyter Server behind it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from clinder._deadline import Deadline
from clinder.embedded.account import Account
from clinder.embedded.hub import Hub
from clinder.session import Session
from clinder.wire.kernel_channel import KernelChannel
from test_embedded import STREAM, Event, events, processes

TOKEN = "0123456789abcdef"
BUILD = "gh/org/repo/HEAD"


def header(token: str) -> dict[str, str]:
    return {"Authorization": f"token {token}"}


def call(method: str, url: str, token: str = TOKEN, **options: Any) -> requests.Response:
    options.setdefault("headers", header(token))
    return requests.request(method, url, timeout=60, allow_redirects=False, **options)


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """The lines that the module's hub reports."""
    return []


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> Iterator[Hub]:
    directory = tmp_path_factory.mktemp("directory")
    with Hub(directory, stop_servers=True, report=lines.append, token=TOKEN) as hub:
        yield hub
    assert not processes()


@pytest.fixture(scope="module")
def api(hub: Hub) -> str:
    return f"{hub.url}hub/api/"


@pytest.fixture(scope="module")
def session(hub: Hub) -> Event:
    """One launch, for tests that leave its server running."""
    *_, last = events(hub, BUILD, {**STREAM, "Authorization": f"Bearer {TOKEN}"})
    assert last["phase"] == "ready", last
    return last


def name_of(session: Event) -> str:
    return urlsplit(session["url"]).path.split("/")[3]


def issue(api: str, session: Event, **fields: object) -> dict[str, Any]:
    body = {"scopes": [f"access:servers!server=local/{name_of(session)}"], **fields}
    response = call("POST", f"{api}users/local/tokens", json=body)
    assert response.status_code == 201, response.text
    issued: dict[str, Any] = response.json()
    return issued


# BinderHub


@pytest.mark.parametrize("headers", [{}, header("another"), {"Authorization": "Basic x"}])
def test_a_build_request_without_the_token_is_forbidden(hub: Hub, headers: dict[str, str]) -> None:
    (event,) = events(hub, BUILD, {**STREAM, **headers})
    assert event == {"phase": "failed", "status_code": 403, "message": "Forbidden\n"}
    assert not [each for each in processes() if "org-repo" in str(each.folder)]


def test_a_servers_token_does_not_launch(hub: Hub, api: str, session: Event) -> None:
    token = issue(api, session)["token"]
    (event,) = events(hub, BUILD, {**STREAM, **header(token)})
    assert event["message"] == "user local is not allowed.\n"


def test_the_page_redirects_to_a_login_that_explains_itself(hub: Hub) -> None:
    response = call("GET", hub.url, headers={})
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/hub/api/oauth2/authorize?client_id=")
    assert "--hub-token @FILE" in requests.get(hub.url, timeout=60).text
    for path in ("versions", "health", "api/repoproviders", "hub/api"):
        assert call("GET", hub.url + path, headers={}).status_code == 200


# The server, behind the hub


def test_the_users_token_opens_the_server_and_the_launchs_does_not(
    hub: Hub, session: Event
) -> None:
    assert session["url"] == f"{hub.url}user/local/{name_of(session)}/"
    assert session["message"] == f"server running at {session['url']}\n"
    status = session["url"] + "api/status"
    assert call("GET", status).json()["kernels"] == 0
    for token in (session["token"], "another"):
        assert call("GET", status, token).status_code == 403
    assert call("GET", f"{status}?token={TOKEN}", headers={}).status_code == 403
    assert call("GET", session["url"] + "api/contents/none").status_code == 404
    assert call("HEAD", status).status_code == 405
    other_user = status.replace("/user/local/", "/user/other/")
    assert call("GET", other_user).status_code == 302


def test_a_kernel_answers_behind_the_hub(session: Event) -> None:
    kernel = call("POST", session["url"] + "api/kernels", json={"name": "python3"})
    assert kernel.status_code == 201
    deadline = Deadline(60)
    with KernelChannel(
        Session(session["url"], TOKEN), kernel.json()["id"], deadline=deadline
    ) as channel:
        channel.wait_until_ready(deadline)
    url = f"{session['url']}api/kernels/{kernel.json()['id']}"
    assert call("DELETE", url).status_code == 204


def test_a_server_that_never_ran_is_a_redirect_to_the_hub(hub: Hub) -> None:
    response = call("GET", f"{hub.url}user/local/none/api/status")
    assert response.status_code == 302
    assert response.headers["Location"] == "/hub/user/local/none/api/status"
    assert call("GET", hub.url + response.headers["Location"][1:]).status_code == 424
    assert call("GET", f"{hub.url}user/other/api/status").status_code == 302
    assert call("POST", f"{hub.url}user/local/none/api/shutdown").status_code == 403


def test_the_users_token_appears_nowhere(hub: Hub, session: Event, lines: list[str]) -> None:
    (process,) = processes()
    shown = [*process.server.cmdline(), *process.server.environ().values(), *lines]
    shown += [file.read_text() for file in process.folder.rglob("*") if file.is_file()]
    shown += [repr(hub), repr(Account(TOKEN))]
    assert TOKEN not in " ".join(shown)
    assert session["token"] not in " ".join(shown)


# JupyterHub's API


def test_the_user_has_the_launched_server(api: str, session: Event) -> None:
    for path in ("user", "users/local", "user?include_stopped_servers=1"):
        user = call("GET", api + path).json()
        server = user["servers"][name_of(session)]
        assert (user["name"], server["ready"], server["pending"]) == ("local", True, None)
        assert server["url"] == urlsplit(session["url"]).path
        assert server["user_options"]["token"] == session["token"]
        assert server["user_options"]["repo_url"] == "https://github.com/org/repo"


@pytest.mark.parametrize("token", ["", "another"])
def test_the_api_refuses_other_tokens(api: str, token: str) -> None:
    response = call("GET", f"{api}users/local", token)
    assert response.status_code == 403
    assert response.json() == {"status": 403, "message": "Missing or invalid credentials."}


def test_a_servers_token_opens_only_this_server(hub: Hub, api: str, session: Event) -> None:
    issued = issue(api, session, note="a note", expires_in=60)
    assert (issued["note"], issued["expires_at"][-1]) == ("a note", "Z")
    token = issued["token"]
    assert call("GET", session["url"] + "api/status", token).status_code == 200
    assert "servers" not in call("GET", f"{api}users/local", token).json()
    name = name_of(session)
    for method, path in (
        ("POST", "users/local/tokens"),
        ("DELETE", f"users/local/tokens/{issued['id']}"),
        ("DELETE", f"users/local/servers/{name}"),
    ):
        assert call(method, api + path, token).status_code == 403
    account = Account(TOKEN)
    assert not account.opens(account.issue("another", "", 60).token, name)

    assert call("DELETE", f"{api}users/local/tokens/{issued['id']}").status_code == 204
    assert call("GET", session["url"] + "api/status", token).status_code == 403
    assert call("DELETE", f"{api}users/local/tokens/{issued['id']}").status_code == 404


def test_an_issued_token_expires() -> None:
    now = 1000.0
    account = Account(TOKEN, lambda: now)
    token = account.issue("name", "", 60).token
    assert account.opens(token, "name")
    now += 60
    assert not account.opens(token, "name")
    assert not account.knows(token)


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{",
        "{}",
        '{"scopes": ["admin:users"]}',
        '{"scopes": ["access:servers!server=other/x"]}',
        '{"scopes": ["access:servers!server=local/x"], "expires_in": 0}',
        '{"scopes": ["access:servers!server=local/x"], "expires_in": true}',
    ],
)
def test_an_invalid_request_for_a_token_is_refused(api: str, body: str) -> None:
    assert call("POST", f"{api}users/local/tokens", data=body).status_code == 400


def test_any_other_path_of_the_api_does_not_exist(api: str) -> None:
    for path in ("users", "users/other", "groups"):
        assert call("GET", api + path).status_code == 404
    assert call("GET", f"{api}groups", "another").status_code == 403


def test_stopping_a_server_ends_its_process(hub: Hub, api: str) -> None:
    before = len(processes())
    *_, session = events(hub, BUILD, {**STREAM, **header(TOKEN)})
    assert len(processes()) == before + 1
    url = f"{api}users/local/servers/{name_of(session)}"
    assert call("DELETE", url, json={"remove": True}).status_code == 204
    assert len(processes()) == before
    assert call("DELETE", url).status_code == 404
    assert name_of(session) not in call("GET", f"{api}user").json()["servers"]
    assert call("GET", session["url"] + "api/status").status_code == 302


def test_stopping_a_pending_server_ends_its_launch(hub: Hub, api: str, lines: list[str]) -> None:
    before = len(processes())
    phases: list[str] = []

    def launch() -> None:
        phases.extend(event["phase"] for event in events(hub, BUILD, {**STREAM, **header(TOKEN)}))

    thread = threading.Thread(target=launch)
    thread.start()
    pending: list[str] = []
    while not pending:
        servers = call("GET", f"{api}user").json()["servers"].values()
        pending = [each["name"] for each in servers if each["pending"] == "spawn"]
        assert thread.is_alive()
    assert call("GET", f"{hub.url}user/local/{pending[0]}/api/status").status_code == 302
    assert call("DELETE", f"{api}users/local/servers/{pending[0]}").status_code == 204
    thread.join()
    assert phases[-1] == "failed"
    assert len(processes()) == before
