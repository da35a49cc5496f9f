"""The private folder of one use of the action: what its post step must know."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from clinder import session_file
from clinder.errors import UsageError
from clinder.session import Session


@dataclass(frozen=True)
class Launching:
    """A build request that is under way: to which hub, for what."""

    hub: str
    spec: str


@dataclass(frozen=True)
class Folder:
    """The folder, which ``post/main.js`` has made for this use and this user alone."""

    path: Path

    @classmethod
    def from_environ(cls, environment: Mapping[str, str]) -> Folder:
        """Return the folder that the environment names.

        Raises :class:`~clinder.errors.UsageError` where there is none: then nothing would stop
        what is started.
        """
        name = environment.get("CLINDER_FOLDER", "")
        if not name or not Path(name).is_dir():
            raise UsageError("The step that stops the session was not registered.")
        return cls(Path(name))

    @property
    def _launching(self) -> Path:
        return self.path / "launching.json"

    @property
    def session_files(self) -> list[Path]:
        """The files of the sessions that may run."""
        return sorted(self.path.glob("session-*.json"))

    def record_python(self) -> None:
        """Record which Python runs, for the post step to take the same."""
        self._write("python", sys.executable)

    def begin(self, launching: Launching) -> None:
        """Record that a build request goes out: a server may come of it."""
        self._write("launching.json", json.dumps(asdict(launching)))

    def end(self) -> None:
        """Record that no build request is under way."""
        self._launching.unlink(missing_ok=True)

    def launching(self) -> Launching | None:
        """Return the build request that was under way when the launch was killed."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(self._launching.read_text(encoding="utf-8"))
            return Launching(str(told["hub"]), str(told["spec"]))
        return None

    def keep(self, session: Session) -> None:
        """Write the session to its file, over what the file knew of it before.

        Raises :class:`~clinder.errors.UsageError`.
        """
        path = self._file_of(session) or self.path / f"session-{len(self.session_files)}.json"
        try:
            session_file.write(path, session)
        except OSError as error:
            raise _unwritable(path, error) from None
        self.end()

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
        return next(
            (path for path in self.session_files if session_file.holds(path, session)), None
        )


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"The file {path} cannot be written: {error.strerror}.",
        hint="Without it nothing would stop the session. Look at the runner's disk.",
    )
