"""Whether ``postBuild`` and ``start``, and the scripts that they run, need only known files.

clinder knows some commands that read no file, or only files that they name. Any other command might
read any file. The named files are followed, and then belong to the environment.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import takewhile

from clinder.checkout.environment_files import (
    check_conda,
    check_r_script,
    note_channel,
    note_conda_package,
    without_comment_lines,
)
from clinder.checkout.requirements import (
    ARCHIVE,
    check_lines,
    check_requirements,
    find_continued_comment,
    join_lines,
)
from clinder.checkout.surroundings import SLOW_LIMIT, TOO_LARGE, Place, quote, reads

_COMMAND_LIMIT = 10_000  # the time of shlex grows with the square of a word
_SHELL = re.compile(r"#!\s*(?:/usr)?/bin/(?:env\s+)?(?:ba|da|z)?sh(?:\s+-[a-z]+)*\s*")
_COMMENT = re.compile(r"(?:^|[ \t])#")
_SET = re.compile(r"set( [+-][a-z]+( pipefail)?)+|:|true|exec \"?\$@\"?|echo( [^$`<>&|;]*)?")
_EXPORT = re.compile(
    r"(?:export\s+)?(?!\w*(?:PATH|HOME|ENV)=)(?!(?i:pip|uv|conda|mamba|npm|yarn|jupyter|r|julia)_)"
    r"[A-Za-z_]\w*=(?:([\"']?)(?![./~])[\w:,@+.=-]*\1"
    r"|\"(?:\$JUPYTERHUB_[A-Z_]+/|\$\{JUPYTERHUB_[A-Z_]+\})[\w:,@+.=/{}-]*\")"  # a URL on the hub
)
_VARIABLE = re.compile(
    r"(?<!\S)~(?=/)|\$(?P<brace>\{)?(?:HOME|REPO_DIR|CONDA_DIR|CONDA_PREFIX|(?:NB|KERNEL)_PYTHON_PREFIX"
    r"|JUPYTERHUB_[A-Z_]+)(?(brace)\}|(?!\w))"
)
"""Variables that the image or the hub sets, to values without spaces."""
_ANY_VALUE = "%"  # no path with it is in the repository
_KEEPS_SETTINGS = re.compile(r"(?:set|true|exec|echo|export|mkdir|chmod|cp|mv|ln|sed)\b|:|\w+=")


def check_script(text: str, place: Place | None = None) -> str:
    """Check for commands that might read any file of the repository."""
    if len(text) > SLOW_LIMIT:
        return TOO_LARGE
    first = text.partition("\n")[0]
    if first.startswith("#!") and not _SHELL.fullmatch(first):
        return reads(f"is a program ({quote(first)})")
    if continued := find_continued_comment(text):
        return continued
    place = place or Place()
    around = place.around
    for command in _commands(text):
        words = _split_words(command)
        copy = around.settings_copy
        reason = _check_command(command, words, place)
        if reason is None:
            return reads(f"runs {quote(command)}")
        if copy and not reason and not _KEEPS_SETTINGS.match(command):
            reason = f"runs {quote(command)} after {quote(copy)}, which might change its settings"
        if reason:
            return reason
        if words[:1] in (["cp"], ["mv"], ["ln"]) and not place.is_in_folder(words[-1]):
            around.settings_copy = command
    return ""


def _commands(text: str) -> Iterator[str]:
    for line in without_comment_lines(join_lines(text)).split("\n"):
        after_quotes = max(line.rfind("'"), line.rfind('"')) + 1
        comment = _COMMENT.search(line, after_quotes)
        code = line[: comment.start()] if comment else line
        yield from filter(None, map(str.strip, re.split(r"&&|;", code)))


def _split_words(command: str) -> list[str]:
    """Return the words of a command, none if the shell does more than split them."""
    if len(command) > _COMMAND_LIMIT:
        return []
    command = _VARIABLE.sub(_ANY_VALUE, command)
    if re.search(r"[$`{}]|(?:^|\s)~|<<|>>|\s[<>]", command):
        return []
    lexer = shlex.shlex(command, posix=True, punctuation_chars="()|&")
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        words = list(lexer)
    except ValueError:
        return []
    return [] if any(re.fullmatch(r"[()|&]+", word) for word in words) else words


def _check_command(command: str, words: list[str], place: Place) -> str | None:
    """Check one command. Return ``None`` if it might read any file."""
    if len(command) > _COMMAND_LIMIT:
        return None
    if _SET.fullmatch(command) or _EXPORT.fullmatch(command):
        return ""
    program, arguments = (words or [""])[0], words[1:]
    if program.startswith("jupyter-"):
        program, arguments = "jupyter", [program.removeprefix("jupyter-"), *arguments]
    if "/" in program and not arguments:
        return place.follow(program, check_script, "")
    return _PROGRAMS[program](arguments, place) if program in _PROGRAMS else None


# Packages

_PIP_FLAG = re.compile(r"-U|-q|-v|--(?:upgrade|quiet|no-cache-dir|no-deps|user)")
_PIP_OPTION = re.compile(
    r"-[rceif]|--(?:requirement|constraint|editable|find-links|index-url|extra-index-url)"
)
_PIP_FILE = re.compile(r"(?:-[rc]|--(?:requirement|constraint))[ =]?(?P<file>.*)")
_CONDA_WORD = re.compile(
    r"-[ynqc]|--(?:yes|quiet|all|channel|name|freeze-installed)|\w[\w.:=<>*-]*"
)
_CONDA_ENVIRONMENT = re.compile(r"(?:-f|--file)[ =](?P<file>\S+)")
_CONDA_NAME = re.compile(r"-n|--name|-p|--prefix")


def _is_shadowed(place: Place) -> bool:
    """Return whether ``python -m`` finds modules in the current folder, where it looks first."""
    for name in place.around.root:
        module, dot, suffix = name.partition(".")
        if module == "pip" or module in sys.stdlib_module_names:
            files = place.around.files
            if (not dot and files.has(f"{name}/__init__.py")) or suffix == "py":
                return True
    return False


def _check_python(arguments: list[str], place: Place) -> str | None:
    is_pip = arguments[:2] == ["-m", "pip"] and not _is_shadowed(place)
    return _check_pip(arguments[2:], place) if is_pip else None


def _check_pip(arguments: list[str], place: Place) -> str | None:
    if arguments[:1] != ["install"]:
        return None
    lines = []
    for line in _join_options(arguments[1:], _PIP_OPTION):
        named = _PIP_FILE.fullmatch(line)
        if named and "://" not in line:
            reason = place.follow(named["file"], check_requirements, "")
            if reason != "":
                return reason
        elif not _PIP_FLAG.fullmatch(line):
            lines.append(line)
    return None if check_lines(lines, place, "") else ""


def _join_options(words: list[str], options: re.Pattern[str]) -> Iterator[str]:
    """Yield words, those after an option that takes a value together with it."""
    rest = iter(words)
    for word in rest:
        value = next(rest, "") if options.fullmatch(word) else ""
        yield f"{word} {value}" if value else word


def _check_conda_command(arguments: list[str], place: Place) -> str | None:
    match arguments:
        case ["env", "update", *words]:
            return _check_conda_update(words, place)
        case ["install" | "clean" | "update", *words]:
            if not all(_CONDA_WORD.fullmatch(word) and not ARCHIVE.search(word) for word in words):
                return None
            for before, word in zip(["", *words], words, strict=False):
                if before in ("-c", "--channel"):
                    note_channel(word, place)
                elif not word.startswith("-") and before not in ("-n", "--name"):
                    note_conda_package(word, place)
            return ""
    return None


def _check_conda_update(words: list[str], place: Place) -> str | None:
    takes_value = re.compile(rf"-f|--file|{_CONDA_NAME.pattern}")
    for line in _join_options(words, takes_value):
        if found := _CONDA_ENVIRONMENT.fullmatch(line):
            reason = place.follow(found["file"], check_conda, "")
            if reason != "":
                return reason
        elif not re.fullmatch(rf"(?:{_CONDA_NAME.pattern})[ =]\S+|--prune|-q|--quiet", line):
            return None
    return ""


# Files


def _check_sourced(arguments: list[str], place: Place) -> str | None:
    return place.follow(arguments[0], check_script, "") if len(arguments) == 1 else None


def _check_r(arguments: list[str], place: Place) -> str | None:
    return place.follow(arguments[0], check_r_script, "") if len(arguments) == 1 else None


def _read_nothing(_: list[str], __: Place) -> str:
    return ""


def _check_copy(arguments: list[str], place: Place) -> str | None:
    paths = [word for word in arguments if not re.fullmatch(r"-[RLPafinprsv]+", word)]
    return _copy(paths[:-1], place)


def _copy(sources: list[str], place: Place) -> str | None:
    return "" if sources and all(map(place.copy, sources)) else None


def _check_edit(arguments: list[str], place: Place) -> str | None:
    """Check a ``sed`` that replaces texts in files."""
    rest = [word for word in arguments if word != "-e"]
    number = len(list(takewhile(_is_replacement, rest[1:])))
    return _copy(rest[1 + number :], place) if rest[:1] == ["-i"] and number else None


def _is_replacement(word: str) -> bool:
    parts = word[2:].split(word[1]) if word[:1] == "s" and word[1:2] in ("/", "|", "#", ",") else []
    return len(parts) == 3 and parts[2] in ("", "g")


# Jupyter

_WORD = re.compile(r"--(?:sys-prefix|user|system|py|no-build)|@[\w.-]+/[\w.@^-]+|\w[\w.-]*")
_SECTION = re.compile(r"[\w-]+/[\w-]+")  # of an nbextension: a module of JavaScript
_BUILD_OPTION = re.compile(r"--(?:minimize|dev-build)=(?:True|False)")
_OPTION = re.compile(r"--[\w.]+=\S+")
_NPM_OPTION = re.compile(r"--?[a-z][a-z-]*(?:=True|=False)?")
_NPM_PACKAGE = re.compile(r"(?P<name>@[\w.-]+/[\w.-]+|\w[\w.-]*)(?:@[\w.^~-]+)?")
_SUBCOMMANDS: Mapping[tuple[str, ...], re.Pattern[str]] = {
    **{
        (*kind, action): _WORD
        for kind in (
            ("lab",), ("labextension",), ("nbextension",), ("nbextensions_configurator",),
            ("serverextension",), ("server", "extension"),
        )
        for action in ("enable", "disable", "clean", "list")
    },
    **dict.fromkeys(
        (("nbextension", "enable"), ("nbextension", "disable")),
        re.compile(f"{_WORD.pattern}|{_SECTION.pattern}"),
    ),
    ("contrib", "nbextension", "install"): _WORD,
    ("contrib-nbextension", "install"): _WORD,
    ("lab", "build"): _BUILD_OPTION,
}  # fmt: skip
"""Commands that read no file of the repository, and what their other arguments can be."""


def _check_jupyter(arguments: list[str], place: Place) -> str | None:
    for subcommand, pattern in _SUBCOMMANDS.items():
        number = len(subcommand)
        if tuple(arguments[:number]) == subcommand and _all(pattern, arguments[number:]):
            return ""
    match arguments:
        case ["nbextension", "install", *words] if "--py" in words and _all(_WORD, words):
            return ""
        case ["lab", "workspaces", "import", file, *options] if _all(_OPTION, options):
            return _copy([file], place)
        case ["labextension", "install", *packages]:
            return "" if all(_is_npm_package(word, place) for word in packages) else None
    return None


def _all(pattern: re.Pattern[str], words: Iterable[str]) -> bool:
    return all(map(pattern.fullmatch, words))


def _is_npm_package(word: str, place: Place) -> bool:
    """Return whether a word is an option or a package, not a folder of the repository."""
    if not (found := _NPM_PACKAGE.fullmatch(word)):
        return bool(_NPM_OPTION.fullmatch(word))
    return place.around.root.isdisjoint(path.partition("/")[0] for path in (word, found["name"]))


_PROGRAMS: Mapping[str, Callable[[list[str], Place], str | None]] = {
    ".": _check_sourced,
    "bash": _check_sourced,
    "chmod": _read_nothing,
    "conda": _check_conda_command,
    "cp": _check_copy,
    "jupyter": _check_jupyter,
    "ln": _check_copy,
    "mamba": _check_conda_command,
    "micromamba": _check_conda_command,
    "mkdir": _read_nothing,
    "mv": _check_copy,
    "pip": _check_pip,
    "pip3": _check_pip,
    "python": _check_python,
    "python3": _check_python,
    "Rscript": _check_r,
    "sed": _check_edit,
    "sh": _check_sourced,
    "source": _check_sourced,
}
