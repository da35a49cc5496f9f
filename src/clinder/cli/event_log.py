"""``--events``: the events of a launch, and what follows it, as one JSON object per line.

A line is an event of :mod:`clinder.events` or one of the classes below, in the form that
:func:`clinder.events.to_json` returns, with the ``time`` in UTC.
"""

from __future__ import annotations

import errno
import io
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from clinder import events
from clinder._deadline import Deadline
from clinder._version import __version__
from clinder.cli.options import STDOUT, Options
from clinder.cli.streams import OutputLost, print_warning
from clinder.errors import ClinderError, TimedOut, UsageError

_MAX_WAITING = 1000
"""Lines that can wait for a reader that is slower than the hub."""
_PATIENCE = 5.0
"""Seconds to wait for the reader of a pipe: until it opens the pipe, and until it reads."""
_POLL = 0.05
_NOBODY_READS = "nobody reads them"
_END = b""


@dataclass(frozen=True)
class Opened:
    """The first line. ``schema`` is the format's version, ``command`` is ``start`` or ``run``."""

    schema: int
    clinder: str
    command: str


@dataclass(frozen=True)
class CommandStarted:
    """``clinder run`` started COMMAND, whose arguments are not shown."""


@dataclass(frozen=True)
class CommandEnded:
    """COMMAND ended. ``exit_code`` is its own, 128+N if signal N ended it."""

    exit_code: int


@dataclass(frozen=True)
class Finished:
    """The last line, unless clinder was killed. ``exit_code`` is clinder's own.

    If clinder failed, ``error`` is the class in :mod:`clinder.errors`, ``message`` and ``hint`` are
    its texts, and the other fields are those of its context.
    """

    exit_code: int
    error: str = ""
    message: str = ""
    hint: str = ""
    hub: str = ""
    repository: str = ""
    link: str = ""
    cause: str = ""
    log_line: str = ""


Line = events.Event | Opened | CommandStarted | CommandEnded | Finished


class Writer:
    """Writes lines to a file or a pipe, in a thread. Nobody waits for a reader for long.

    ``lost`` explains why no more lines can be written; it is empty if they can.
    """

    def __init__(self, file: io.RawIOBase, patience: float):
        self.lost = ""
        self._file = file
        self._patience = patience
        self._lines: queue.Queue[bytes] = queue.Queue(_MAX_WAITING)
        self._thread = threading.Thread(target=self._write, name="clinder-events", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Write a line soon, unless earlier ones are lost."""
        if self.lost:
            return
        try:
            self._lines.put(line, timeout=self._patience)
        except queue.Full:
            self.lost = _NOBODY_READS

    def close(self) -> None:
        """Wait until all lines are written, and close the file."""
        self.write(_END)
        self._thread.join(0 if self.lost else self._patience)
        if self._thread.is_alive():
            self.lost = self.lost or _NOBODY_READS

    def _write(self) -> None:
        """Write each line at once, until one is lost."""
        with self._file:
            while not self.lost and (line := self._lines.get()) != _END:
                try:
                    while line:
                        line = line[self._file.write(line) :]
                except OSError as error:
                    self.lost = error.strerror or "they cannot be written"
        with suppress(queue.Empty):  # a full queue would delay the next line
            while True:
                self._lines.get_nowait()


class EventLog:
    """Formats the lines. ``writer`` is ``None`` if nobody wants them.

    It neither delays nor ends what it records: if lines are lost, ``warn`` receives one message.
    ``exit_code`` is the one in the last line unless an error is raised.
    """

    def __init__(
        self,
        writer: Writer | None,
        *,
        utc: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ):
        self.exit_code = 0
        self.warn: Callable[[str], None] = print_warning
        self._writer = writer
        self._utc = utc
        self._warned = False

    def observe(self, line: Line) -> None:
        """Write a line."""
        if self._writer:
            fields = events.to_json(line)
            time = self._utc().isoformat(timespec="milliseconds")
            text = json.dumps({"event": fields.pop("event"), "time": time, **fields})
            self._writer.write(text.encode() + b"\n")
            self._warn_once(self._writer.lost)

    def close(self) -> None:
        """Wait until the lines are written, but not for a reader that does not read."""
        if self._writer:
            self._writer.close()
            self._warn_once(self._writer.lost)

    def _warn_once(self, lost: str) -> None:
        if lost and not self._warned:
            self._warned = True
            self.warn(f"clinder writes no more events: {lost}.")


@contextmanager
def event_log(options: Options, command: str, *, patience: float = _PATIENCE) -> Iterator[EventLog]:
    """Yield the log that ``--events`` names; write its first line and, at the end, its last one.

    ``patience`` is how many seconds to wait for the reader of a pipe. Raises
    :class:`~clinder.errors.UsageError` if the log cannot be opened.
    """
    file = _open(options, patience)
    log = EventLog(Writer(file, patience) if file is not None else None)
    try:
        log.observe(Opened(events.SCHEMA, __version__, command))
        yield log
    except ClinderError as error:
        log.observe(_finished(error))
        raise
    except BaseException as error:
        code = 130 if isinstance(error, KeyboardInterrupt) else ClinderError.exit_code
        log.observe(Finished(code, type(error).__name__))
        raise
    else:
        log.observe(Finished(log.exit_code))
    finally:
        log.close()


def _finished(error: ClinderError) -> Finished:
    context = error.context
    return Finished(
        error.exit_code,
        type(error).__name__,
        error.message,
        error.hint,
        context.hub,
        context.repository,
        context.link,
        context.cause,
        context.log_line,
    )


def _open(options: Options, patience: float) -> io.RawIOBase | None:
    if not options.events:
        return None
    if options.events == STDOUT:
        return _open_stdout()
    path = Path(options.events)
    if options.session_file and path.resolve() == options.session_file.resolve():
        raise UsageError("--events and --session-file name the same file.")
    try:
        return _create(path, Deadline(patience))
    except TimedOut:
        raise UsageError(
            f"The events cannot be written to {path}: nobody reads this pipe.",
            hint="First start the program that reads it.",
        ) from None
    except OSError as error:
        raise UsageError(
            f"The events cannot be written to {path}: {error.strerror}.",
            hint="Choose a file in an existing directory that you can write to.",
        ) from None


def _open_stdout() -> io.RawIOBase:
    try:
        if sys.stdout is not None:
            return os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    except (OSError, ValueError):
        pass
    raise OutputLost("The output could not be written: closed.")


def _create(path: Path, deadline: Deadline) -> io.RawIOBase:
    """Open a file, or a pipe once it has a reader.

    Others cannot read a new file, because a build can log secrets.
    """
    while True:
        try:
            return io.FileIO(path, "w", opener=_open_privately)
        except OSError as error:
            if error.errno != errno.ENXIO:  # a pipe without a reader
                raise
            deadline.wait(_POLL)


def _open_privately(name: str, flags: int) -> int:
    if sys.platform == "win32":
        return os.open(name, flags, 0o600)
    descriptor = os.open(name, flags | os.O_NONBLOCK, 0o600)
    os.set_blocking(descriptor, True)
    return descriptor
