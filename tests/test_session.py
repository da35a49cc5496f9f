"""A session as a URI, as JSON, and never with its token where it could be read by chance."""

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
from clinder.session import Attempt, Session, server_url

URL = "https://hub.example.org/user/x/"
TOKEN = "s3cret-token"
WHOLE = Session(
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
    started_at="2026-01-01T00:00:00+00:00",
    phases={"waiting": 1.5, "readiness": 0.25},
    attempts=(Attempt("https://other.example.org/", "HubFull", "The hub is full.", 2.0),),
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
        f" {URL}?token={TOKEN}\n",
    ],
)
def test_a_browsers_address_names_the_session(uri: str) -> None:
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
def test_what_names_no_session_is_refused_without_showing_the_token(uri: str) -> None:
    with pytest.raises(UsageError) as refused:
        Session.from_uri(uri)
    shown = "".join(traceback.format_exception(refused.value))
    assert refused.value.hint
    assert TOKEN not in shown
    assert "password" not in shown


def test_a_path_prefix_that_looks_like_an_application_stays() -> None:
    assert server_url("https://hub.example.org/lab/user/lab/") == (
        "https://hub.example.org/lab/user/lab/"
    )
    assert server_url("https://hub.example.org/lab") == "https://hub.example.org/lab/"


def test_the_token_is_shown_by_nothing_but_what_is_asked_for_it() -> None:
    assert TOKEN not in repr(WHOLE)
    assert TOKEN not in str(WHOLE)
    assert TOKEN not in f"{[WHOLE]!r} {WHOLE}"
    assert TOKEN not in "".join(traceback.format_exception(ValueError(WHOLE)))
    assert WHOLE.uri == f"{URL}?token={TOKEN}"
    assert WHOLE.variables == {"JUPYTER_BASE_URL": URL, "JUPYTER_TOKEN": TOKEN}


def test_a_session_is_the_same_after_json_and_back() -> None:
    told = WHOLE.to_json()
    assert Session.from_json(json.dumps(told)) == WHOLE
    assert Session.parse(" " + json.dumps(told)) == WHOLE
    assert pickle.loads(pickle.dumps(WHOLE)) == WHOLE
    assert told["uri"] == WHOLE.uri
    assert set(told) == {"uri", *(each.name for each in fields(Session))}


def test_json_may_hold_the_uri_alone() -> None:
    assert Session.from_json(json.dumps({"uri": WHOLE.uri})) == Session(URL, TOKEN)


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


def test_what_is_of_another_type_is_left_out() -> None:
    """A file of another version, or of another program, still names its session."""
    told: dict[str, Any] = {
        "url": URL,
        "token": TOKEN,
        "image": 5,
        "phases": {"waiting": 1, "built": True, "launching": "long"},
        "attempts": ["one", {"hub": "h", "seconds": "long"}],
        "later": {},
    }
    assert Session.from_json(json.dumps(told)) == replace(
        Session(URL, TOKEN), phases={"waiting": 1.0}, attempts=(Attempt("h", ""),)
    )
    assert Session.from_json(json.dumps(told | {"phases": [], "attempts": {}})).phases == {}


tokens = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)


@given(tokens)
def test_every_token_goes_through_its_uri_unchanged(token: str) -> None:
    session = Session(URL, token)
    assert Session.from_uri(session.uri) == session
    assert Session.from_json(json.dumps(session.to_json())) == session


@given(st.text() | st.text().map(lambda text: f"https://{text}/?token=x"))
def test_no_text_whatever_is_a_crash(text: str) -> None:
    try:
        session = Session.parse(text)
    except UsageError:
        return
    assert session.url.startswith(("http://", "https://"))
    assert session.url.isprintable()
