"""The workflow commands of a step, and the words between them.

Everything goes to stdout: the runner reads stdout and stderr apart, so only one can be in order.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from actions_toolkit import core
from actions_toolkit.command import issue, issue_command

from clinder._text import printable_lines
from clinder.errors import UsageError

_HARMLESS = re.compile(r"(?:(?!::|##\[)[ -~])+")
"""One line without what a command begins with; beyond ASCII, .NET may find that where none is."""
_TITLE = {"title": "clinder"}  # core.error would write all other properties too, each empty


class Workflow:
    """What a step says to the runner.

    The runner processes no commands while foreign words are written; before each command of ours
    it is told to go on.
    """

    def __init__(self) -> None:
        self._resume = ""

    def say(self, text: str) -> None:
        """Write our own words, in which what they hold of others takes no effect either."""
        if _HARMLESS.fullmatch(text):
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        else:
            self.quote(text)

    def quote(self, text: str) -> None:
        """Write lines of others, in which no command takes effect."""
        found = printable_lines(text)
        if found and not self._resume:
            self._resume = secrets.token_hex(16)
            issue("stop-commands", self._resume)
        for line in found:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    def resume(self) -> None:
        """Have the runner process commands again."""
        if self._resume:
            issue(self._resume)
            self._resume = ""
        sys.stdout.flush()

    @property
    def resuming(self) -> bytes:
        """What to write, without this object, to have the runner process commands again."""
        return f"::{self._resume}::\n".encode() if self._resume else b""

    def mask(self, secret: str) -> None:
        """Have the runner hide a secret, each of its lines, in all that it shows from now on.

        Its form in a URL is hidden too.
        """
        self.resume()
        for line in filter(None, map(str.strip, secret.splitlines())):  # nothing is no mask
            for form in dict.fromkeys((line, quote(line, safe=""))):
                core.set_secret(form)
        sys.stdout.flush()

    def group(self, title: str) -> None:
        """Begin a group that can be folded."""
        self.resume()
        core.start_group(_one_line(title))
        sys.stdout.flush()

    def end_group(self) -> None:
        """End the group."""
        self.resume()
        core.end_group()
        sys.stdout.flush()

    def error(self, text: str) -> None:
        """Annotate the job with an error."""
        self._annotate("error", text)

    def warning(self, text: str) -> None:
        """Annotate the job with a warning."""
        self._annotate("warning", text)

    def output(self, name: str, value: str) -> None:
        """Set an output of the step."""
        _require_file("GITHUB_OUTPUT")  # else the toolkit prints the value
        core.set_output(name, value)

    def export(self, variables: Mapping[str, str]) -> None:
        """Set variables for the later steps."""
        _require_file("GITHUB_ENV")
        for name, value in variables.items():
            core.export_variable(name, value)

    def summarise(self, markdown: str) -> None:
        """Add to the job's summary, if this runner has one."""
        path = os.environ.get("GITHUB_STEP_SUMMARY", "")
        try:
            if path:
                with Path(path).open("a", encoding="utf-8", newline="\n") as file:
                    file.write(markdown)
        except OSError as error:
            self.say(f"The job's summary cannot be written: {error.strerror}.")

    def _annotate(self, kind: str, text: str) -> None:
        self.resume()
        issue_command(kind, _TITLE, "\n".join(printable_lines(text)))
        sys.stdout.flush()


def _require_file(variable: str) -> None:
    if not Path(os.environ.get(variable, "")).is_file():  # "" is a folder, this one
        raise UsageError(f"{variable} names no file: this runs in GitHub Actions only.")


def _one_line(text: str) -> str:
    return " ".join(printable_lines(text))[:100]
