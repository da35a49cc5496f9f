"""The workflow commands of a step, and its log between them.

All output goes to stdout: the runner reads stdout and stderr separately, which would mix up their
order.
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
"""A line that cannot contain a command. Only ASCII, because .NET ignores other characters."""
_TITLE = {"title": "clinder"}  # core.error would also write all other properties, empty


class Workflow:
    """A step's output to the runner.

    Untrusted text could contain commands, so the runner processes none while this class writes such
    text. Before each command of our own, processing is resumed.
    """

    def __init__(self) -> None:
        self._resume = ""

    def log(self, text: str) -> None:
        """Write our own message. Commands in untrusted parts of it have no effect."""
        if _HARMLESS.fullmatch(text):
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        else:
            self.quote(text)

    def quote(self, text: str) -> None:
        """Write untrusted lines. Commands in them have no effect."""
        lines = printable_lines(text)
        if lines and not self._resume:
            self._resume = secrets.token_hex(16)
            issue("stop-commands", self._resume)
        for line in lines:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    def resume(self) -> None:
        """Make the runner process commands again."""
        if self._resume:
            issue(self._resume)
            self._resume = ""
        sys.stdout.flush()

    @property
    def resuming(self) -> bytes:
        """The bytes that make the runner process commands again, for use in a signal handler."""
        return f"::{self._resume}::\n".encode() if self._resume else b""

    def mask(self, secret: str) -> None:
        """Make the runner hide each line of a secret, and its form in a URL, from now on."""
        self.resume()
        for line in filter(None, map(str.strip, secret.splitlines())):  # an empty mask is an error
            for form in dict.fromkeys((line, quote(line, safe=""))):
                core.set_secret(form)
        sys.stdout.flush()

    def group(self, title: str) -> None:
        """Begin a group of lines that can be folded."""
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
        _require_file("GITHUB_OUTPUT")  # otherwise the toolkit prints the value
        core.set_output(name, value)

    def export(self, variables: Mapping[str, str]) -> None:
        """Set variables for the later steps."""
        _require_file("GITHUB_ENV")
        for name, value in variables.items():
            core.export_variable(name, value)

    def add_summary(self, markdown: str) -> None:
        """Add to the job's summary if this runner has one."""
        path = os.environ.get("GITHUB_STEP_SUMMARY", "")
        try:
            if path:
                with Path(path).open("a", encoding="utf-8", newline="\n") as file:
                    file.write(markdown)
        except OSError as error:
            self.log(f"The job's summary cannot be written: {error.strerror}.")

    def _annotate(self, kind: str, text: str) -> None:
        self.resume()
        issue_command(kind, _TITLE, "\n".join(printable_lines(text)))
        sys.stdout.flush()


def _require_file(variable: str) -> None:
    if not Path(os.environ.get(variable, "")).is_file():  # "" is the current folder
        raise UsageError(f"{variable} names no file. This step runs only in GitHub Actions.")


def _one_line(text: str) -> str:
    return " ".join(printable_lines(text))[:100]
