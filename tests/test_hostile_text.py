"""Reading untrusted text takes time proportional to its length, whatever it contains.

A regular expression holds the interpreter, so neither a timeout nor Ctrl-C ends one that takes
hours. These texts are so long that a pattern whose time grows with the square of the length takes
at least minutes.
"""

from __future__ import annotations

import faulthandler
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clinder import Session
from clinder._text import MAX_LINE, printable_lines
from clinder._urls import hub_url
from clinder.checkout import environment_files
from clinder.checkout.addresses import Own, find_moving
from clinder.checkout.git import strip_credentials
from clinder.checkout.requirements import check_requirements
from clinder.checkout.scripts import check_script
from clinder.checkout.surroundings import LIMIT, SLOW_LIMIT, Check, Place, Surroundings
from clinder.embedded.specs import SpecRefused, resolve_spec
from clinder.errors import UsageError
from clinder.launch.build_failure import diagnose, find_error_line
from clinder.repository.parse import parse
from clinder.wire.kernel_envelope import HEAD_LIMIT, Message, Protocol, read_content, read_head

EVENT = 256 * 1024  # wire.sse reads no more of an event; of other responses four times as much
ARGUMENT = 128 * 1024  # Linux passes no more to a program
REQUEST_LINE = 64 * 1024  # tornado reads no more
UNITS = (
    *("a", "0", " ", "\n", "/", "http://", "?", "#", "=", "@", ":", ".", "-", "%25", "[", "(", "<"),
    *('"', "\\", "\x1b[", "\x1b]", "\x1b[0", "/v2/a", "/user/a/", "error", "a.", "{"),
    *("/repo/a", "/src/tag", "/tree", "/raw/tag", "/archive/a.zip", "/issues", "/projects/a/repos"),
)


def read_message(text: str) -> None:
    """Read a kernel's message in both protocols, as text and with buffers, whole and cut."""
    data = text.encode()
    binary = struct.pack("!2I", 1, 8) + data
    v1 = struct.pack("<7Q", 6, 56, 56, 58, 60, 62, 62 + len(data)) + b"{}{}{}" + data
    for complete in (True, False):
        for protocol, each in (
            (Protocol.JSON, text),
            (Protocol.JSON, binary),
            (Protocol.V1, v1),
        ):
            read_head(Message(each, complete=complete), protocol)
            read_content(Message(each, complete=complete), protocol)


FAILED = "ERROR: failed to solve: did not complete successfully: exit code: 1"


def split(text: str) -> list[str]:
    """Return a text in lines of the maximum length, however many it has."""
    return [text[at : at + MAX_LINE] for at in range(0, len(text), MAX_LINE)]


READERS: dict[str, tuple[int, Callable[[str], object]]] = {
    "badge": (ARGUMENT, lambda text: parse(f"[![{text}")),
    "git output": (EVENT, strip_credentials),
    "hub": (EVENT, hub_url),
    "kernel's message": (HEAD_LIMIT, read_message),
    "kernel's message, inside": (HEAD_LIMIT, lambda text: read_message('{"header": ' + text)),
    "log": (EVENT, lambda text: find_error_line(printable_lines(text))),
    "log of a failed build": (EVENT, lambda text: diagnose([*split(text), FAILED])),
    "page": (ARGUMENT, lambda text: parse(f"https://example.org/{text}")),
    "page of a repository": (ARGUMENT, lambda text: parse(f"https://example.org/a/b/{text}/c")),
    "page on GitLab": (ARGUMENT, lambda text: parse(f"https://gitlab.com/{text}")),
    "repository": (ARGUMENT, parse),
    "text around a link": (ARGUMENT, lambda text: parse(f"x {text} https://h.org/v2/gh/a/b")),
    "session": (EVENT, Session.parse),
    "session's URL": (EVENT, lambda text: Session(f"https://example.org/{text}", "x")),
    "spec": (REQUEST_LINE, lambda text: resolve_spec("git", text)),
    "spec of an archive": (REQUEST_LINE, lambda text: resolve_spec("zenodo", f"10.1/{text}")),
}


@pytest.fixture(autouse=True)
def _exit_if_stuck(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Exit with a traceback after 60 s, which works although a pattern holds the interpreter."""
    with capfd.disabled():
        stderr = os.dup(2)
    faulthandler.dump_traceback_later(60, exit=True, file=stderr)
    yield
    faulthandler.cancel_dump_traceback_later()
    os.close(stderr)


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_takes_more_than_linear_time(reader: str) -> None:
    size, read_text = READERS[reader]

    for beginning in ("", "?"):
        for unit in UNITS:
            with suppress(UsageError, SpecRefused):
                read_text(beginning + unit * (size // len(unit)))


OWN = Own(frozenset({"a/a"}), frozenset({"a"}))


class ManyFiles:
    """A file at every path, so that whatever a text names is followed; each is empty."""

    def text(self, path: str) -> str | None:
        return ""

    def has(self, path: str) -> bool:
        return True


def find_addresses(text: str, _: Place) -> str:
    """Read a text of any language, as far as it concerns addresses."""
    return "".join((OWN.find(text), *find_moving(text)))


LIMITS: dict[Check, int] = {
    find_addresses: LIMIT,
    environment_files.check_conda: environment_files.YAML_LIMIT,
    environment_files.check_dockerfile: LIMIT,
    environment_files.check_julia: LIMIT,
    environment_files.check_nix: LIMIT,
    environment_files.check_pipfile: LIMIT,
    environment_files.check_pyproject: LIMIT,
    environment_files.check_r_script: LIMIT,
    check_requirements: SLOW_LIMIT,
    check_script: SLOW_LIMIT,
}
CHARACTERS = "a \t\n\\'\"[](){}<>=;,/:!~$#\x00\ufeff"
PIECES = (
    *("a.", "a\n", "\r\n", "\\\n", " #", "()", "[a]", "<a", ">1", "==1", "://", "path=", "x @ "),
    *(": ", "- ", "- a\n", "a: b\n", "? ", "&a ", "*a ", "|\n", "--hash=a ", "-r ", "FROM a\n"),
    *("RUN ", "COPY ", "pip install ", "echo ", "set -a", "a/a", "a.a/a", "git://a", "--pre\n"),
    *("workspace", "projects", "uuid = 'a'\n", "install_github('a/", "sed -i s|", "cp a a\n"),
)
pieces = st.sampled_from((*CHARACTERS, *PIECES))


@pytest.mark.parametrize("check", LIMITS, ids=lambda check: check.__name__)
@settings(max_examples=5, deadline=None)
@given(st.lists(pieces, max_size=3).map("".join), st.lists(pieces, min_size=1, max_size=3), pieces)
@example("", ["a"], "")
@example("", [" "], "x")
@example("", ["\n"], "x")
@example("", ["#"], "")
@example("true", [" #"], "'")
@example("a", [" --hash=a"], " /")
@example("", ["["], "")
@example("", ["- a\n"], "")
@example("", ["a/a"], "")
@example("", ["a.a/"], "")
@example("", ["git+"], "://a")
@example("", ["install_github('a"], "")
@example("workspace", ["projects"], "")
@example("", ["'a' "], "")
@example("", [":a"], "")
def test_no_environment_file_takes_more_than_linear_time(
    check: Check, beginning: str, repeated: list[str], end: str
) -> None:
    unit = "".join(repeated)

    place = Place("binder/Project.toml", Surroundings(ManyFiles(), OWN, frozenset({"a"})))
    check(beginning + unit * ((LIMITS[check] - 50) // len(unit)) + end, place)
