"""Which hubs are tried, for which repository and ref, with which build token."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from payloads import MERGE, Payload, pull_request, workflow_run

TOKEN = "s3cret-token"
BUILD_TOKEN = "b.u1ld-t0ken"
COMMIT = "1f" * 20
LINK = "https://hub.example.org/v2/gh/org/repo/v1.0"
IN_CI = {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "org/repo", "GITHUB_SHA": COMMIT}
FULL = Answer(event(phase="failed", message="Too many users on this BinderHub! Try again soon.\n"))
BUILDING = event(phase="building", message="Step 1\n")

pytestmark = pytest.mark.usefixtures("_no_threads_left")


def resolve_text(
    text: str,
    *hubs: str,
    ref: str = "",
    directory: Path = Path(),
    environ: Mapping[str, str] | None = None,
) -> Resolution:
    options = LaunchOptions(repository=text, hubs=hubs, ref=ref, directory=directory)
    return resolve(options, Deadline(60), environ or {})


# Hubs


@pytest.mark.parametrize(
    ("text", "hubs", "expected"),
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
def test_named_hubs_take_precedence_over_the_links_and_that_over_mybinder(
    text: str, hubs: Sequence[str], expected: Sequence[str]
) -> None:
    assert resolve_text(text, *hubs).request.hubs == tuple(expected)


@pytest.mark.parametrize(
    "hubs", [("local", "https://one.example"), ("https://one.example", "Local")]
)
def test_the_local_hub_cannot_be_combined_with_others(hubs: Sequence[str]) -> None:
    with pytest.raises(UsageError, match="cannot be combined with other hubs"):
        resolve_text("org/repo", *hubs)


def test_a_request_needs_a_hub_and_a_finite_time_limit() -> None:
    repository = Repository("gh", "org/repo")
    with pytest.raises(UsageError, match="No hub is given"):
        Request(repository, ())
    for seconds in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match="more than 0 seconds"):
            LaunchOptions(timeout=seconds)


# Repository and ref


@pytest.mark.parametrize(
    ("text", "ref", "expected"),
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
def test_the_ref_comes_from_the_repository_or_the_option(
    text: str, ref: str, expected: str
) -> None:
    resolution = resolve_text(text, ref=ref)
    assert resolution.request.repository == Repository("gh", "org/repo", expected)
    assert resolution.notes == resolution.warnings == ()


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
def test_two_different_refs_are_refused(text: str, ref: str) -> None:
    with pytest.raises(
        UsageError, match=f"'v1.0', but another ref is given too: '{ref}'"
    ) as raised:
        resolve_text(text, ref=ref)
    assert "--ref" in raised.value.hint


def test_without_a_repository_the_current_commit_is_launched(tmp_path: Path) -> None:
    resolution = resolve_text("", directory=tmp_path, environ=IN_CI)
    assert resolution.request.repository == Repository("gh", "org/repo", COMMIT)
    assert resolution.request.hubs == (DEFAULT_HUB,)
    (note,) = resolution.notes
    assert note == f"Launching gh/org/repo/{COMMIT}, from GitHub Actions."
    assert resolution.warnings == ()


def test_without_a_repository_a_ref_of_the_current_one_is_launched(tmp_path: Path) -> None:
    resolution = resolve_text(
        "", "https://one.example", ref="main", directory=tmp_path, environ=IN_CI
    )
    assert resolution.request.repository == Repository("gh", "org/repo", "main")
    assert resolution.request.hubs == ("https://one.example/",)


def test_warnings_about_the_checkout_are_returned(tmp_path: Path) -> None:
    missing = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_EVENT_PATH": str(tmp_path / "no")}
    resolution = resolve_text("", directory=tmp_path, environ={**IN_CI, **missing})
    (warning,) = resolution.warnings
    assert "has no head commit" in warning


def test_the_local_hub_launches_the_directory_even_in_ci(tmp_path: Path) -> None:
    resolution = resolve_text("", "local", directory=tmp_path, environ=IN_CI)
    repository = resolution.request.repository
    assert (repository.provider, repository.ref) == ("git", "HEAD")
    assert repository.name == f"file://localhost{tmp_path.resolve().as_posix()}"
    assert resolution.request.options.directory == tmp_path
    assert resolution.notes == resolution.warnings == ()


@pytest.mark.parametrize("ref", ["main", "HEAD"])
def test_the_local_hub_accepts_any_ref_of_a_checkout(ref: str) -> None:
    root = Path(__file__).parents[1]
    assert resolve_text("", "local", ref=ref, directory=root).request.repository.ref == ref


@pytest.mark.parametrize("hubs", [(), ("local",)])
def test_a_missing_directory_is_refused(hubs: Sequence[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        resolve_text("", *hubs, directory=tmp_path / "gone", environ=IN_CI)


def test_the_options_are_part_of_the_request() -> None:
    options = LaunchOptions(repository="org/repo", timeout=17.0, build_token=BUILD_TOKEN)
    resolution = resolve(options, Deadline(60), {})
    assert resolution.request == Request(Repository("gh", "org/repo"), options=options)
    assert BUILD_TOKEN not in repr(resolution)


def test_the_defaults_are_the_documented_ones() -> None:
    options = LaunchOptions()
    assert (options.timeout, options.attempts, options.warm_up) == (1800, 3, "")
    assert (options.build_token, options.reuse_environment) == ("", False)


def test_a_named_commit_can_be_reused_although_head_is_not_pushed(tmp_path: Path) -> None:
    book = History(tmp_path / "book")
    first = book.commit({"environment.yml": "dependencies: [numpy]\n"})
    pushed = book.commit()
    book.mark_pushed()
    book.git("branch", "--quiet", "--set-upstream-to=origin/main")
    book.commit()

    options = LaunchOptions(f"org/repo@{pushed}", reuse_environment=True, directory=book.path)
    resolution = resolve(options, Deadline(60), book.environ)

    assert resolution.request.repository == Repository("gh", "org/repo", first)
    assert resolution.notes[0] == f"Requested: gh/org/repo/{pushed}, from the given repository."
    assert resolution.warnings == ()


# A fork's pull request


@dataclass(frozen=True)
class Fork:
    """A job for a fork's pull request, with a clone that has the target's commits, too."""

    clone: History
    environ: Mapping[str, str]
    base: str
    head: str

    def resolve(self, **more: Any) -> Resolution:
        options = LaunchOptions(directory=self.clone.path, **more)
        return resolve(options, Deadline(60), self.environ)


def make_fork(event: str, folder: Path, environment: Mapping[str, str]) -> Fork:
    clone = History(folder / "clone")
    base = clone.commit(environment)
    clone.branch("topic", "main")
    head = clone.commit()
    payloads: dict[str, Payload] = {
        "pull_request": pull_request("them/fork", head, base),
        "workflow_run": workflow_run("them/fork", head),
    }
    path = folder / "event.json"
    path.write_text(json.dumps(payloads[event]), encoding="utf-8")
    sha = {"pull_request": MERGE, "workflow_run": base}[event]
    job = {"GITHUB_EVENT_NAME": event, "GITHUB_EVENT_PATH": str(path), "GITHUB_SHA": sha}
    return Fork(clone, {**clone.environ, **IN_CI, **job}, base, head)


@pytest.fixture(params=["pull_request", "workflow_run"])
def fork(request: pytest.FixtureRequest, tmp_path: Path) -> Fork:
    return make_fork(request.param, tmp_path, {"environment.yml": "dependencies: [numpy]\n"})


def test_a_forks_commit_is_requested_first_and_the_targets_replaces_it(fork: Fork) -> None:
    resolution = fork.resolve()

    request, base = resolution.request, Repository("gh", "org/repo", fork.base)
    assert request.repository == Repository("gh", "them/fork", fork.head)
    assert request.choice is None
    assert request.fallback is not None
    assert (request.fallback.requested, request.fallback.launched) == (request.repository, base)
    assert resolution.warnings == ()
    assert request.for_fallback().repository == base


def test_with_reuse_the_targets_commit_is_requested_at_once(fork: Fork) -> None:
    resolution = fork.resolve(reuse_environment=True)

    request = resolution.request
    assert request.repository == Repository("gh", "org/repo", fork.base)
    assert request.fallback is None
    assert resolution.warnings == ()


def test_with_reuse_an_environment_of_the_fork_has_an_explained_fallback(fork: Fork) -> None:
    changed = fork.clone.commit({"environment.yml": "dependencies: [scipy]\n"})

    request = fork.resolve(ref=changed, reuse_environment=True).request

    assert request.repository == Repository("gh", "them/fork", changed)
    assert request.fallback is not None
    assert request.fallback.refused
    assert request.fallback.reason.endswith("environment.yml differs.")


def test_without_force_a_build_that_might_read_other_files_has_no_replacement(
    tmp_path: Path,
) -> None:
    fork = make_fork("pull_request", tmp_path, {"setup.py": ""})

    assert not fork.resolve(reuse_environment=True).request.has_fallback

    repository = fork.resolve(reuse_environment="force").request.repository
    assert repository == Repository("gh", "org/repo", fork.base)


@pytest.mark.parametrize("more", [{"ref": "topic"}, {"hubs": ("local",)}, {"repository": "a/b"}])
def test_a_branch_another_repository_or_a_directory_has_no_fallback(
    more: dict[str, Any], fork: Fork
) -> None:
    assert fork.resolve(**more).request.fallback is None


def test_the_clone_of_read_the_docs_suffices_to_find_the_targets_commit(tmp_path: Path) -> None:
    source = History(tmp_path / "source")
    source.commit({"environment.yml": "dependencies: [numpy]\n"})
    base = source.commit()
    source.branch("topic", "main")
    head = source.commit()
    source.git("update-ref", "refs/pull/7/head", head)
    source.switch("main")
    source.git("branch", "--quiet", "-D", "topic")
    clone = History(tmp_path / "clone", (source.path / ".git").as_uri())
    # readthedocs/vcs_support/backends/git.py
    url, checkout = clone.git("remote", "get-url", "origin"), ("-C", "checkout")
    clone.git("clone", "--quiet", "--depth", "1", url, "checkout")
    options = ("--quiet", "--force", "--prune", "--prune-tags", "--depth", "50")
    clone.git(*checkout, "fetch", *options, "origin", "pull/7/head:external-7")
    clone.git(*checkout, "checkout", "--quiet", "--force", "external-7")
    docs = {
        "READTHEDOCS": "True",
        "READTHEDOCS_GIT_CLONE_URL": "https://github.com/org/repo",
        "READTHEDOCS_GIT_IDENTIFIER": "7",
        "READTHEDOCS_GIT_COMMIT_HASH": head,
        "READTHEDOCS_VERSION": "7",
        "READTHEDOCS_VERSION_TYPE": "external",
    }

    directory = clone.path / "checkout"
    resolution = resolve_text("", directory=directory, environ={**clone.environ, **docs})

    fallback = resolution.request.fallback
    assert fallback is not None
    assert fallback.launched == Repository("gh", "org/repo", base)
    (warning,) = resolution.warnings
    assert warning.startswith("Read the Docs does not tell")


def test_a_hub_with_a_list_launches_the_targets_commit_and_clinder_warns(
    fork: Fork, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    refusal = f"Sorry, them/fork/{fork.head} is not allowed to launch. Please contact admins!"
    with ScriptedHub(Answer(event(phase="failed", message=refusal))) as hub:
        persistent = f"v2/gh/org/repo/{fork.base}"
        url = hub.serve("x", Jupyter(TOKEN))
        hub.then(Answer(ready(url, TOKEN, binder_persistent_request=persistent)))
        monkeypatch.chdir(fork.clone.path)
        for name, value in fork.environ.items():
            monkeypatch.setenv(name, value)

        code = main(["start", "--hub", hub.url, "--no-warm-up", "-o", "json"])

        paths = [each.path for each in hub.builds]
    out, err = capfd.readouterr()
    assert code == 0, err
    assert paths == [f"/build/gh/them/fork/{fork.head}", f"/build/gh/org/repo/{fork.base}"]
    session = json.loads(out)
    assert session["spec"] == f"gh/org/repo/{fork.base}"
    assert session["asked_spec"] == f"gh/them/fork/{fork.head}"
    assert f"clinder: Warning: {session['reuse']}\n" in err
    assert f"so clinder launches commit {fork.base[:12]} of org/repo" in session["reuse"]


# The command line and its variables


Hubs = tuple[ScriptedHub, ScriptedHub]


@pytest.fixture
def two() -> Iterator[Hubs]:
    with ScriptedHub() as first, ScriptedHub() as second:
        yield first, second


def launchable(hub: ScriptedHub) -> str:
    """Let the hub's next launch succeed; return the session's URI."""
    url = hub.serve("x", Jupyter(TOKEN))
    hub.then(Answer(ready(url, TOKEN)))
    return f"{url}?token={TOKEN}\n"


@pytest.mark.parametrize(
    ("separator", "refusal"), [(" ", FULL), ("\n", page(404)), (" \t\n ", FULL)]
)
def test_the_hubs_in_the_variable_are_tried_in_order(
    separator: str,
    refusal: Answer,
    two: Hubs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = two
    first.then(refusal)
    uri = launchable(second)
    monkeypatch.setenv("CLINDER_HUB", f"{first.url}{separator}{second.url}")

    assert main(["start", "org/repo"]) == 0

    output = capsys.readouterr()
    assert output.out == uri
    assert [len(first.builds), len(second.builds)] == [1, 1]
    positions = [output.err.index(f"from {hub.url}") for hub in (first, second)]
    assert positions == sorted(positions)


@pytest.mark.parametrize(
    ("variable", "arguments"),
    [
        ("{tried} {other}", ["org/repo"]),
        ("{other}", ["org/repo", "--hub", "{tried}"]),
        ("{tried}", ["{other}v2/gh/org/repo/HEAD"]),
    ],
    ids=["first of the variable", "option before the variable", "variable before the link"],
)
def test_the_option_takes_precedence_over_the_variable_and_that_over_the_link(
    variable: str,
    arguments: Sequence[str],
    two: Hubs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tried, other = two
    uri = launchable(tried)
    urls = {"tried": tried.url, "other": other.url}
    monkeypatch.setenv("CLINDER_HUB", variable.format(**urls))

    assert main(["start", "-q", *(each.format(**urls) for each in arguments)]) == 0

    assert capsys.readouterr() == (uri, "")
    assert not other.requests


@pytest.mark.parametrize("source", ["variable", "file"])
def test_the_build_token_is_sent_to_the_hub_and_never_shown(
    source: str,
    tmp_path: Path,
    two: Hubs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub, _ = two
    arguments = ["start", "org/repo", "-v", "--hub", hub.url]
    if source == "variable":
        monkeypatch.setenv("CLINDER_BUILD_TOKEN", f"{BUILD_TOKEN}\n")
    else:
        path = tmp_path / "token"
        path.write_text(f"{BUILD_TOKEN}\n", encoding="utf-8")
        monkeypatch.setenv("CLINDER_BUILD_TOKEN", "another")
        arguments += ["--build-token", f"@{path}"]
    hub.then(Answer(BUILDING + event(phase="failed", message="Error during build\n")))

    assert main(arguments) == 4

    assert [each.path.partition("?")[2] for each in hub.builds] == [f"build_token={BUILD_TOKEN}"]
    output = capsys.readouterr()
    assert "Error during build" in output.err
    assert BUILD_TOKEN not in output.out + output.err


class Defective:
    """A standard input that raises an unexpected error."""

    def read(self) -> str:
        raise RuntimeError(f"a bug with {TOKEN}")


def test_a_bug_ends_in_one_message_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Defective())

    assert main(["status", "-"]) == 70

    output = capsys.readouterr()
    assert output.out == ""
    message, hint = output.err.splitlines()
    assert message.startswith("clinder: A bug in clinder ")
    assert ": RuntimeError at test_request.py:" in message
    assert message.endswith(" in read.")
    assert hint.startswith("  what to do: Report this line")


@pytest.mark.parametrize(
    ("hub", "message"),
    [
        ("http://hub.example.org", "http://hub.example.org/ uses plain HTTP"),
        ("https://hub.example.org", ""),
        ("http://127.0.0.1:8585", ""),
        ("http://localhost:8585", ""),
    ],
)
def test_a_hub_with_plain_http_causes_a_warning(hub: str, message: str, tmp_path: Path) -> None:
    resolution = resolve_text("org/repo", hub, directory=tmp_path)
    assert bool(resolution.warnings) is bool(message)
    assert message in "".join(resolution.warnings)


@pytest.mark.parametrize("attempts", [0, 4, -1])
def test_the_number_of_attempts_is_from_1_to_3(attempts: int) -> None:
    with pytest.raises(UsageError, match="from 1 to 3"):
        LaunchOptions(attempts=attempts)


@pytest.mark.parametrize("source", ["option", "variable"])
@pytest.mark.parametrize("name", ["connect", "idle", "readiness", "stop"])
def test_each_timeout_has_an_option_and_a_variable(
    source: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["start", "org/repo", "--hub", "http://127.0.0.1:1", "--attempts", "1"]
    if source == "option":
        arguments += [f"--{name}-timeout", "soon"]
    else:
        monkeypatch.setenv(f"CLINDER_{name.upper()}_TIMEOUT", "soon")
    assert main(arguments) == 2
    assert "'soon' is not a number of seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--idle-timeout", "The hub is silent: it sent nothing"),
        ("--readiness-timeout", "never became usable"),
        ("--timeout", "did not finish within 0.3 s"),
    ],
)
def test_each_timeout_takes_effect(
    option: str, message: str, two: Hubs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub, _ = two
    url = hub.serve("x", Jupyter(TOKEN, before=(503,) * 99))
    silent, launched = Answer((BUILDING, threading.Event())), Answer(ready(url, TOKEN))
    hub.then(launched if option == "--readiness-timeout" else silent)
    more = f"--stop-timeout 0.5 --attempts 1 --session-file {tmp_path / 'session.json'}".split()
    assert main(["start", "org/repo", "--hub", hub.url, option, "0.3", *more]) in (6, 7, 8)
    assert message in capsys.readouterr().err


def test_the_stop_timeout_limits_stopping_after_a_failure(
    two: Hubs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub, _ = two
    file = tmp_path / "session.json"
    hub.then(Answer(ready(hub.serve("x", Jupyter(TOKEN, stays=True)), TOKEN)))
    arguments = ["start", "org/repo", "--hub", hub.url, "--session-file", str(file)]
    arguments += ["--warm-up=julia", "--stop-timeout", "0.3"]
    assert main(arguments) == 3
    output = capsys.readouterr()
    assert "has no kernelspec 'julia', only: python3" in output.err
    assert "might still be running. " in output.err
    assert f"clinder stop --session-file {file}" in output.err
    assert file.exists()
    assert output.out == ""
