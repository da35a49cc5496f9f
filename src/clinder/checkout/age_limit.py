"""How old the commit of a reused image can be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from clinder.errors import UsageError

_AGE = re.compile(r"(?P<number>[1-9]\d{0,3}) ?(?P<unit>d|days?|w|weeks?)", re.IGNORECASE)
_DAY = 86_400.0


@dataclass(frozen=True)
class AgeLimit:
    """A date, as in ``2026-01-31`` (UTC), or an age in days or weeks, as in ``90d``.

    Raises :class:`~clinder.errors.UsageError` if the text is neither.
    """

    text: str

    def __post_init__(self) -> None:
        if not self._seconds:
            self._date  # noqa: B018 - raises if it is no date

    def choose(self, times: Sequence[float], now: float) -> int:
        """Return which commit's image to use, by its index; the last is the requested commit.

        ``times`` are those of the commits in seconds since 1970, the oldest first. An age starts
        anew with the first commit that is so much younger than the one before. That way, commits
        have one image in common until it is too old, although every day others become too old.
        """
        chosen = 0
        if not self._seconds:
            chosen = next((at for at, time in enumerate(times) if time >= self._date), -1)
            return chosen % len(times)
        for at, time in enumerate(times):
            if time - times[chosen] >= self._seconds:
                chosen = at
        return chosen if times[chosen] > now - self._seconds else len(times) - 1

    @property
    def _seconds(self) -> float:
        if not (found := _AGE.fullmatch(self.text)):
            return 0.0
        return int(found["number"]) * (7 if found["unit"][0] in "wW" else 1) * _DAY

    @property
    def _date(self) -> float:
        try:
            if re.fullmatch(r"\d{4}-\d{2}-\d{2}", self.text):
                return datetime.fromisoformat(self.text).replace(tzinfo=timezone.utc).timestamp()
        except ValueError:
            pass
        raise UsageError(
            f"{self.text!r} is neither a date nor an age.",
            hint="Write a date as in 2026-01-31, or an age in days or weeks as in 90d or 12w.",
        )
