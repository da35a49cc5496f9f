"""Make untrusted text safe to print: remove escape sequences and control characters."""

from __future__ import annotations

import re

MAX_LINE = 2000
"""Maximum characters of a line: more than anybody reads, but too few to flood a log."""

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # titles, links and other strings, on one line
    r"|\x1b[ -/]*[0-~]?",
    re.MULTILINE,
)
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def strip_controls(text: str) -> str:
    """Return text whose only control characters are newlines and tabs.

    A carriage return becomes a newline. Characters that change the writing direction are removed
    because they can hide text, and lone surrogates because no output can encode them.
    """
    without = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _CONTROLS.sub("", without)


def printable_lines(text: str) -> list[str]:
    """Return the non-empty lines of a text, safe to print and at most :data:`MAX_LINE` long."""
    return [shorten(line) for line in map(str.rstrip, strip_controls(text).split("\n")) if line]


def one_line(text: str, limit: int = MAX_LINE) -> str:
    """Return a text as one line that is safe to print and has at most ``limit`` characters."""
    return truncate(" ".join(strip_controls(text).split()), limit)


def truncate(text: str, limit: int = MAX_LINE) -> str:
    """Return at most ``limit`` characters; ``…`` marks a text that was cut."""
    return text if len(text) <= limit else text[: limit - 2] + " …"


def shorten(text: str, limit: int = MAX_LINE) -> str:
    """Return at most ``limit`` characters: the start and, after a ``…``, the end of a longer text.

    The end of a long log line matters, because an exit code follows the command that had it.
    """
    if len(text) <= limit:
        return text
    end = limit // 4
    return f"{text[: limit - end - 3]} … {text[-end:]}"
