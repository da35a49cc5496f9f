"""Generate the parts of docs/ that come from the code: ``make docs-tables``.

A part is between ``<!-- generated: NAME -->`` and ``<!-- end: NAME -->``.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, get_args

import click
import yaml

import clinder
import clinder.cli.streams
import clinder.running.kernels
from clinder import errors, events
from clinder.checkout.buildpacks import ROOT as ENVIRONMENT_FILES
from clinder.checkout.buildpacks import ROOT_PATTERNS
from clinder.cli import event_log
from clinder.cli.help import SESSION, RepositoryCommand, options_in_order
from clinder.cli.main import cli
from clinder.gateway.report import (
    CellError,
    Command,
    Kernel,
    Launch,
    Problem,
    Report,
    Resources,
    SlowCell,
    Stop,
)
from clinder.launch.build_signs import CAUSES
from clinder.repository.parse import FORMS
from clinder.session import Attempt, Session
from clinder.timeouts import Timeouts
from messages import EXPLANATIONS, FAMILIES, LOGS
from sample_events import SAMPLES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_PART = re.compile(r"<!-- generated: (\S+) -->\n(.*?)<!-- end: \1 -->\n", re.DOTALL)
_ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`")
_TOP_COMMENT = re.compile(r"\A(?:#.*\n)+")
_DEFAULT = re.compile(r"\s*\[default: (.*)\]$")


def pages() -> list[Path]:
    """Return the pages that have generated parts."""
    return [page for page in sorted(DOCS.glob("*.md")) if _PART.search(page.read_text("utf-8"))]


def render(page: Path) -> str:
    """Return a page with its parts generated again. Raises KeyError for an unknown part."""
    return _PART.sub(_replace_part, page.read_text("utf-8"))


def _replace_part(match: re.Match[str]) -> str:
    name = match[1]
    kind, _, argument = name.partition(":")
    text = _example(argument) if kind == "example" else PARTS[name]()
    return f"<!-- generated: {name} -->\n\n{text.strip()}\n\n<!-- end: {name} -->\n"


def _example(name: str) -> str:
    """Return a file without the comment at its top, in place of which the page has its own text."""
    text = (ROOT / "examples" / name).read_text("utf-8")
    language = "toml" if name.endswith(".toml") else "yaml"
    return f"```{language}\n{_TOP_COMMENT.sub('', text).rstrip()}\n```"


def _workflow() -> str:
    """Return the README's workflow."""
    return (
        "```yaml"
        + (ROOT / "README.md").read_text("utf-8").split("```yaml")[1].split("```")[0]
        + "```"
    )


def _table(*rows: tuple[str, ...]) -> str:
    """Return a table; the first row is its header."""
    head, *body = (" | ".join(map(_cell, row)) for row in rows)
    rule = "|".join("---" for _ in rows[0])
    return f"| {head} |\n|{rule}|\n" + "".join(f"| {row} |\n" for row in body)


def _definitions(rows: Iterable[tuple[str, str]]) -> str:
    """Return a list of terms and their explanations."""
    return "\n".join(f"{term}\n: {' '.join(text.split())}\n" for term, text in rows)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# The action


def _action() -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
    return loaded


def _inputs() -> str:
    return _definitions((f"`{name}`", _input(each)) for name, each in _action()["inputs"].items())


def _input(definition: Mapping[str, str]) -> str:
    """Return an input's description and its default, which the description can explain."""
    text, default = definition["description"].strip(), definition["default"]
    return f"{text} Default: `{default}`." if default else text


def _outputs() -> str:
    return _definitions(
        (f"`{name}`", each["description"]) for name, each in _action()["outputs"].items()
    )


# The command line


def _commands() -> str:
    return "\n".join(_command(name, command) for name, command in cli.commands.items())


SHARED = {"launch": ("start", "run"), "session": ("stop", "status")}
"""The commands whose common options are in one table."""
_EXPLAINED_BELOW = ("SESSION is ", "If you omit REPOSITORY")
"""Paragraphs of the help that the page's other sections explain."""


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"clinder {name}")
    usage = " ".join([f"clinder {name}", *command.collect_usage_pieces(context)])
    text, _, examples = inspect.cleandoc(command.help or "").partition("\b\nExamples:\n")
    paragraphs = [
        each for each in text.strip().split("\n\n") if not each.startswith(_EXPLAINED_BELOW)
    ]
    text = _unwrap("\n\n".join(paragraphs))
    shared = _shared_options(_kind(command)) if _kind(command) else []
    rows = [row for row in _options(command) if row not in shared]
    return (
        f"## clinder {name}\n\n```text\n{usage}\n```\n\n{text}\n\n"
        f"```sh\n{inspect.cleandoc(examples)}\n```\n\n"
        + _definitions(rows)
        + (f"\n{_other_options(command)}\n" if shared else "")
    )


def _kind(command: click.Command) -> str:
    if isinstance(command, RepositoryCommand):
        return "launch"
    return "session" if getattr(command, "variables", None) is SESSION else ""


def _other_options(command: click.Command) -> str:
    kind = _kind(command)
    shared = _shared_options(kind)
    others = [row for row in shared if row in _options(command)]
    link = f"[options of a {kind}](commands.md#options-of-a-{kind})"
    if others == shared:
        return f"It also has the {link}."
    names = ", ".join(f"`{re.findall('-[a-z-]+', name)[-1]}`" for name, _ in others)
    return f"It also has these {link}: {names}."


def _launch_options() -> str:
    return _definitions(_shared_options("launch"))


def _session_options() -> str:
    return _definitions(_shared_options("session"))


def _shared_options(kind: str) -> list[tuple[str, str]]:
    """Return the options that two commands share, in the order of the first."""
    first, second = (list(_options(cli.commands[name])) for name in SHARED[kind])
    return [row for row in first if row in second]


def _options(command: click.Command) -> Iterator[tuple[str, str]]:
    context = click.Context(command)
    return (_option(each, context) for each in options_in_order(command))


def _option(option: click.Option, context: click.Context) -> tuple[str, str]:
    names = ", ".join([*option.opts, *option.secondary_opts])
    text, default = option.help or "", ""
    if match := _DEFAULT.search(text):
        text, default = text[: match.start()], match[1]
    elif option.show_default:
        default = str(option.default)
    default = default if " " in default or not default else f"`{default}`"
    description = f"{text}{default and f' Default: {default}.'}"
    return f"`{names}{_metavar(option, context)}`", description.strip()


def _metavar(option: click.Option, context: click.Context) -> str:
    if option.is_flag:
        return ""
    if isinstance(option.type, click.IntRange):
        return f" {option.type.min}-{option.type.max}"
    return f" {option.make_metavar(context)}"


def _forms() -> str:
    return _table(("form", "example"), *((form, f"`{example}`") for form, example in FORMS))


def _exit_codes() -> str:
    rows = ((str(code), meaning) for code, meaning in errors.EXIT_CODES)
    return _table(("code", "meaning"), *rows)


def _environment_files() -> str:
    return _names(*ENVIRONMENT_FILES, *ROOT_PATTERNS)


def _names(*names: str) -> str:
    return ", ".join(f"`{name}`" for name in names) + "."


def _variables() -> str:
    """Return the variables that set an option of ``start`` and ``run``."""
    options = [each for each in cli.commands["run"].params if isinstance(each, click.Option)]
    rows = ((f"`{each.envvar}`", f"`{each.opts[0]}`") for each in options if each.envvar)
    return _table(("variable", "option"), *rows)


# The Python API


def _python() -> str:
    functions = [_function(name) for name in ("start", "stop", "open_session")]
    values = [Session, Attempt, Timeouts, errors.ClinderError, errors.Context]
    return "\n".join([*functions, *map(_value, values), _function("to_json", events)])


def _function(name: str, module: ModuleType = clinder) -> str:
    function = getattr(module, name)
    signature = inspect.signature(function)
    lines = "".join(f"    {line},\n" for line in _parameters(signature.parameters.values()))
    returned = str(signature.return_annotation)
    if name == "open_session":
        lines, returned = "    ...  # as for clinder.start\n", "AbstractContextManager[Session]"
    return (
        f"## {module.__name__}.{name}\n\n"
        f"```python\n{module.__name__}.{name}(\n{lines}) -> {returned}\n```\n\n"
        f"{_markdown(function)}\n"
    )


def _parameters(parameters: Any) -> Iterator[str]:
    keyword_only = False
    for each in parameters:
        if each.kind is each.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            yield "*"
        default = "" if each.default is each.empty else f" = {each.default!r}"
        yield f"{each.name}: {each.annotation}{default}"


_OWN_USE = ("access_token", "for_user", "is_embedded", "is_same", "secrets", "stop_limit")
"""Members that only clinder itself needs."""


def _value(kind: type) -> str:
    parts = [f"## {kind.__name__}", _markdown(kind)]
    if dataclasses.is_dataclass(kind):
        lines = "\n".join(map(_attribute, dataclasses.fields(kind)))
        parts.append(f"```python\n{lines}\n```")
    members = [
        (f"`{_signature(name, one)}`", _markdown(one))
        for name, one in vars(kind).items()
        if not name.startswith("_") and isinstance(one, property | classmethod | FunctionType)
        if name not in _OWN_USE
    ]
    if members:
        parts.append(_table(("member", "what it is"), *members).rstrip())
    return "\n\n".join(parts) + "\n"


def _attribute(field: dataclasses.Field[Any]) -> str:
    """Return an attribute, with its default unless that is empty."""
    default = None if field.default is dataclasses.MISSING else field.default
    return f"{field.name}: {field.type}" + (f" = {default!r}" if default else "")


def _signature(name: str, member: property | classmethod[Any, Any, Any] | FunctionType) -> str:
    if isinstance(member, property):
        return name
    function = member.__func__ if isinstance(member, classmethod) else member
    return f"{name}({', '.join(list(inspect.signature(function).parameters)[1:])})"


# The events


def _events() -> str:
    return _event_table(get_args(events.Event))


def _event_lines() -> str:
    own = [each for each in get_args(event_log.Line) if each not in get_args(events.Event)]
    return _event_table(own)


def _event_table(kinds: Sequence[Any]) -> str:
    return _definitions((_event_term(kind), _markdown(kind)) for kind in kinds)


def _event_term(kind: Any) -> str:
    return f"`{events.json_name(kind)}`" + (f": {_fields(kind)}" if _fields(kind) else "")


def _fields(kind: Any) -> str:
    """Return the fields of a class, with their types in JSON if they are not strings."""
    return ", ".join(map(_field, dataclasses.fields(kind)))


def _field(field: dataclasses.Field[Any]) -> str:
    name = _json_type(str(field.type))
    return f"`{field.name}`" + (f" ({name})" if name != "string" else "")


_JSON_TYPES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "tuple[str, ...]": "array of strings",
    "Session": "object",
    "Attempt": "object",
    "bool": "boolean",
    "bool | None": "boolean or null",
    "float | None": "number or null",
    "int | None": "integer or null",
    "Mapping[str, float]": "object of numbers",
    "tuple[int, ...]": "array of integers",
}


_SHOWN = (
    event_log.Opened,
    events.AttemptFailed,
    events.PhaseEnded,
    events.SessionReady,
)
"""The events in the example."""


def _event_example() -> str:
    """Return some of the lines. All but the URL of a session is left out."""
    shown = (each for each in SAMPLES if isinstance(each, _SHOWN))
    lines = (json.dumps(_shorten(events.to_json(each)), ensure_ascii=False) for each in shown)
    return "```json\n" + "\n".join(lines) + "\n```"


def _shorten(fields: dict[str, Any]) -> dict[str, Any]:
    session = fields.get("session")
    return {**fields, "session": {"url": session["url"], "…": "…"}} if session else fields


def _markdown(documented: object) -> str:
    """Return a docstring in Markdown: code in single backticks, roles as plain names."""
    text = _unwrap(inspect.getdoc(documented) or "")
    return _ROLE.sub(r"`\1`", text.replace(":mod:`", "``")).replace("``", "`")


def _unwrap(text: str) -> str:
    """Return text with one line per paragraph."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


# The report


def _report() -> str:
    """Return the fields of the report, and of each class that is part of it."""
    kinds = [Report, Launch, Kernel, CellError, SlowCell, Resources, Command, Stop, Problem]
    return "\n".join(map(_report_class, kinds))


def _report_class(kind: Any) -> str:
    return f"## {kind.__name__}\n\n{_markdown(kind)}\n\nFields: {_fields(kind)}.\n"


def _json_type(name: str) -> str:
    if name == "tuple[Attempt, ...]":
        return "array of [`Attempt`](python.md#attempt)"
    if name.startswith("tuple[") and name not in _JSON_TYPES:
        return f"array of `{name.removeprefix('tuple[').removesuffix(', ...]')}`"
    return _JSON_TYPES.get(name) or f"`{name.removesuffix(' | None')}` or null"


# The messages


def family(base: type[errors.ClinderError]) -> Iterator[type[errors.ClinderError]]:
    """Yield an error class and its subclasses, in the order of their definition."""
    yield base
    for kind in base.__subclasses__():
        yield from family(kind)


def _messages() -> str:
    codes = [code for code, _ in errors.EXIT_CODES if code]
    return "\n".join(filter(None, map(_section, codes)))


def _section(code: int) -> str:
    kinds = [
        kind
        for kind in family(errors.ClinderError)
        if kind.exit_code == code and kind.__name__ not in FAMILIES
    ]
    if not kinds:
        return ""
    meaning = dict(errors.EXIT_CODES)[code].partition(":")[0]
    return "\n\n".join([f"## {code}: {meaning}", *map(_message, kinds)]) + "\n"


def _message(kind: type[errors.ClinderError]) -> str:
    explanation = EXPLANATIONS[kind.__name__]
    first, *others = explanation.messages
    alternatives = "Also: " + "; ".join(f"*{each}*" for each in others) + "\n\n"
    cause = next((each for each in CAUSES if each.error is kind is not errors.BuildFailed), None)
    name = f"`{kind.__name__}`" + (f" (cause `{cause.name}`)" if cause else "")
    log = f"The log shows {LOGS[cause.name]}." if cause and cause.name in LOGS else ""
    hint = _without_other_hubs(kind.hint)
    texts = [_sentences(explanation.cause, log), _sentences(hint, explanation.advice)]
    return (
        f"### {first}\n\n"
        + (alternatives if others else "")
        + f"{name}: "
        + "\n\n".join(filter(None, texts))
    )


_OTHER_HUB = "(?:another|a second) hub with --hub"
_ELSEWHERE = (
    (rf"Use {_OTHER_HUB}, or r", "R"),
    (rf"Use {_OTHER_HUB}\.", ""),
    (rf"(?:Otherwise, t|T)ry again later, or (?:use|add) {_OTHER_HUB}\.", ""),
    (rf",? or (?:use |add )?{_OTHER_HUB}", ""),
    (r"Try again\. If this persists, try the link in a browser\.", ""),
)
"""The advice of many hints, which the page gives once, above the messages."""


def _without_other_hubs(hint: str) -> str:
    for pattern, replacement in _ELSEWHERE:
        hint = re.sub(pattern, replacement, hint)
    return hint.strip()


def _sentences(*texts: str) -> str:
    return " ".join(filter(None, texts))


NOT_BUILT = "The image could not be built: "


def _build_causes() -> str:
    """Return the causes of the error that has several. :func:`_message` shows the others."""
    causes = [each for each in CAUSES if each.error is errors.BuildFailed]
    terms = (f"*{each.message.removeprefix(NOT_BUILT)}* (`{each.name}`)" for each in causes)
    texts = (f"{LOGS[each.name]}. {each.hint or 'See below.'}" for each in causes)
    return _definitions(zip(terms, texts, strict=True))


PARTS: Mapping[str, Callable[[], str]] = {
    "workflow": _workflow,
    "inputs": _inputs,
    "outputs": _outputs,
    "commands": _commands,
    "launch-options": _launch_options,
    "session-options": _session_options,
    "forms": _forms,
    "exit-codes": _exit_codes,
    "environment-files": _environment_files,
    "variables": _variables,
    "python": _python,
    "events": _events,
    "event-lines": _event_lines,
    "event-example": _event_example,
    "build-causes": _build_causes,
    "messages": _messages,
    "report": _report,
}


if __name__ == "__main__":
    for each in pages():
        each.write_text(render(each), encoding="utf-8", newline="\n")
