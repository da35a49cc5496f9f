"""What a session uses of its memory and processors, as its server reports it.

repo2docker's images bring jupyter-resource-usage, whose ``api/metrics/v1`` this reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clinder.gateway.report import Resources
from clinder.wire.json_fields import get_object

SHORT = 0.9
"""If the session used more than this share of its memory, that is likely why it failed."""

_GIB = 1024**3


@dataclass(frozen=True)
class Sample:
    """One measurement. Memory is in bytes; ``cpu_percent`` is in percent of one processor.

    ``memory_limit`` is 0 if the server has none.
    """

    memory: int
    memory_limit: int = 0
    cpu_percent: float | None = None
    cpu_count: int | None = None


def parse_metrics(data: Mapping[str, Any]) -> Sample | None:
    """Return the measurement in a response to ``GET api/metrics/v1``, ``None`` if there is none.

    Processes share memory, and ``pss`` counts what they share only once.
    """
    memory = _number(data, "pss") or _number(data, "rss")
    if not memory:
        return None
    limits = get_object(get_object(data, "limits"), "memory")
    count = _number(data, "cpu_count")
    return Sample(
        int(memory),
        int(_number(limits, "pss") or _number(limits, "rss") or 0),
        _number(data, "cpu_percent"),
        None if count is None else int(count),
    )


class Usage:
    """The peaks of all measurements, and the last one."""

    def __init__(self) -> None:
        self._last: Sample | None = None
        self._peak = Sample(0)

    def add(self, sample: Sample) -> None:
        """Add a measurement."""
        self._last = sample
        cpu = [each.cpu_percent for each in (self._peak, sample) if each.cpu_percent is not None]
        self._peak = Sample(
            max(self._peak.memory, sample.memory),
            sample.memory_limit or self._peak.memory_limit,
            max(cpu, default=None),
            sample.cpu_count or self._peak.cpu_count,
        )

    def report(self) -> Resources | None:
        """Return what was measured, ``None`` if nothing was."""
        if self._last is None:
            return None
        peak = self._peak
        limit = peak.memory_limit or None
        return Resources(peak.memory, limit, peak.cpu_percent, peak.cpu_count)

    def explain(self) -> str:
        """Return a sentence about the memory that was in use last, ``""`` if it is unknown."""
        if self._last is None or not self._last.memory_limit:
            return ""
        share = self._last.memory / self._last.memory_limit
        limit = f"{self._last.memory_limit / _GIB:.1f} GiB"
        return f"The session last used {share:.0%} of its memory of {limit}."

    @property
    def is_short(self) -> bool:
        """Whether memory was nearly used up at its peak, so that its lack is a likely cause."""
        return self._peak.memory > SHORT * self._peak.memory_limit > 0


def _number(data: Mapping[str, Any], name: str) -> float | None:
    """Return a field that is a number and not negative."""
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value < 2**63 else None
