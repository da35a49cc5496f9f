"""A websocket between a consumer and the session's server whose messages pass unchanged."""

from __future__ import annotations

import threading
from contextlib import suppress
from urllib.parse import urlsplit

import requests
import urllib3

from clinder.gateway.access import Target
from clinder.gateway.exchange import Exchange
from clinder.gateway.forward import GONE
from clinder.gateway.upstream import Credential
from clinder.timeouts import Timeouts
from clinder.wire import websocket
from clinder.wire.duplex import Duplex
from clinder.wire.http_connection import Sockets, open_socket
from clinder.wire.http_errors import to_transport_error
from clinder.wire.websocket import KeepAlive, WebSocket

HANDSHAKE = 150.0
"""Seconds for a server to open a kernel's websocket, which it does once the kernel responds."""


def relay(
    exchange: Exchange,
    target: Target,
    credential: Credential,
    *,
    sockets: Sockets,
    timeouts: Timeouts,
) -> None:
    """Open the websocket on the server, then the consumer's, and relay until one side ends.

    If the server does not open it, the consumer receives the server's status, or 502.
    """
    try:
        offer, received = exchange.offer()
    except websocket.Invalid as error:
        exchange.respond_json(error.status, {"message": "This is not a request for a websocket."})
        return
    try:
        server = dial(credential, target, offer.subprotocols, sockets=sockets, timeouts=timeouts)
    except websocket.Refused as error:
        status = GONE if 300 <= error.status < 400 else error.status
        exchange.respond_json(status, {"message": "The session's server refused the websocket."})
        return
    except websocket.Broken as error:
        exchange.respond_json(502, {"message": f"The session's server is unreachable: {error}."})
        return
    try:
        consumer = offer.accept(exchange.stream, server.subprotocol, received=received)
        pump = threading.Thread(target=_pass_on, args=(server, consumer), daemon=True)
        pump.start()
        _pass_on(consumer, server)
        pump.join()
    finally:
        server.stream.close()


def dial(
    credential: Credential,
    target: Target,
    subprotocols: list[str],
    *,
    sockets: Sockets,
    timeouts: Timeouts,
) -> WebSocket:
    """Open a websocket on the session's server.

    Raises :class:`~clinder.wire.websocket.Refused` and :class:`~clinder.wire.websocket.Broken`.
    """
    url = credential.url
    try:
        raw = open_socket(url, seconds=timeouts.connect, sockets=sockets)
    except (OSError, urllib3.exceptions.HTTPError, requests.exceptions.RequestException) as error:
        reason = to_transport_error(error, url=url, limit=timeouts.connect)
        raise websocket.Broken(reason.message) from None
    stream = Duplex(raw, sockets)
    parts = urlsplit(url)
    try:
        return websocket.connect(
            stream,
            f"{parts.scheme}://{parts.netloc}{parts.path}{target.text}",
            headers=[credential.header],
            subprotocols=subprotocols,
            seconds=HANDSHAKE,
            keep_alive=KeepAlive(),
        )
    except BaseException:
        stream.close()
        raise


def _pass_on(source: WebSocket, target: WebSocket) -> None:
    """Pass messages on until one side ends, then end the other with the same code."""
    code = 1011
    try:
        for piece in source.pieces():
            target.send(piece.data, final=piece.final)
        code = source.close_code or 1001
    except websocket.Broken:
        pass
    finally:
        with suppress(websocket.Broken, ValueError):
            target.close(code)
        source.stream.sockets.end()
        target.stream.sockets.end()
