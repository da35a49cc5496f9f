"""Foreign text made safe to print: without escape sequences and control characters."""

from __future__ import annotations

import re

LINE = 2000
"""Characters of a line: more than anybody reads, less than what fills a screen or a log."""

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # titles, links and other strings, on one line
    r"|\x1b[ -/]*[0-~]?",
    re.MULTILINE,
)
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def strip_controls(text: str) -> str:
    """Return text of which only newlines and tabs do anything; a carriage return ends a line.

    Characters that turn the direction of writing are dropped too, as they can hide words, and
    lone surrogates, which no output can encode.
    """
    without = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _CONTROLS.sub("", without)


def printable_lines(text: str) -> list[str]:
    """Return the lines of a text, made plain, without empty ones, each cut at :data:`LINE`."""
    return [truncate(line) for line in map(str.rstrip, strip_controls(text).split("\n")) if line]


def one_line(text: str, limit: int = LINE) -> str:
    """Return a text, made plain, as one line of so many characters at most."""
    return truncate(" ".join(strip_controls(text).split()), limit)


def truncate(text: str, limit: int = LINE) -> str:
    """Return a text of so many characters at most, its end told where it is not its own."""
    return text if len(text) <= limit else text[: limit - 2] + " …"
