"""How GitHub's runner reads a step's output: its commands, and the lines that it shows.

This follows ``ActionCommand.cs``, ``ActionCommandManager.cs`` and ``OutputManager.cs`` of
actions/runner. It can see more commands than they do, but never fewer: every name counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_DATA = (("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))
_PROPERTY = (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"))
_OLD = (("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]"), ("%25", "%"))
_IGNORED = re.compile(r"[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")  # .NET ignores these
_NEW_FORM = re.compile(r"\s*::([^\s:]+)(?: (.*?))?::(.*)", re.DOTALL)
_OLD_FORM = re.compile(r".*?##\[([^\s\]]+)(?: ([^\]]*))?\](.*)", re.DOTALL)


@dataclass(frozen=True)
class Command:
    """A command that took effect."""

    name: str
    data: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Log:
    """A step's output: the commands that took effect, and the lines shown.

    ``stopped`` is the token that resumes commands, and ``leaked`` the lines that showed a secret
    before its mask.
    """

    commands: list[Command] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    stopped: str = ""

    def named(self, *names: str) -> list[Command]:
        return [each for each in self.commands if each.name in names]

    @property
    def masks(self) -> list[str]:
        return [each.data for each in self.named("add-mask")]

    @property
    def annotations(self) -> list[Command]:
        return self.named("error", "warning", "notice")


def read(output: str, *secrets: str) -> Log:
    """Read a step's stdout."""
    log = Log()
    for line in re.split(r"\r\n|\r|\n", output):
        command = _parse(line)
        if command and log.stopped:
            if command.name == log.stopped:
                log.stopped = ""
                continue
            command = None
        elif command and command.name == "stop-commands":
            log.stopped = command.data
            continue
        if command:
            log.commands.append(command)
        else:
            log.shown.append(line)
        if not command or command.name != "add-mask":
            log.leaked += [line for each in secrets if each in line and each not in log.masks]
    return log


def _parse(line: str) -> Command | None:
    line = _IGNORED.sub("", line)
    if match := _NEW_FORM.match(line):
        properties = dict(_properties(match[2], ",", _PROPERTY))
        return Command(match[1].lower(), _unescape(match[3], _DATA), properties)
    if match := _OLD_FORM.match(line):
        properties = dict(_properties(match[2], ";", _OLD))
        return Command(match[1].lower(), _unescape(match[3], _OLD), properties)
    return None


def _properties(
    text: str | None, separator: str, escapes: tuple[tuple[str, str], ...]
) -> Iterator[tuple[str, str]]:
    for each in (text or "").strip().split(separator):
        name, _, value = each.partition("=")
        if name and value:
            yield name, _unescape(value, escapes)


def _unescape(text: str, escapes: tuple[tuple[str, str], ...]) -> str:
    for escape, character in escapes:
        text = text.replace(escape, character)
    return text
