"""JSON from other programs: a field has the expected type, or it is empty."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinder.wire.json_fields import get_object, get_text, parse, parse_object

NOT_JSON = ["", "{", "{} {}", "\ufeff{}", "[" * 100_000, "NaN!", b"\xff{}", b"<html>"]


@pytest.mark.parametrize("data", NOT_JSON, ids=lambda data: repr(data)[:10])
def test_text_that_is_not_json_has_no_value(data: str | bytes) -> None:
    assert parse(data) is None
    assert parse_object(data) is None


@pytest.mark.parametrize("data", [' \r\n{"a": 1}\t', b'{"a": 1}\n'])
def test_white_space_around_an_object_is_ignored(data: str | bytes) -> None:
    assert parse(data) == parse_object(data) == {"a": 1}


def test_only_an_object_is_an_object() -> None:
    assert parse("[1]") == [1]
    assert parse_object("[1]") is None


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.lists(st.integers())))
def test_a_field_of_another_type_is_empty(value: object) -> None:
    for fields in ({"name": value}, {}):
        assert get_text(fields, "name") == ""
        assert get_object(fields, "name") == {}


def test_a_field_of_the_expected_type_is_returned_as_it_is() -> None:
    assert get_text({"name": " text\n"}, "name") == " text\n"
    assert get_object({"name": {"a": 1}}, "name") == {"a": 1}
