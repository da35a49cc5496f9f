"""Text that others control: its time may grow with its length only, whatever it contains.

A regular expression holds the interpreter, so neither a timeout nor Ctrl-C ends one that needs
hours. The texts here are as long as they can get, which is enough for a pattern whose time grows
with the square of the length to exceed the time limit of a test.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from clinder import Session
from clinder._text import printable_lines
from clinder._urls import hub_url
from clinder.action.annotation import find_failing_line
from clinder.checkout.git import strip_credentials
from clinder.embedded.specs import SpecRefused, resolve_spec
from clinder.errors import UsageError
from clinder.repository.parse import parse

ANSWER = 1024 * 1024  # wire.http reads no more of a response
EVENT = 256 * 1024  # wire.sse reads no more of an event
ARGUMENT = 128 * 1024  # Linux passes no more to a program
REQUEST_LINE = 64 * 1024  # tornado reads no more
UNITS = (
    *("a", "0", " ", "\n", "/", "http://", "?", "#", "=", "@", ":", ".", "-", "%25", "[", "(", "<"),
    *('"', "\\", "\x1b[", "\x1b]", "\x1b[0", "/v2/a", "/user/a/", "error", "a.", "{"),
)

READERS: dict[str, tuple[int, Callable[[str], object]]] = {
    "badge": (ARGUMENT, lambda text: parse(f"[![{text}")),
    "git output": (ANSWER, strip_credentials),
    "hub": (ANSWER, hub_url),
    "log": (EVENT, printable_lines),
    "log line": (EVENT, lambda text: find_failing_line([text])),
    "page": (ARGUMENT, lambda text: parse(f"https://example.org/{text}")),
    "page on GitLab": (ARGUMENT, lambda text: parse(f"https://gitlab.com/{text}")),
    "repository": (ARGUMENT, parse),
    "session": (EVENT, Session.parse),
    "session's URL": (EVENT, lambda text: Session(f"https://example.org/{text}", "x")),
    "spec": (REQUEST_LINE, lambda text: resolve_spec("git", text)),
    "spec of an archive": (REQUEST_LINE, lambda text: resolve_spec("zenodo", f"10.1/{text}")),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_takes_more_than_linear_time(reader: str) -> None:
    size, read_text = READERS[reader]

    for beginning in ("", "?"):
        for unit in UNITS:
            with suppress(UsageError, SpecRefused):
                read_text(beginning + unit * (size // len(unit)))
