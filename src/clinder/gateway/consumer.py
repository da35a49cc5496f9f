"""One consumer of a kernel, which keeps its session id when it connects again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from clinder.gateway.effects import Effect, Link, ToConsumer, ToServer
from clinder.gateway.incoming import Incoming
from clinder.gateway.request import Draft, Request
from clinder.wire.kernel_envelope import Message, Protocol, make_message

_SENDER = "clinder"
_SUPERSESSIONS = 10
_CALM = 60.0
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0


@dataclass
class Consumer:
    """A consumer, with or without an open websocket."""

    make_id: Callable[[], str]
    protocol: Protocol
    anonymous: bool = False
    """Whether it has no session id, so that it cannot connect again."""
    link: Link | None = None
    has_server: bool = True
    """Whether its websocket to the server is open."""
    sender: str = _SENDER
    """The sender of the last message that it received. JupyterLab discards the messages that it
    still has to process when the sender changes, so made-up messages have the same one."""
    partial: tuple[Incoming, Request] | None = None
    """The long message that it is receiving."""
    sentinel: str = ""
    guarded: tuple[Request, ...] = ()
    """The requests that must have been answered when the sentinel is answered."""
    _held: list[tuple[Request, Draft]] = field(default_factory=list)
    _superseded: deque[float] = field(default_factory=lambda: deque(maxlen=_SUPERSESSIONS))

    def connect(self, link: Link, protocol: Protocol, now: float) -> list[Effect]:
        """Use a new websocket, and return the messages that were held for it."""
        if self.link is not None:
            self._superseded.append(now)
        self.link, self.protocol, self.has_server = link, protocol, True
        held, self._held = self._held, []
        return [effect for request, draft in held for effect in self.send(request, [draft])]

    def connect_delay(self, now: float) -> float:
        """Return how many seconds to wait before its next websocket is accepted."""
        recent = sum(now - each < _CALM for each in self._superseded)
        return min(_FIRST_DELAY * 2.0**recent, _LONGEST_DELAY) if recent > 1 else 0.0

    def send(self, request: Request, drafts: Iterable[Draft]) -> list[Effect]:
        """Return what sends made-up messages, now or when it is connected again."""
        if self.link is None:
            self._held += [(request, draft) for draft in drafts]
            return []
        return [ToConsumer(self.link, self._write(request, draft)) for draft in drafts]

    def send_sentinel(self, link: Link, requests: Iterable[Request]) -> list[Effect]:
        """Return what sends a request that the kernel answers after those of the consumer."""
        self.guarded = tuple(each for each in requests if each.is_queued_on_shell)
        if not self.guarded:
            return []
        self.sentinel = self.make_id()
        message = make_message(
            self.protocol,
            "shell",
            "kernel_info_request",
            {},
            message_id=self.sentinel,
            sender=link.session_id,
        )
        return [ToServer(link, message)]

    def _write(self, request: Request, draft: Draft) -> Message:
        return make_message(
            self.protocol,
            draft.channel,
            draft.message_type,
            draft.content,
            message_id=self.make_id(),
            sender=self.sender,
            parent=request.head.header,
            metadata=draft.metadata,
        )
