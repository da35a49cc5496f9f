"""The private folder of one use of the action: everything that its post step needs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from clinder import events, session_file
from clinder.errors import UsageError
from clinder.session import Session


@dataclass(frozen=True)
class Launching:
    """A build request that has no result yet."""

    hub: str
    spec: str


@dataclass(frozen=True)
class Outcome:
    """How a launch on demand ended, for the post step, which shows it.

    ``summary`` is for the job's summary. If the launch failed, ``message`` is its annotation, and
    ``fails_job`` whether the job fails because of that.
    """

    summary: str
    message: str = ""
    fails_job: bool = False


@dataclass(frozen=True)
class Folder:
    """The folder that ``post/main.js`` creates for this use, readable by this user only."""

    path: Path

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Folder:
        """Return the folder that the environment names.

        Raises :class:`~clinder.errors.UsageError` if it does not exist, because then no post step
        would stop the session.
        """
        name = environ.get("CLINDER_FOLDER", "")
        if not name or not Path(name).is_dir():
            raise UsageError("The step that stops the session was not registered.")
        return cls(Path(name))

    @property
    def _launching(self) -> Path:
        return self.path / "launching.json"

    @property
    def session_files(self) -> list[Path]:
        """The files of all sessions that might be running."""
        return sorted(self.path.glob("session-*.json"))

    def record_python(self) -> None:
        """Record this Python, so that the post step runs the same one."""
        self._write("python", sys.executable)

    def begin(self, launching: Launching) -> None:
        """Record a build request before it is sent, because the hub can launch a server for it."""
        self._write("launching.json", json.dumps(asdict(launching)))

    def end(self) -> None:
        """Record that the build request has a result."""
        self._launching.unlink(missing_ok=True)

    def launching(self) -> Launching | None:
        """Return the build request that had no result when the launch was killed."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            fields = json.loads(self._launching.read_text(encoding="utf-8"))
            return Launching(str(fields["hub"]), str(fields["spec"]))
        return None

    def keep(self, session: Session) -> None:
        """Write the session to its file, or update the file.

        Raises :class:`~clinder.errors.UsageError` if that fails.
        """
        path = self._file_of(session) or self.path / f"session-{len(self.session_files)}.json"
        try:
            session_file.write(path, session)
        except OSError as error:
            raise _unwritable(path, error) from None
        self.end()

    def observe(self, event: events.Event) -> None:
        """Keep the files up to date, so that the post step stops whatever a launch has started."""
        match event:
            case events.BuildRequested():
                self.begin(Launching(event.hub, event.spec))
            case events.SessionLaunched() | events.SessionReady():  # the latter with its phases
                self.keep(event.session)
            case events.SessionStopped():
                self.forget(event.session)

    @property
    def launch_log(self) -> Path:
        """The log of a launch on demand."""
        return self.path / "launch.log"

    def keep_outcome(self, outcome: Outcome) -> None:
        """Record how a launch on demand ended."""
        self._write("outcome.json", json.dumps(asdict(outcome)))

    def outcome(self) -> Outcome | None:
        """Return how a launch on demand ended, ``None`` if there was none."""
        with suppress(OSError, ValueError, TypeError):
            return Outcome(**json.loads((self.path / "outcome.json").read_text(encoding="utf-8")))
        return None

    def let_cells_fail_the_job(self) -> None:
        """Record that the post step has to fail the job if a cell has failed."""
        self._write("fail-on-cell-error", "")

    @property
    def cells_fail_the_job(self) -> bool:
        """Whether the post step has to fail the job if a cell has failed."""
        return (self.path / "fail-on-cell-error").exists()

    def forget(self, session: Session) -> None:
        """Remove the file of a session that is gone."""
        if path := self._file_of(session):
            path.unlink(missing_ok=True)

    def _write(self, name: str, text: str) -> None:
        try:
            (self.path / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise _unwritable(self.path / name, error) from None

    def _file_of(self, session: Session) -> Path | None:
        return next((one for one in self.session_files if session_file.holds(one, session)), None)


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"The file {path} cannot be written: {error.strerror}.",
        hint="The post step needs it to stop the session. Check the runner's disk.",
    )
