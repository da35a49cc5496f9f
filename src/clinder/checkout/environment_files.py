"""Whether an environment file stands alone, or refers to other files of the repository.

Each check takes the text of one kind of file, and its place. It returns the rest of a sentence
that begins with the file's name, or ``""`` if the build needs nothing but this file and those that
it names. Whatever a check does not understand counts as referring to other files.

A fork's pull request controls these texts, and ``re`` cannot be interrupted. So every check takes
time proportional to the length of the text: no pattern scans the same characters again from its
next starting point, and texts for slow parsers are short.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING

from clinder.checkout.addresses import normalize
from clinder.checkout.requirements import ARCHIVE, check_requirements
from clinder.checkout.surroundings import TOO_LARGE, Place, quote, reads, refers

if TYPE_CHECKING:
    from ruamel.yaml.events import Event

YAML_LIMIT = 48_000
"""Characters of the largest YAML, for which ruamel.yaml takes 0.5 s."""

_YAML_EVENTS = 8_000
_YAML_BRACKETS = 100  # ruamel.yaml's time grows with the square of the open ones
_YAML_DEPTH = 8


def check_package(_: str, __: Place | None = None) -> str:
    """Report that the file makes the repository a package."""
    return "belongs to a package that the build installs"


def without_comment_lines(text: str) -> str:
    """Return a text without the lines that begin with ``#``."""
    return "\n".join(line for line in text.split("\n") if not line.lstrip(" \t").startswith("#"))


# Python

_TOML_KEY = re.compile(r"[\"']?([\w-]+)[\"']?\s*[\].=]")


def _toml_keys(text: str) -> Iterator[tuple[str, str]]:
    """Yield the first key of each line of TOML, of a table or a value, and the line.

    The lines of a multi-line string are read like any others, which can only add keys.
    """
    for line in text.split("\n"):
        if found := _TOML_KEY.match(line.lstrip().lstrip("[").lstrip()):
            yield found[1], line


def check_pyproject(text: str, _: Place | None = None) -> str:
    """Check for a package, by repo2docker's own rule: the file might only configure tools."""
    keys = {key for key, _ in _toml_keys(text)}
    return check_package(text) if {"project", "build-system"} <= keys else ""


def check_pipfile(text: str, _: Place | None = None) -> str:
    """Check a ``Pipfile`` or its lock for packages by path."""
    found = re.search(r"[\"']?\b(?:path|file)\b[\"']?\s*[=:]\s*[\"'](?!https?://)[^\"']*", text)
    found = found or re.search(r"\bfile:[^\"',}\s]*", text)
    found = found or re.search(
        r"[\"']?\b(?:git|hg|svn|bzr)\b[\"']?\s*[=:]\s*[\"'](?!\w+://[A-Za-z0-9])[^\"']*", text
    )
    return refers(f"has {quote(found[0])}") if found else ""


# Conda

_PATH = re.compile(r"\.{1,2}(?:/|$)|/|~|file:")
_PACKAGE = re.compile(r"(?:(?P<channel>[^\s:]+)::)?(?P<name>[\w.-]+)(?P<version>.*)")
_PUBLIC_CHANNELS = re.compile(r"conda-forge|(?:no)?defaults|bioconda|pkgs/\w+")
_FOR_PIP = ("dependencies", "pip")


def check_conda(text: str, place: Place | None = None) -> str:
    """Check the requirements for pip, and all other entries for paths."""
    if len(text) > YAML_LIMIT:
        return TOO_LARGE
    place = place or Place()
    events = _plain_events(text)
    try:
        entries = [entry for event in events for entry in _entries(event, events)]
    except _NotPlainError:
        return "has YAML that cannot be inspected: more than plain mappings, lists and strings"
    for keys, entry in entries:
        if "pip" in keys and keys != _FOR_PIP:
            return "has a list for pip outside its dependencies"
        if keys != _FOR_PIP and keys[:1] != ("prefix",) and _has_path(entry):
            return refers(f"has the entry {quote(entry)}")
        if keys == ("dependencies",):
            note_conda_package(entry, place)
        elif keys == ("channels",):
            note_channel(entry, place)
    requirements = "\n".join(entry for keys, entry in entries if keys == _FOR_PIP)
    return check_requirements(requirements, place)


def note_conda_package(entry: str, place: Place) -> None:
    """Note whether a package can change, and whether it is the repository's own."""
    if not (found := _PACKAGE.fullmatch(entry)):
        return
    if "*" in found["version"] or not re.match(r"\s*={1,2}\s*\d", found["version"]):
        place.around.packages.add(normalize(found["name"]))
    if normalize(found["name"]) in place.around.own.packages:
        place.around.releases["conda"].packages.append(entry)
        note_channel(found["channel"] or "defaults", place)


def note_channel(channel: str, place: Place) -> None:
    """Note a channel that might have more than public releases."""
    if not _PUBLIC_CHANNELS.fullmatch(channel):
        place.around.releases["conda"].options.append(f"the channel {channel}")


def _has_path(entry: str) -> bool:
    words = re.split(r"[\s,\[\]\"'{}]+", entry)
    return any(_PATH.match(word) or (ARCHIVE.search(word) and "://" not in word) for word in words)


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


# Julia

_JULIA_PROJECTS = ("JuliaProject.toml", "Project.toml")  # in the order of Base.project_names
_JULIA_MANIFEST = re.compile(r"(?:Julia)?Manifest(?:-v[\d.]+)?\.toml")
_UUID = re.compile(r"^uuid[ \t]*=[ \t]*[\"']([\w-]+)", re.MULTILINE)


def check_julia(text: str, place: Place | None = None) -> str:
    """Check for a package, which has a UUID of its own, and for packages by path.

    If the root's project has a workspace that includes this one, its files are followed.
    """
    place = place or Place()
    if _own_uuids(text):
        return "belongs to a package that the build precompiles"
    for key, line in _toml_keys(text):
        if key in {"workspace", "manifest"}:
            return refers(f"has {quote(line)}")
    if reason := _check_julia_paths(text, place):
        return reason
    folder, _, name = place.path.rpartition("/")
    return _check_workspace(text, folder, place) if folder and name in _JULIA_PROJECTS else ""


def _own_uuids(text: str) -> list[str]:
    beginning = f"\n{text}".partition("\n[")[0]
    if any(key == "uuid" for key, _ in _toml_keys(beginning)):
        return _UUID.findall(beginning) or [beginning]
    return []


def _check_julia_paths(text: str, _: Place) -> str:
    found = re.search(
        r"\b(?:path|repo-url|url)[\"']?\s*=\s*[\"'](?!https?://|git@|ssh://)[^\"']*", text
    )
    return refers(f"has {quote(found[0])}") if found else ""


def _check_workspace(text: str, folder: str, place: Place) -> str:
    """Follow the projects and manifests of the workspace that includes a folder (``base_project``).

    All its projects count, because their packages are resolved together.
    """
    root = place.around.files
    base = next(filter(None, map(root.text, _JULIA_PROJECTS)), "")
    members = _workspace_projects(base)
    if folder not in members:
        return ""
    names = [name for name in place.around.root if _JULIA_MANIFEST.fullmatch(name)]
    names += [posixpath.join(each, name) for each in ("", *members) for name in _JULIA_PROJECTS]
    for name in names:
        project = root.text(name)
        if project is None or name == place.path:
            continue
        if any(uuid in text for uuid in _own_uuids(project)):
            return refers(f"needs the package of {name}")
        reason = place.follow(name, _check_julia_paths, "")
        if reason != "":
            return reason or refers(f"is in a workspace with {name}")
    return ""


def _workspace_projects(text: str) -> list[str]:
    """Return the folders in ``projects = […]`` after ``workspace``."""
    after = text.partition("workspace")[2].partition("projects")[2].partition("[")[2]
    names = re.findall(r"[\"']([^\"'\n]*)[\"']", after.partition("]")[0])
    return [posixpath.normpath(name) for name in names]


def check_artifacts(_: str, place: Place | None = None) -> str:
    """Check for a program that selects artifacts; Pkg runs it."""
    place = place or Place()
    selector = posixpath.join(posixpath.dirname(place.path), ".pkg/select_artifacts.jl")
    return reads(f"needs {selector}") if place.around.files.has(selector) else ""


# R, Nix

_R_CALL = re.compile(r"(?<![\w.:`])([\w.:`]+)\s*\(")
_HARMLESS_R_CALL = re.compile(
    r"(?:(?:base|utils|remotes|devtools|IRkernel)::)?(?:c|if|for|list|options|library|require"
    r"|requireNamespace|suppressPackageStartupMessages|suppressWarnings|Sys\.setenv|cat|print"
    r"|message|setdiff|rownames|installed\.packages|install\.packages|install_version|installspec"
    r"|install_github|install_gitlab|install_cran|install_bioc)|BiocManager::install"
)


_PUBLIC_R = re.compile(
    r"https?://(?:[\w-]+\.)*(?:r-project\.org|packagemanager\.posit\.co|rstudio\.com"
    r"|bioconductor\.org)"
)


def check_r_script(text: str, place: Place | None = None) -> str:
    """Check for calls beyond those that install packages by name."""
    code = without_comment_lines(text)
    for call in _R_CALL.findall(code):
        if not _HARMLESS_R_CALL.fullmatch(call):
            return reads(f"calls `{call.strip('`')}`")
    found = re.search(r"[\"'](?:[./~]|file:)[^\"']*|\.(?:tar|tgz|zip)\b|\bNULL\b", code)
    if place:
        _note_r_packages(code, place)
    return refers(f"has {quote(found[0])}") if found else ""


def _note_r_packages(code: str, place: Place) -> None:
    """Note the repository's own packages, and package repositories other than CRAN's mirrors."""
    own = place.around.releases["R"]
    names = re.findall(r"[\"']([A-Za-z][\w.]*)[\"']", code)
    own.packages += [name for name in names if normalize(name) in place.around.own.packages]
    own.options += [url for url in re.findall(r"https?://[^\s\"'/]+", code)
                    if not _PUBLIC_R.fullmatch(url)]  # fmt: skip


def check_nix(text: str, _: Place | None = None) -> str:
    """Check for paths."""
    code = re.sub(r"(?<!\w)\w+://[^\s\"';]*|<[\w./-]+>|//", " ", without_comment_lines(text))
    slash = code.find("/")
    found = re.search(r"[\w.]*/[\w./]*", code[max(0, slash - 20) : slash + 40])
    return f"names {quote(found[0])}, which might be files of the repository" if found else ""


# Docker

_DIRECTIVE = re.compile(r"#\s*(?:escape|syntax)\s*=(?!\s*docker/dockerfile\b)", re.IGNORECASE)
_MOUNT = re.compile(r"--mount\b(?!=type=(?:cache|tmpfs)\b)")
_ONBUILD_IMAGE = re.compile(r"onbuild|pangeo/base-image|andrewosh/binder-base", re.IGNORECASE)
_COPIES = 20
_ATTRIBUTE = re.compile(r"--(?:chown|chmod|link|checksum)\b\S*")


def check_dockerfile(text: str, place: Place | None = None) -> str:
    """Check for instructions that read files; files that they copy by name are followed.

    A base image's ``ONBUILD`` is not visible, except in images that are known for it.
    """
    for line in text.split("\n"):
        if _DIRECTIVE.match(line.lstrip()):
            return f"has a syntax of its own, {quote(line)}"
    place = place or Place()
    lines = (line for line in without_comment_lines(text).split("\n") if line.strip())
    for line in re.sub(r"\\[ \t]*\r?\n", " ", "\n".join(lines)).splitlines():
        instruction, *rest = line.split(maxsplit=1)[:2] or [""]
        reason = _check_instruction(instruction.upper(), "".join(rest), place)
        if reason is None:
            return reads(f"has the line {quote(line)}")
        if reason:
            return reason
    return ""


def _check_instruction(name: str, arguments: str, place: Place) -> str | None:
    """Check an instruction. Return ``None`` if it might read any file."""
    match name:
        case "COPY" | "ADD":
            return "" if arguments.startswith("--from=") else _check_copy(arguments, place)
        case "RUN":
            return None if _MOUNT.search(arguments) else ""
        case "FROM":
            return None if _ONBUILD_IMAGE.search(arguments) else ""
        case _:
            return None if name == "ONBUILD" else ""


def _check_copy(arguments: str, place: Place) -> str | None:
    words = arguments.split()
    while words and _ATTRIBUTE.fullmatch(words[0]):
        words.pop(0)
    *sources, _ = words or [""]
    reasons = [place.follow(source, _check_copied, "") for source in sources[:_COPIES]]
    if not reasons or len(sources) > _COPIES or None in reasons:
        return None
    return "".join(filter(None, reasons))


def _check_copied(_: str, __: Place) -> str:
    """Report nothing: an image that has a single file has nothing else that the file names."""
    return ""
