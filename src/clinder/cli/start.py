"""``clinder start``: a session, handed out on stdout."""

from __future__ import annotations

import json
import shlex

from clinder._deadline import Deadline
from clinder.cli.ending import stopped_or_kept
from clinder.cli.launching import Options, launched
from clinder.cli.output import OutputLost, write
from clinder.cli.screen import screen
from clinder.cli.signals import LAUNCHING, cancellation
from clinder.errors import Cancelled
from clinder.session import Session


def start(options: Options, output: str) -> None:
    """Start a session and write it to stdout; stop it where nobody would hold it."""
    with cancellation(LAUNCHING) as cancel:
        shown = screen(cancel, quiet=options.quiet, verbose=options.verbose)
        try:
            session = launched(options, shown, cancel)
        finally:
            shown.close()
        try:
            Deadline(1, cancel=cancel).check()
            write(written(session, output) + "\n")
        except OutputLost as error:
            if _stopped(session, options):
                error.what += " So the session was stopped: nobody held it."
            raise
        except Cancelled:
            _stopped(session, options)
            raise
    seconds = sum(each.waited + each.seconds for each in session.attempts)
    shown.say(f"The session runs, {seconds:.0f} s after it was asked for.")


def _stopped(session: Session, options: Options) -> bool:
    deadline = Deadline(options.clocks.stop)
    return stopped_or_kept(session, deadline, options.session_file) is not None


def written(session: Session, output: str) -> str:
    """Return the result as ``uri``, ``json`` (one line) or ``shell``."""
    if output == "json":
        return json.dumps(session.to_json())
    if output == "shell":
        return "\n".join(f"export {k}={shlex.quote(v)}" for k, v in session.environment.items())
    return session.uri
