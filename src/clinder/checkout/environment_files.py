"""Whether an environment file stands alone, or refers to other files of the repository.

Each check takes the text of one kind of file. It returns the rest of a sentence that begins with
the file's name, or ``""`` if the build needs nothing but this file. Whatever a check does not
understand counts as referring to other files.

A fork's pull request controls these texts, and ``re`` cannot be interrupted. So every check takes
time proportional to the length of the text: no pattern scans the same characters again from its
next starting point, and texts for slow parsers are short.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ruamel.yaml.events import Event

LIMIT = 500_000
"""Characters of the largest file that is inspected."""

SLOW_LIMIT = 64_000
"""Characters of the largest requirements, without hashes, and scripts: each takes 0.5 s."""

YAML_LIMIT = 48_000
"""Characters of the largest YAML, for which ruamel.yaml takes 0.5 s."""

TOO_LARGE = "is too large to inspect"
_REQUIREMENT_LIMIT = 2_000
_COMMAND_LIMIT = 10_000  # the time of shlex grows with the square of a word
_YAML_EVENTS = 8_000
_YAML_BRACKETS = 100  # ruamel.yaml's time grows with the square of the open ones
_YAML_DEPTH = 8


def check_package(_: str) -> str:
    """Report that the file makes the repository a package."""
    return "belongs to a package that the build installs"


def _refers(subject: str) -> str:
    return f"{subject}, which might refer to files of the repository"


def _reads(subject: str) -> str:
    return f"{subject}, which might read the repository"


def _quote(text: str) -> str:
    line = " ".join(text.split())
    return f"`{line if len(line) <= 80 else line[:79] + '…'}`"


def _without_comment_lines(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if not line.lstrip(" \t").startswith("#"))


def _continued_comment(text: str) -> str:
    """Report a comment that ends in a backslash, which pip and the shell do not continue.

    Other readers might.
    """
    for line in text.split("\n"):
        _, mark, comment = line.partition("#")
        if comment.rstrip().endswith("\\"):
            return f"has a comment that seems to continue, {_quote(mark + comment)}"
    return ""


# Python

_ARCHIVE = re.compile(r"\.(?:whl|zip|tar|tgz|tbz|txz|tar\.\w+|conda)$", re.IGNORECASE)
_REMOTE = re.compile(
    r"(?:git\+|hg\+|svn\+|bzr\+)?(?:https?|ssh|git)://[A-Za-z0-9][^$\s]*", re.IGNORECASE
)
_WITH_FILE = re.compile(
    r"(?:-[rcef]|--(?:requirement|constraint|editable|find-links))(?:\s*=\s*|\s*)(?P<file>.*)"
)
_WITH_URL = re.compile(r"(?:-i|--index-url|--extra-index-url)(?:\s*=\s*|\s+)(?P<file>.*)")
_GLOBAL = re.compile(
    r"--(?:pre|prefer-binary|no-index|require-hashes|use-pep517|(?:no|only)-binary[=\s]\s*[\w:,.-]+"
    r"|trusted-host[=\s]\s*[\w:.-]+)"
)


def check_requirements(text: str) -> str:
    """Check for requirements that pip would look up among files; read lines as pip does."""
    if continued := _continued_comment(text):
        return continued
    joined = re.sub(r"\s--hash=\S+", "", _join_lines(text.removeprefix("\ufeff")))
    if len(joined) > SLOW_LIMIT:
        return TOO_LARGE
    for line in joined.splitlines():
        requirement = re.sub(r"(?:^|\s)#.*", "", line).strip()
        if requirement and _is_local(requirement):
            return _refers(f"has the line {_quote(requirement)}")
    return ""


def _join_lines(text: str) -> str:
    return text.replace("\\\r\n", " ").replace("\\\n", " ")


def _is_local(requirement: str) -> bool:
    """Return whether pip might look up a requirement among files, not by its name or URL."""
    requirement = " ".join(requirement.split())
    option = _WITH_FILE.fullmatch(requirement) or _WITH_URL.fullmatch(requirement)
    if option:
        return not _REMOTE.fullmatch(option["file"].strip("\"' "))
    if _GLOBAL.fullmatch(requirement) or _REMOTE.fullmatch(requirement):
        return False
    return not _is_named(requirement)


def _is_named(requirement: str) -> bool:
    """Return whether a requirement is a name, with or without a remote URL (PEP 508)."""
    from packaging.requirements import InvalidRequirement, Requirement

    if "$" in requirement or len(requirement) > _REQUIREMENT_LIMIT:  # pip expands variables
        return False
    try:
        parsed = Requirement(requirement)
    except (InvalidRequirement, RecursionError):
        return False
    if parsed.url:
        return bool(_REMOTE.fullmatch(parsed.url))
    return not any(map(_ARCHIVE.search, (parsed.name, requirement.partition(";")[0].rstrip())))


_TOML_KEY = re.compile(r"[\"']?([\w-]+)[\"']?\s*[\].=]")


def _toml_keys(text: str) -> Iterator[tuple[str, str]]:
    """Yield the first key of each line of TOML, of a table or a value, and the line.

    The lines of a multi-line string are read like any others, which can only add keys.
    """
    for line in text.split("\n"):
        if found := _TOML_KEY.match(line.lstrip().lstrip("[").lstrip()):
            yield found[1], line


def check_pyproject(text: str) -> str:
    """Check for a package, by repo2docker's own rule: the file might only configure tools."""
    keys = {key for key, _ in _toml_keys(text)}
    return check_package(text) if {"project", "build-system"} <= keys else ""


def check_pipfile(text: str) -> str:
    """Check a ``Pipfile`` or its lock for packages by path."""
    found = re.search(r"[\"']?\b(?:path|file)\b[\"']?\s*[=:]\s*[\"'](?!https?://)[^\"']*", text)
    found = found or re.search(r"\bfile:[^\"',}\s]*", text)
    found = found or re.search(
        r"[\"']?\b(?:git|hg|svn|bzr)\b[\"']?\s*[=:]\s*[\"'](?!\w+://[A-Za-z0-9])[^\"']*", text
    )
    return _refers(f"has {_quote(found[0])}") if found else ""


# Conda

_PATH = re.compile(r"\.{1,2}(?:/|$)|/|~|file:")
_FOR_PIP = ("dependencies", "pip")


def check_conda(text: str) -> str:
    """Check the requirements for pip, and all other entries for paths."""
    if len(text) > YAML_LIMIT:
        return TOO_LARGE
    events = _plain_events(text)
    try:
        entries = [entry for event in events for entry in _entries(event, events)]
    except _NotPlainError:
        return "has YAML that cannot be inspected: more than plain mappings, lists and strings"
    for keys, entry in entries:
        if "pip" in keys and keys != _FOR_PIP:
            return "has a list for pip outside its dependencies"
        if keys != _FOR_PIP and keys[:1] != ("prefix",) and _has_path(entry):
            return _refers(f"has the entry {_quote(entry)}")
    return check_requirements("\n".join(entry for keys, entry in entries if keys == _FOR_PIP))


def _has_path(entry: str) -> bool:
    words = re.split(r"[\s,\[\]\"'{}]+", entry)
    return any(_PATH.match(word) or (_ARCHIVE.search(word) and "://" not in word) for word in words)


class _NotPlainError(Exception):
    """YAML has more than mappings, lists and strings, or would take too long to read."""


def _entries(
    event: Event, events: Iterator[Event], keys: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the keys and strings of the node at ``event``, each with the keys of its parents."""
    from ruamel.yaml import events as kinds

    items = takewhile(lambda each: not isinstance(each, kinds.CollectionEndEvent), events)
    if isinstance(event, kinds.ScalarEvent):
        yield keys, event.value
    elif isinstance(event, kinds.SequenceStartEvent):
        for item in items:
            yield from _entries(item, events, keys)
    elif isinstance(event, kinds.MappingStartEvent):
        for key in items:
            if not isinstance(key, kinds.ScalarEvent):
                raise _NotPlainError
            yield keys, key.value
            yield from _entries(next(events), events, (*keys, key.value))


def _plain_events(text: str) -> Iterator[Event]:
    """Yield the events of YAML without anchors, aliases, tags and blocks of text."""
    from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

    depth = 0
    if text.count("[") + text.count("{") > _YAML_BRACKETS:
        raise _NotPlainError
    for number, event in enumerate(_parse_yaml(text)):
        depth += isinstance(event, CollectionStartEvent)
        depth -= isinstance(event, CollectionEndEvent)
        special = any(getattr(event, name, None) for name in ("anchor", "tag"))
        special = special or getattr(event, "style", None) in {"|", ">"}
        if special or depth > _YAML_DEPTH or number > _YAML_EVENTS:
            raise _NotPlainError
        yield event


def _parse_yaml(text: str) -> Iterator[Event]:
    from ruamel.yaml import YAML

    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except Exception:  # noqa: BLE001 - whatever the parser raises, it does not understand the text
        raise _NotPlainError from None


# Julia, R, Nix


def check_julia(text: str) -> str:
    """Check for a package, which has a UUID of its own, and for packages by path."""
    beginning = f"\n{text}".partition("\n[")[0]
    if any(key == "uuid" for key, _ in _toml_keys(beginning)):
        return "belongs to a package that the build precompiles"
    for key, line in _toml_keys(text):
        if key in {"workspace", "manifest"}:
            return _refers(f"has {_quote(line)}")
    found = re.search(
        r"\b(?:path|repo-url|url)[\"']?\s*=\s*[\"'](?!https?://|git@|ssh://)[^\"']*", text
    )
    return _refers(f"has {_quote(found[0])}") if found else ""


_R_CALL = re.compile(r"(?<![\w.:`])([\w.:`]+)\s*\(")
_HARMLESS_R_CALL = re.compile(
    r"(?:(?:base|utils|remotes|devtools|IRkernel)::)?(?:c|if|for|list|options|library|require"
    r"|requireNamespace|suppressPackageStartupMessages|suppressWarnings|Sys\.setenv|cat|print"
    r"|message|setdiff|rownames|installed\.packages|install\.packages|install_version|installspec"
    r"|install_github|install_gitlab|install_cran|install_bioc)|BiocManager::install"
)


def check_r_script(text: str) -> str:
    """Check for calls beyond those that install packages by name."""
    code = _without_comment_lines(text)
    for call in _R_CALL.findall(code):
        if not _HARMLESS_R_CALL.fullmatch(call):
            return _reads(f"calls `{call.strip('`')}`")
    found = re.search(r"[\"'](?:[./~]|file:)[^\"']*|\.(?:tar|tgz|zip)\b|\bNULL\b", code)
    return _refers(f"has {_quote(found[0])}") if found else ""


def check_nix(text: str) -> str:
    """Check for paths."""
    code = re.sub(r"(?<!\w)\w+://[^\s\"';]*|<[\w./-]+>|//", " ", _without_comment_lines(text))
    slash = code.find("/")
    found = re.search(r"[\w.]*/[\w./]*", code[max(0, slash - 20) : slash + 40])
    return f"names {_quote(found[0])}, which might be files of the repository" if found else ""


# Docker

_DIRECTIVE = re.compile(r"#\s*(?:escape|syntax)\s*=(?!\s*docker/dockerfile\b)", re.IGNORECASE)
_MOUNT = re.compile(r"--mount\b(?!=type=(?:cache|tmpfs)\b)")


def check_dockerfile(text: str) -> str:
    """Check for instructions that read files, except those of a base image's ``ONBUILD``."""
    for line in text.split("\n"):
        if _DIRECTIVE.match(line.lstrip()):
            return f"has a syntax of its own, {_quote(line)}"
    lines = (line for line in _without_comment_lines(text).split("\n") if line.strip())
    for line in re.sub(r"\\[ \t]*\r?\n", " ", "\n".join(lines)).splitlines():
        instruction, *rest = line.split(maxsplit=1)[:2] or [""]
        arguments = "".join(rest)
        match instruction.upper():
            case "COPY" | "ADD":
                reads = not arguments.startswith("--from=")
            case "RUN":
                reads = bool(_MOUNT.search(arguments))
            case name:
                reads = name == "ONBUILD"
        if reads:
            return _reads(f"has the line {_quote(line)}")
    return ""


# Shell scripts: each command is one that is known to read no file, or might read any.

_SHELL = re.compile(r"#!\s*(?:/usr)?/bin/(?:env\s+)?(?:ba|da|z)?sh(?:\s+-[a-z]+)*\s*")
_COMMENT = re.compile(r"(?:^|[ \t])#")
_SET = re.compile(r"set( [+-][a-z]+( pipefail)?)+|:|true|exec \"?\$@\"?|echo( [^$`<>&|;]*)?")
_EXPORT = re.compile(
    r"(?:export\s+)?(?!\w*(?:PATH|HOME|ENV)=)(?!(?i:pip|uv|conda|mamba|npm|yarn|jupyter|r|julia)_)"
    r"[A-Za-z_]\w*=([\"']?)(?![./~])[\w:,@+.=-]*\1"
)
_PIP = re.compile(r"(?:python3?\s+-m\s+)?pip3?\s+install\s+(?P<arguments>.*)")
_PIP_FLAGS = re.compile(r"-U|-q|-v|--(?:upgrade|quiet|no-cache-dir|no-deps|user|pre)")
_CONDA = re.compile(r"(?:conda|mamba|micromamba)\s+(?:install|clean|update)\s+(?P<arguments>.*)")
_CONDA_WORD = re.compile(
    r"-[ynqc]|--(?:yes|quiet|all|channel|name|freeze-installed)|\w[\w.:=<>*-]*"
)
_JUPYTER = re.compile(
    r"jupyter[\s-](?:lab(?:extension)?|nbextension|server\s?extension)\s+"
    r"(?:enable|disable|clean|list)\b(?P<arguments>.*)"
    r"|jupyter[\s-]lab\s+build(?: --(?:minimize|dev-build)=(?:True|False))*"
)
_JUPYTER_WORD = re.compile(r"--(?:sys-prefix|user|system|py|no-build)|@[\w.-]+/[\w.@^-]+|\w[\w.-]*")
_LABEXTENSION = re.compile(r"jupyter[\s-]labextension\s+install\s+(?P<arguments>.*)")
_OF_NPM = re.compile(r"--?[a-z][a-z-]*(?:=True|=False)?|@[\w.-]+/[\w.@^-]+")


def check_script(text: str) -> str:
    """Check for commands beyond those that are known to read no file."""
    if len(text) > SLOW_LIMIT:
        return TOO_LARGE
    first = text.partition("\n")[0]
    if first.startswith("#!") and not _SHELL.fullmatch(first):
        return _reads(f"is a program ({_quote(first)})")
    if continued := _continued_comment(text):
        return continued
    for line in _without_comment_lines(_join_lines(text)).split("\n"):
        after_quotes = max(line.rfind("'"), line.rfind('"')) + 1
        comment = _COMMENT.search(line, after_quotes)
        for command in re.split(r"&&|;", line[: comment.start()] if comment else line):
            if command.strip() and not _reads_nothing(command.strip()):
                return _reads(f"runs {_quote(command)}")
    return ""


def _reads_nothing(command: str) -> bool:
    if len(command) > _COMMAND_LIMIT:
        return False
    if _SET.fullmatch(command) or _EXPORT.fullmatch(command):
        return True
    for pattern, is_harmless in (
        (_PIP, lambda word: _PIP_FLAGS.fullmatch(word) or not _is_local(word)),
        (_CONDA, lambda word: _CONDA_WORD.fullmatch(word) and not _ARCHIVE.search(word)),
        (_JUPYTER, _JUPYTER_WORD.fullmatch),
        (_LABEXTENSION, _OF_NPM.fullmatch),  # a bare name might be a folder
    ):
        if found := pattern.fullmatch(command):
            words = _split_words(found["arguments"] or "")
            return words is not None and all(map(is_harmless, words))
    return False


def _split_words(text: str) -> list[str] | None:
    """Return the words of a command, ``None`` if the shell does more than split them."""
    try:
        return None if re.search(r"[$`(){}|&]|(?:^|\s)~|<<|>>|\s[<>]", text) else shlex.split(text)
    except ValueError:
        return None
