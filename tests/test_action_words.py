"""What the action says: inputs read, errors in a workflow's words, the job's summary."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

import runner
from clinder import errors
from clinder.action import summary
from clinder.action.annotation import find_failing_line, format_annotation, name_inputs
from clinder.action.folder import Folder, Launching
from clinder.action.inputs import Inputs, read
from clinder.errors import (
    BuildFailed,
    ClinderError,
    Context,
    LoginRequired,
    RateLimited,
    RefNotFound,
    TimedOut,
    UsageError,
)
from clinder.launch.options import LaunchOptions
from clinder.session import Attempt, Session
from runner import Command

ROOT = Path(__file__).resolve().parents[1]
HUB = "https://mybinder.org/"
COMMIT = "c0ffee" * 6 + "abcd"
SPEC = f"gh/org/repo/{COMMIT}"
SESSION = Session(
    "https://hub.2i2c.mybinder.org/user/org-repo-x/",
    "s3cret",
    hub=HUB,
    launch_host="https://2i2c.mybinder.org/",
    spec="gh/org/repo/main",
    persistent_spec=SPEC,
    ref_url=f"https://github.com/org/repo/tree/{COMMIT}",
    binder_link=f"{HUB}v2/{SPEC}",
    image="registry.example/2i2c/r2d-org-repo:c0ffee",
    started_at="2026-08-01T11:00:00+00:00",
    phases={"waiting": 0.5, "launching": 11.25},
    attempts=(Attempt(HUB, "HubFull", "The hub is full.", 1.0), Attempt(HUB, "ready", "", 11.0)),
)


def test_inputs_left_out_are_the_defaults() -> None:
    assert read({"CLINDER_INPUT_HUB_URL": "", "CLINDER_INPUT_REPO": " "}) == Inputs(LaunchOptions())


def test_inputs_as_a_workflow_gives_them() -> None:
    given = {
        "HUB_URL": "https://a.example\n  https://b.example \n",
        "REPO": "org/repo",
        "REF": "v1\n",
        "BUILD_TOKEN": "t0ken\n",
        "TIMEOUT": "60",
        "WARM_UP": "False",
        "REUSE_ENVIRONMENT": "True",
        "EXPORT_ENVIRONMENT": "False",
        "FAIL_ON_ERROR": "FALSE",
    }

    inputs = read({f"CLINDER_INPUT_{name}": value for name, value in given.items()})

    assert inputs == Inputs(
        LaunchOptions(
            hubs=("https://a.example", "https://b.example"),
            repository="org/repo",
            ref="v1",
            build_token="t0ken",
            timeout=60.0,
            warm_up=None,
            reuse_environment=True,
        ),
        export_environment=False,
        fail_on_error=False,
    )
    assert "t0ken" not in repr(inputs)


@pytest.mark.parametrize(
    ("given", "kernel"), [("", ""), ("true", ""), ("ir", "ir"), ("false", None), ("FALSE", None)]
)
def test_the_kernel_to_warm_up(given: str, kernel: str | None) -> None:
    assert read({"CLINDER_INPUT_WARM_UP": given}).launch.warm_up == kernel


@pytest.mark.parametrize(
    ("given", "reuse"), [("", False), ("false", False), ("TRUE", True), (" Force\n", "force")]
)
def test_the_environment_to_reuse(given: str, reuse: bool | str) -> None:
    assert read({"CLINDER_INPUT_REUSE_ENVIRONMENT": given}).launch.reuse_environment == reuse


def test_a_folder_that_cannot_be_written_to_starts_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "gone")
    for record in (folder.record_python, partial(folder.begin, Launching(HUB, SPEC))):
        with pytest.raises(UsageError, match="cannot be written: No such file") as raised:
            record()
        assert "Look at the runner's disk" in raised.value.hint


def test_an_environment_is_reused_or_not_or_by_force() -> None:
    with pytest.raises(UsageError, match="reuse-environment is not `true`, `false` or `force`"):
        read({"CLINDER_INPUT_REUSE_ENVIRONMENT": "yes"})


def test_the_action_hands_each_of_its_inputs_on_and_no_expression_is_in_a_script() -> None:
    manifest = (ROOT / "action.yml").read_text(encoding="utf-8")
    inputs = re.findall(r"^  ([a-z-]+):$", manifest.partition("outputs:")[0], re.MULTILINE)
    handed = re.findall(r"CLINDER_INPUT_([A-Z_]+): \$\{\{ inputs\.([a-z-]+) \}\}$", manifest, re.M)
    scripts = re.findall(r"run: \|\n((?: {8}.*\n)+)", manifest)

    assert [name for _, name in handed] == inputs
    assert [name.upper().replace("-", "_") for name in inputs] == [name for name, _ in handed]
    assert len(scripts) == 1
    assert "${{" not in scripts[0]


def test_each_output_is_that_of_the_start_step() -> None:
    """act hands an inner step's outputs on by itself, so it does not tell."""
    manifest = (ROOT / "action.yml").read_text(encoding="utf-8")
    outputs = manifest.partition("outputs:")[2].partition("runs:")[0]

    found = re.findall(
        r"^  (\w+):\n.*\n    value: \$\{\{ steps\.start\.outputs\.(\w+)", outputs, re.M
    )

    names = ("url", "token", "uri", "hub", "spec", "image", "started")
    assert found == [(name, name) for name in names]


def kinds(kind: type[ClinderError] = ClinderError) -> Iterator[type[ClinderError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from kinds(each)


@pytest.mark.parametrize("kind", [each for each in kinds() if each.__module__ == errors.__name__])
def test_no_hint_names_an_option_of_the_command_line(kind: type[ClinderError]) -> None:
    assert "--" not in name_inputs(kind.hint)


def test_options_become_inputs() -> None:
    hint = "Use another hub with --hub, or --hub URL; longer with --timeout SECONDS, or --ref."

    assert name_inputs(hint) == (
        "Use another hub with `hub-url`, or `hub-url`; longer with `timeout`, or `ref`."
    )


def test_the_failing_line_is_what_failed_not_who_noticed() -> None:
    log = [
        "Collecting nope",
        "ERROR: No matching distribution found for nope",
        "Removing intermediate container",
        '#6 ERROR: process "/bin/sh -c pip install nope" did not complete successfully: 1',
    ]

    assert find_failing_line(log) == log[1]
    assert find_failing_line(log[2:]) == log[3]
    assert find_failing_line(log[:1]) == log[0]
    assert find_failing_line([]) == ""


def event(tmp_path: Path, head: str, *, private: bool = False) -> dict[str, str]:
    payload: dict[str, Any] = {
        "repository": {"full_name": "org/repo", "private": private},
        "pull_request": {"head": {"sha": COMMIT, "repo": {"full_name": head, "private": private}}},
    }
    path = tmp_path / "event.json"
    path.write_text(json.dumps(payload))
    return {"GITHUB_EVENT_PATH": str(path)}


def unseen(repository: str) -> RefNotFound:
    context = Context(HUB, f"gh/{repository}/{COMMIT}", f"{HUB}v2/gh/{repository}/{COMMIT}")
    return RefNotFound("The repository or its ref was not found.", context=context)


def test_a_private_repository_has_its_own_words(tmp_path: Path) -> None:
    words = format_annotation(unseen("org/repo"), event(tmp_path, "org/repo", private=True))

    assert "The hub cannot see org/repo: the repository is private." in words
    assert "What to do: Make it public" in words


def test_a_fork_whose_commit_the_hub_cannot_see_has_its_own_words(tmp_path: Path) -> None:
    words = format_annotation(unseen("somebody/repo"), event(tmp_path, "somebody/repo"))

    assert "The hub cannot see this commit of the fork somebody/repo." in words
    assert "push the commit to a branch of org/repo" in words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RateLimited("Too often."), "which several CI runners might share"),
        (RateLimited("Too often."), "add a second hub with `hub-url`"),
        (LoginRequired("It needs a login."), "Use `hub-url` with a hub that requires no login"),
        (TimedOut("It took long."), "Allow more time with `timeout`"),
    ],
)
def test_other_refusals_say_what_to_do_in_a_workflow(error: ClinderError, words: str) -> None:
    assert words in format_annotation(error, {})


@pytest.mark.parametrize("head", ["org/repo", "somebody/repo"])
def test_another_repository_has_not(tmp_path: Path, head: str) -> None:
    error = unseen("another/repo")

    words = format_annotation(error, event(tmp_path, head, private=True))

    assert words.startswith("The repository or its ref was not found.\n")
    assert name_inputs(error.hint) in words


@pytest.mark.parametrize("payload", ["", "[", "[]", '{"pull_request": 1, "repository": []}'])
def test_an_odd_payload_is_no_obstacle(tmp_path: Path, payload: str) -> None:
    path = tmp_path / "event.json"
    path.write_text(payload)

    assert "was not found." in format_annotation(
        unseen("org/repo"), {"GITHUB_EVENT_PATH": str(path)}
    )


class Page(HTMLParser):
    """What a page shows: its texts, its links, its tags."""

    def __init__(self, markdown: str):
        super().__init__()
        self.text = self._link = ""
        self.tags: set[str] = set()
        self.links: dict[str, str] = {}
        self.feed(MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(markdown))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "a":
            self._link = dict(attrs).get("href") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._link = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._link:
            self.links[data] = self._link


def test_the_summary_of_a_session() -> None:
    page = Page(summary.format_started(SESSION))

    shown = " ".join(page.text.split())
    assert page.links == {
        HUB: HUB,
        SPEC: f"https://github.com/org/repo/tree/{COMMIT}",
        "launch it again": f"{HUB}v2/{SPEC}",
    }
    assert "member 2i2c.mybinder.org" in shown
    assert "registry.example/2i2c/r2d-org-repo:c0ffee" in shown
    assert "11.8 s: waiting 0.5 s, launching 11.2 s" in shown
    assert "after 10 idle minutes or 6 hours (17:00 UTC)" in shown
    assert "HubFull 1 s The hub is full." in shown
    assert "s3cret" not in page.text


def test_the_summary_of_a_session_says_which_commits_files_it_has() -> None:
    why = f"Commit {COMMIT[:12]} is launched in place of 0123456789ab. Files are those of it."
    page = Page(summary.format_started(replace(SESSION, reuse=why)))

    assert f"environment {why}" in " ".join(page.text.split())
    assert "environment" not in Page(summary.format_started(SESSION)).text


def test_the_summary_of_its_end() -> None:
    now = datetime(2026, 8, 1, 11, 0, tzinfo=timezone.utc) + timedelta(seconds=754)

    assert summary.format_stopped(SESSION, now, ran=True) == (
        f"The session of {SPEC} is stopped, it lived 12 min 34 s.\n\n"
    )
    assert "gone before the end of the job" in summary.format_stopped(SESSION, now, ran=False)
    assert summary.format_stopped(Session("http://h/", "t"), now, ran=True) == (
        "The session is stopped.\n\n"
    )


def test_the_summary_of_a_failure() -> None:
    error = BuildFailed("It failed.", context=Context(HUB, SPEC, f"{HUB}v2/{SPEC}"))
    page = Page(summary.format_failed(error, format_annotation(error, {}), SESSION.attempts[:1]))

    assert page.links == {"Launch it by hand": f"{HUB}v2/{SPEC}"}
    assert "It failed." in page.text
    assert "The hub is full." in page.text


HOSTILE = (
    "|\n# x <script>alert(1)</script> [a](javascript:alert(1)) ![](//evil) `c` **b** _i_ ~~s~~ "
    "&lt;b&gt; $x$ @org <!-- \n\n---\n- x\n1. y\n> z\n```\n"
)


def test_what_others_say_is_only_text_in_the_summary() -> None:
    session = Session(
        "https://h.example/user/x/",
        "t",
        **dict.fromkeys(
            (
                "hub",
                "launch_host",
                "spec",
                "persistent_spec",
                "ref_url",
                "binder_link",
                "image",
                "reuse",
            ),
            HOSTILE,
        ),
        phases={HOSTILE: 1.0},
        attempts=(Attempt(HOSTILE, HOSTILE, HOSTILE), Attempt(HOSTILE, "ready")),
    )
    error = BuildFailed(HOSTILE, context=Context(HOSTILE, HOSTILE, HOSTILE, (HOSTILE,)))

    markdown = [
        summary.format_started(session),
        summary.format_failed(error, format_annotation(error, {}), session.attempts),
        summary.format_not_stopped(HOSTILE),
    ]

    table = {"h3", "table", "thead", "tbody", "tr", "th", "td", "code", "p", "strong"}
    for each in map(Page, markdown):
        assert each.tags <= table
        assert each.links == {}
        assert "<script>alert(1)</script>" in each.text


def test_the_folder_knows_what_was_under_way(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    launching = Launching(HUB, SPEC)
    folder.begin(launching)
    assert folder.launching() == launching

    folder.keep(SESSION)
    assert folder.launching() is None

    another = Session("https://h.example/user/y/", "another")
    folder.keep(another)
    folder.keep(SESSION)
    assert [each.name for each in folder.session_files] == ["session-0.json", "session-1.json"]

    folder.forget(SESSION)
    folder.forget(SESSION)
    assert [each.name for each in folder.session_files] == ["session-1.json"]


def test_a_folder_that_is_gone_cannot_keep_a_session(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        Folder(tmp_path / "gone").keep(SESSION)


DEBUG = Command("debug", "y")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("::error::x", [Command("error", "x")]),
        (" \t::error title=a%2Cb,file=::x%0Ay", [Command("error", "x\ny", {"title": "a,b"})]),
        ("a ##[error a=b;c=d]x", [Command("error", "x", {"a": "b", "c": "d"})]),
        ("a ::error::x", []),
        ("::stop-commands::t\n::error::x\n##[error]x\n::t::\n::debug::y", [DEBUG]),
        ("a\r::debug::y\r\n::debug::y", [DEBUG, DEBUG]),
    ],
)
def test_the_rendering_of_the_runner(line: str, found: list[Command]) -> None:
    assert runner.read(line).commands == found
