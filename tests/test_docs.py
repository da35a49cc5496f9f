"""The documentation shows only what exists, and its generated parts are up to date."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

import docs
from clinder import errors
from clinder.cli.main import cli
from e2e.myst import MYST
from messages import EXPLANATIONS, FAMILIES

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [
    *DOCS,
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
]
EXAMPLES = [
    each
    for each in sorted((ROOT / "examples").glob("**/*"))
    if each.suffix in (".yml", ".yaml", ".toml")
]
REPORTS_ERRORS = r"--strict|--fail-on-cell-error|--report"
FILES = re.compile(r"https://github\.com/org/clinder-action/(?:blob|tree)/main/")
ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
OPTIONS_OF_OTHERS = {
    "myst": {"--execute", "--execute-parallel", "--html", "--md", "--strict"},
    "binderbot": {
        *("--binder-url", "--repo", "--ref", "--binder-start-timeout", "--nb-timeout"),
        *("--output-dir", "--download", "--no-download", "--pass-env-var"),
    },
    "nbconvert": {"--inplace"},
    "papermill": {"--execution-timeout", "--start-timeout"},
    "pip": {"-c", "-e", "-r", "--pre"},
    "2i2c-org/clinder": {"--github-repo", "--github-ref", "--json"},
}
VARIABLES_OF_OTHERS = {
    *(
        "BINDER_LAUNCH_HOST",
        "BINDER_REQUEST",
        "READTHEDOCS_OUTPUT",
    ),  # a Binder's session, Read the Docs
    *("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "NO_COLOR"),  # libraries
    *("MYSTMD_ALLOW_NODEENV", "PYTHON_VERSION", "BASE_URL"),  # MyST, Netlify
    "NODE_EXTRA_CA_CERTS",  # node
    *("API_KEY", "ARM_USERNAME", "ARM_PASSWORD"),  # secrets of some cookbook
    *("JUPYTERHUB_HOST", "ADMIN_TOKEN"),  # a BinderHub's, and an operator's own
}


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("page", PAGES, ids=page_id)
every_page_of_the_site = pytest.mark.parametrize("page", DOCS, ids=page_id)


def tokens(page: Path) -> Iterator[Token]:
    """Yield the Markdown tokens of a page, without its front matter."""
    text = re.sub(r"\A---\n.*?\n---\n", "", page.read_text("utf-8"), flags=re.DOTALL)
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        yield token
        yield from token.children or ()


def code(page: Path) -> list[str]:
    """Return all code blocks, and all code in backticks."""
    return [token.content for token in tokens(page) if token.type in ("fence", "code_inline")]


# The generated parts


@pytest.mark.parametrize("page", docs.pages(), ids=page_id)
def test_generated_parts_are_up_to_date(page: Path) -> None:
    assert page.read_text("utf-8") == docs.render(page), "run: make docs-tables"


def test_every_generated_part_is_on_one_page() -> None:
    text = "".join(page.read_text("utf-8") for page in DOCS)
    names = re.findall(r"^<!-- generated: (\S+) -->$", text, re.MULTILINE)

    assert sorted(name for name in names if ":" not in name) == sorted(docs.PARTS)


# Links


def links(page: Path) -> list[str]:
    targets = (token.attrs.get("href") or token.attrs.get("src") for token in tokens(page))
    return [str(each) for each in targets if each]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = [after.content for token, after in pairwise(tokens(page))
                if token.type == "heading_open"]  # fmt: skip
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}


def is_broken(page: Path, link: str) -> bool:
    ours = FILES.match(link)
    if not ours and re.match(r"[a-z]+:", link):
        return False
    path, _, anchor = (link[ours.end() :] if ours else link).partition("#")
    target = (ROOT if ours else page.parent) / path if path else page
    return not target.exists() or (bool(anchor) and anchor not in anchors(target))


@every_page
def test_links_to_this_repository_lead_somewhere(page: Path) -> None:
    assert [link for link in links(page) if is_broken(page, link)] == []


@every_page_of_the_site
def test_the_site_links_to_files_outside_of_it_by_their_web_address(page: Path) -> None:
    assert [link for link in links(page) if link.startswith("../")] == []


def test_every_page_is_in_the_table_of_contents() -> None:
    toc = (ROOT / "docs" / "myst.yml").read_text("utf-8")

    assert sorted(re.findall(r"file: (.*)", toc)) == [page.name for page in DOCS]


@pytest.mark.posix
def test_myst_builds_the_site_without_a_warning() -> None:
    result = subprocess.run(
        [sys.executable, ROOT / "tools" / "check_docs.py", MYST],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )

    assert result.returncode == 0, result.stdout


# Commands and options


def invocations(text: str) -> Iterator[list[str]]:
    """Yield the arguments of each ``clinder`` command in a text, up to the end of the command."""
    for line in text.replace("\\\n", " ").splitlines():
        for match in re.finditer(r"(?<![\w./@\[-])(?<!npx )(?<!install )clinder (?=[a-z-])", line):
            quote = line[: match.start()][-1:]
            rest = line[match.end() :]
            yield list(split_arguments(rest.partition(quote)[0] if quote in ("'", '"') else rest))


def split_arguments(line: str) -> Iterator[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        for argument in lexer:
            if set(argument) <= set("|&;<>()"):
                return
            yield argument
    except ValueError:  # the quotes of the shell around it end here
        return


def unknown_arguments(arguments: list[str]) -> list[str]:
    command, *rest = arguments
    if command.startswith("-"):
        return [command] if command not in ("-h", "--help", "--version") else []
    if command not in ("COMMAND", *cli.commands):
        return [command]
    ours = rest[: rest.index("--")] if "--" in rest else rest
    used = [each.split("=")[0] for each in ours if each.startswith("-") and each != "-"]
    return [option for option in used if option not in options_of(command)]


def options_of(command: str) -> set[str]:
    commands = [cli.commands[command]] if command in cli.commands else cli.commands.values()
    options = (each for one in commands for each in one.params if isinstance(each, click.Option))
    return {"-h", "--help"}.union(*((*each.opts, *each.secondary_opts) for each in options))


@every_page
def test_commands_exist_with_their_options(page: Path) -> None:
    shown = [arguments for text in code(page) for arguments in invocations(text)]

    assert [arguments for arguments in shown if unknown_arguments(arguments)] == []


@every_page
def test_options_exist(page: Path) -> None:
    texts = [token.content for token in tokens(page) if token.type == "code_inline"]
    options = {option for text in texts for option in re.findall(r"^--?[a-z-]+\b", text)}

    assert options <= options_of("").union(*OPTIONS_OF_OTHERS.values())


def books(text: str) -> list[str]:
    """Return the commands in a text that execute a book with MyST."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if "myst build" in line and "--execute" in line]


@pytest.mark.parametrize("source", [*PAGES, *EXAMPLES], ids=page_id)
def test_a_book_is_written_as_html_and_fails_if_a_cell_fails(source: Path) -> None:
    """Or its report is shown. Without ``--html``, MyST writes no pages."""
    text = source.read_text("utf-8")
    blocks = [text] if source in EXAMPLES else [
        token.content for token in tokens(source) if token.type == "fence"
    ]  # fmt: skip
    found = [line for block in blocks for line in books(block)]

    assert [line for line in found if "--html" not in line] == []
    assert [line for line in found if not re.search(REPORTS_ERRORS, line)] == []


# The action


def steps(workflow: Any) -> Iterator[dict[str, Any]]:
    """Yield the steps of a workflow, or of a part of one, that use the action."""
    if isinstance(workflow, dict):
        if str(workflow.get("uses", "")).startswith("org/clinder-action@"):
            yield workflow
        for each in workflow.values():
            yield from steps(each)
    elif isinstance(workflow, list):
        for each in workflow:
            yield from steps(each)


@every_page
def test_the_actions_inputs_and_outputs_exist(page: Path) -> None:
    blocks = [
        token.content
        for token in tokens(page)
        if token.type == "fence" and token.info.split()[:1] == ["yaml"]
    ]
    inputs = {
        name
        for block in blocks
        for step in steps(yaml.safe_load(block))
        for name in step.get("with", {})
    }
    outputs = re.findall(r"steps\.binder\.outputs\.(\w+)", "\n".join(code(page)))

    assert inputs <= ACTION["inputs"].keys()
    assert set(outputs) <= ACTION["outputs"].keys()


# Variables


def known_variables() -> set[str]:
    files = [*ROOT.glob("src/**/*.py"), *ROOT.glob("post/*.js"), ROOT / "action.yml"]
    files.append(ROOT / "tests" / "faults.py")  # CONTRIBUTING names its tables
    text = "".join(file.read_text("utf-8") for file in files)
    options = (each for one in cli.commands.values() for each in one.params)
    return {
        *re.findall(r"\b_?[A-Z]+(?:_[A-Z]+)*\b", text),
        *(str(each.envvar) for each in options if each.envvar),
    }


@every_page
def test_variables_exist(page: Path) -> None:
    names = {name for text in code(page) for name in re.findall(r"\b_?[A-Z]+(?:_[A-Z]+)+\b", text)}

    assert names <= known_variables() | VARIABLES_OF_OTHERS


def test_the_configuration_names_every_variable_that_the_command_line_reads() -> None:
    page = (ROOT / "docs" / "variables.md").read_text("utf-8")
    options = (each for one in cli.commands.values() for each in one.params)
    read = {str(each.envvar) for each in options if each.envvar}
    for file in (ROOT / "src" / "clinder" / "cli").glob("*.py"):
        read |= set(
            re.findall(r'environ\.get\("((?:CLINDER|JUPYTER)_\w+)"', file.read_text("utf-8"))
        )

    assert len(read) > 8
    assert {name for name in read if f"`{name}`" not in page} == set()


# Messages


@cache
def source_texts() -> str:
    """Return every string literal of the sources, one per line, with ``…`` for each field."""
    files = (ROOT / "src").glob("**/*.py")
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text("utf-8"))))
    return "\n".join(filter(None, map(_literal, nodes)))


def _literal(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
        )
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_every_error_is_explained_on_the_page() -> None:
    kinds = [kind.__name__ for kind in docs.family(errors.ClinderError)]

    assert sorted(kinds) == sorted([*EXPLANATIONS, *FAMILIES])


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_the_messages_on_the_page_are_those_in_the_code(name: str) -> None:
    texts = source_texts().replace("its certificate", "The hub's certificate")  # in binderhub.py
    for message in EXPLANATIONS[name].messages:
        assert message.removesuffix("…").rstrip(" :") in texts


def test_the_messages_about_reuse_on_the_page_are_those_in_the_code() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    section = page.partition("## The environment is not reused\n")[2].partition("<!--")[0]
    terms = "".join(re.findall(r"(.*)\n: ", section))
    parts = [part.strip(" .`") for term in re.findall(r"``?(.+?)`(?!\w)", terms)
             for part in term.split("…")]  # fmt: skip
    texts = source_texts()

    assert len(parts) > 8
    assert [part for part in parts if part not in texts] == []
