"""What was typed, set or left out: which hubs are asked, for what, with which build token."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from answers import Answer, event, page, ready
from clinder._deadline import Deadline
from clinder.cli.main import main
from clinder.errors import UsageError
from clinder.launch.options import LOCAL, LaunchOptions
from clinder.launch.request import DEFAULT_HUB, Request, Resolution, resolve
from clinder.repository import Repository
from histories import History
from hubs import Jupyter, ScriptedHub

TOKEN = "s3cret-token"
BUILD_TOKEN = "b.u1ld-t0ken"
COMMIT = "1f" * 20
LINK = "https://hub.example.org/v2/gh/org/repo/v1.0"
IN_CI = {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "org/repo", "GITHUB_SHA": COMMIT}
FULL = Answer(event(phase="failed", message="Too many users on this BinderHub! Try again soon.\n"))
BUILDING = event(phase="building", message="Step 1\n")

pytestmark = pytest.mark.usefixtures("_no_threads_left")


def typed(
    text: str,
    *hubs: str,
    ref: str = "",
    directory: Path = Path(),
    environment: Mapping[str, str] | None = None,
) -> Resolution:
    options = LaunchOptions(repository=text, hubs=hubs, ref=ref, directory=directory)
    return resolve(options, Deadline(60), environment or {})


# Which hubs are asked.


@pytest.mark.parametrize(
    ("text", "hubs", "asked"),
    [
        ("org/repo", [], [DEFAULT_HUB]),
        ("org/repo", ["https://one.example"], ["https://one.example/"]),
        (LINK, [], ["https://hub.example.org/"]),
        (LINK, ["https://one.example"], ["https://one.example/"]),
        (LINK, ["local"], [LOCAL]),
        ("org/repo", ["local"], [LOCAL]),
        ("org/repo", ["Local"], [LOCAL]),
        ("org/repo", ["local", "LOCAL"], [LOCAL]),
        (
            "org/repo",
            ["https://two.example", "https://one.example/"],
            ["https://two.example/", "https://one.example/"],
        ),
        (
            "org/repo",
            ["https://one.example", "https://two.example", "https://one.example/"],
            ["https://one.example/", "https://two.example/"],
        ),
    ],
)
def test_the_hubs_typed_go_before_the_links_and_that_before_mybinder(
    text: str, hubs: Sequence[str], asked: Sequence[str]
) -> None:
    assert typed(text, *hubs).request.hubs == tuple(asked)


@pytest.mark.parametrize(
    "hubs", [("local", "https://one.example"), ("https://one.example", "Local")]
)
def test_the_local_hub_goes_with_no_other(hubs: Sequence[str]) -> None:
    with pytest.raises(UsageError, match="cannot be combined with other hubs"):
        typed("org/repo", *hubs)


def test_a_request_names_a_hub_and_takes_time() -> None:
    repository = Repository("gh", "org/repo")
    with pytest.raises(UsageError, match="No hub is given"):
        Request(repository, ())
    for seconds in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match="more than 0 seconds"):
            LaunchOptions(timeout=seconds)


# What is asked for.


@pytest.mark.parametrize(
    ("text", "ref", "asked"),
    [
        ("org/repo", "", "HEAD"),
        ("org/repo@v1.0", "", "v1.0"),
        ("org/repo", "main", "main"),
        ("org/repo@v1.0", "v1.0", "v1.0"),
        ("org/repo@HEAD", "main", "main"),
        (f"org/repo@{COMMIT}", COMMIT.upper(), COMMIT),
        (LINK, "", "v1.0"),
        (LINK, "v1.0", "v1.0"),
        (LINK.replace("v1.0", "HEAD"), "main", "main"),
    ],
)
def test_a_ref_is_named_in_the_text_or_beside_it(text: str, ref: str, asked: str) -> None:
    made = typed(text, ref=ref)
    assert made.request.repository == Repository("gh", "org/repo", asked)
    assert made.notes == made.warnings == ()


@pytest.mark.parametrize(
    "text",
    [
        "org/repo@v1.0",
        LINK,
        "https://github.com/org/repo/tree/v1.0",
        f"[![Binder](https://hub.example.org/badge_logo.svg)]({LINK})",
    ],
)
@pytest.mark.parametrize("ref", ["v2.0", "HEAD"])
def test_two_refs_that_differ_are_a_misuse(text: str, ref: str) -> None:
    with pytest.raises(
        UsageError, match=f"'v1.0', but another ref is given too: '{ref}'"
    ) as raised:
        typed(text, ref=ref)
    assert "--ref" in raised.value.hint


def test_with_no_text_it_is_the_commit_that_is_worked_on(tmp_path: Path) -> None:
    made = typed("", directory=tmp_path, environment=IN_CI)
    assert made.request.repository == Repository("gh", "org/repo", COMMIT)
    assert made.request.hubs == (DEFAULT_HUB,)
    (note,) = made.notes
    assert note == f"Launching gh/org/repo/{COMMIT}, from GitHub Actions."
    assert made.warnings == ()


def test_with_no_text_but_a_ref_it_is_that_ref_of_what_is_worked_on(tmp_path: Path) -> None:
    made = typed("", "https://one.example", ref="main", directory=tmp_path, environment=IN_CI)
    assert made.request.repository == Repository("gh", "org/repo", "main")
    assert made.request.hubs == ("https://one.example/",)


def test_what_the_checkout_warns_of_is_returned(tmp_path: Path) -> None:
    missing = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(tmp_path / "no")}
    made = typed("", directory=tmp_path, environment={**IN_CI, **missing})
    (warning,) = made.warnings
    assert "has no head commit" in warning


def test_the_local_hub_launches_the_directory_whatever_the_job_says(tmp_path: Path) -> None:
    made = typed("", "local", directory=tmp_path, environment=IN_CI)
    repository = made.request.repository
    assert (repository.provider, repository.ref) == ("git", "HEAD")
    assert repository.name == f"file://localhost{tmp_path.resolve().as_posix()}"
    assert made.request.options.directory == tmp_path
    assert made.notes == made.warnings == ()


@pytest.mark.parametrize("ref", ["main", "HEAD"])
def test_a_ref_is_no_misuse_where_the_local_hub_launches_a_checkout(ref: str) -> None:
    """Nobody named the checkout's commit; the embedded hub only says the ref again."""
    root = Path(__file__).parents[1]
    assert typed("", "local", ref=ref, directory=root).request.repository.ref == ref


@pytest.mark.parametrize("hubs", [(), ("local",)])
def test_a_directory_that_is_gone_is_no_place_to_launch_from(
    hubs: Sequence[str], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        typed("", *hubs, directory=tmp_path / "gone", environment=IN_CI)


def test_the_rest_is_handed_on() -> None:
    options = LaunchOptions(repository="org/repo", timeout=17.0, build_token=BUILD_TOKEN)
    made = resolve(options, Deadline(60), {})
    assert made.request == Request(Repository("gh", "org/repo"), options=options)
    assert BUILD_TOKEN not in repr(made)


def test_what_is_not_given_is_as_documented() -> None:
    options = LaunchOptions()
    assert (options.timeout, options.attempts, options.warm_up) == (1200, 3, "")
    assert (options.build_token, options.reuse_environment) == ("", False)


def test_a_commit_that_is_typed_may_be_older_than_what_is_not_pushed_yet(tmp_path: Path) -> None:
    book = History(tmp_path / "book")
    first = book.commit({"environment.yml": "dependencies: [numpy]\n"})
    pushed = book.commit()
    book.mark_pushed()
    book.git("branch", "--quiet", "--set-upstream-to=origin/main")
    book.commit()

    options = LaunchOptions(f"org/repo@{pushed}", reuse_environment=True, directory=book.path)
    made = resolve(options, Deadline(60), book.environ)

    assert made.request.repository == Repository("gh", "org/repo", first)
    assert made.notes[0] == f"Requested: gh/org/repo/{pushed}, from the given repository."
    assert made.warnings == ()


# The command line and its environment.


Hubs = tuple[ScriptedHub, ScriptedHub]


@pytest.fixture
def two() -> Iterator[Hubs]:
    with ScriptedHub() as first, ScriptedHub() as second:
        yield first, second


def launchable(hub: ScriptedHub) -> str:
    """Have the hub's next launch succeed; return the session's URI."""
    url = hub.serve("x", Jupyter(TOKEN))
    hub.then(Answer(ready(url, TOKEN)))
    return f"{url}?token={TOKEN}\n"


def queries(hub: ScriptedHub) -> list[str]:
    return [each.path.partition("?")[2] for each in hub.builds]


@pytest.mark.parametrize(("between", "refused"), [(" ", FULL), ("\n", page(404)), (" \t\n ", FULL)])
def test_the_hubs_of_the_environment_are_asked_in_order(
    between: str,
    refused: Answer,
    two: Hubs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = two
    first.then(refused)
    uri = launchable(second)
    monkeypatch.setenv("CLINDER_HUB", f"{first.url}{between}{second.url}")

    assert main(["start", "org/repo"]) == 0

    told = capsys.readouterr()
    assert told.out == uri
    assert [len(first.builds), len(second.builds)] == [1, 1]
    asking = [told.err.index(f"from {hub.url}") for hub in (first, second)]
    assert asking == sorted(asking)


@pytest.mark.parametrize(
    ("variable", "arguments"),
    [
        ("{asked} {other}", ["org/repo"]),
        ("{other}", ["org/repo", "--hub", "{asked}"]),
        ("{asked}", ["{other}v2/gh/org/repo/HEAD"]),
    ],
    ids=["first of the variable", "option before the variable", "variable before the link"],
)
def test_which_of_two_hubs_is_the_only_one_asked(
    variable: str,
    arguments: Sequence[str],
    two: Hubs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked, other = two
    uri = launchable(asked)
    urls = {"asked": asked.url, "other": other.url}
    monkeypatch.setenv("CLINDER_HUB", variable.format(**urls))

    assert main(["start", "-q", *(each.format(**urls) for each in arguments)]) == 0

    assert capsys.readouterr() == (uri, "")
    assert not other.requests


@pytest.mark.parametrize("way", ["environment", "file"])
def test_the_build_token_reaches_the_hub_and_nobody_who_reads_along(
    way: str,
    tmp_path: Path,
    two: Hubs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub, _ = two
    arguments = ["start", "org/repo", "-v", "--hub", hub.url]
    if way == "environment":
        monkeypatch.setenv("CLINDER_BUILD_TOKEN", f"{BUILD_TOKEN}\n")
    else:
        path = tmp_path / "token"
        path.write_text(f"{BUILD_TOKEN}\n", encoding="utf-8")
        monkeypatch.setenv("CLINDER_BUILD_TOKEN", "another")
        arguments += ["--build-token", f"@{path}"]
    hub.then(Answer(BUILDING + event(phase="failed", message="Error during build\n")))

    assert main(arguments) == 4

    assert queries(hub) == [f"build_token={BUILD_TOKEN}"]
    told = capsys.readouterr()
    assert "Error during build" in told.err
    assert BUILD_TOKEN not in told.out + told.err


def test_without_a_build_token_the_hub_gets_none(
    two: Hubs, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = two
    uri = launchable(first)
    assert main(["start", "org/repo", "-q", "--hub", first.url]) == 0
    assert queries(first) == [""]
    assert capsys.readouterr() == (uri, "")


class Defective:
    """A standard input that fails as nothing foreseen does."""

    def read(self) -> str:
        raise RuntimeError(f"a bug that knows {TOKEN}")


def test_a_bug_ends_in_one_message_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Defective())

    assert main(["status", "-"]) == 70

    told = capsys.readouterr()
    assert told.out == ""
    message, hint = told.err.splitlines()
    assert message.startswith("clinder: A bug in clinder ")
    assert ": RuntimeError at test_request.py:" in message
    assert message.endswith(" in read.")
    assert hint.startswith("  what to do: Report this line")


@pytest.mark.parametrize(
    ("hub", "words"),
    [
        ("http://hub.example.org", "http://hub.example.org/ uses plain HTTP"),
        ("https://hub.example.org", ""),
        ("http://127.0.0.1:8585", ""),
        ("http://localhost:8585", ""),
    ],
)
def test_a_hub_that_shows_the_token_to_others_is_warned_of(
    hub: str, words: str, tmp_path: Path
) -> None:
    made = typed("org/repo", hub, directory=tmp_path)
    assert bool(made.warnings) is bool(words)
    assert words in "".join(made.warnings)


@pytest.mark.parametrize("attempts", [0, 4, -1])
def test_a_hub_is_asked_one_to_three_times(attempts: int) -> None:
    with pytest.raises(UsageError, match="from 1 to 3"):
        LaunchOptions(attempts=attempts)


@pytest.mark.parametrize("way", ["option", "environment"])
@pytest.mark.parametrize("name", ["connect", "idle", "readiness", "stop"])
def test_each_clock_is_an_option_and_a_variable(
    way: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["start", "org/repo", "--hub", "http://127.0.0.1:1", "--attempts", "1"]
    if way == "option":
        arguments += [f"--{name}-timeout", "soon"]
    else:
        monkeypatch.setenv(f"CLINDER_{name.upper()}_TIMEOUT", "soon")
    assert main(arguments) == 2
    assert "'soon' is not a number of seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--idle-timeout", "sent nothing"),
        ("--readiness-timeout", "never became usable"),
        ("--timeout", "did not finish within 0.3 s"),
    ],
)
def test_a_clock_that_is_given_is_the_one_that_counts(
    option: str, words: str, two: Hubs, capsys: pytest.CaptureFixture[str]
) -> None:
    hub, _ = two
    url = hub.serve("x", Jupyter(TOKEN, before=(503,) * 99))
    silent, launched = Answer((BUILDING, threading.Event())), Answer(ready(url, TOKEN))
    hub.then(launched if option == "--readiness-timeout" else silent)
    more = ["--stop-timeout", "0.5", "--attempts", "1"]
    assert main(["start", "org/repo", "--hub", hub.url, option, "0.3", *more]) in (6, 7, 8)
    assert words in capsys.readouterr().err


def test_a_session_that_does_not_stop_gets_the_time_that_is_given(
    two: Hubs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub, _ = two
    file = tmp_path / "session.json"
    hub.then(Answer(ready(hub.serve("x", Jupyter(TOKEN, stays=True)), TOKEN)))
    arguments = ["start", "org/repo", "--hub", hub.url, "--session-file", str(file)]
    arguments += ["--warm-up=julia", "--stop-timeout", "0.3"]
    assert main(arguments) == 3
    told = capsys.readouterr()
    assert "has no kernelspec 'julia', only: python3" in told.err
    assert "might still be running. " in told.err
    assert f"clinder stop --session-file {file}" in told.err
    assert file.exists()
    assert told.out == ""
