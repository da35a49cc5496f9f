"""Stderr, which carries words: what clinder says, and how an error is told."""

from __future__ import annotations

import sys
from collections.abc import Callable

from clinder.cli.output import discard
from clinder.errors import ClinderError, UsageError, format_error


def print_status(text: str) -> None:
    """Write lines to stderr; where stderr is closed or broken nobody reads, so nothing is lost."""
    if sys.stderr is None:
        return
    try:
        if not text.isascii():
            encoding = sys.stderr.encoding or "utf-8"
            text = text.encode(encoding, "replace").decode(encoding)
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        discard(sys.stderr)  # what is left in it would turn every exit code into 120


def print_error(error: ClinderError) -> None:
    """Write what happened, where, and what to do next."""
    first, *rest = format_error(error)
    print_status(f"clinder: {first}")
    for line in rest:
        print_status(line)
    if isinstance(error, UsageError) and not error.hint:
        print_status("  what to do: `clinder COMMAND --help` shows what can be given.")


def report_unclear(url: str, seconds: float) -> Callable[[str], None]:
    """Return what says that a session's answer is not clear, and that it is asked again."""

    def unclear(words: str) -> None:
        print_status(f"clinder: {url}: {words}; asking again for up to {seconds:g} s.")

    return unclear
