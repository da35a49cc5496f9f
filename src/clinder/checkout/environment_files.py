"""What an environment file says, and where it may name other files of the repository.

Each function takes the text of one kind of file and returns the rest of a sentence that begins
with the file's name, or ``""`` where the file stands by itself. What is not understood may name
files.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator


def package(_: str) -> str:
    """Say that the file makes the repository a package."""
    return "is that of a package, which the build installs"


def _quoted(line: str) -> str:
    words = " ".join(line.split())
    return f"`{words if len(words) <= 80 else words[:79] + '…'}`"


_GOES_ON = re.compile(r"#.*\\\s*$", re.MULTILINE)
"""A comment that ends in a backslash: pip and the shell do not continue it, other readers may."""


def _going_on(text: str) -> str:
    found = _GOES_ON.search(text)
    return f"has a comment that seems to go on, {_quoted(found[0])}" if found else ""


# Python

_ARCHIVE = re.compile(r"\.(?:whl|zip|tar|tgz|tbz|txz|tar\.\w+|conda)$", re.IGNORECASE)
_REMOTE = re.compile(
    r"(?:git\+|hg\+|svn\+|bzr\+)?(?:https?|ssh|git)://[A-Za-z0-9][^$\s]*", re.IGNORECASE
)
_NAMED = re.compile(
    r"[A-Za-z0-9][\w.-]*\s*(?:\[[\w\s,.-]*\])?\s*"  # name and extras
    r"(?:\(?\s*(?:===|[<>=!~]=|[<>])[\w\s.*+!,<>=~-]*\)?)?\s*"  # versions
    r"(?:;[^/$]*)?(?:\s--hash=\S+)*\s*"  # marker and hashes
)
_WITH_FILE = re.compile(
    r"(?:-[rcef]|--(?:requirement|constraint|editable|find-links))(?:\s*=\s*|\s*)(?P<file>.*)"
)
_WITH_URL = re.compile(r"(?:-i|--index-url|--extra-index-url)(?:\s*=\s*|\s+)(?P<file>.*)")
_GLOBAL = re.compile(
    r"--(?:pre|prefer-binary|no-index|require-hashes|use-pep517|(?:no|only)-binary[=\s]\s*[\w:,.-]+"
    r"|trusted-host[=\s]\s*[\w:.-]+)"
)


def requirements(text: str) -> str:
    """Look for what pip would find among files, as it finds it."""
    if odd := _going_on(text):
        return odd
    joined = re.sub(r"\\\r?\n", " ", text.removeprefix("\ufeff"))
    for line in joined.splitlines():
        requirement = re.sub(r"(?:^|\s)#.*", "", line).strip()
        if requirement and _is_local(requirement):
            return f"has the line {_quoted(requirement)}, which may name files of the repository"
    return ""


def _is_local(requirement: str) -> bool:
    """Return whether pip may find what is required among files, and not by a name or a URL."""
    requirement = " ".join(requirement.split())
    option = _WITH_FILE.fullmatch(requirement) or _WITH_URL.fullmatch(requirement)
    if option:
        return not _REMOTE.fullmatch(option["file"].strip("\"' "))
    if _GLOBAL.fullmatch(requirement):
        return False
    name, at, url = requirement.partition("@")
    if at and _NAMED.fullmatch(name):
        requirement = url.strip()
    if _REMOTE.fullmatch(requirement):
        return False
    return not _NAMED.fullmatch(requirement) or bool(_ARCHIVE.search(requirement.partition(";")[0]))


def pyproject(text: str) -> str:
    """Tell the file of a package, by repo2docker's own rule, from one of tools' settings."""
    project = re.search(r"^\s*(?:\[\s*)?[\"']?project[\"']?\s*[\].=]", text, re.MULTILINE)
    system = re.search(r"^\s*(?:\[\s*)?[\"']?build-system[\"']?\s*[\].=]", text, re.MULTILINE)
    return "is that of a package, which the build installs" if project and system else ""


def pipfile(text: str) -> str:
    """Look for packages by a path, in a ``Pipfile`` or its lock."""
    found = re.search(r"[\"']?\b(?:path|file)\b[\"']?\s*[=:]\s*[\"'](?!https?://)[^\"']*", text)
    found = found or re.search(r"\bfile:[^\"',}\s]*", text)
    found = found or re.search(
        r"[\"']?\b(?:git|hg|svn|bzr)\b[\"']?\s*[=:]\s*[\"'](?!\w+://[A-Za-z0-9])[^\"']*", text
    )
    return f"has {_quoted(found[0])}, which may name files of the repository" if found else ""


# Conda: its YAML is not parsed, and what a simple reading does not understand is local.

_IN_YAML = re.compile(r"\.{1,2}(?:/|$)|/|~|file:|&|\*\w|!!|\?$")
_PIP_KEY = re.compile(r"[\"']?\bpip\b[\"']?\s*:")
_PIP_LIST = re.compile(r"(?P<indent>\s*)-\s+[\"']?pip[\"']?\s*:\s*(?P<flow>\[.*\])?\s*")


def conda(text: str) -> str:
    """Look for pip's local requirements, and local packages and channels."""
    lines = [re.sub(r"(?:^|\s)#.*|^prefix:.*", "", line).rstrip() for line in text.splitlines()]
    for line in lines:
        for word in re.split(r"[\s,\[\]\"'{}]+", line):
            if _IN_YAML.match(word) or _is_archive_here(word):
                return f"has the line {_quoted(line)}, which may name files of the repository"
    if sum(len(_PIP_KEY.findall(line)) for line in lines) > sum(map(_is_pip_list, lines)):
        return "has a list for pip that cannot be read here"
    for requirement in _pip_requirements(lines):
        if _is_local(requirement):
            shown = _quoted(requirement)
            return f"has the requirement {shown}, which may name files of the repository"
    return ""


def _is_archive_here(word: str) -> bool:
    return bool(_ARCHIVE.search(word)) and "://" not in word


def _is_pip_list(line: str) -> bool:
    return bool(_PIP_LIST.fullmatch(line))


def _pip_requirements(lines: list[str]) -> Iterator[str]:
    indent = -1
    for line in lines:
        if not line:
            continue
        if indent >= 0 and len(line) - len(line.lstrip()) <= indent:
            indent = -1
        if found := _PIP_LIST.fullmatch(line):
            indent = len(found["indent"])
            yield from _scalars((found["flow"] or "[]")[1:-1].split(","))
        elif indent >= 0:
            yield from _scalars([line.strip().removeprefix("-")])


def _scalars(items: list[str]) -> Iterator[str]:
    return filter(None, (item.strip().strip("\"'") for item in items))


# Julia, R, Nix


def julia(text: str) -> str:
    """Return whether it is a package, with a UUID of its own, or names one by a path."""
    if re.search(r"^\s*[\"']?uuid[\"']?\s*=", f"\n{text}".partition("\n[")[0], re.MULTILINE):
        return "is that of a package, which the build precompiles"
    found = re.search(r"^\s*(?:\[\s*workspace\b.*|[\"']?manifest[\"']?\s*=.*)", text, re.MULTILINE)
    found = found or re.search(
        r"\b(?:path|repo-url|url)[\"']?\s*=\s*[\"'](?!https?://|git@|ssh://)[^\"']*", text
    )
    return f"has {_quoted(found[0])}, which may name files of the repository" if found else ""


_R_CALLS = re.compile(
    r"(?:(?:base|utils|remotes|devtools|IRkernel)::)?(?:c|if|for|list|options|library|require"
    r"|requireNamespace|suppressPackageStartupMessages|suppressWarnings|Sys\.setenv|cat|print"
    r"|message|setdiff|rownames|installed\.packages|install\.packages|install_version|installspec"
    r"|install_github|install_gitlab|install_cran|install_bioc)|BiocManager::install"
)


def r_script(text: str) -> str:
    """Look for calls beyond those that install packages by their names."""
    code = re.sub(r"^\s*#.*", "", text, flags=re.MULTILINE)
    for call in re.findall(r"([\w.:`]+)\s*\(", code):
        if not _R_CALLS.fullmatch(call):
            return f"calls `{call.strip('`')}`, which may read the repository"
    found = re.search(r"[\"'](?:[./~]|file:)[^\"']*|\.(?:tar|tgz|zip)\b|\bNULL\b", code)
    return f"has {_quoted(found[0])}, which may name files of the repository" if found else ""


def nix(text: str) -> str:
    """Look for paths."""
    code = re.sub(r"^\s*#.*", "", text, flags=re.MULTILINE)
    code = re.sub(r"\w+://[^\s\"';]*|<[\w./-]+>|//", " ", code)
    found = re.search(r"[\w.]{0,20}/[\w./]{0,40}", code)
    return f"names {_quoted(found[0])}, which may be files of the repository" if found else ""


# Docker

_DIRECTIVE = re.compile(r"^\s*#\s*(?:escape|syntax)\s*=(?!\s*docker/dockerfile\b).*", re.M | re.I)
_MOUNT = re.compile(r"--mount\b(?!=type=(?:cache|tmpfs)\b)")


def dockerfile(text: str) -> str:
    """Look for what copies files; what a base image's own ``ONBUILD`` copies cannot be seen."""
    if found := _DIRECTIVE.search(text):
        return f"has a syntax of its own, {_quoted(found[0])}"
    code = re.sub(r"^\s*#.*\n?", "", text, flags=re.MULTILINE)
    for line in re.sub(r"\\[ \t]*\r?\n", " ", code).splitlines():
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
            return f"has the line {_quoted(line)}, which may read the repository"
    return ""


# Shell scripts: each command is one that is known to read no file, or may read any.

_SET = re.compile(r"set( [+-][a-z]+( pipefail)?)+|:|true|exec \"?\$@\"?|echo( [^$`<>&|;]*)?")
_EXPORT = re.compile(
    r"(?:export\s+)?(?!\w*(?:PATH|HOME|ENV)=)(?!(?i:pip|uv|conda|mamba|npm|yarn|jupyter|r|julia)_)"
    r"[A-Za-z_]\w*=([\"']?)(?![./~])[\w:,@+.=-]*\1"
)
_PIP = re.compile(r"(?:python3?\s+-m\s+)?pip3?\s+install\s+(?P<arguments>.*)")
_PIP_FLAGS = re.compile(r"-U|-q|-v|--(?:upgrade|quiet|no-cache-dir|no-deps|user|pre)")
_CONDA = re.compile(r"(?:conda|mamba|micromamba)\s+(?:install|clean|update)\s+(?P<arguments>.*)")
_JUPYTER = re.compile(
    r"jupyter[\s-](?:lab(?:extension)?|nbextension|server\s?extension)\s+"
    r"(?:enable|disable|clean|list)\b(?P<arguments>.*)"
    r"|jupyter[\s-]lab\s+build(?: --(?:minimize|dev-build)=(?:True|False))*"
)
_LABEXTENSION = re.compile(r"jupyter[\s-]labextension\s+install\s+(?P<arguments>.*)")
_CONDA_WORD = re.compile(
    r"-[ynqc]|--(?:yes|quiet|all|channel|name|freeze-installed)|\w[\w.:=<>*-]*"
)
_OF_NPM = re.compile(r"--?[a-z][a-z-]*(?:=True|=False)?|@[\w.-]+/[\w.@^-]+")
_JUPYTER_WORD = re.compile(r"--(?:sys-prefix|user|system|py|no-build)|@[\w.-]+/[\w.@^-]+|\w[\w.-]*")
_SHELL = re.compile(r"#!\s*(?:/usr)?/bin/(?:env\s+)?(?:ba|da|z)?sh(?:\s+-[a-z]+)*\s*")


def script(text: str) -> str:
    """Look for commands beyond those that are known to read no file."""
    first = text.partition("\n")[0]
    if first.startswith("#!") and not _SHELL.fullmatch(first):
        return f"is a program ({_quoted(first)}), which may read the repository"
    if odd := _going_on(text):
        return odd
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        for command in re.split(r"&&|;", re.sub(r"(?:^|\s)#[^\"']*$|^\s*#.*", "", line)):
            if command.strip() and not _reads_nothing(command.strip()):
                return f"runs {_quoted(command)}, which may read the repository"
    return ""


def _reads_nothing(command: str) -> bool:
    if _SET.fullmatch(command) or _EXPORT.fullmatch(command):
        return True
    for pattern, harmless in (
        (_PIP, lambda word: _PIP_FLAGS.fullmatch(word) or not _is_local(word)),
        (_CONDA, lambda word: _CONDA_WORD.fullmatch(word) and not _ARCHIVE.search(word)),
        (_JUPYTER, _JUPYTER_WORD.fullmatch),
        (_LABEXTENSION, _OF_NPM.fullmatch),  # a bare name may be a folder
    ):
        if found := pattern.fullmatch(command):
            words = _words(found["arguments"] or "")
            return words is not None and all(harmless(word) for word in words)
    return False


def _words(text: str) -> list[str] | None:
    """Return the words of a command that has nothing for the shell to do in them."""
    try:
        return None if re.search(r"[$`(){}|&]|(?:^|\s)~|<<|>>|\s[<>]", text) else shlex.split(text)
    except ValueError:
        return None
