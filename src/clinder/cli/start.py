"""``clinder start``: start a session and hand it over on stdout."""

from __future__ import annotations

import json
import os
import shlex
import threading
from contextlib import closing
from pathlib import Path

from clinder import session_file
from clinder._deadline import Deadline
from clinder.cli.event_log import EventLog, event_log
from clinder.cli.interrupts import cancellation
from clinder.cli.kernels import end_bridges, new_folder, start_bridges
from clinder.cli.launching import launch_consequence, launch_session
from clinder.cli.options import FAILURE, STDOUT, Options
from clinder.cli.screen import choose_screen
from clinder.cli.session_files import stop_command, stop_or_keep
from clinder.cli.streams import OutputLost, print_status, write
from clinder.errors import UsageError
from clinder.launch.options import LOCAL
from clinder.session import Session
from clinder.timeouts import LAUNCH_STOP

_GATEWAY_TIMEOUT = 15.0


def start(options: Options, output: str, kernels: Path | None = None) -> None:
    """Start a session and write it to stdout; stop it if nobody receives it.

    ``kernels`` is a new folder for kernelspecs by which local tools run on the session. If stdout
    carries the events, the session is only in its file.
    """
    if options.events == STDOUT and not options.session_file:
        raise UsageError(
            "With `--events -`, clinder writes only events to stdout, and no session.",
            hint="Add --session-file FILE, or write the events to a file.",
        )
    cancelling = cancellation(
        launch_consequence(options), output=FAILURE if output == "shell" else ""
    )
    with (
        new_folder(kernels),
        event_log(options, "start") as log,
        cancelling as cancel,
    ):
        with closing(choose_screen(cancel, options)) as screen:
            log.warn = screen.warn
            session = launch_session(options, screen, cancel, log.observe)
        try:
            Deadline(1, cancel=cancel).raise_if_expired()
            if kernels is not None:
                session = _offer_kernels(session, kernels, options, cancel)
            if options.events != STDOUT:
                write(format_session(session, output) + "\n")
        except OutputLost as error:
            if _stop(session, options, log):
                error.message += " clinder stopped the session, because nobody received its token."
            raise
        except Exception:  # whatever it is, nobody has received the session's token
            _stop(session, options, log)
            raise
        screen.advise(format_advice(session, options, output))


def _offer_kernels(
    session: Session, folder: Path, options: Options, cancel: threading.Event
) -> Session:
    session = start_bridges(
        session,
        folder,
        Deadline(_GATEWAY_TIMEOUT, cancel=cancel),
        environ=os.environ,
        timeouts=options.launch.timeouts,
        report=lambda text: None if options.quiet else print_status(f"clinder: {text}"),
    )
    if options.session_file:
        session_file.write(options.session_file, session)
    return session


def _stop(session: Session, options: Options, log: EventLog) -> bool:
    deadline = Deadline(options.launch.timeouts.stop_limit(LAUNCH_STOP))
    stopped = stop_or_keep(session, deadline, options, log.observe) is not None
    if session.kernels:
        end_bridges(session, {}, deadline)
    return stopped


def format_session(session: Session, output: str) -> str:
    """Return the result as ``uri``, ``json`` (one line) or ``shell``."""
    if output == "json":
        return json.dumps(session.to_json())
    if output == "shell":
        variables = session.variables
        if session.kernels:
            path = os.environ.get("JUPYTER_PATH", "")
            variables["JUPYTER_PATH"] = os.pathsep.join(filter(None, (session.kernels, path)))
        return "\n".join(f"export {k}={shlex.quote(v)}" for k, v in variables.items())
    return session.uri


def format_advice(session: Session, options: Options, output: str) -> str:
    """Return what runs where, how to use it and how to stop it, without the token."""
    spec = session.persistent_spec or session.spec
    hub = "this machine" if LOCAL in options.launch.hubs else session.hub
    if path := options.session_file:
        use, stop = (
            f"clinder exec --session-file {shlex.quote(str(path))} SCRIPT",
            stop_command(path) + (" --hub-token @FILE" if session.account else ""),
        )
    elif output == "shell":
        use, stop = "clinder exec SCRIPT", "clinder stop"
    else:
        # A server under a user's account accepts a token in a header only.
        use = "clinder exec URI SCRIPT" if session.account else "open the URI in a browser"
        stop = "clinder stop -, which reads the URI: paste it, and press Enter and Ctrl-D"
    return (
        f"clinder: {spec} is running.\n"
        f"  where:       {session.url}, on {hub}\n"
        f"  how to use:  {use}\n"
        f"  how to stop: {stop}"
    )
