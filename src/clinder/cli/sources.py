"""Sessions from arguments: URIs, standard input, session files or environment variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clinder import session_file
from clinder._urls import is_cleartext
from clinder.cli.streams import print_warning, read_text
from clinder.errors import UsageError
from clinder.session import Session

STDIN = "-"


@dataclass(frozen=True)
class Source:
    """A session or the error in its place, and the file that it came from, if any."""

    session: Session | UsageError
    file: Path | None = None


def read_sessions(texts: Sequence[str], files: Sequence[Path]) -> list[Source]:
    """Return a source for each argument, in order; without arguments, the environment's session.

    Raises :class:`~clinder.errors.UsageError` if there is none at all.
    """
    if not texts and not files:
        return _warn_of_cleartext([Source(read_environ())])
    sources: list[Source] = []
    for argument in texts:
        try:
            sources += [_source(partial(Session.parse, text)) for text in _expand(argument)]
        except UsageError as error:
            sources.append(Source(error))
    sources += [_source(partial(session_file.read, path), path) for path in files]
    if not sources:
        raise UsageError(
            "Standard input contains no session.", hint="Write one URI or JSON object per line."
        )
    return _warn_of_cleartext(sources)


def read_session(texts: Sequence[str], files: Sequence[Path]) -> Session:
    """Return the only session. Raises :class:`~clinder.errors.UsageError` if there are more."""
    source, *more = read_sessions(texts, files)
    if more:
        raise UsageError("There is more than one session, but this command takes only one.")
    if isinstance(source.session, UsageError):
        raise source.session
    return source.session


def read_environ(
    hint: str = "Use --session-file PATH, or `-` to read a session's URI from standard input.",
) -> Session:
    """Return the session of ``JUPYTER_BASE_URL`` and ``JUPYTER_TOKEN``."""
    url, token = os.environ.get("JUPYTER_BASE_URL", ""), os.environ.get("JUPYTER_TOKEN", "")
    if not url or not token:
        raise UsageError(
            "There is no session: JUPYTER_BASE_URL and JUPYTER_TOKEN are not both set.", hint=hint
        )
    return Session(url, token)


def _warn_of_cleartext(sources: list[Source]) -> list[Source]:
    """Print a warning for each token that travels unencrypted, and return the sources."""
    for each in sources:
        if isinstance(each.session, Session) and is_cleartext(each.session.url):
            print_warning(
                f"{each.session.url} uses plain HTTP, so others on the network can see its token."
            )
    return sources


def _expand(argument: str) -> list[str]:
    if argument != STDIN:
        return [argument]
    return [line for line in read_text(None).split("\n") if line.strip()]


def _source(read: Callable[[], Session], file: Path | None = None) -> Source:
    try:
        return Source(read(), file)
    except UsageError as error:  # it must not keep the other sessions from being stopped
        return Source(error)
