"""A consumer's request to start a kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from clinder._text import one_line
from clinder.gateway.access import Target
from clinder.wire.json_fields import get_object, get_text, parse_object

_OWN_LABEL = "clinder-"
_MAX_PAGE = 300


@dataclass(frozen=True)
class Start:
    """A consumer's request for a kernel. ``content`` is its JSON, ``key`` what it is for.

    ``session_id`` is that of a session whose kernel it replaces, ``""`` for a new one.
    """

    content: Mapping[str, Any]
    key: str
    path: str
    requested: str
    session_id: str = ""

    @classmethod
    def parse(cls, target: Target, body: bytes) -> Start | None:
        """Return the request, ``None`` if it starts no kernel."""
        content = parse_object(body) if body.strip() else {}
        if content is None:
            return None
        _, key, *identifiers = target.path.split("/")
        kernel = get_object(content, "kernel") if key == "sessions" else content
        requested, session_id = get_text(kernel, "name"), unquote("".join(identifiers))
        if key == "sessions" and (kernel.get("id") or (session_id and not requested)):
            return None
        path = get_text(content, "path") or get_text(content, "name")
        return cls(content, key, path, requested, session_id)

    @property
    def page(self) -> str:
        """The page, ``""`` for a kernel of ``clinder exec``."""
        return "" if self.path.startswith(_OWN_LABEL) else one_line(self.path, _MAX_PAGE)

    def with_kernelspec(self, name: str) -> Mapping[str, Any]:
        """Return the request's content, with another kernelspec."""
        if name == self.requested:
            return self.content
        if self.key == "kernels":
            return {**self.content, "name": name}
        return {**self.content, "kernel": {**get_object(self.content, "kernel"), "name": name}}
