"""The session file: private from the start, whole or not at all."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from clinder import session_file
from clinder.errors import UsageError
from clinder.session import Attempt, Session

SESSION = Session(
    "http://127.0.0.1:8888/user/x/",
    "t/o+k&en",
    hub="https://hub.example.org/",
    phases={"launching": 1.5},
    attempts=(Attempt("https://hub.example.org/", "ready", "", 2.0),),
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    session_file.write(path, SESSION)
    assert session_file.read(path) == SESSION
    assert json.loads(path.read_text()) == json.loads(json.dumps(SESSION.to_json()))
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.posix
def test_nobody_else_may_read_it_not_even_over_a_file_that_all_may(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    path.touch(mode=0o644)
    before = os.umask(0)
    try:
        session_file.write(path, SESSION)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "session.json"
    folder.mkdir()
    with pytest.raises(OSError, match=r"session\.json"):
        session_file.write(folder, SESSION)
    assert [*tmp_path.iterdir()] == [folder]


def test_where_no_file_could_be_written(tmp_path: Path) -> None:
    session_file.raise_if_unwritable(tmp_path / "new.json")
    assert not [*tmp_path.iterdir()]
    with pytest.raises(UsageError, match=r"cannot be written: No such file or directory\."):
        session_file.raise_if_unwritable(tmp_path / "missing" / "session.json")
    with pytest.raises(UsageError, match="is a directory, a pipe or a device"):
        session_file.raise_if_unwritable(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"url": "http://h/"}',
        b'{"token": "t"}',
        b'{"url": 1, "token": 2}',
        b'{"url": "file:///etc", "token": "t"}',
        b'{"url": "http://h/", "token": "a b"}',
        b"\xff\xfe{}",
        b"http://h/?token=t",
        b"[" * 100_000,
    ],
)
def test_what_is_no_session_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "session.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"session\.json is not a session file\.") as raised:
        session_file.read(path)
    assert "`url` and `token`" in raised.value.hint


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file or directory"):
        session_file.read(tmp_path / "session.json")


def test_url_and_token_are_enough_and_what_is_unknown_is_left(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    path.write_text('{"url": "http://h/user/x/lab", "token": "t", "new": 1, "phases": {"a": "b"}}')
    assert session_file.read(path) == Session("http://h/user/x/", "t")


@pytest.mark.posix
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_is_no_place_for_a_session(tmp_path: Path, kind: str) -> None:
    """Reading one may never end."""
    path = tmp_path / "session.json"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="a pipe or a device"):
        session_file.read(path)
    with pytest.raises(UsageError, match="a pipe or a device"):
        session_file.raise_if_unwritable(path)
