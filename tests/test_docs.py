"""The documentation: what it links to, shows and names exists, and what is made from code is so."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
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
FILES = re.compile(r"https://github\.com/org/clinder-action/(?:blob|tree)/main/")
ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
OPTIONS_OF_OTHERS = {
    "myst": {"--execute", "--execute-parallel", "--html", "--md", "--strict"},
    "binderbot": {
        *("--binder-url", "--repo", "--ref", "--binder-start-timeout", "--nb-timeout"),
        *("--output-dir", "--download", "--no-download", "--pass-env-var"),
    },
    "2i2c-org/clinder": {"--github-repo", "--github-ref", "--json"},
}
VARIABLES_OF_OTHERS = {
    *("JUPYTER_GATEWAY_URL", "JUPYTER_GATEWAY_AUTH_TOKEN"),  # jupyter_server
    *("BINDER_LAUNCH_HOST", "READTHEDOCS_OUTPUT"),  # a Binder's session, Read the Docs
    *("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "NO_COLOR"),  # libraries
    *("MYSTMD_ALLOW_NODEENV", "PYTHON_VERSION", "BASE_URL"),  # MyST, Netlify
    "NODE_EXTRA_CA_CERTS",  # node
    *("API_KEY", "ARM_USERNAME"),  # secrets of some cookbook
}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("page", PAGES, ids=named)
every_page_of_the_site = pytest.mark.parametrize("page", DOCS, ids=named)


def tokens(page: Path) -> Iterator[Token]:
    """Yield what a page consists of, without its front matter."""
    text = re.sub(r"\A---\n.*?\n---\n", "", page.read_text("utf-8"), flags=re.DOTALL)
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        yield token
        yield from token.children or ()


def fences(page: Path, *languages: str) -> list[str]:
    """Return the code blocks in some languages."""
    found = (token for token in tokens(page) if token.type == "fence")
    return [token.content for token in found if token.info.split()[:1] in [[i] for i in languages]]


def code(page: Path) -> list[str]:
    """Return all code: blocks, and what stands in backticks."""
    return [token.content for token in tokens(page) if token.type in ("fence", "code_inline")]


# What is made from the code


@pytest.mark.parametrize("page", docs.pages(), ids=named)
def test_a_part_that_is_made_from_the_code_is_up_to_date(page: Path) -> None:
    assert page.read_text("utf-8") == docs.written(page), "make docs-tables writes it anew"


def test_every_part_has_its_place() -> None:
    made = re.findall(r"^<!-- made: (\S+) -->$", "".join(page.read_text("utf-8") for page in DOCS),
                      re.MULTILINE)  # fmt: skip
    assert sorted(name for name in made if ":" not in name) == sorted(docs.PARTS)


# Links


def links(page: Path) -> list[str]:
    found = (token.attrs.get("href") or token.attrs.get("src") for token in tokens(page))
    return [str(each) for each in found if each]


def anchors(page: Path) -> set[str]:
    """Return the names by which the headings of a page are linked to."""
    every = list(tokens(page))
    headings = [after.content for token, after in pairwise(every)
                if token.type == "heading_open"]  # fmt: skip
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}


def leads_nowhere(page: Path, link: str) -> bool:
    ours = FILES.match(link)
    if not ours and re.match(r"[a-z]+:", link):
        return False
    path, _, anchor = (link[ours.end() :] if ours else link).partition("#")
    target = (ROOT if ours else page.parent) / path if path else page
    return not target.exists() or (bool(anchor) and anchor not in anchors(target))


@every_page
def test_every_link_of_ours_leads_somewhere(page: Path) -> None:
    assert [link for link in links(page) if leads_nowhere(page, link)] == []


@every_page_of_the_site
def test_the_site_links_to_files_outside_of_it_where_they_are_on_the_web(page: Path) -> None:
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
    """Yield the words after each ``clinder`` that is ours to run, up to the end of the command."""
    for line in text.replace("\\\n", " ").splitlines():
        for found in re.finditer(r"(?<![\w./@\[-])(?<!npx )(?<!install )clinder (?=[a-z-])", line):
            yield list(_words(line[found.end() :]))


def _words(line: str) -> Iterator[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        for word in lexer:
            if set(word) <= set("|&;<>()"):
                return
            yield word
    except ValueError:  # it ends within quotes of the shell around it
        return


def unknown(words: list[str]) -> list[str]:
    """Return what clinder would not know of a command that is shown."""
    if words[0].startswith("-"):
        return [word for word in words[:1] if word not in ("-h", "--help", "--version")]
    if words[0] not in ("COMMAND", *cli.commands):
        return words[:1]
    before = words[1 : words.index("--")] if "--" in words else words[1:]
    known = options(words[0])
    given = [word.split("=")[0] for word in before if word.startswith("-") and word != "-"]
    return [option for option in given if option not in known]


def options(command: str) -> set[str]:
    of = [cli.commands[command]] if command in cli.commands else cli.commands.values()
    every = (each for one in of for each in one.params if isinstance(each, click.Option))
    return {"-h", "--help"}.union(*((*each.opts, *each.secondary_opts) for each in every))


@every_page
def test_every_command_that_is_shown_exists_with_its_options(page: Path) -> None:
    shown = [words for text in code(page) for words in invocations(text)]

    assert [words for words in shown if unknown(words)] == []


def test_every_command_is_shown_somewhere() -> None:
    shown = {words[0] for page in DOCS for text in code(page) for words in invocations(text)}

    assert set(cli.commands) <= shown


@every_page
def test_every_option_that_is_named_is_somebodys(page: Path) -> None:
    texts = [token.content for token in tokens(page) if token.type == "code_inline"]
    named = {option for text in texts for option in re.findall(r"^--?[a-z-]+\b", text)}

    assert named <= options("").union({"-e"}, *OPTIONS_OF_OTHERS.values())


# The action


def steps(text: str) -> Iterator[dict[str, Any]]:
    """Yield the steps of a workflow, or of a part of one, that use the action."""
    left = [yaml.safe_load(text)]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            if str(one.get("uses", "")).startswith("org/clinder-action@"):
                yield one
            left += one.values()
        elif isinstance(one, list):
            left += one


@every_page
def test_every_step_gives_the_action_inputs_that_it_has(page: Path) -> None:
    given = [step.get("with", {}) for text in fences(page, "yaml") for step in steps(text)]

    assert [inputs for inputs in given if not inputs.keys() <= ACTION["inputs"].keys()] == []


@every_page
def test_every_output_that_is_used_is_one(page: Path) -> None:
    used = {
        name for text in code(page) for name in re.findall(r"steps\.binder\.outputs\.(\w+)", text)
    }

    assert used <= ACTION["outputs"].keys()


def test_the_pages_show_steps_with_inputs_and_outputs() -> None:
    text = "".join("".join(fences(page, "yaml")) for page in DOCS)

    assert text.count("uses: org/clinder-action@v1") > 5
    assert "hub-url: |" in text
    assert "steps.binder.outputs.started" in text


# Variables


def known_variables() -> set[str]:
    files = [*ROOT.glob("src/**/*.py"), *ROOT.glob("post/*.js"), ROOT / "action.yml"]
    found = re.findall(r"\b_?[A-Z]+(?:_[A-Z]+)*\b", "".join(f.read_text("utf-8") for f in files))
    every = (each for one in cli.commands.values() for each in one.params)
    return {*found, *(str(each.envvar) for each in every if each.envvar)}


@every_page
def test_every_variable_that_is_named_exists(page: Path) -> None:
    named = {name for text in code(page) for name in re.findall(r"\b_?[A-Z]+(?:_[A-Z]+)+\b", text)}

    assert named <= known_variables() | VARIABLES_OF_OTHERS


def test_the_configuration_names_every_variable_that_the_command_line_reads() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    every = (each for one in cli.commands.values() for each in one.params)
    read = {str(each.envvar) for each in every if each.envvar}
    for file in (ROOT / "src" / "clinder" / "cli").glob("*.py"):
        read |= set(
            re.findall(r'environ\.get\("((?:CLINDER|JUPYTER)_\w+)"', file.read_text("utf-8"))
        )

    assert len(read) > 8
    assert {name for name in read if f"`{name}`" not in page} == set()


# Messages

KINDS = {kind.__name__: kind for kind in docs.family(errors.ClinderError)}


def sources() -> str:
    """Return every text in the sources, a line each; what is filled in is ``…``."""
    files = (ROOT / "src").glob("**/*.py")
    found = (node for file in files for node in ast.walk(ast.parse(file.read_text("utf-8"))))
    return "\n".join(filter(None, map(_text, found)))


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
        )
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_every_error_has_its_message_on_the_page_and_no_other() -> None:
    assert sorted(KINDS) == sorted([*EXPLANATIONS, *FAMILIES])


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_what_the_page_says_is_what_the_code_says(name: str) -> None:
    texts = sources().replace("its certificate", "The hub's certificate")  # as binderhub.py has it
    for message in EXPLANATIONS[name].messages:
        assert message.removesuffix("…").rstrip(" :") in texts


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_no_message_as_it_is_never_raised(name: str) -> None:
    assert KINDS[name].__subclasses__()
    for file in (ROOT / "src").glob("**/*.py"):
        assert f'{name}("' not in file.read_text("utf-8")
        assert f'{name}(f"' not in file.read_text("utf-8")


def test_the_page_has_each_hint() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")

    assert [
        name for name, kind in KINDS.items() if name in EXPLANATIONS and kind.hint not in page
    ] == []
