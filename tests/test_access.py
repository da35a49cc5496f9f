"""Who may use the gateway: requests as they arrive, and what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from clinder.gateway.access import Access, Denied, Target

TOKEN = "g" * 43
SESSIONS_TOKEN = "s" * 43
ACCESS = Access(TOKEN, 8080)
GOOD = {"host": "127.0.0.1:8080", "authorization": f"token {TOKEN}"}


def admit(
    target: str = "/api/status",
    method: str = "GET",
    headers: Mapping[str, str | None] | None = None,
) -> Target:
    given = {**GOOD, **(headers or {})}
    present = {name: value for name, value in given.items() if value is not None}
    return ACCESS.admit(method, target, present)


ADMITTED = [
    ("/api", "api"),
    ("/api/", "api/"),
    ("/api/kernels/1/channels?session_id=x", "api/kernels/1/channels?session_id=x"),
    ("/api/contents/a%20b/%C3%A9.ipynb", "api/contents/a%20b/%C3%A9.ipynb"),
    ("/api/contents/100%25.txt", "api/contents/100%25.txt"),
    ("/api/contents/a..b/.hidden", "api/contents/a..b/.hidden"),
    ("/api/contents/x%2Fy", "api/contents/x%2Fy"),
    (f"/api/kernels?a=1&token={TOKEN}&b=", "api/kernels?a=1&b="),
    (f"/api/kernels?token={TOKEN}", "api/kernels"),
]


@pytest.mark.parametrize(("target", "forwarded"), ADMITTED)
def test_the_api_is_forwarded_without_the_token_in_the_query(target: str, forwarded: str) -> None:
    assert admit(target).text == forwarded


REFUSED_PATHS = [
    ("/api/../hub/home", 400),
    ("/api/..", 400),
    ("/api/./x", 400),
    ("/api/%2e%2e/hub", 400),
    ("/api/%2E./hub", 400),
    ("/api/x%2f..%2f..%2fhub", 400),
    ("/api/%252e%252e/hub", 400),
    ("/api/..%5chub", 400),
    ("/api/a\\b", 400),
    ("/api/%00", 400),
    ("/api/%0d%0aX: y", 400),
    ("/api/x#y", 400),
    ("/api/é", 400),
    ("http://127.0.0.1:8080/api/status", 400),
    ("*", 400),
    ("", 400),
    ("/", 404),
    ("/apis", 404),
    ("/lab", 404),
    ("//evil.example/api/x", 404),
    ("/hub/api/user", 404),
    ("/proxy/8050/api/x", 404),
]


@pytest.mark.parametrize(("target", "status"), REFUSED_PATHS)
def test_nothing_else_of_the_server_is_forwarded(target: str, status: int) -> None:
    with pytest.raises(Denied) as denied:
        admit(target)
    assert denied.value.status == status


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {TOKEN}"},
        {"authorization": f"TOKEN {TOKEN}"},
        {"host": "localhost:8080"},
        {"host": "LOCALHOST:8080"},
        {"origin": "http://127.0.0.1:8080"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-mode": "cors"},
    ],
)
def test_a_program_with_the_token_is_admitted(headers: Mapping[str, str]) -> None:
    assert admit(headers=headers) == Target("api/status")


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": None},
        {"authorization": ""},
        {"authorization": "token "},
        {"authorization": f"token {TOKEN}x"},
        {"authorization": f"token {TOKEN[:-1]}"},
        {"authorization": f"token {SESSIONS_TOKEN}"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        {"authorization": "token é"},
        {"host": None},
        {"host": "127.0.0.1"},
        {"host": "127.0.0.1:8081"},
        {"host": "evil.example:8080"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:3000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_anybody_else_is_refused(headers: dict[str, str | None]) -> None:
    with pytest.raises(Denied) as denied:
        admit(headers=headers)
    assert denied.value.status == 403


def test_a_wrong_token_in_the_query_is_refused() -> None:
    with pytest.raises(Denied):
        admit(f"/api/status?token={SESSIONS_TOKEN}", headers={"authorization": None})


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "OPTIONS", "BREW"])
def test_other_methods_are_refused(method: str) -> None:
    with pytest.raises(Denied) as denied:
        admit(method=method)
    assert denied.value.status == 405


def test_a_stranger_does_not_learn_what_exists() -> None:
    with pytest.raises(Denied) as denied:
        admit("/lab", headers={"authorization": None})
    assert denied.value.status == 403


def test_the_token_is_not_shown() -> None:
    assert TOKEN not in repr(ACCESS)
