"""Each error has an exit code from the table, a docstring and a hint."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import clinder.cli.streams  # noqa: F401 - it defines an error
from clinder import errors
from clinder.errors import EXIT_CODES, Cancelled, ClinderError, Context, HubFull, format_error


def subclasses(base: type[ClinderError]) -> Iterator[type[ClinderError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from subclasses(kind)


KINDS = list(subclasses(ClinderError))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_documented_exit_code_and_a_hint(kind: type[ClinderError]) -> None:
    """A cancellation needs no hint, and each usage error brings its own."""
    assert kind.exit_code in dict(EXIT_CODES)
    assert kind.__doc__
    assert kind.hint.strip() or kind in (Cancelled, errors.UsageError)


def test_exit_codes_are_unique_and_sorted() -> None:
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
def test_subclasses_share_the_exit_code(kind: type[ClinderError], code: int) -> None:
    assert {each.exit_code for each in [kind, *subclasses(kind)]} == {code}


def test_an_error_is_shown_with_hub_repository_log_hint_and_link() -> None:
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


def test_a_failed_build_shows_the_line_that_explains_it_and_the_lines_around() -> None:
    context = Context("https://hub/", log=("one", "two"), cause="out-of-memory", log_line="two")
    assert format_error(errors.BuildFailed("It failed.", hint="Wait.", context=context)) == [
        "It failed.",
        "  hub:        https://hub/",
        "  log shows:  two",
        "  around it:",
        "    | one",
        "    | two",
        "  what to do: Wait.",
    ]


def test_a_message_can_be_replaced() -> None:
    error = HubFull("Full.")
    error.message = "The hub is full."
    assert str(error) == format_error(error)[0] == "The hub is full."


def test_missing_context_is_not_shown() -> None:
    assert format_error(Cancelled("Cancelled.")) == ["Cancelled."]
    assert format_error(HubFull("Full.", hint="Wait.")) == ["Full.", "  what to do: Wait."]
