"""What a kernel's messages say, those of the Jupyter messaging protocol 5.3, in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from clinder._text import one_line, strip_controls
from clinder.wire.http_errors import TransportError

_DROPPED = ("IOPub data rate exceeded.\n", "IOPub message rate exceeded.\n")
_CLEAN = ("", "0", "None")


class MalformedMessage(TransportError):
    """Something else than a message."""

    def __init__(self) -> None:
        super().__init__("what the kernel's websocket brought is no message of a kernel")


@dataclass(frozen=True)
class Output:
    """Text that the code printed to ``stdout`` or ``stderr``, or a result's plain text."""

    stream: str
    text: str

    @property
    def reports_dropped_output(self) -> bool:
        """Whether it is the server's word that it dropped output (its ``iopub`` rate limits)."""
        return self.stream == "stderr" and self.text.lstrip().startswith(_DROPPED)


@dataclass(frozen=True)
class KernelError:
    """The exception that ended the code: its traceback as the kernel wrote it."""

    name: str
    value: str
    traceback: tuple[str, ...]

    @property
    def is_clean_exit(self) -> bool:
        """Whether this is but the code's way to end well, ``sys.exit(0)``."""
        return self.name == "SystemExit" and self.value in _CLEAN


def parse(data: str) -> Mapping[str, Any]:
    """Return a message. Raises :class:`MalformedMessage`."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise MalformedMessage
    return message


def parent_id(message: Mapping[str, Any]) -> str:
    """Return the id of the request that a message answers."""
    header = message.get("parent_header")
    return str(header.get("msg_id", "")) if isinstance(header, dict) else ""


def _kind(message: Mapping[str, Any]) -> str:
    header = message.get("header")
    return str(header.get("msg_type", "")) if isinstance(header, dict) else ""


def is_reply(message: Mapping[str, Any], request: str, kind: str) -> bool:
    """Whether a message is the reply of a kind to a request."""
    return _kind(message) == kind and parent_id(message) == request


def _content(message: Mapping[str, Any]) -> Mapping[str, Any]:
    content = message.get("content")
    return content if isinstance(content, dict) else {}


def state(message: Mapping[str, Any]) -> str:
    """Return the kernel's state, ``""`` where the message is not about it."""
    return str(_content(message).get("execution_state", "")) if _kind(message) == "status" else ""


def output(message: Mapping[str, Any]) -> Output | KernelError | None:
    """Return what the code printed, or raised; ``None`` for other messages."""
    kind, content = _kind(message), _content(message)
    if kind == "stream":
        return Output(str(content.get("name", "stdout")), str(content.get("text", "")))
    if kind in ("execute_result", "display_data"):
        with suppress(KeyError, TypeError):
            return Output("stdout", str(content["data"]["text/plain"]) + "\n")
    if kind == "error":
        traceback = content.get("traceback")
        return KernelError(
            one_line(str(content.get("ename", "")), 200),
            _value(str(content.get("evalue", ""))),
            tuple(map(str, traceback)) if isinstance(traceback, list) else (),
        )
    return None


def _value(foreign: str) -> str:
    """Return an exception's text made plain, which must not make a clean exit of another."""
    value = strip_controls(foreign)
    return ascii(foreign) if value in _CLEAN and value != foreign else value
