"""Why a build failed, according to its log, and the line that explains it.

Three facts decide:

- If a command of the build failed, the builder says so and adds the command's exit code. The
  environment is the reason, unless the command's output shows that a server was unreachable.
- If repo2docker itself failed, its message contains the reason.
- Otherwise nothing in the repository ended the build: its last lines show that a server was
  unreachable, or the builder died.

Hubs drop lines, so none of these facts depends on a single one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from clinder._text import shorten
from clinder.errors import ClinderError
from clinder.launch.build_signs import (
    BUILD_STALLED,
    BUILDER_DIED,
    ENVIRONMENT,
    LAUNCH_FAILED,
    OUT_OF_MEMORY,
    SIGNS,
    Cause,
)

WINDOW = 1000
"""How many lines at the end of a log matter. A command's error can precede hundreds of lines."""
LINE_LIMIT = 300
"""Maximum characters of the line that explains a failure."""
_SEARCHED = 600
"""Characters of a line that are searched. More would make a hostile log slow to read."""
_TAIL = 12
"""How many of the last lines matter if no command is known to have failed."""
_BEFORE, _AFTER = 6, 2
"""How many lines around the one that explains the failure are shown."""

_DEATH = re.compile(
    r"rpc error: code = (?:Unavailable|Canceled|DeadlineExceeded|Aborted|Internal)\b"
    r"|failed to solve: (?:Unavailable|Canceled|DeadlineExceeded|Aborted|Internal)\b"
    r"|error reading from server|failed to receive status|transport is closing"
    r"|frontend grpc server closed unexpectedly|received prior goaway|failed to dial gRPC"
    r"|^ERROR: no builder .{1,80} found|died with <Signals\.|: context canceled$"
)
"""Messages about a lost connection to the builder, or a killed one."""
_LAUNCH = re.compile(r"^Spawn failed: |^Launch attempt \d+ failed| took too long to launch")
_EXIT = re.compile(
    r"(?:did not complete successfully: exit code:|returned a non-zero code:|\]: exit code:"
    r"|process to exit: exit status|running runtime: exit status|\": exit status)"
    r" (\d{1,3})(?!\d|: context canceled)"
)
"""How builders report that a command failed, with its exit code."""
_KILLED = "137"
"""The exit code of a command that was killed, which happens if memory runs out."""
_DOCKERFILE = re.compile(r"^(?:>>> |\d+ \| >>> |Dockerfile:\d+$|> \[|(?:ERROR: )?process \")")
"""Parts of a Dockerfile, which BuildKit shows only after a step of it has failed."""
_OWN_FAILURE = re.compile(r"^Error during build: (?!Command '\['(?:docker|podman)')")
"""repo2docker's own failure. If the builder failed, repo2docker repeats only its command."""
_NOISE = re.compile(
    r"^(?:\W*$|(?:CACHED|DONE|CANCELED)\b|>>> |\d+ \| |\d+ \|$|Dockerfile:\d+$|> \["
    r"|(?:Error during build: )?Command '\[(?!'git')"
    r"|(?:ERROR: )?(?:failed to (?:solve|build): |rpc error: code = Unknown desc = )*"
    r"(?:process \"|executor failed running )|The command '|Error: (?:error )?building at STEP "
    r"|error building image: .*exit status \d+$"
    r"|time: [\d.]+$|\[\d+ lines? of output\]|\[end of output\]|\[notice\]|exit code: \d+$"
    r"|note: This |hint: See |Unknown phase |Removing intermediate container |---> )"
)
"""Lines that explain nothing: the builder's own reports, and frames around other programs'."""
_HEADING = re.compile(r"^(?:\[[\w -]{0,40}\d+/\d+\] |\[(?:internal|auth)\] )")
"""The beginning of a step. The command that follows it is no output, so it is not searched."""
_STEP = re.compile(r"^(?:STEP|Step) \d+/\d+ ?: ")
"""The beginning of a step in the logs of Podman and of older versions of Docker."""
_ERROR = re.compile(r"\b\w{0,40}(?:error|exception|fatal|failed|failure)\b", re.IGNORECASE)
_FRAME = re.compile(
    r"(?:#(\d+) )?(?:\d+\.\d+(?: |$))?\s*(?:[│┌├└╭╰╷\xd7][│┌├└╭╰╷\xd7─═▶>\s]*\s)?\s*"
)
"""What BuildKit and other programs put before a line."""


@dataclass(frozen=True)
class Diagnosis:
    """Why a build failed: the cause, the log line that explains it, and the lines around that.

    ``detail`` replaces the ``…`` in the cause's message, if there is one.
    """

    cause: Cause
    line: str = ""
    around: tuple[str, ...] = ()
    detail: str = ""

    def to_error(self) -> ClinderError:
        """Return the error to raise."""
        message = self.cause.message.replace("…", self.detail)
        return self.cause.error(message, hint=self.cause.hint or None)


@dataclass(frozen=True)
class _Line:
    """A line without its frame, and the number of its build step, if it has one."""

    text: str
    step: str = ""
    own_failure: bool = False

    @property
    def is_noise(self) -> bool:
        return bool(_NOISE.match(self.text))

    @property
    def is_output(self) -> bool:
        heading = _HEADING.match(self.text) or _STEP.match(self.text)
        return not self.is_noise and not heading


def diagnose(log: Sequence[str], message: Sequence[str] = ()) -> Diagnosis:
    """Return why the build with this log failed. Only its last :data:`WINDOW` lines count.

    ``message`` are the lines of the hub's own message about the failure, if it sent one. Unless it
    only repeats the builder's command, it is repo2docker's, and contains the reason.
    """
    lines = [_read(line) for line in log[-WINDOW:]]
    lines += [replace(line, own_failure=not line.is_noise) for line in map(_read, message)]
    exits = [(line, match[1]) for line in lines if (match := _EXIT.search(line.text))]
    step = _last_step(lines, exits)
    if not exits:
        for line in reversed(lines[-_TAIL:]):
            if _DEATH.search(line.text):
                return _explained_by(line, lines, BUILDER_DIED)
            if _LAUNCH.search(line.text):
                failure = _explained_by(line, lines, LAUNCH_FAILED)
                return replace(failure, detail=failure.line)
    elif exits[-1][1] == _KILLED:
        return _explained_by(exits[-1][0], step, OUT_OF_MEMORY)
    command_failed = bool(exits) or any(_DOCKERFILE.match(line.text) for line in lines)
    failed = command_failed or any(line.own_failure for line in lines)
    output = [line for line in step if line.is_output]
    searched = output if failed else output[-_TAIL:]
    for sign in SIGNS:
        if (failed or not sign.weak) and not (command_failed and sign.before_build):
            for line in searched:
                if sign.matches(line.text):
                    return _explained_by(line, step, sign.cause)
    if not failed:
        return _broken_off(lines, BUILDER_DIED)
    return _explained_by(_most_telling(output, exits), step, ENVIRONMENT)


def diagnose_stall(log: Sequence[str], seconds: float) -> Diagnosis:
    """Return the diagnosis of a build that logged nothing for ``seconds``."""
    diagnosis = _broken_off([_read(line) for line in log[-WINDOW:]], BUILD_STALLED)
    return replace(diagnosis, detail=f"{seconds:g}")


def find_error_line(log: Sequence[str]) -> str:
    """Return the line of a log that most likely shows an error, or ``""`` if there is no log.

    A failing command's own message helps more than the builder's message about that command.
    """
    lines = [_read(line) for line in log]
    errors = [line for line in lines if _ERROR.search(line.text)]
    messages = [line for line in errors if line.is_output]
    best = (messages or errors or lines or [_Line("")])[-1]
    return shorten(best.text, LINE_LIMIT)


def _read(line: str) -> _Line:
    line = shorten(line, _SEARCHED)
    frame = _FRAME.match(line)
    step, text = (frame[1] or "", line[frame.end() :]) if frame else ("", line)
    text = text.rstrip()
    own = _OWN_FAILURE.match(text)
    return _Line(text[own.end() :], step, own_failure=True) if own else _Line(text, step)


def _last_step(lines: Sequence[_Line], exits: Sequence[tuple[_Line, str]]) -> Sequence[_Line]:
    """Return the lines of the step that failed, or else ran last.

    Lines without a step's number belong to it if they follow its first line.
    """
    reports = [line.step for line, _ in exits if line.step]
    outputs = [line.step for line in lines if line.step and line.is_output]
    step = (reports or outputs or [""])[-1]
    if step:
        start = [line.step for line in lines].index(step)
    else:
        start = max((at for at, line in enumerate(lines) if _STEP.match(line.text)), default=0)
    return [line for line in lines[start:] if line.step in ("", step)]


def _most_telling(output: Sequence[_Line], exits: Sequence[tuple[_Line, str]]) -> _Line:
    """Return the line of a failed step that explains the most, if it has no sign."""
    candidates = (
        [line for line in output if line.own_failure],
        [line for line in output if _ERROR.search(line.text)],
        output,
        [line for line, _ in exits],
    )
    return next((some[-1] for some in candidates if some), _Line(""))


def _broken_off(lines: Sequence[_Line], cause: Cause) -> Diagnosis:
    """Return a diagnosis for a log whose last line does not explain why it is the last."""
    last = next((line for line in reversed(lines) if not line.is_noise), _Line(""))
    return _explained_by(last, lines, cause)


def _explained_by(line: _Line, lines: Sequence[_Line], cause: Cause) -> Diagnosis:
    shown = [each for each in lines if each is line or each.is_output]
    at = next((number for number, each in enumerate(shown) if each is line), 0)
    around = shown[max(0, at - _BEFORE) : at + _AFTER + 1]
    texts = tuple(shorten(each.text, LINE_LIMIT) for each in around)
    return Diagnosis(cause, shorten(line.text, LINE_LIMIT), texts)
