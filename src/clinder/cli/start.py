"""``clinder start``: start a session and hand it over on stdout."""

from __future__ import annotations

import json
import shlex
from contextlib import closing

from clinder._deadline import Deadline
from clinder.cli.event_log import EventLog, event_log
from clinder.cli.interrupts import SESSION_MIGHT_REMAIN, cancellation
from clinder.cli.launching import launch_session
from clinder.cli.options import STDOUT, Options
from clinder.cli.screen import choose_screen
from clinder.cli.session_files import stop_or_keep
from clinder.cli.streams import OutputLost, write
from clinder.errors import Cancelled, UsageError
from clinder.session import Session
from clinder.timeouts import LAUNCH_STOP


def start(options: Options, output: str) -> None:
    """Start a session and write it to stdout; stop it if nobody receives it.

    If stdout carries the events, the session is only in its file.
    """
    if options.events == STDOUT and not options.session_file:
        raise UsageError(
            "With `--events -`, clinder writes only events to stdout, and no session.",
            hint="Add --session-file FILE, or write the events to a file.",
        )
    with event_log(options, "start") as log, cancellation(SESSION_MIGHT_REMAIN) as cancel:
        with closing(choose_screen(cancel, options)) as screen:
            log.warn = screen.warn
            session = launch_session(options, screen, cancel, log.observe)
        try:
            Deadline(1, cancel=cancel).raise_if_expired()
            if options.events != STDOUT:
                write(format_session(session, output) + "\n")
        except OutputLost as error:
            if _stop(session, options, log):
                error.message += " clinder stopped the session, because nobody received its token."
            raise
        except Cancelled:
            _stop(session, options, log)
            raise


def _stop(session: Session, options: Options, log: EventLog) -> bool:
    timeouts = options.launch.timeouts
    deadline = Deadline(timeouts.stop_limit(LAUNCH_STOP))
    path = options.session_file
    return stop_or_keep(session, deadline, timeouts, path, log.observe) is not None


def format_session(session: Session, output: str) -> str:
    """Return the result as ``uri``, ``json`` (one line) or ``shell``."""
    if output == "json":
        return json.dumps(session.to_json())
    if output == "shell":
        return "\n".join(f"export {k}={shlex.quote(v)}" for k, v in session.variables.items())
    return session.uri
