"""TLS and a proxy between a client and a server on this machine.

with ScriptedHub(...) as hub, Encrypted(hub.origin, certificate) as front:
    ...  # request front.origin, which uses https
with Proxy(front.origin) as proxy:
    ...  # with HTTPS_PROXY=proxy.url, request https://hub.test
"""

from __future__ import annotations

import base64
import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from trustme import LeafCert

from loopback import Loopback


class Relay(Loopback):
    """Forwards every connection to one server, whichever host the client named.

    ``before`` is called for each connection before anything is read from it.
    """

    def __init__(self, to: str, *, before: Callable[[], None] = lambda: None):
        super().__init__()
        self._to = (urlsplit(to).hostname, urlsplit(to).port)
        self._before = before

    def handle(self, connection: socket.socket) -> None:
        """Serve one connection until it ends."""
        self.open.add(connection)
        with suppress(OSError), connection:
            self.serve(connection)
        self.open.discard(connection)

    def serve(self, connection: socket.socket) -> None:
        """Forward everything."""
        self._before()
        self.forward(connection, b"")

    def wait(self) -> None:
        """Wait before something is forwarded. A subclass can delay it."""

    def forward(self, connection: socket.socket, first: bytes) -> None:
        """Send the first bytes to the server, then forward what either side sends."""
        with socket.create_connection(self._to) as server:
            self.open.add(server)
            server.sendall(first)
            while received := _receive(connection, server):
                data, receiver = received
                self.wait()
                receiver.sendall(data)
            self.open.discard(server)


class Encrypted(Relay):
    """TLS in front of a server, with this certificate."""

    scheme = "https"

    def __init__(
        self, to: str, certificate: LeafCert, *, before: Callable[[], None] = lambda: None
    ):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._context)
        super().__init__(to, before=before)

    def serve(self, connection: socket.socket) -> None:
        """Forward the decrypted bytes."""
        # With the handshake now, ssl would leak the socket of a client that has left.
        with self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        ) as plain:
            self._before()
            plain.do_handshake()
            self.forward(plain, b"")


class Proxy(Relay):
    """An HTTP proxy to one server. ``account`` is the ``user:password`` that it requires, if any.

    If it has ``answers``, it sends them to every request instead of forwarding it. ``heads`` are
    the request lines and headers that it received.
    """

    def __init__(
        self,
        to: str,
        *,
        account: str = "",
        answers: bytes = b"",
        before: Callable[[], None] = lambda: None,
    ):
        super().__init__(to, before=before)
        self._account = account
        self._answers = answers
        self.heads: list[str] = []
        self.url = f"http://{account}{'@' if account else ''}127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[str]:
        """The method and target of each request: ``CONNECT hub.test:443``, ``GET http://…``."""
        return [
            head.rpartition(" HTTP/")[0] for head in (each.split("\r\n")[0] for each in self.heads)
        ]

    def serve(self, connection: socket.socket) -> None:
        """Answer a CONNECT request, and forward any other."""
        self._before()
        head, body = read_head(connection)
        self.heads.append(head)
        credentials = f"basic {base64.b64encode(self._account.encode()).decode()}"
        if self._answers:
            connection.sendall(self._answers)
        elif self._account and _account(head) != credentials:
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        elif head.startswith("CONNECT "):
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self.forward(connection, b"")
        else:
            method, url, rest = head.split(" ", 2)
            parts = urlsplit(url)
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            self.forward(connection, f"{method} {path} {rest}".encode() + body)


def _account(head: str) -> str:
    fields = (line.partition(":") for line in head.split("\r\n"))
    values = [value for name, _, value in fields if name.lower() == "proxy-authorization"]
    kind, _, code = values[0].strip().partition(" ") if values else ("", "", "")
    return f"{kind.lower()} {code}"


def read_head(connection: socket.socket) -> tuple[str, bytes]:
    """Return a request's line and headers, and the part of its body that arrived with them."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (more := connection.recv(65536)):
            raise ConnectionResetError
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    return head.decode("latin-1") + "\r\n\r\n", body


def _receive(one: socket.socket, other: socket.socket) -> tuple[bytes, socket.socket] | None:
    """Wait for bytes from either socket; return them and the other socket, ``None`` at the end."""
    decrypted = [
        each for each in (one, other) if isinstance(each, ssl.SSLSocket) and each.pending()
    ]
    ready = decrypted or select.select([one, other], [], [])[0]
    data = ready[0].recv(65536)
    return (data, other if ready[0] is one else one) if data else None
