"""A message of a kernel as far as the gateway reads it: what it tells about a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clinder.gateway.request import is_reply
from clinder.wire.json_fields import get_object, get_text
from clinder.wire.kernel_envelope import Head, Message, Protocol, read_content, read_head
from clinder.wire.kernel_messages import Output

_RATE_LIMITS = ("data rate exceeded", "message rate exceeded")


@dataclass(frozen=True)
class Incoming:
    """A message of the server. ``content`` is empty if it does not matter, or is too long."""

    head: Head
    content: Mapping[str, Any] = field(repr=False)
    complete: bool
    is_error: bool
    """Whether it is the output that shows an error."""
    is_reply: bool
    """Whether it is the reply to a request."""
    state: str
    """The state of the kernel, ``""`` if the message is about something else."""

    @property
    def status(self) -> str:
        """The status of a reply, for example ``ok``."""
        return get_text(self.content, "status")

    @property
    def error(self) -> tuple[str, str] | None:
        """The name and text of the error of the code, or of an expression."""
        if self.is_error:
            return _name_and_text(self.content)
        expressions = get_object(self.content, "user_expressions").values()
        for each in (self.content, *expressions):
            if isinstance(each, dict) and get_text(each, "status") == "error":
                return _name_and_text(each)
        return None

    @property
    def traceback(self) -> list[str]:
        """The lines of an error's traceback."""
        lines = self.content.get("traceback")
        return [each for each in lines if isinstance(each, str)] if isinstance(lines, list) else []

    @property
    def reports_dropped_output(self) -> bool:
        """Whether this is the server's message that its rate limits dropped output."""
        output = Output(get_text(self.content, "name"), get_text(self.content, "text"))
        return self.head.message_type == "stream" and output.reports_dropped_output


def read_incoming(message: Message, protocol: Protocol) -> Incoming | None:
    """Return a message of the server, ``None`` if it is none."""
    if (head := read_head(message, protocol)) is None:
        return None
    message_type, answers = head.message_type, is_reply(head)
    is_error, is_status = message_type == "error", message_type == "status"
    content: Mapping[str, Any] = {}
    if is_error or is_status or answers or (message_type == "stream" and _may_report(message)):
        content = read_content(message, protocol) or {}
    state = get_text(content, "execution_state") if is_status else ""
    return Incoming(head, content, message.complete, is_error, answers, state)


def _may_report(message: Message) -> bool:
    """Whether output might be a report of the server's limits; reading it takes a while."""
    data = message.data
    if not message.complete:
        return False
    return any(
        text in data if isinstance(data, str) else text.encode() in data for text in _RATE_LIMITS
    )


def _name_and_text(content: Mapping[str, Any]) -> tuple[str, str]:
    return get_text(content, "ename"), get_text(content, "evalue")
