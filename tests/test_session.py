"""A session as a URI and as JSON; its token is never shown by accident."""

from __future__ import annotations

import json
import pickle
import traceback
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinder.errors import UsageError
from clinder.session import Attempt, Session

URL = "https://hub.example.org/user/x/"
TOKEN = "s3cret-token"
COMPLETE = Session(
    URL,
    TOKEN,
    hub="https://hub.example.org/",
    launch_host="https://hub.example.org/",
    spec="gh/org/repo/HEAD",
    persistent_spec="gh/org/repo/" + "a" * 40,
    repo_url="https://github.com/org/repo",
    ref_url="https://github.com/org/repo/tree/main",
    binder_link="https://hub.example.org/v2/gh/org/repo/HEAD",
    image="registry/image:tag",
    image_found=True,
    started_at="2026-01-01T00:00:00+00:00",
    phases={"waiting": 1.5, "readiness": 0.25},
    attempts=(
        Attempt("https://other.example.org/", "HubFull", "The hub is full.", 2.0),
        Attempt("https://x.example.org/", "BuilderDied", "It died.", 2.0, 0.5, "builder-died", "x"),
    ),
)


@pytest.mark.parametrize(
    "uri",
    [
        f"{URL}?token={TOKEN}",
        f"https://hub.example.org/user/x?token={TOKEN}",
        f"{URL}lab?token={TOKEN}",
        f"{URL}lab/tree/folder/notebook.ipynb?reset&token={TOKEN}#cell",
        f"{URL}tree?token={TOKEN}&token={TOKEN}",
        f"{URL}api/status?token={TOKEN}",
        f"{URL}rstudio/?token={TOKEN}",
        f"{URL}rstudio/auth-sign-in?appUri=%2F&token={TOKEN}",
        f"{URL}terminals/1?token={TOKEN}",
        f"{URL}proxy/8050/?token={TOKEN}",
        f"{URL}proxy/8050/api/terminals?token={TOKEN}",
        f"{URL}files/terminals/1?token={TOKEN}",
        f" {URL}?token={TOKEN}\n",
    ],
)
def test_a_uri_from_a_browser_is_a_session(uri: str) -> None:
    assert Session.from_uri(uri) == Session(URL, TOKEN)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "session",
        URL,
        f"{URL}?token=",
        f"{URL}?token=one&token=two",
        f"{URL}?token=has%20blank",
        f"{URL}?token=%0d%0aX-Header:%20x",
        f"{URL}?token=%C3%BC",
        f"ftp://hub.example.org/?token={TOKEN}",
        f"file:///etc/passwd?token={TOKEN}",
        f"https:///user/x/?token={TOKEN}",
        f"https://user:password@hub.example.org/?token={TOKEN}",
        f"https://hub.example.org:0/?token={TOKEN}",
        f"https://hub.example.org:port/?token={TOKEN}",
        f"https://[::1/?token={TOKEN}",
        f"https://hub.example.org/a b/?token={TOKEN}",
        f"https://hub.example.org/\x1b[2J/?token={TOKEN}",
    ],
)
def test_an_invalid_uri_is_refused_without_showing_the_token(uri: str) -> None:
    with pytest.raises(UsageError) as raised:
        Session.from_uri(uri)
    shown = "".join(traceback.format_exception(raised.value))
    assert raised.value.hint
    assert TOKEN not in shown
    assert "password" not in shown


@pytest.mark.parametrize(
    ("path", "server"),
    [
        ("lab/user/lab/", "lab/user/lab/"),
        ("lab", "lab/"),
        ("user/x/gpu/", "user/x/gpu/"),
        ("user/x/gpu/lab/tree/a.ipynb", "user/x/gpu/"),
        ("user/x/gpu/rstudio/", "user/x/gpu/"),
        ("user/x/terminals/gpu/lab", "user/x/"),
        ("prefix/user/x/proxy/8050/user/y/lab", "prefix/user/x/"),
        ("user/x/laboratory/", "user/x/laboratory/"),
    ],
)
def test_only_a_page_below_the_server_is_removed_from_its_url(path: str, server: str) -> None:
    """A server is at ``/user/NAME/`` or, if the hub has named servers, ``/user/NAME/SERVER/``."""
    site = "https://hub.example.org/"
    assert Session(f"{site}{path}", TOKEN).url == f"{site}{server}"


def test_the_url_that_a_hub_reported_is_exact() -> None:
    """A named server can have the name of a page."""
    assert Session(f"{URL}rstudio/", TOKEN, hub="https://hub.example.org/").url == f"{URL}rstudio/"


def test_only_the_uri_and_the_variables_show_the_token() -> None:
    assert TOKEN not in repr(COMPLETE)
    assert TOKEN not in str(COMPLETE)
    assert TOKEN not in f"{[COMPLETE]!r} {COMPLETE}"
    assert TOKEN not in "".join(traceback.format_exception(ValueError(COMPLETE)))
    assert COMPLETE.uri == f"{URL}?token={TOKEN}"
    assert COMPLETE.variables == {"JUPYTER_BASE_URL": URL, "JUPYTER_TOKEN": TOKEN}


def test_a_session_survives_json_and_pickle() -> None:
    data = COMPLETE.to_json()
    assert Session.from_json(json.dumps(data)) == COMPLETE
    assert Session.parse(" " + json.dumps(data)) == COMPLETE
    assert pickle.loads(pickle.dumps(COMPLETE)) == COMPLETE
    assert data["uri"] == COMPLETE.uri
    assert set(data) == {"uri", *(each.name for each in fields(Session))}


@pytest.mark.parametrize(("value", "found"), [(False, False), ("yes", None), (1, None)])
def test_whether_the_image_was_found_is_a_boolean_or_unknown(
    value: object, found: bool | None
) -> None:
    data = {"url": URL, "token": TOKEN, "image_found": value}
    assert Session.from_json(json.dumps(data)).image_found is found


def test_json_can_contain_only_the_uri() -> None:
    assert Session.from_json(json.dumps({"uri": COMPLETE.uri})) == Session(URL, TOKEN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        '"text"',
        "{}",
        '{"url": "https://hub.example.org/"}',
        '{"token": "x"}',
        '{"url": 5, "token": "x"}',
        '{"url": "https://hub.example.org/", "token": ["x"]}',
        '{"a":' * 100_000,
    ],
)
def test_json_without_url_and_token_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Session.from_json(text)


def test_json_fields_of_the_wrong_type_are_ignored() -> None:
    """A file from another version, or from another program, can still be used."""
    data: dict[str, Any] = {
        "url": f"{URL}lab",
        "token": TOKEN,
        "image": 5,
        "phases": {"waiting": 1, "built": True, "launching": "long", "readiness": 10**400},
        "attempts": ["one", {"hub": "h", "seconds": "long"}],
        "later": {},
    }
    assert Session.from_json(json.dumps(data)) == replace(
        Session(URL, TOKEN), phases={"waiting": 1.0}, attempts=(Attempt("h", ""),)
    )
    assert Session.from_json(json.dumps(data | {"phases": [], "attempts": {}})).phases == {}


tokens = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)


@given(tokens)
def test_every_token_survives_its_uri(token: str) -> None:
    session = Session(URL, token)
    assert Session.from_uri(session.uri) == session
    assert Session.from_json(json.dumps(session.to_json())) == session


@given(st.text() | st.text().map(lambda text: f"https://{text}/?token=x"))
def test_parsing_any_text_gives_a_session_or_a_usage_error(text: str) -> None:
    try:
        session = Session.parse(text)
    except UsageError:
        return
    assert session.url.startswith(("http://", "https://"))
    assert session.url.isprintable()
