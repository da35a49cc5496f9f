"""How a websocket is opened, on both sides (RFC 6455, section 4). wsproto does the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, Request
from wsproto.utilities import ProtocolError

from clinder.wire.frames import Broken

Headers = Sequence[tuple[str, str]]

_HEAD_LIMIT = 16 * 1024
"""h11's own limit for a head that is not complete."""


class HeadTooLarge(Broken):
    """The server's response has too many or too long headers."""


class Invalid(Exception):
    """A client's request is not one for a websocket. ``status`` is for the response to it."""

    def __init__(self, status: int):
        super().__init__(f"invalid: {status}")
        self.status = status


class Refused(Exception):
    """The server refused to open the websocket and responded with ``status``."""

    def __init__(self, status: int):
        super().__init__(f"refused with status {status}")
        self.status = status


class Opened(NamedTuple):
    """The subprotocol that both sides agreed on, ``""`` if none, and what followed the response."""

    subprotocol: str
    received: bytes


class ClientHandshake:
    """A client's handshake. ``request`` is what it sends.

    Raises :class:`Broken` if a header cannot be sent.
    """

    def __init__(
        self, host: str, target: str, headers: Headers = (), subprotocols: Sequence[str] = ()
    ):
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._size = 0
        pairs = [(name.encode(), value.encode()) for name, value in headers]
        request = Request(
            host=host, target=target, subprotocols=list(subprotocols), extra_headers=pairs
        )
        try:
            self.request = self._protocol.send(request)
        except (ProtocolError, ValueError):  # ValueError: a value that is not ASCII
            raise Broken("the request is not valid") from None

    def feed(self, data: bytes) -> Opened | None:
        """Read more of the response; return how the websocket was opened once it is.

        Raises :class:`Refused` and :class:`Broken`.
        """
        while data:
            end = data.find(b"\n") + 1 or len(data)
            line, data = data[:end], data[end:]
            self._size += len(line)
            for event in self._events(line):
                if isinstance(event, AcceptConnection):
                    return Opened(event.subprotocol or "", data)
                if isinstance(event, RejectConnection):
                    raise Refused(event.status_code)
        return None

    def _events(self, line: bytes) -> list[object]:
        try:
            self._protocol.receive_data(line)
            return list(self._protocol.events())
        except (ProtocolError, ValueError):
            if self._size > _HEAD_LIMIT:
                raise HeadTooLarge("the response was too large") from None
            raise Broken("the response is not that of a websocket") from None


class Offer:
    """A client's request to open a websocket, which a server has read, with its subprotocols.

    Raises :class:`Invalid` if it is not valid.
    """

    def __init__(self, target: bytes, headers: Sequence[tuple[bytes, bytes]]):
        self._protocol = WSConnection(ConnectionType.SERVER)
        try:
            self._protocol.initiate_upgrade_connection(list(headers), target)
            (request,) = self._protocol.events()
        except (ProtocolError, ValueError) as error:
            hint = getattr(error, "event_hint", None)
            status = hint.status_code if isinstance(hint, RejectConnection) else 400
            raise Invalid(status) from None
        self.subprotocols: list[str] = getattr(request, "subprotocols", [])

    def respond(self, subprotocol: str) -> bytes:
        """Return the response that accepts the offer, with a subprotocol of it or ``""``."""
        return self._protocol.send(AcceptConnection(subprotocol=subprotocol or None))
