"""The content of a kernel's messages, in version 5.3 of the Jupyter messaging protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clinder._text import one_line, strip_controls
from clinder.wire.http_errors import TransportError
from clinder.wire.json_fields import get_object, get_text, parse_object

_DROPPED = ("IOPub data rate exceeded.\n", "IOPub message rate exceeded.\n")
_CLEAN = ("", "0", "None")


class MalformedMessage(TransportError):
    """Data that is not a message of the protocol."""

    def __init__(self) -> None:
        super().__init__("the kernel's websocket sent data that is not a kernel's message")


@dataclass(frozen=True)
class Output:
    """Text that the code printed to ``stdout`` or ``stderr``, or the plain text of a result."""

    stream: str
    text: str

    @property
    def reports_dropped_output(self) -> bool:
        """Whether this is the server's message that its ``iopub`` rate limits dropped output."""
        return self.stream == "stderr" and self.text.lstrip().startswith(_DROPPED)


@dataclass(frozen=True)
class KernelError:
    """The exception that ended the code, with the kernel's own traceback."""

    name: str
    value: str
    traceback: tuple[str, ...]

    @property
    def is_clean_exit(self) -> bool:
        """Whether the code ended successfully, by ``sys.exit(0)``."""
        return self.name == "SystemExit" and self.value in _CLEAN


def parse(data: str) -> Mapping[str, Any]:
    """Return a message. Raises :class:`MalformedMessage`."""
    if (message := parse_object(data)) is None:
        raise MalformedMessage
    return message


def parent_id(message: Mapping[str, Any]) -> str:
    """Return the id of the request that a message answers."""
    return get_text(get_object(message, "parent_header"), "msg_id")


def _type(message: Mapping[str, Any]) -> str:
    return get_text(get_object(message, "header"), "msg_type")


def is_reply(message: Mapping[str, Any], request_id: str, message_type: str) -> bool:
    """Whether a message is the reply of this type to this request."""
    return _type(message) == message_type and parent_id(message) == request_id


def language(message: Mapping[str, Any]) -> str:
    """Return the name of the language in a ``kernel_info_reply``, ``""`` if it has none."""
    content = get_object(message, "content")
    return one_line(get_text(get_object(content, "language_info"), "name"), 100)


def failure(message: Mapping[str, Any]) -> str:
    """Return the name of the error in an ``execute_reply``, ``""`` if the code succeeded."""
    content = get_object(message, "content")
    if content.get("status") == "ok":
        return ""
    return one_line(get_text(content, "ename"), 100) or "an error"


def state(message: Mapping[str, Any]) -> str:
    """Return the kernel's state, ``""`` if the message is not about it."""
    is_status = _type(message) == "status"
    return get_text(get_object(message, "content"), "execution_state") if is_status else ""


def output(message: Mapping[str, Any]) -> Output | KernelError | None:
    """Return what the code printed or raised; ``None`` for other messages."""
    message_type, content = _type(message), get_object(message, "content")
    if message_type == "stream":
        return Output(str(content.get("name", "stdout")), str(content.get("text", "")))
    if message_type in ("execute_result", "display_data"):
        data = get_object(content, "data")
        return Output("stdout", f"{data['text/plain']}\n") if "text/plain" in data else None
    if message_type == "error":
        traceback = content.get("traceback")
        return KernelError(
            one_line(str(content.get("ename", "")), 200),
            _value(str(content.get("evalue", ""))),
            tuple(map(str, traceback)) if isinstance(traceback, list) else (),
        )
    return None


def _value(foreign: str) -> str:
    """Return an exception's text without controls; removing them must not make it a clean exit."""
    value = strip_controls(foreign)
    return ascii(foreign) if value in _CLEAN and value != foreign else value
