"""What happened from the launch to the stop: the values of the report, version 1.

The report's JSON has the fields of these classes. Text that is not clinder's own is bounded and
safe to print. No field holds a token, a page's code or its output; only an error's message can
contain what the page's code puts there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from types import NoneType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from clinder._version import __version__
from clinder.errors import ClinderError, UsageError
from clinder.events import AttemptFailed, Event, PhaseEnded
from clinder.launch.on_demand import OnDemand
from clinder.session import Attempt, Session
from clinder.wire.json_fields import parse_object

T = TypeVar("T")

VERSION = 1
_DIGITS = 3


@dataclass(frozen=True)
class CellError:
    """An error that a cell raised, or that ended it.

    ``cell`` counts the page's code cells from 1, in the order in which they ran. ``kind`` is
    ``cell``, or ``expression`` for an inline expression after that cell. ``name`` is that of the
    exception, or of clinder's own error. If no other cell ``followed``, the error ended its page,
    or the notebook allows it in its last cell.
    """

    cell: int
    kind: str
    name: str
    text: str
    followed: bool = False


@dataclass(frozen=True)
class SlowCell:
    """A cell and the ``seconds`` that it ran."""

    cell: int
    seconds: float


@dataclass(frozen=True)
class Kernel:
    """One kernel, and what ran on it. Most tools start one for each page.

    ``page`` is the path that the tool gave, ``requested`` the kernelspec that the page names, and
    ``kernelspec`` the one that was started. ``waited`` is the time until another kernel ended, and
    ``ready_after`` the time that this one then took to respond. If it never did, that is ``null``,
    and ``problem`` explains it.

    ``cells`` counts the cells that ended, ``unfinished`` the others. All took ``seconds``;
    ``slowest`` lists up to five. ``errors`` lists up to 50 of ``error_count`` errors, always with
    the last one. ``deaths`` counts how often the kernel died, ``reconnections`` how often the
    connection broke. ``time_limits`` lists the cells that reached their time limit,
    ``across_reconnections`` those whose output can be incomplete because the connection broke, and
    ``dropped_output`` those whose output the server's rate limits cut.
    """

    page: str = ""
    requested: str = ""
    kernelspec: str = ""
    waited: float = 0.0
    ready_after: float | None = None
    problem: str = ""
    cells: int = 0
    unfinished: int = 0
    seconds: float = 0.0
    slowest: tuple[SlowCell, ...] = ()
    errors: tuple[CellError, ...] = ()
    error_count: int = 0
    deaths: int = 0
    time_limits: tuple[int, ...] = ()
    reconnections: int = 0
    across_reconnections: tuple[int, ...] = ()
    dropped_output: tuple[int, ...] = ()

    @property
    def ended_by(self) -> CellError | None:
        """The error that ended the page, as far as that is known."""
        last = self.errors[-1] if self.errors else None
        return None if last is None or last.followed else last


@dataclass(frozen=True)
class Launch:
    """The launch. ``phases`` maps each phase to its seconds, and ``seconds`` is their sum.

    ``image_found`` is whether the hub had the image already, ``null`` if that is unknown. A launch
    on demand is ``skipped`` if nobody needed the session. The other fields are those of a session.
    """

    hub: str = ""
    spec: str = ""
    asked_spec: str = ""
    reuse: str = ""
    image: str = ""
    image_found: bool | None = None
    started_at: str = ""
    seconds: float = 0.0
    phases: Mapping[str, float] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    skipped: bool = False

    @classmethod
    def of(cls, session: Session) -> Launch:
        """Return how a session was launched."""
        names = {each.name for each in fields(cls)} - {"seconds", "skipped"}
        values = {name: getattr(session, name) for name in names}
        return cls(**values, seconds=sum(session.phases.values()))


class LaunchRecord:
    """Observes a launch that might not end with a session."""

    def __init__(self) -> None:
        self.spec = ""
        self._phases: dict[str, float] = {}
        self._attempts: list[Attempt] = []

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts that have failed, except the last one."""
        return tuple(self._attempts)

    def observe(self, event: Event) -> None:
        """Note an event."""
        if isinstance(event, PhaseEnded):
            self._phases[event.phase] = self._phases.get(event.phase, 0.0) + event.seconds
        elif isinstance(event, AttemptFailed):
            self._attempts.append(event.attempt)

    def launch(self, source: OnDemand | None) -> Launch:
        """Return the launch as far as it is known."""
        if source is not None and source.session is not None:
            return Launch.of(source.session)
        return Launch(
            spec=self.spec,
            seconds=sum(self._phases.values()),
            phases=dict(self._phases),
            attempts=self.attempts,
            skipped=source is not None and not source.was_needed,
        )


@dataclass(frozen=True)
class Resources:
    """What the session used, if its server reports it; otherwise the fields are ``null``.

    ``memory_peak`` and ``memory_limit`` are in bytes. ``cpu_peak`` is in percent of one processor,
    of which the session's machine has ``cpu_count``.
    """

    memory_peak: int | None = None
    memory_limit: int | None = None
    cpu_peak: float | None = None
    cpu_count: int | None = None


@dataclass(frozen=True)
class Command:
    """The command that used the session, and the ``seconds`` that it ran."""

    exit_code: int
    seconds: float


@dataclass(frozen=True)
class Stop:
    """How the session ended: ``outcome`` is ``stopped``, ``gone``, ``unknown`` or ``running``.

    A session that is ``gone`` had ended before. ``message`` explains the outcome; stopping took
    ``seconds``.
    """

    outcome: str
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Problem:
    """The error with which clinder ended: its class in Python, message, hint and exit code."""

    name: str
    message: str
    hint: str = ""
    exit_code: int = 1

    @classmethod
    def of(cls, error: ClinderError) -> Problem:
        """Return an error as a value."""
        return cls(type(error).__name__, error.message, error.hint, error.exit_code)


@dataclass(frozen=True)
class Report:
    """One run. A field is ``null`` or empty if the run ended before it was known.

    In the action, ``command`` and ``stop`` are always ``null``. ``version`` changes when a field
    changes its meaning or disappears; ``clinder`` is the version of clinder. ``kernels`` are in the
    order of their start. ``variables`` names the variables that each kernel received.
    """

    version: int = VERSION
    clinder: str = __version__
    launch: Launch | None = None
    kernels: tuple[Kernel, ...] = ()
    resources: Resources | None = None
    command: Command | None = None
    stop: Stop | None = None
    problem: Problem | None = None
    warnings: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Kernel, ...]:
        """The kernels whose page did not run to its end, as far as that is known."""
        return tuple(each for each in self.kernels if each.problem or each.ended_by is not None)

    def to_json(self) -> str:
        """Return the report as one line of JSON."""
        return json.dumps(_rounded(asdict(self)))

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Parse a report, whose unknown fields are ignored.

        Raises :class:`~clinder.errors.UsageError` if it is none, or is of another version.
        """
        data = parse_object(text)
        if data is not None and data.get("version") == VERSION:
            with suppress(OverflowError, TypeError):
                return cast(Report, _read(cls, data))
        raise UsageError("This is not a report of this version of clinder.")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return round(value, _DIGITS) if isinstance(value, float) else value


def _read(kind: Any, data: Any) -> Any:
    """Return a value of a dataclass or of a type that JSON has.

    Raises TypeError, and OverflowError for a number that no float can hold.
    """
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        names = hints.keys() & _require(dict, data).keys()
        return kind(**{name: _read(hints[name], data[name]) for name in names})  # type: ignore[operator]
    arguments = get_args(kind)
    if NoneType in arguments:
        return None if data is None else _read(arguments[0], data)
    if get_origin(kind) is tuple:
        return tuple(_read(arguments[0], each) for each in _require(list, data))
    if get_origin(kind) is Mapping:
        return {name: _read(arguments[1], each) for name, each in _require(dict, data).items()}
    if kind is float and type(data) in (int, float):
        return _require_finite(float(data))
    return _require(kind, data)


def _require_finite(number: float) -> float:
    """Return the number. Raises TypeError for those of Python's JSON that are none in JSON."""
    if not math.isfinite(number):
        raise TypeError
    return number


def _require(kind: type[T], data: Any) -> T:
    if type(data) is not kind:
        raise TypeError
    return data
