"""``--reuse-environment-since``: a date or an age."""

from __future__ import annotations

import re

import pytest

from clinder.checkout.age_limit import AgeLimit
from clinder.errors import UsageError

DAY = 86_400.0
NEW_YEAR = 1_767_225_600.0  # 2026-01-01T00:00Z


@pytest.mark.parametrize(
    "text",
    ["2026-01-31", "90d", "1D", "90 days", "1 day", "12w", "12 weeks", "1 Week", "9999d"],
)
def test_a_date_or_an_age_in_days_or_weeks_is_a_limit(text: str) -> None:
    assert AgeLimit(text).text == text


@pytest.mark.parametrize(
    "text",
    [
        "", "90", "d", "0d", "-1d", "1.5d", "90  d", " 90d", "90d ", "3m", "3 months", "1y", "12h",
        "2026-13-01", "2026-02-30", "2026-1-1", "20260131", "2026-01-31T00:00", "31.1.2026",
        "yesterday", "12345d",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_both_forms(text: str) -> None:
    with pytest.raises(
        UsageError, match=re.escape(f"{text!r} is neither a date nor an age.")
    ) as error:
        AgeLimit(text)
    assert error.value.hint.endswith("days or weeks as in 90d or 12w.")


def choose(limit: str, *days: float, now: float | None = None) -> float:
    """Return the day of the commit that is chosen among those of some days; the last is today."""
    today = days[-1] if now is None else now
    times = [NEW_YEAR + day * DAY for day in days]
    return days[AgeLimit(limit).choose(times, NEW_YEAR + today * DAY)]


@pytest.mark.parametrize(
    ("days", "chosen"),
    [
        ((-10, -1, 3, 5), 3),
        ((-10, 0, 3), 0),  # the date itself is not older
        ((0, 3), 0),
        ((-10, -1), -1),  # all are older: the requested commit
        ((5,), 5),
    ],
)
def test_a_date_chooses_the_oldest_commit_that_is_not_older(
    days: tuple[float, ...], chosen: float
) -> None:
    assert choose("2026-01-01", *days) == chosen


@pytest.mark.parametrize(
    ("days", "chosen"),
    [
        ((0,), 0),
        ((0, 1, 9), 0),
        ((0, 1, 10), 10),
        ((0, 1, 12, 13), 12),
        ((0, 12, 21), 12),
        ((0, 12, 22), 22),
        ((0, 500, 501), 500),
        ((5, 3, 6), 5),  # a commit can be older than its parent
    ],
)
def test_an_age_starts_anew_with_the_first_commit_that_is_so_much_younger(
    days: tuple[float, ...], chosen: float
) -> None:
    assert choose("10d", *days) == chosen


def test_one_image_serves_all_pushes_until_it_is_too_old() -> None:
    """Daily pushes would need an image each if the oldest commit within the limit were chosen."""
    pushes = [choose("2w", *range(day + 1)) for day in range(60)]

    assert pushes == [day // 14 * 14 for day in range(60)]


@pytest.mark.parametrize(("now", "chosen"), [(9, 0), (10, 8), (30, 8)])
def test_a_commit_that_has_become_too_old_since_the_last_push_is_not_chosen(
    now: float, chosen: float
) -> None:
    assert choose("10d", 0, 4, 8, now=now) == chosen
