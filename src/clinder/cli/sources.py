"""Which sessions the arguments name: URIs, standard input, session files, the environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clinder import session_file
from clinder._urls import is_cleartext
from clinder.cli.streams import print_status
from clinder.errors import ClinderError, UsageError
from clinder.session import Session

STDIN = "-"


@dataclass(frozen=True)
class Source:
    """A session, or why what was given names none; and the file that holds it, if one does."""

    session: Session | None
    error: ClinderError | None = None
    file: Path | None = None


def read_sessions(texts: Sequence[str], files: Sequence[Path]) -> list[Source]:
    """Return what each argument names, in order; with no arguments, what the environment names.

    Raises :class:`~clinder.errors.UsageError` where nothing is named at all.
    """
    if not texts and not files:
        return _warn_of_cleartext([Source(read_environment())])
    found: list[Source] = []
    for given in texts:
        try:
            found += [_parse(text) for text in _expand(given)]
        except UsageError as error:  # what else is given is stopped all the same
            found.append(Source(None, error))
    for path in files:
        try:
            found.append(Source(session_file.read(path), file=path))
        except UsageError as error:
            found.append(Source(None, error))
    if not found:
        raise UsageError("Standard input named no session.", hint="One URI or JSON object a line.")
    return _warn_of_cleartext(found)


def read_session(texts: Sequence[str], files: Sequence[Path]) -> Session:
    """Return the only session that is named. Raises :class:`~clinder.errors.UsageError`."""
    found = read_sessions(texts, files)
    if len(found) > 1:
        raise UsageError("More than one session is named.")
    if found[0].error is not None or found[0].session is None:
        raise found[0].error or UsageError("No session is named.")
    return found[0].session


def read_environment(
    hint: str = "Give --session-file PATH, or a session's URI on standard input with `-`.",
) -> Session:
    """Return the session of ``JUPYTER_BASE_URL`` and ``JUPYTER_TOKEN``."""
    url, token = os.environ.get("JUPYTER_BASE_URL", ""), os.environ.get("JUPYTER_TOKEN", "")
    if not url or not token:
        raise UsageError(
            "No session is named: JUPYTER_BASE_URL and JUPYTER_TOKEN are not both set.",
            hint=hint,
        )
    return Session(url, token)


def read_standard_input() -> str:
    """Return all of standard input. Raises :class:`~clinder.errors.UsageError`."""
    try:
        return sys.stdin.read() if sys.stdin is not None else ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"Standard input cannot be read: {reason}.") from None


def _warn_of_cleartext(found: list[Source]) -> list[Source]:
    """Return what was found, having warned of tokens that others can see on the way."""
    for each in found:
        if each.session and is_cleartext(each.session.url):
            url = each.session.url
            print_status(
                f"clinder: Warning: {url} is plain http: others on the way can see its token."
            )
    return found


def _expand(given: str) -> Iterator[str]:
    if given == STDIN:
        yield from (line for line in read_standard_input().split("\n") if line.strip())
    else:
        yield given


def _parse(text: str) -> Source:
    try:
        return Source(Session.parse(text))
    except UsageError as error:
        return Source(None, error)
