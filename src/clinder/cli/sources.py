"""The sessions that a command's arguments name: URIs, standard input, session files, variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clinder import session_file
from clinder._urls import is_cleartext, is_url
from clinder.cli.streams import print_warning, read_text
from clinder.cli.values import parse_path
from clinder.errors import UsageError
from clinder.session import Session

STDIN = "-"
FILE = "@"
"""How an argument begins that names a session file."""


@dataclass(frozen=True)
class Source:
    """A session or the error in its place, and the file that it came from, if any."""

    outcome: Session | UsageError
    file: Path | None = None

    @property
    def session(self) -> Session:
        """The session. Raises the :class:`~clinder.errors.UsageError` in its place."""
        if isinstance(self.outcome, UsageError):
            raise self.outcome
        return self.outcome

    def for_user(self, token: str) -> Source:
        """Return the source with the token of the user under whose account its session runs."""
        if isinstance(self.outcome, UsageError):
            return self
        return _source(partial(self.outcome.for_user, token), self.file)


def read_sessions(
    arguments: Sequence[str], files: Sequence[Path], hub_token: str = ""
) -> list[Source]:
    """Return a source for each session, in order; without arguments, the environment's session.

    ``hub_token`` is that of the user under whose account sessions run, if any do.

    An argument is a session's URI or JSON object, ``@FILE``, or ``-`` for standard input. Raises
    :class:`~clinder.errors.UsageError` if there is no session at all.
    """
    if not arguments and not files:
        return _warn_of_cleartext([Source(_read_environ())])
    sources = [source for argument in arguments for source in _read(argument)]
    sources += [_read_file(path) for path in files]
    if not sources:
        raise UsageError(
            "Standard input contains no session.", hint="Write one URI or JSON object per line."
        )
    return _warn_of_cleartext([each.for_user(hub_token) for each in sources])


def read_session(arguments: Sequence[str], files: Sequence[Path], hub_token: str = "") -> Session:
    """Return the only session. Raises :class:`~clinder.errors.UsageError` if there are more."""
    source, *more = read_sessions(arguments, files, hub_token)
    if more:
        raise UsageError("There is more than one session, but this command takes only one.")
    return source.session


def names_session(argument: str) -> bool:
    """Return whether an argument can only name a session; ``-`` can mean other things, too."""
    return argument.startswith((FILE, "{")) or is_url(argument)


def _read_environ() -> Session:
    url, token = os.environ.get("JUPYTER_BASE_URL", ""), os.environ.get("JUPYTER_TOKEN", "")
    if not url or not token:
        raise UsageError(
            "There is no session: JUPYTER_BASE_URL and JUPYTER_TOKEN are not both set.",
            hint="Name a session file, as in @session.json, or use `-` to read a session's URI"
            " from standard input.",
        )
    return Session(url, token)


def _warn_of_cleartext(sources: list[Source]) -> list[Source]:
    """Print a warning for each token that travels unencrypted, and return the sources."""
    for each in sources:
        if isinstance(each.outcome, Session) and is_cleartext(each.outcome.url):
            print_warning(
                f"{each.outcome.url} uses plain HTTP, so others on the network can see its token."
            )
    return sources


def _read(argument: str) -> Iterator[Source]:
    try:
        if argument.startswith(FILE):
            yield _read_file(parse_path(argument.removeprefix(FILE)))
        elif argument != STDIN:
            yield _source(partial(Session.parse, argument))
        else:
            for line in read_text(None).split("\n"):
                if line.strip():
                    yield _source(partial(Session.parse, line))
    except UsageError as error:
        yield Source(error)


def _read_file(path: Path) -> Source:
    return _source(partial(session_file.read, path), path)


def _source(read: Callable[[], Session], file: Path | None = None) -> Source:
    try:
        return Source(read(), file)
    except UsageError as error:  # it must not keep the other sessions from being stopped
        return Source(error)
