"""What the gateway has to do next, as values."""

from __future__ import annotations

from dataclasses import dataclass

from clinder.wire.kernel_envelope import Message


@dataclass(frozen=True)
class Link:
    """A consumer's websocket, together with the one to the server that belongs to it."""

    session_id: str
    number: int


@dataclass(frozen=True)
class Forward:
    """Pass on the message, and the rest of it as it arrives."""


@dataclass(frozen=True)
class Drop:
    """Read the rest of the message, and do not pass it on."""


@dataclass(frozen=True)
class Wait:
    """Read nothing more from this consumer for now, and offer the same message again later."""


@dataclass(frozen=True)
class ToConsumer:
    """Send a made-up message to a consumer."""

    link: Link
    message: Message


@dataclass(frozen=True)
class ToServer:
    """Send a made-up message to the server."""

    link: Link
    message: Message


@dataclass(frozen=True)
class Close:
    """Close a consumer's websocket, because a newer one has the same session id."""

    link: Link


@dataclass(frozen=True)
class Reconnect:
    """Open the websocket to the server again."""

    link: Link


@dataclass(frozen=True)
class Interrupt:
    """Interrupt the kernel."""


@dataclass(frozen=True)
class Restart:
    """Restart the kernel."""


@dataclass(frozen=True)
class Notice:
    """A warning for the person who runs the consumer."""

    text: str


Effect = (
    Forward | Drop | Wait | ToConsumer | ToServer | Close | Reconnect | Interrupt | Restart | Notice
)
