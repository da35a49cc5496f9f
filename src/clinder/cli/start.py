"""``clinder start``: start a session and hand it over on stdout."""

from __future__ import annotations

import json
import shlex
from contextlib import closing

from clinder._deadline import Deadline
from clinder.cli.interrupts import SESSION_MIGHT_REMAIN, cancellation
from clinder.cli.launching import launch_session
from clinder.cli.options import Options
from clinder.cli.screen import choose_screen
from clinder.cli.session_files import stop_or_keep
from clinder.cli.streams import OutputLost, write
from clinder.errors import Cancelled
from clinder.session import Session
from clinder.timeouts import LAUNCH_STOP


def start(options: Options, output: str) -> None:
    """Start a session and write it to stdout; stop it if nobody receives it."""
    with cancellation(SESSION_MIGHT_REMAIN) as cancel:
        with closing(choose_screen(cancel, options)) as screen:
            session = launch_session(options, screen, cancel)
        try:
            Deadline(1, cancel=cancel).raise_if_expired()
            write(format_session(session, output) + "\n")
        except OutputLost as error:
            if _stop(session, options):
                error.message += " clinder stopped the session, because nobody received its token."
            raise
        except Cancelled:
            _stop(session, options)
            raise
    seconds = sum(each.waited + each.seconds for each in session.attempts)
    screen.show(f"The session is ready after {seconds:.0f} s.")


def _stop(session: Session, options: Options) -> bool:
    timeouts = options.launch.timeouts
    deadline = Deadline(timeouts.stop_limit(LAUNCH_STOP))
    return stop_or_keep(session, deadline, timeouts, options.session_file) is not None


def format_session(session: Session, output: str) -> str:
    """Return the result as ``uri``, ``json`` (one line) or ``shell``."""
    if output == "json":
        return json.dumps(session.to_json())
    if output == "shell":
        return "\n".join(f"export {k}={shlex.quote(v)}" for k, v in session.variables.items())
    return session.uri
