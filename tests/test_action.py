"""The action's inputs, its annotations, its job summary, and the folder of one use."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from markdown_it import MarkdownIt

import runner
from clinder import errors
from clinder.action import summary
from clinder.action.annotation import format_annotation, name_inputs
from clinder.action.folder import Folder, Launching
from clinder.action.inputs import Inputs, read
from clinder.errors import BuildFailed, Context, RefNotFound, UsageError
from clinder.gateway.conversation import CellLimits
from clinder.gateway.gateway import GatewayOptions
from clinder.gateway.report import CellError, Kernel, Report
from clinder.gateway.slots import KernelLimit
from clinder.launch.options import LaunchOptions
from clinder.session import Attempt, Session
from clinder.timeouts import Timeouts
from e2e.action import MANIFEST
from reports import DIED, GOOD, WHOLE
from runner import Command

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


def test_omitted_inputs_have_their_defaults() -> None:
    assert read({"CLINDER_INPUT_HUB_URL": "", "CLINDER_INPUT_REPO": " "}) == Inputs(
        LaunchOptions(hands_out=False)
    )


def test_inputs_are_read_from_the_environment() -> None:
    values = {
        "HUB_URL": "https://a.example\n  https://b.example \n",
        "REPO": "org/repo",
        "REF": "v1\n",
        "BUILD_TOKEN": "t0ken\n",
        "HUB_TOKEN": "hub-t0ken\n",
        "PROFILE": "small",
        "TIMEOUT": "60",
        "BUILD_IDLE_TIMEOUT": "30",
        "WARM_UP": "False",
        "REUSE_ENVIRONMENT": "True",
        "REUSE_ENVIRONMENT_SINCE": "90d",
        "EXPORT_ENVIRONMENT": "False",
        "GATEWAY": "true",
        "MAX_KERNELS": "3",
        "KERNEL_TIMEOUT": "60",
        "CELL_TIMEOUT": "120",
        "KERNELS": "true",
        "ENV": "A\n B\n",
        "ENV_FOR": "org/repo",
        "FAIL_ON_CELL_ERROR": "TRUE",
        "FAIL_ON_ERROR": "FALSE",
    }

    inputs = read({f"CLINDER_INPUT_{name}": value for name, value in values.items()})

    assert inputs == Inputs(
        LaunchOptions(
            hubs=("https://a.example", "https://b.example"),
            repository="org/repo",
            ref="v1",
            build_token="t0ken",
            hub_token="hub-t0ken",
            profile="small",
            hands_out=False,
            timeout=60.0,
            timeouts=Timeouts(build_idle=30.0),
            warm_up=None,
            reuse_environment=True,
            reuse_environment_since="90d",
        ),
        gateway=GatewayOptions(60.0, KernelLimit(3), cells=CellLimits(120.0)),
        kernels=True,
        env=("A", "B"),
        env_for="org/repo",
        fail_on_cell_error=True,
        export_environment=False,
        fail_on_error=False,
    )
    assert "t0ken" not in repr(inputs)


@pytest.mark.parametrize(
    ("text", "kernel"), [("", ""), ("true", ""), ("ir", "ir"), ("false", None), ("FALSE", None)]
)
def test_warm_up_names_the_first_kernel(text: str, kernel: str | None) -> None:
    assert read({"CLINDER_INPUT_WARM_UP": text}).launch.warm_up == kernel


@pytest.mark.parametrize(
    ("text", "reuse"), [("", False), ("false", False), ("TRUE", True), (" Force\n", "force")]
)
def test_reuse_environment_is_off_on_or_forced(text: str, reuse: bool | str) -> None:
    assert read({"CLINDER_INPUT_REUSE_ENVIRONMENT": text}).launch.reuse_environment == reuse


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TIMEOUT", "soon", "The input timeout is not a number of seconds greater than 0"),
        ("TIMEOUT", "-1", "The input timeout"),
        ("TIMEOUT", "inf", "The input timeout"),
        ("BUILD_IDLE_TIMEOUT", "0", "The input build-idle-timeout is not a number of seconds"),
        ("CELL_TIMEOUT", "0", "The input cell-timeout"),
        ("KERNEL_TIMEOUT", "soon", "The input kernel-timeout"),
        ("MAX_KERNELS", "0", "At least one kernel"),
        ("MAX_KERNELS", "many", "The limit for kernels"),
        ("GATEWAY", "perhaps", "The input gateway"),
        ("FAIL_ON_CELL_ERROR", "perhaps", "The input fail-on-cell-error"),
        ("EXPORT_ENVIRONMENT", "perhaps", "The input export-environment is neither `true` nor"),
        ("FAIL_ON_ERROR", "perhaps", "The input fail-on-error"),
        ("BUILD_TOKEN", "two words", "The build token contains a space"),
        ("HUB_URL", "https://a.example local", "The action does not include the embedded hub"),
        ("REUSE_ENVIRONMENT_SINCE", "90d", "--reuse-environment-since limits --reuse-environment"),
        ("REUSE_ENVIRONMENT", "yes", "reuse-environment is not `true`, `false` or `force`"),
    ],
)
def test_an_invalid_input_is_refused(name: str, value: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        read({f"CLINDER_INPUT_{name}": value})


INPUTS = {f"CLINDER_INPUT_{name.upper().replace('-', '_')}": name for name in MANIFEST["inputs"]}


def test_every_input_is_read() -> None:
    environ = Mock(**{"get.return_value": ""})
    read(environ)

    assert {call.args[0] for call in environ.get.call_args_list} == INPUTS.keys()


def test_every_input_reaches_the_step_through_its_environment_alone() -> None:
    (step,) = (each for each in MANIFEST["runs"]["steps"] if "run" in each)
    inputs = [name for name in step["env"] if name.startswith("CLINDER_INPUT_")]

    assert {name: step["env"][name] for name in inputs} == {
        variable: f"${{{{ inputs.{name} }}}}" for variable, name in INPUTS.items()
    }
    assert "${{" not in step["run"]


def test_every_output_comes_from_the_start_step() -> None:
    """Runs under act cannot show this, because act passes on an inner step's outputs anyway."""
    values = {name: output["value"].split()[1] for name, output in MANIFEST["outputs"].items()}

    names = ("url", "token", "uri", "hub", "spec", "image", "report", "started")
    assert values == {name: f"steps.start.outputs.{name}" for name in names}


def sentences() -> list[str]:
    """Return the messages that name an option or an argument, but no command of a terminal."""
    constants = (
        node.value
        for path in Path(errors.__file__).parent.rglob("*.py")
        if path.parent.name not in ("cli", "bridge", "embedded") and path.name != "annotation.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    texts = [each for each in constants if "``" not in each]  # docstrings
    return [each for each in texts if re.search(r"[a-z] (--[a-z][^`]*$|REPOSITORY\b)", each)]


def test_no_message_in_a_workflow_names_an_option_or_argument_of_the_command_line() -> None:
    assert len(sentences()) > 20
    for sentence in sentences():
        text = name_inputs(sentence)
        named = {name for name in re.findall(r"`([a-z-]+)`", text) if f"`{name}`" not in sentence}
        assert "--" not in text
        assert "REPOSITORY" not in text
        assert named <= set(MANIFEST["inputs"]), text


def test_options_in_a_hint_become_inputs() -> None:
    hint = (
        "Omit REPOSITORY, or use another hub with --hub, or --hub URL; longer with --timeout"
        " SECONDS, --ref, --build-idle-timeout SECONDS, or --env-for ORG/REPO. Run `git x --all`."
    )

    assert name_inputs(hint) == (
        "Omit `repo`, or use another hub with `hub-url`, or `hub-url`; longer with `timeout`,"
        " `ref`, `build-idle-timeout`, or `env-for` ORG/REPO. Run `git x --all`."
    )


def test_the_annotation_shows_the_log_line_that_explains_a_failed_build() -> None:
    context = Context(
        HUB, SPEC, "", ("Collecting x", "fatal: no x", "error: x"), "x", "fatal: no x"
    )
    text = format_annotation(BuildFailed("It failed.", context=context), {})

    assert text.endswith("\nThe hub's log: fatal: no x")
    other = Context(HUB, SPEC, "", ("Collecting x", "Error: no x", "See above"))
    text = format_annotation(errors.LaunchFailed("It failed.", context=other), {})
    assert text.endswith("\nThe hub's log: Error: no x")


def event(
    tmp_path: Path, head: str, *, kind: str = "pull_request", private: bool = False
) -> dict[str, str]:
    repository = {"full_name": head, "private": private}
    payload: dict[str, Any] = {
        "pull_request": {"head": {"sha": COMMIT, "repo": repository}},
        "workflow_run": {"head_sha": COMMIT, "head_repository": repository},
    }
    base = {"full_name": "org/repo", "private": private}
    path = tmp_path / "event.json"
    path.write_text(json.dumps({"repository": base, kind: payload[kind]}))
    return {"GITHUB_EVENT_PATH": str(path)}


def not_found(repository: str) -> RefNotFound:
    context = Context(HUB, f"gh/{repository}/{COMMIT}", f"{HUB}v2/gh/{repository}/{COMMIT}")
    return RefNotFound("The repository or its ref was not found.", context=context)


def test_the_second_line_of_the_annotation_says_what_to_do() -> None:
    context = Context(HUB, SPEC, f"{HUB}v2/{SPEC}", ("fatal: x",))

    first, second, *_ = format_annotation(BuildFailed("It failed.", context=context), {}).split(
        "\n"
    )

    assert (first, second) == ("It failed.", f"What to do: {BuildFailed.hint}")


def test_a_private_repository_is_explained(tmp_path: Path) -> None:
    text = format_annotation(not_found("org/repo"), event(tmp_path, "org/repo", private=True))

    assert "The hub cannot see org/repo because the repository is private." in text
    assert "What to do: Make it public" in text


@pytest.mark.parametrize("kind", ["pull_request", "workflow_run"])
def test_a_commit_of_a_fork_that_the_hub_cannot_see_is_explained(tmp_path: Path, kind: str) -> None:
    environ = event(tmp_path, "somebody/repo", kind=kind)

    text = format_annotation(not_found("somebody/repo"), environ)

    assert "The hub cannot see this commit of the fork somebody/repo." in text
    assert "push the commit to a branch of org/repo" in text


@pytest.mark.parametrize("head", ["org/repo", "somebody/repo"])
def test_a_repository_outside_the_event_has_the_usual_hint(tmp_path: Path, head: str) -> None:
    error = not_found("another/repo")

    text = format_annotation(error, event(tmp_path, head, private=True))

    assert text.startswith("The repository or its ref was not found.\n")
    assert name_inputs(error.hint) in text


@pytest.mark.parametrize("payload", ["", "[", "[]", '{"pull_request": 1, "repository": []}'])
def test_an_unexpected_event_payload_is_ignored(tmp_path: Path, payload: str) -> None:
    path = tmp_path / "event.json"
    path.write_text(payload)

    assert "was not found." in format_annotation(
        not_found("org/repo"), {"GITHUB_EVENT_PATH": str(path)}
    )


class Page(HTMLParser):
    """The text, links and tags of a rendered page."""

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


def test_the_summary_describes_the_session() -> None:
    page = Page(summary.format_started(SESSION))

    text = " ".join(page.text.split())
    assert page.links == {
        HUB: HUB,
        SPEC: f"https://github.com/org/repo/tree/{COMMIT}",
        "launch it again": f"{HUB}v2/{SPEC}",
    }
    assert "member 2i2c.mybinder.org" in text
    assert "registry.example/2i2c/r2d-org-repo:c0ffee" in text
    assert "11.8 s: waiting 0.5 s, launching 11.2 s" in text
    assert "after 10 idle minutes or 6 hours (17:00 UTC)" in text
    assert "1 s The hub is full." in text
    assert "environment" not in text
    assert "s3cret" not in page.text


def test_the_summary_reports_the_sessions_end() -> None:
    now = datetime(2026, 8, 1, 11, 0, tzinfo=timezone.utc) + timedelta(seconds=754)

    assert summary.format_stopped(SESSION, now, ran=True) == (
        f"The session of {SPEC} was stopped after 12 min 34 s.\n\n"
    )
    assert "gone before the end of the job" in summary.format_stopped(SESSION, now, ran=False)
    assert summary.format_stopped(Session("http://h/", "t"), now, ran=True) == (
        "The session was stopped.\n\n"
    )


def test_the_summary_reports_a_failure() -> None:
    error = BuildFailed("It failed.", context=Context(HUB, SPEC, f"{HUB}v2/{SPEC}"))
    page = Page(summary.format_failed(error, format_annotation(error, {}), SESSION.attempts[:1]))

    assert page.links == {"Launch it by hand": f"{HUB}v2/{SPEC}"}
    assert "It failed." in page.text
    assert "The hub is full." in page.text


@pytest.mark.parametrize(
    ("found", "text"),
    [(True, ", which the hub had already"), (False, ", built for this session"), (None, "")],
)
def test_the_summary_tells_whether_the_hub_had_the_image(found: bool | None, text: str) -> None:
    page = Page(summary.format_started(replace(SESSION, image_found=found)))

    assert f"image{SESSION.image}{text}time" in "".join(page.text.split("\n"))


def test_the_summary_shows_the_log_line_of_each_failed_build() -> None:
    failed = Attempt(
        HUB, "BuilderDied", "It died.", 9.0, cause="builder-died", log_line="Linking x"
    )
    page = Page(summary.format_started(replace(SESSION, attempts=(failed, SESSION.attempts[1]))))

    assert "It died. Linking x" in page.text


def test_the_summary_lists_the_pages_those_that_failed_first() -> None:
    page = Page(summary.format_report(WHOLE))

    rows = [" ".join(each.split()) for each in page.text.splitlines() if each.strip()]
    text = " ".join(rows)
    assert rows[1].startswith("3 of 4 pages failed. The last column names the cell")
    assert text.index("failed.ipynb") < text.index("good.ipynb")
    assert "NameError in cell 7: name 'x' is not defined" in text
    assert "KernelDied after cell 1: The kernel died." in text
    assert "The kernel did not respond within 300 s." in text
    assert "Memory: at most 5.1 of 8.0 GiB (64%)." in text
    assert "The session has no kernelspec 'conda-base-py'" in text
    notes = Page(summary.format_report(replace(WHOLE, kernels=(replace(DIED, errors=()),)))).text
    assert "1 error allowed, the connection broke, the server dropped output" in notes


def test_the_summary_lists_only_so_many_pages() -> None:
    kernels = tuple(replace(GOOD, page=f"{number}.ipynb") for number in range(60))
    text = Page(summary.format_report(Report(kernels=kernels))).text

    assert "49.ipynb" in text
    assert "50.ipynb" not in text
    assert "No page failed." in text
    assert "… and 10 more pages." in text


HOSTILE = (
    "|\n# x <script>alert(1)</script> [a](javascript:alert(1)) ![](//evil) `c` **b** _i_ ~~s~~ "
    "&lt;b&gt; $x$ @org <!-- \n\n---\n- x\n1. y\n> z\n```\n"
)


def test_untrusted_text_in_the_summary_has_no_markup_or_links() -> None:
    texts: dict[str, Any] = {each.name: HOSTILE for each in fields(Session) if each.type == "str"}
    session = Session(
        **{**texts, "url": "https://h.example/user/x/", "token": "t"},
        phases={HOSTILE: 1.0},
        attempts=(Attempt(HOSTILE, HOSTILE, HOSTILE, log_line=HOSTILE), Attempt(HOSTILE, "ready")),
    )
    error = BuildFailed(
        HOSTILE, context=Context(HOSTILE, HOSTILE, HOSTILE, (HOSTILE,), HOSTILE, HOSTILE)
    )
    error = BuildFailed(HOSTILE, context=Context(HOSTILE, HOSTILE, HOSTILE, (HOSTILE,)))
    raised = (CellError(1, HOSTILE, HOSTILE, HOSTILE),)
    kernels = (
        Kernel(HOSTILE, HOSTILE, HOSTILE, errors=raised),
        Kernel(HOSTILE, HOSTILE, HOSTILE, problem=HOSTILE),
    )
    hostile = Report(kernels=kernels, warnings=(HOSTILE,))

    markdown = [
        summary.format_started(session),
        summary.format_failed(error, format_annotation(error, {}), session.attempts),
        summary.format_not_stopped(HOSTILE),
        summary.format_report(hostile),
    ]

    table = {"h3", "table", "thead", "tbody", "tr", "th", "td", "code", "p", "strong", "ul", "li"}
    for each in map(Page, markdown):
        assert each.tags <= table
        assert each.links == {}
        assert "<script>alert(1)</script>" in each.text


def test_the_folder_records_the_build_request_and_the_sessions(tmp_path: Path) -> None:
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


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "gone")
    for record in (
        folder.record_python,
        partial(folder.begin, Launching(HUB, SPEC)),
        partial(folder.keep, SESSION),
    ):
        with pytest.raises(UsageError, match="cannot be written: No such file") as raised:
            record()
        assert "Check the runner's disk" in raised.value.hint


DEBUG = Command("debug", "y")


@pytest.mark.parametrize(
    ("line", "commands"),
    [
        ("::error::x", [Command("error", "x")]),
        (" \t::error title=a%2Cb,file=::x%0Ay", [Command("error", "x\ny", {"title": "a,b"})]),
        ("a ##[error a=b;c=d]x", [Command("error", "x", {"a": "b", "c": "d"})]),
        ("a ::error::x", []),
        ("::stop-commands::t\n::error::x\n##[error]x\n::t::\n::debug::y", [DEBUG]),
        ("a\r::debug::y\r\n::debug::y", [DEBUG, DEBUG]),
    ],
)
def test_our_reading_of_commands_is_the_runners(line: str, commands: list[Command]) -> None:
    assert runner.read(line).commands == commands
