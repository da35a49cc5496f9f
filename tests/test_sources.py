"""Every command that takes sessions accepts the same arguments for them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clinder import session_file
from clinder.cli.main import main
from clinder.cli.sources import Source
from clinder.cli.stop import how_to_continue
from clinder.errors import UsageError
from clinder.session import Account, Session
from hubs import Jupyter, ScriptedHub

TOKEN = "s3cret-token"
COMMANDS = {"stop": ["stop"], "status": ["status"], "exec": ["exec", "-c", "1"]}

pytestmark = pytest.mark.usefixtures("_no_threads_left")
every_command = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedHub]:
    for name in ("JUPYTER_BASE_URL", "JUPYTER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with ScriptedHub(servers={name: Jupyter(TOKEN) for name in "xy"}) as scripted:
        yield scripted


def session(hub: ScriptedHub, name: str = "x", token: str = TOKEN) -> Session:
    return Session(f"{hub.origin}/user/{name}/", token)


def write(path: Path, session: Session) -> Path:
    session_file.write(path, session)
    return path


def requested(hub: ScriptedHub) -> set[str]:
    """The names of the servers that received requests."""
    return {each.path.split("/")[2] for each in hub.requests}


@every_command
@pytest.mark.parametrize("form", ["uri", "json", "stdin", "@file", "--session-file", "variables"])
def test_a_session_can_be_named_in_each_way(
    command: list[str], form: str, hub: ScriptedHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = session(hub)
    file = str(write(tmp_path / "session.json", one))
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{one.uri}\n"))
    arguments = {
        "uri": [one.uri],
        "json": [json.dumps(one.to_json())],
        "stdin": ["-"],
        "@file": [f"@{file}"],
        "--session-file": ["--session-file", file],
        "variables": [],
    }
    if form == "variables":
        for name, value in one.variables.items():
            monkeypatch.setenv(name, value)
    assert main([*command, *arguments[form]]) == 0
    assert requested(hub) == {"x"}


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["{uri}", "code.py"], ""),
        (["@session.json", "code.py"], ""),
        (["-", "code.py"], "{uri}"),
        (["@session.json", "-"], "1"),
        (["--session-file", "session.json", "code.py"], ""),
        (["--session-file", "session.json", "-"], "1"),
        (["--session", "@session.json", "code.py"], ""),
        (["--session", "-", "code.py"], "{uri}"),
        (["--session", "-", "-c", "1"], "{uri}"),
    ],
    ids=str,
)
def test_exec_takes_a_session_before_the_code(
    arguments: list[str],
    stdin: str,
    hub: ScriptedHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``--session`` was the only way once."""
    monkeypatch.chdir(tmp_path)
    write(Path("session.json"), session(hub))
    uri = session(hub).uri
    Path("code.py").write_text("1")
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin.replace("{uri}", uri)))
    assert main(["exec", *(each.replace("{uri}", uri) for each in arguments)]) == 0
    assert requested(hub) == {"x"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-", "-"], "Standard input cannot contain both the session and the code."),
        (["code.py"], "JUPYTER_BASE_URL and JUPYTER_TOKEN are not both set."),
        (["@a.json"], "Pass the code exactly once"),
        (["-c", "1", "code.py"], "Pass the code exactly once"),
        (["code.py", "-"], "Pass the code exactly once"),
        (["a.py", "b.py", "c.py"], "Pass the code exactly once"),
        (["code.ipynb"], "clinder exec runs plain code, not notebooks."),
        (["@a.json", "--session-file", "b.json", "-c", "1"], "There is more than one session"),
        (["@", "-c", "1"], "The path of the session file is empty."),
    ],
    ids=str,
)
def test_exec_reports_wrong_arguments(
    arguments: list[str], message: str, hub: ScriptedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before it reports that there is no session."""
    assert main(["exec", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not hub.requests


def test_status_shows_every_session(
    hub: ScriptedHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y, gone = (session(hub, name) for name in ("x", "y", "gone"))
    file = str(write(tmp_path / "session.json", y))
    assert main(["status", x.uri, f"@{file}"]) == 0
    blocks = capsys.readouterr().out.split("\n\n")
    assert [block.splitlines()[0].split()[1] for block in blocks] == [x.url, y.url]

    assert main(["status", "-o", "json", x.uri, gone.uri, "--session-file", file]) == 10
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(each["url"], each["state"]) for each in lines] == [
        (x.url, "running"),
        (gone.url, "gone"),
        (y.url, "running"),
    ]
    assert err.startswith(f"clinder: The session at {gone.url} is gone: ")


def test_status_continues_after_a_failure_and_exits_with_its_code(
    hub: ScriptedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = session(hub, token="wrong")
    assert main(["status", "nonsense", wrong.uri, session(hub, "y").uri]) == 2
    out, err = capsys.readouterr()
    assert session(hub, "y").url in out
    assert "This is not the HTTP(S) URL of a session." in err
    assert f"The session's server refused the token. ({wrong.url})" in err


@pytest.mark.posix
@every_command
def test_a_file_that_others_can_read_is_refused_with_the_command_that_protects_it(
    command: list[str], hub: ScriptedHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shell that redirects ``clinder start -o json`` creates such a file."""
    file = write(tmp_path / "session.json", session(hub))
    file.chmod(0o644)
    assert main([*command, f"@{file}"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"clinder: Other users can read or change the session file {file}: its mode is 0644.",
        f"  what to do: Restrict access to yourself: chmod 600 {file}",
    ]
    assert not hub.requests


@pytest.mark.parametrize(
    ("files", "end"),
    [
        ([None], "might still be running. To stop it, run the same command again."),
        ([None, Path("a")], "To stop them, run the same command again."),
        (
            [Path("my session.json"), Path("b")],
            "run `clinder stop --session-file 'my session.json' --session-file b`.",
        ),
    ],
    ids=str,
)
def test_after_a_cancellation_stop_shows_how_to_stop_the_remaining_sessions(
    files: list[Path | None], end: str
) -> None:
    sources = [
        Source(Session(f"https://h/user/{at}/", TOKEN), file) for at, file in enumerate(files)
    ]
    hint = how_to_continue([*sources, Source(UsageError("This is not a session."))])
    assert hint.endswith(end)
    assert all(each.session.url in hint for each in sources)
    assert TOKEN not in hint


def test_a_hub_token_that_cannot_be_one_keeps_no_other_session_from_being_stopped(
    hub: ScriptedHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CLINDER_HUB_TOKEN", "two words")
    under_account = replace(session(hub), account=Account("ada"))
    file = str(write(tmp_path / "session.json", under_account))
    assert main(["stop", f"@{file}", session(hub, "y").uri]) == 2
    assert "The hub token contains a space" in capsys.readouterr().err
    assert not hub.runs("y")


def test_stop_removes_the_file_of_a_session_that_is_gone(hub: ScriptedHub, tmp_path: Path) -> None:
    files = [write(tmp_path / name, session(hub, name)) for name in "xy"]
    assert main(["stop", f"@{files[0]}", "--session-file", str(files[1])]) == 0
    assert requested(hub) == {"x", "y"}
    assert not [*tmp_path.iterdir()]
