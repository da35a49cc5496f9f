"""Read-only git commands in one directory, without network and without prompts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clinder.errors import UsageError

if TYPE_CHECKING:
    import subprocess

EXAMPLES = (
    "Name the repository, for example ORG/REPO@REF, or copy its URL from a browser: "
    "https://github.com/ORG/REPO."
)
_NO_PROGRAM = ("-c", "core.fsmonitor=false")
"""The clone might be from an untrusted artifact; git starts this program to read the index."""
_UNATTENDED = {
    "GIT_ALLOW_PROTOCOL": "none",  # older versions do not read GIT_NO_LAZY_FETCH
    "GIT_GRAFT_FILE": os.devnull,  # grafts and replacements are local: hubs do not have them
    "GIT_NO_LAZY_FETCH": "1",  # a partial clone would fetch each missing object
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


@dataclass(frozen=True)
class Git:
    """git in one directory, with one environment; ``seconds`` is the time limit of a command."""

    directory: Path
    environ: Mapping[str, str]
    seconds: float = 30

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a git command. Raises UsageError if it does not start or does not end in time."""
        import subprocess  # slow to import, and most launches need no git

        try:
            return subprocess.run(  # noqa: S603 - no shell, and the arguments are ours
                ["git", *_NO_PROGRAM, "-C", str(self.directory), *arguments],  # noqa: S607 - the user's
                env={**self.environ, **_UNATTENDED},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=self.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UsageError(f"git took longer than {self.seconds:g} s.", hint=EXAMPLES) from None
        except OSError as error:
            raise UsageError(f"git could not be run: {error.strerror}.", hint=EXAMPLES) from None

    def read(self, *arguments: str) -> list[str]:
        """Return the lines of git's output. Raises UsageError with git's message if it fails."""
        done = self.run(*arguments)
        if done.returncode == 0:
            return [line for line in done.stdout.split("\n") if line]
        message = strip_credentials(done.stderr.strip())
        if "not a git repository" in message or "must be run in a work tree" in message:
            raise UsageError("This directory is not a git checkout.", hint=EXAMPLES)
        first, _, rest = message.partition("\n")
        raise UsageError(f"git cannot read this checkout: {first}", hint=rest.strip() or EXAMPLES)


def strip_credentials(text: str) -> str:
    """Remove the user and password from the URLs in a text."""
    return re.sub(r"://[^/\s]+@", "://", text)
