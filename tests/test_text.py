"""Untrusted text is made safe to print."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinder._text import MAX_LINE, one_line, printable_lines, shorten, strip_controls, truncate


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("Collecting naïve-パッケージ ✓", "Collecting naïve-パッケージ ✓"),
        ("\x1b[32mgreen\x1b[0m", "green"),
        ("\x1b[1;31mbold\x1b[m and \x1b[2K\x1b[1Gredrawn", "bold and redrawn"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;https://example.org\x1b\\a link\x1b]8;;\x1b\\", "a link"),
        ("\x1b]0;an unfinished title\nthe next line", "\nthe next line"),
        ("\x1b(Btext\x1b7\x1bM", "text"),
        ("\x9b31mtext", "31mtext"),
        ("a bell\x07 a null\x00 a delete\x7f", "a bell a null a delete"),
        ("50%\r100%\r\n", "50%\n100%\n"),
        ("tab\tkept\n", "tab\tkept\n"),
        ("\u202eturned\u202c \u2066isolated\u2069 \u200fmarked", "turned isolated marked"),
        ("a lone surrogate \ud800", "a lone surrogate "),
        ("an emoji \U0001f600", "an emoji \U0001f600"),
        ("an escape at the end \x1b", "an escape at the end "),
    ],
)
def test_escape_sequences_and_controls_are_removed(foreign: str, shown: str) -> None:
    assert strip_controls(foreign) == shown


def test_lines_end_at_newlines_only_and_empty_ones_are_dropped() -> None:
    assert printable_lines("one \r\n\r\n \t\x1b[m\n  two\u2028still two\x0b\rthree") == [
        "one",
        "  twostill two",
        "three",
    ]


@given(st.text(st.characters()))
def test_no_text_keeps_a_control_character(text: str) -> None:
    kinds = {unicodedata.category(each) for each in strip_controls(text) if each not in "\n\t"}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}


@given(st.text())
def test_stripping_twice_changes_nothing_more(text: str) -> None:
    assert strip_controls(strip_controls(text)) == strip_controls(text)


@pytest.mark.parametrize("text", ["x" * 1_000_000, "\x1b[31m" * 50_000 + "x" * 5000, "x " * 5000])
def test_long_lines_are_truncated(text: str) -> None:
    (only,) = printable_lines(text)
    assert len(only) == MAX_LINE
    assert only.startswith("x")
    assert " … " in only
    assert len(one_line(text, 10)) == 10


def test_a_line_of_the_maximum_length_is_not_truncated() -> None:
    assert printable_lines("x" * MAX_LINE) == ["x" * MAX_LINE]
    assert one_line("a\n b\t\x1b[1mc ", 5) == "a b c"
    assert truncate("four", 4) == shorten("four", 4) == "four"


def test_a_shortened_line_keeps_its_end() -> None:
    assert shorten("0123456789" * 10, 20) == "012345678901 … 56789"
