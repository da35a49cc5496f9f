"""A conversation between consumers and a kernel, as a test tells it.

dialogue = Dialogue(cell=60)
one = dialogue.run_cell()                # a consumer sends a cell
assert dialogue.kernel_ends(one) == []   # the kernel's messages are passed on, nothing is added
assert dialogue.restarting() == ["drop", "error KernelDied", ...]

Each step returns what the conversation wants to be done, in words; see ``Dialogue.describe``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from clinder.gateway.conversation import CellLimits, Conversation
from clinder.gateway.effects import (
    Close,
    Drop,
    Effect,
    Forward,
    Interrupt,
    Link,
    Notice,
    Reconnect,
    Restart,
    ToConsumer,
    ToServer,
    Wait,
)
from clinder.gateway.report import Kernel
from clinder.wire.json_fields import get_object, get_text
from clinder.wire.kernel_envelope import (
    HEAD_LIMIT,
    Message,
    Protocol,
    read_content,
    read_head,
)

WORDS = {
    Forward: "forward",
    Drop: "drop",
    Wait: "wait",
    Interrupt: "interrupt",
    Reconnect: "reconnect",
    Restart: "restart",
}


class Dialogue:
    """A conversation with one consumer, and more if the test connects them."""

    def __init__(
        self,
        protocol: Protocol = Protocol.V1,
        *,
        cell: float = 60.0,
        page: str = "page.ipynb",
        explain_death: str = "",
    ):
        ids = count()
        self.now = 100.0
        self.protocol = protocol
        self.conversation = Conversation(
            page=page,
            limits=CellLimits(cell=cell, grace=15.0, restart=120.0),
            explain_death=lambda: explain_death,
            make_id=lambda: f"made-{next(ids)}",
        )
        self.notices: list[str] = []
        self.made: list[tuple[Link, Message]] = []
        self.sentinel = ""
        self._ids = count(1)
        self._requests: dict[str, dict[str, object]] = {}
        self.link = self.connect("consumer")

    # Consumers

    def connect(self, session_id: str, protocol: Protocol | None = None) -> Link:
        """A consumer connects; ``connected`` keeps what that leads to."""
        link, effects = self.conversation.connect(session_id, protocol or self.protocol, self.now)
        self.connected = self.describe(effects)
        return link

    def request(
        self,
        message_type: str,
        content: Mapping[str, object],
        *,
        channel: str = "shell",
        link: Link | None = None,
        header: Mapping[str, object] | None = None,
    ) -> str:
        """A consumer sends a message; ``answer`` keeps what that leads to. Return its id."""
        message_id = f"request-{next(self._ids)}"
        link = link or self.link
        fields = {
            "msg_id": message_id,
            "msg_type": message_type,
            "session": link.session_id,
            "username": "me",
            "version": "5.3",
            **(header or {}),
        }
        self._requests[message_id] = {"channel": channel, "link": link, "header": fields}
        data = self._written(channel, fields, {}, content)
        effects = self.conversation.from_consumer(link, _beginning(data), self.now)
        self.answer = self.describe(effects)
        return message_id

    def run_cell(self, code: str = "1 + 1", *, link: Link | None = None, **options: object) -> str:
        """A consumer sends a cell, as MyST does."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,
            **options,
        }
        return self.request("execute_request", content, link=link)

    def run_expression(self, expression: str = "x") -> str:
        """A consumer sends an inline expression, as MyST does."""
        return self.run_cell("", user_expressions={"expr": expression})

    # The kernel

    def kernel(
        self,
        message_type: str,
        parent: str,
        content: Mapping[str, object],
        *,
        channel: str = "iopub",
        link: Link | None = None,
        sender: str = "kernel",
        data: str | bytes | None = None,
    ) -> list[str]:
        """The server sends a message that belongs to a request."""
        request = self._requests.get(parent, {})
        link = link or request.get("link", self.link)  # type: ignore[assignment]
        header = {
            "msg_id": f"kernel-{next(self._ids)}",
            "msg_type": message_type,
            "session": sender,
            "username": "kernel",
            "version": "5.3",
        }
        parent_header = request.get("header") or ({"msg_id": parent} if parent else {})
        data = data or self._written(channel, header, parent_header, content)
        assert link is not None
        return self.describe(self.conversation.from_server(link, _beginning(data), self.now))

    def status(self, state: str, parent: str = "", link: Link | None = None) -> list[str]:
        return self.kernel("status", parent, {"execution_state": state}, link=link)

    def restarting(self, link: Link | None = None) -> list[str]:
        """The server notices that the kernel died, and starts it again."""
        return self.status("restarting", link=link)

    def prints(self, parent: str, text: str = "text", name: str = "stdout") -> list[str]:
        return self.kernel("stream", parent, {"name": name, "text": text})

    def raises(self, parent: str, name: str = "ValueError", value: str = "wrong") -> list[str]:
        return self.kernel("error", parent, {"ename": name, "evalue": value, "traceback": ["line"]})

    def reply(
        self, parent: str, status: str = "ok", *, link: Link | None = None, **content: object
    ) -> list[str]:
        request_type = get_text(self._requests[parent]["header"], "msg_type")  # type: ignore[arg-type]
        message_type = request_type.replace("_request", "_reply")
        channel = str(self._requests[parent]["channel"])
        content = {"status": status, **content}
        return self.kernel(message_type, parent, content, channel=channel, link=link)

    def ends(self, parent: str, status: str = "ok", **content: object) -> list[str]:
        """The kernel ends a request; its own messages are passed on and left out here."""
        effects = self.reply(parent, status, link=None, **content) + self.status("idle", parent)
        return [each for each in effects if each != "forward"]

    def answers_sentinel(self) -> list[str]:
        """The kernel answers the sentinel: its reply, and then its status."""
        reply = self.kernel("kernel_info_reply", self.sentinel, {"status": "ok"}, channel="shell")
        return reply + self.status("idle", self.sentinel)

    # Time and connections

    def after(self, seconds: float) -> list[str]:
        """Time passes."""
        self.now += seconds
        return self.describe(self.conversation.tick(self.now))

    def reconnect(self, link: Link | None = None, *, too_large: bool = False) -> list[str]:
        """The websocket to the server breaks and is opened again."""
        link = link or self.link
        assert link is not None
        self.describe(self.conversation.server_disconnected(link, too_large=too_large))
        return self.describe(self.conversation.server_reconnected(link or self.link))

    def restart(self, *, ok: bool = True) -> list[str]:
        """A consumer restarts the kernel."""
        self.conversation.restart_began(self.now)
        return self.describe(self.conversation.restart_ended(ok, self.now, by_consumer=True))

    @property
    def record(self) -> Kernel:
        return self.conversation.record()

    # Words

    def describe(self, effects: Sequence[Effect]) -> list[str]:
        """Return the effects in words: a made-up message as its type and what it says."""
        words = []
        for effect in effects:
            match effect:
                case Notice(text):
                    self.notices.append(text)
                case ToConsumer(link, message):
                    self.made.append((link, message))
                    words.append(self._describe_message(message))
                case ToServer(_, message):
                    head = read_head(message, self.protocol)
                    assert head is not None
                    self.sentinel = head.message_id
                    words.append(f"send {head.message_type}")
                case Close(link):
                    words.append(f"close {link.number}")
                case _:
                    words.append(WORDS[type(effect)])
        return words

    def _describe_message(self, message: Message) -> str:
        protocol = Protocol.V1 if isinstance(message.data, bytes) else Protocol.JSON
        head, content = read_head(message, protocol), read_content(message, protocol)
        assert head is not None
        assert content is not None
        if head.message_type == "status":
            return get_text(content, "execution_state")
        details = [head.message_type, get_text(content, "status"), get_text(content, "ename")]
        for each in get_object(content, "user_expressions").values():
            details.append(f"({each['status']} {each['ename']})")
        return " ".join(filter(None, details))

    def last_made(self, message_type: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return the header of the request and the content of the last such made-up message."""
        for _, message in reversed(self.made):
            protocol = Protocol.V1 if isinstance(message.data, bytes) else Protocol.JSON
            head, content = read_head(message, protocol), read_content(message, protocol)
            if head is not None and content is not None and head.message_type == message_type:
                return head.parent, content
        raise AssertionError(message_type)

    def header(self, message_id: str) -> Any:
        return self._requests[message_id]["header"]

    def _written(
        self, channel: str, header: object, parent: object, content: Mapping[str, object]
    ) -> str | bytes:
        if self.protocol is Protocol.JSON:
            fields = {"header": header, "parent_header": parent, "metadata": {}, "content": content}
            return json.dumps({**fields, "channel": channel, "buffers": []})
        parts = [channel.encode(), *(json.dumps(e).encode() for e in (header, parent, {}, content))]
        offsets = [8 * (len(parts) + 2)]
        for part in parts:
            offsets.append(offsets[-1] + len(part))
        table = [len(offsets), *offsets]
        return b"".join([*(each.to_bytes(8, "little") for each in table), *parts])


def _beginning(data: str | bytes) -> Message:
    return Message(data[:HEAD_LIMIT], complete=len(data) <= HEAD_LIMIT)
