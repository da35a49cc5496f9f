"""One consumer of a kernel, which keeps its session id when it connects again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field

from clinder.gateway.effects import Effect, Link, Reconnect, ToConsumer, ToServer
from clinder.gateway.incoming import Incoming
from clinder.gateway.request import Draft, Request
from clinder.wire.kernel_envelope import Message, Protocol, make_message

_SENDER = "clinder"
_SUPERSESSIONS = 10
_CALM = 60.0
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0
_MAX_CONSUMERS = 32


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
    is_renewing: bool = False
    """Whether that websocket ended because it has to be opened again."""
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

    def renew(self) -> list[Effect]:
        """Return what opens its websocket to the server again, if there is one."""
        if self.link is None or not self.has_server:
            return []
        self.has_server, self.is_renewing = False, True
        return [Reconnect(self.link)]

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


class Consumers:
    """The consumers of one kernel, by their session ids. ``make_id`` makes ids of messages."""

    def __init__(self, make_id: Callable[[], str]):
        self._make_id = make_id
        self._consumers: dict[str, Consumer] = {}
        self._links = 0

    @property
    def session_ids(self) -> list[str]:
        """The session ids of all consumers."""
        return [*self._consumers]

    def add(self, session_id: str, protocol: Protocol, waiting: Set[str]) -> tuple[Consumer, Link]:
        """Return the consumer with this session id, or a new one, and a link for its websocket.

        Old ones are forgotten if there are too many, but not those that are ``waiting``.
        """
        self._links += 1
        link = Link(session_id or f"anonymous {self._links}", self._links)
        consumer = self._consumers.pop(link.session_id, None)
        consumer = consumer or Consumer(self._make_id, protocol, anonymous=not session_id)
        self._consumers[link.session_id] = consumer
        self._forget_old(waiting)
        return consumer, link

    def renew(self) -> list[Effect]:
        """Return what opens all websockets to the server again."""
        return [effect for each in self._consumers.values() for effect in each.renew()]

    def get(self, session_id: str) -> Consumer:
        """Return a consumer that has a pending request."""
        return self._consumers[session_id]

    def current(self, link: Link) -> Consumer | None:
        """Return the consumer of a websocket, unless a newer websocket supersedes it."""
        consumer = self._consumers.get(link.session_id)
        return consumer if consumer is not None and consumer.link is link else None

    def connect_delay(self, session_id: str, now: float) -> float:
        """Return how many seconds to wait before a consumer's next websocket is accepted."""
        consumer = self._consumers.get(session_id)
        return 0.0 if consumer is None else consumer.connect_delay(now)

    def remove(self, session_id: str) -> None:
        """Remove a consumer that cannot connect again."""
        del self._consumers[session_id]

    def clear(self) -> None:
        """Remove all consumers."""
        self._consumers.clear()

    def _forget_old(self, waiting: Set[str]) -> None:
        """Forget the consumers that have left, the first ones first, if there are too many."""
        for session_id, consumer in [*self._consumers.items()]:
            if len(self._consumers) <= _MAX_CONSUMERS:
                break
            if consumer.link is None and session_id not in waiting:
                del self._consumers[session_id]
