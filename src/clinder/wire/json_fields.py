"""Fields of JSON from other programs: each has the type that clinder expects, or is empty."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_DECODER = json.JSONDecoder()


def parse(data: str | bytes) -> object:
    """Return the value of a JSON text, ``None`` if the text is not JSON."""
    try:
        text = (data.decode() if isinstance(data, bytes) else data).strip(" \t\r\n")
        value, end = _DECODER.raw_decode(text)  # json.loads takes twice as long for a short text
    except (ValueError, RecursionError):
        return None
    return value if end == len(text) else None


def parse_object(data: str | bytes) -> Mapping[str, Any] | None:
    """Return the object of a JSON text, ``None`` if the text is anything else."""
    value = parse(data)
    return value if isinstance(value, dict) else None


def get_object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a field that is an object; an empty object if it is missing or anything else."""
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def get_text(fields: Mapping[str, Any], name: str) -> str:
    """Return a field that is a string; ``""`` if it is missing or anything else."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""
