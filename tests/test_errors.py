"""The errors are one family: each has its exit code from one table, and says what to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import clinder.cli.streams  # noqa: F401 - it has an error of its own
from clinder import errors
from clinder.errors import EXIT_CODES, Cancelled, ClinderError, Context, HubFull, format_error


def family(base: type[ClinderError]) -> Iterator[type[ClinderError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from family(kind)


KINDS = list(family(ClinderError))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_an_exit_code_of_the_table(kind: type[ClinderError]) -> None:
    assert kind("what").exit_code in dict(EXIT_CODES)
    assert kind.__doc__


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_says_what_to_do(kind: type[ClinderError]) -> None:
    """But what a person cancelled they know, and a usage error says it case by case."""
    if kind not in (Cancelled, errors.UsageError):
        assert kind("what").hint.strip()


def test_the_table_has_each_code_once_in_order() -> None:
    codes = [code for code, _ in EXIT_CODES]
    assert codes == sorted(set(codes))
    assert all(meaning for _, meaning in EXIT_CODES)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.CodeRaised, 1),
        (errors.UsageError, 2),
        (errors.Refused, 3),
        (errors.BuildFailed, 4),
        (errors.HubBusy, 5),
        (errors.HubError, 6),
        (errors.TimedOut, 7),
        (errors.LaunchFailed, 8),
        (errors.StopFailed, 9),
        (errors.SessionGone, 10),
        (errors.Cancelled, 130),
    ],
)
def test_a_kind_and_all_under_it_have_its_code(kind: type[ClinderError], code: int) -> None:
    assert {each.exit_code for each in [kind, *family(kind)]} == {code}


def test_an_error_is_explained_with_what_where_log_advice_and_link() -> None:
    context = Context("https://hub/", "gh/org/repo/HEAD", "https://hub/v2/x", ("one", "two"))
    assert format_error(HubFull("The hub is full.", context=context)) == [
        "The hub is full.",
        "  hub:        https://hub/",
        "  repository: gh/org/repo/HEAD",
        "  last log lines:",
        "    | one",
        "    | two",
        f"  what to do: {HubFull.hint}",
        "  link:       https://hub/v2/x",
    ]


def test_what_happened_may_be_told_better_by_who_knows_more() -> None:
    error = HubFull("Full.")
    error.message = "The hub is full."
    assert str(error) == "The hub is full."
    assert format_error(error)[0] == "The hub is full."


def test_what_is_not_known_is_left_out() -> None:
    assert format_error(Cancelled("Cancelled.")) == ["Cancelled."]
    assert format_error(HubFull("Full.", hint="Wait.")) == ["Full.", "  what to do: Wait."]
