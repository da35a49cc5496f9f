"""Requirements as pip reads them: each is a name, a URL or a file of the repository."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from clinder.checkout.addresses import normalize
from clinder.checkout.surroundings import SLOW_LIMIT, TOO_LARGE, Place, quote, refers

if TYPE_CHECKING:
    from packaging.requirements import Requirement

ARCHIVE = re.compile(r"\.(?:whl|zip|tar|tgz|tbz|txz|tar\.\w+|conda)$", re.IGNORECASE)
_REMOTE = re.compile(
    r"(?:git\+|hg\+|svn\+|bzr\+)?(?:https?|ssh|git)://[A-Za-z0-9][^$\s]*", re.IGNORECASE
)
_OPTION = r"(?:\s*=\s*|\s*)(?P<file>.*)"
_WITH_REQUIREMENTS = re.compile(rf"(?:-[rc]|--(?:requirement|constraint)){_OPTION}")
_WITH_FILE = re.compile(rf"(?:-[ef]|--(?:editable|find-links)){_OPTION}")
_WITH_INDEX = re.compile(r"(?:-i|--index-url|--extra-index-url)(?:\s*=\s*|\s+)(?P<file>.*)")
_PUBLIC_INDEX = re.compile(r"https://(?:pypi\.org|pypi\.python\.org)/simple/?")
_GLOBAL = re.compile(
    r"--(?:pre|prefer-binary|no-index|require-hashes|use-pep517|(?:no|only)-binary[=\s]\s*[\w:,.-]+"
    r"|trusted-host[=\s]\s*[\w:.-]+)"
)
_LONGEST = 2_000


def check_requirements(text: str, place: Place | None = None) -> str:
    """Check for requirements that pip would look up among files; read lines as pip does.

    Files of requirements and constraints are followed.
    """
    if continued := find_continued_comment(text):
        return continued
    joined = re.sub(r"\s--hash=\S+", "", join_lines(text.removeprefix("\ufeff")))
    if len(joined) > SLOW_LIMIT:
        return TOO_LARGE
    lines = (re.sub(r"(?:^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return check_lines(filter(None, lines), place or Place())


def check_lines(lines: Iterable[str], place: Place, folder: str | None = None) -> str:
    """Check lines of requirements; files that they name are relative to the folder, if given."""
    for line in lines:
        if reason := _check_line(" ".join(line.split()), place, folder):
            return reason
    return ""


def _check_line(line: str, place: Place, folder: str | None) -> str:
    named = _WITH_REQUIREMENTS.fullmatch(line)
    file = named["file"].strip("\"' ") if named else ""
    place.around.has_includes |= bool(named)
    if named and not _REMOTE.fullmatch(file):
        reason = place.follow(file, check_requirements, folder)
        return _might_be_local(line) if reason is None else reason
    if named or _GLOBAL.fullmatch(line):
        if line == "--pre":
            place.around.releases["pip"].options.append(line)
        return ""
    if option := _WITH_INDEX.fullmatch(line) or _WITH_FILE.fullmatch(line):
        return _check_option(line, option["file"].strip("\"' "), place)
    return "" if _REMOTE.fullmatch(line) else _check_named(line, place)


def _check_option(line: str, address: str, place: Place) -> str:
    if not _REMOTE.fullmatch(address):
        return _might_be_local(line)
    if not line.startswith(("-e", "--editable")) and not _PUBLIC_INDEX.fullmatch(address):
        place.around.releases["pip"].options.append(line)
    return ""


def _check_named(line: str, place: Place) -> str:
    """Check a requirement that should be a name, with or without a remote URL (PEP 508)."""
    parsed = _parse(line)
    if parsed is None:
        return _might_be_local(line)
    if parsed.url:
        return "" if _REMOTE.fullmatch(parsed.url) else _might_be_local(line)
    if any(map(ARCHIVE.search, (parsed.name, line.partition(";")[0].rstrip()))):
        return _might_be_local(line)
    if not any(each.operator in ("==", "===") and "*" not in each.version
               for each in parsed.specifier):  # fmt: skip
        place.around.packages.add(normalize(parsed.name))
    if normalize(parsed.name) in place.around.own.packages:
        own = place.around.releases["pip"]
        own.packages.append(line)
        own.options += [line] if parsed.specifier.prereleases else []
    return ""


def _parse(line: str) -> Requirement | None:
    from packaging.requirements import InvalidRequirement, Requirement

    if "$" in line or len(line) > _LONGEST:  # pip expands variables
        return None
    try:
        return Requirement(line)
    except (InvalidRequirement, RecursionError):
        return None


def _might_be_local(line: str) -> str:
    return refers(f"has the line {quote(line)}")


def join_lines(text: str) -> str:
    """Return a text in which a backslash no longer continues a line."""
    return text.replace("\\\r\n", " ").replace("\\\n", " ")


def find_continued_comment(text: str) -> str:
    """Report a comment that ends in a backslash, which pip and the shell do not continue.

    Other readers might.
    """
    for line in text.split("\n"):
        _, mark, comment = line.partition("#")
        if comment.rstrip().endswith("\\"):
            return f"has a comment that seems to continue, {quote(mark + comment)}"
    return ""
