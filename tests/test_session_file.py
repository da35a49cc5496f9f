"""The session file: private from the start, and written atomically."""

from __future__ import annotations

import json
import os
import stat
import threading
from contextlib import suppress
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.json"


def test_reading_returns_what_was_written(tmp_path: Path, path: Path) -> None:
    session_file.write(path, SESSION)
    assert session_file.read(path) == SESSION
    assert json.loads(path.read_text()) == json.loads(json.dumps(SESSION.to_json()))
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.posix
def test_overwriting_a_public_file_makes_it_private(path: Path) -> None:
    path.touch(mode=0o644)
    before = os.umask(0)
    try:
        session_file.write(path, SESSION)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.posix
def test_at_any_moment_the_file_is_private_and_complete(tmp_path: Path, path: Path) -> None:
    session_file.write(path, SESSION)
    done, seen, modes = threading.Event(), set[str](), set[int]()

    def observe() -> None:
        while not done.is_set():
            seen.add(path.read_text())
            for each in tmp_path.iterdir():
                with suppress(FileNotFoundError):
                    modes.add(stat.S_IMODE(each.stat().st_mode))

    thread = threading.Thread(target=observe)
    thread.start()
    before = os.umask(0)
    try:
        for _ in range(200):
            session_file.write(path, SESSION)
    finally:
        os.umask(before)
        done.set()
        thread.join()
    assert seen == {json.dumps(SESSION.to_json()) + "\n"}
    assert modes == {0o600}


def test_create_never_overwrites_and_leaves_no_temporary_file(tmp_path: Path, path: Path) -> None:
    session_file.create(path, SESSION)
    other = Session("http://127.0.0.1:1/", "other")
    with pytest.raises(FileExistsError):
        session_file.create(path, other)
    assert session_file.read(path) == SESSION
    with pytest.raises(OSError, match="too long"):  # only the temporary file's name is too long
        session_file.create(tmp_path / ("x" * 250), other)
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.posix
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o620, 0o602, 0o777])
def test_a_file_that_others_can_access_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "my session.json"
    session_file.write(path, SESSION)
    path.chmod(mode)
    with pytest.raises(UsageError, match=f"Other users .*: its mode is {mode:04o}") as raised:
        session_file.read(path)
    assert raised.value.hint.endswith(f"chmod 600 '{path}'")
    assert SESSION.token not in f"{raised.value!r} {raised.value.hint}"
    assert session_file.holds(path, SESSION), "such a file can still be removed"


@pytest.mark.posix
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_private_file_is_accepted(path: Path, mode: int) -> None:
    session_file.write(path, SESSION)
    path.chmod(mode)
    assert session_file.read(path) == SESSION


@pytest.mark.posix
def test_another_users_file_is_refused(path: Path) -> None:
    if os.geteuid() == 0:
        session_file.write(path, SESSION)
        os.chown(path, 12345, -1)
    else:
        path = Path("/etc/passwd")  # it belongs to root
    with pytest.raises(UsageError, match="belongs to another user"):
        session_file.read(path)


@pytest.mark.posix
def test_a_link_is_judged_by_its_target(tmp_path: Path, path: Path) -> None:
    link = tmp_path / "link.json"
    session_file.write(path, SESSION)
    link.symlink_to(path)
    assert session_file.read(link) == SESSION
    path.chmod(0o644)
    with pytest.raises(UsageError, match="Other users"):
        session_file.read(link)


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "session.json"
    folder.mkdir()
    with pytest.raises(OSError, match=r"session\.json"):
        session_file.write(folder, SESSION)
    assert [*tmp_path.iterdir()] == [folder]


def test_an_unwritable_path_is_refused(tmp_path: Path) -> None:
    session_file.require_writable(tmp_path / "new.json")
    assert not [*tmp_path.iterdir()]
    with pytest.raises(UsageError, match=r"cannot be written: No such file or directory\."):
        session_file.require_writable(tmp_path / "missing" / "session.json")
    with pytest.raises(UsageError, match="is a directory, a pipe or a device"):
        session_file.require_writable(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b'{"url": "file:///etc", "token": "t"}',
        b'{"url": "http://h/", "token": "a b"}',
        b"\xff\xfe{}",
        b"http://h/?token=t",
    ],
)
def test_other_content_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"session\.json is not a session file\.") as raised:
        session_file.read(path)
    assert "`url` and `token`" in raised.value.hint


@pytest.mark.posix
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_is_refused(path: Path, kind: str) -> None:
    """Reading one might never end."""
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="a pipe or a device"):
        session_file.read(path)
    with pytest.raises(UsageError, match="a pipe or a device"):
        session_file.require_writable(path)


@pytest.mark.posix
def test_a_dangling_link_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "session.json"
    link.symlink_to(tmp_path / "missing.json")
    with pytest.raises(UsageError, match="link to a file that does not exist"):
        session_file.require_writable(link)
