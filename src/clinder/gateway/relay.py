"""A websocket between a consumer and the session's server whose messages pass unchanged."""

from __future__ import annotations

from contextlib import suppress

from clinder.gateway.access import Target
from clinder.gateway.exchange import Exchange
from clinder.gateway.forward import GONE
from clinder.gateway.threads import Threads
from clinder.gateway.upstream import Upstream
from clinder.wire import websocket
from clinder.wire.websocket import WebSocket


def relay(exchange: Exchange, target: Target, upstream: Upstream, threads: Threads) -> None:
    """Open the websocket on the server, then the consumer's, and relay until one side ends.

    If the server does not open it, the consumer receives the server's status, or 502.
    """
    try:
        offer, received = exchange.offer()
        server = upstream.open_websocket(target.text, offer.subprotocols, upstream.make_sockets())
    except (websocket.Invalid, websocket.Refused, websocket.Broken) as error:
        refuse(exchange, error)
        return
    try:
        consumer = websocket.accept(offer, exchange.stream, server.subprotocol, received=received)
        pump = threads.start("relay", _pass_on, server, consumer)
        _pass_on(consumer, server)
        pump.join()
    except websocket.Broken:  # the consumer has left
        return
    finally:
        server.stream.close()


def refuse(
    exchange: Exchange, error: websocket.Invalid | websocket.Refused | websocket.Broken
) -> None:
    """Tell a consumer why its websocket is not opened."""
    if isinstance(error, websocket.Invalid):
        status, message = error.status, "This is not a request for a websocket."
    elif isinstance(error, websocket.Refused):
        status = GONE if 300 <= error.status < 400 else error.status
        message = "The session's server refused the websocket."
    else:
        status, message = 502, f"The session's server is unreachable: {error}."
    exchange.respond_json(status, {"message": message})


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
