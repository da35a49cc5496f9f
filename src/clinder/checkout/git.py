"""git, asked about one directory: it changes nothing and asks nobody."""

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
    "Name the repository, for example ORG/REPO@REF, or its URL as a browser shows it, "
    "https://github.com/ORG/REPO."
)
_UNATTENDED = {
    "GIT_GRAFT_FILE": os.devnull,  # a hub's clone has no parents but the real ones
    "GIT_NO_LAZY_FETCH": "1",  # a partial clone would ask its server, object by object
    "GIT_NO_REPLACE_OBJECTS": "1",  # a hub's clone has no such replacements
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


@dataclass(frozen=True)
class Git:
    """git in one directory, with one environment.

    ``seconds`` bound one call, which a large tree on a network's disk can need.
    """

    directory: Path
    environ: Mapping[str, str]
    seconds: float = 30

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Return what became of the command. Raises UsageError where git itself does not run."""
        import subprocess  # most launches name their repository, and ask no git

        try:
            return subprocess.run(  # noqa: S603 - no shell, and the arguments are ours
                ["git", "-C", str(self.directory), *arguments],  # noqa: S607 - the user's own git
                env={**self.environ, **_UNATTENDED},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=self.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UsageError(f"git took over {self.seconds:g} s.", hint=EXAMPLES) from None
        except OSError as error:
            raise UsageError(f"git cannot be run: {error.strerror}.", hint=EXAMPLES) from None

    def read(self, *arguments: str) -> list[str]:
        """Return the lines of the answer; raises UsageError with git's own words."""
        done = self.run(*arguments)
        if done.returncode == 0:
            return [line for line in done.stdout.split("\n") if line]
        words = strip_credentials(done.stderr.strip())
        if "not a git repository" in words or "must be run in a work tree" in words:
            raise UsageError("No repository is named, and this is no git checkout.", hint=EXAMPLES)
        said, _, more = words.partition("\n")
        raise UsageError(f"git cannot read this checkout: {said}", hint=more.strip() or EXAMPLES)


def strip_credentials(text: str) -> str:
    """Return the text with the user and password taken out of its URLs."""
    return re.sub(r"://[^/\s]+@", "://", text)
