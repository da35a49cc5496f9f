"""Pass a consumer's request on to the session's server, and the response back."""

from __future__ import annotations

from clinder.gateway.access import Target
from clinder.gateway.exchange import ConsumerGone, Exchange
from clinder.gateway.upstream import Credential, Reply, open_request
from clinder.timeouts import Timeouts
from clinder.wire.http_connection import Sockets
from clinder.wire.http_errors import TransportError
from clinder.wire.jupyter_server import leads_to_hub

GONE = 424
"""The status for a session that is gone, like that of JupyterHub's proxy. clinder reads others,
such as 502 and 503, as the failure of a proxy."""
_GONE = {"message": "The session is gone."}


def forward(
    exchange: Exchange,
    target: Target,
    credential: Credential,
    *,
    sockets: Sockets,
    timeouts: Timeouts,
) -> None:
    """Forward a request, piece by piece, with the server's credential in place of the consumer's.

    A server that cannot be reached is a response with status 502, and a session that is gone one
    with :data:`GONE`. Raises :class:`~clinder.gateway.exchange.ConsumerGone`.
    """
    try:
        with open_request(
            credential,
            exchange.method,
            target.text,
            headers=exchange.header_list,
            body=exchange.body() if exchange.has_body else (),
            sockets=sockets,
            timeouts=timeouts,
        ) as reply:
            pass_on(exchange, reply)
    except TransportError as error:
        if exchange.responding:  # the consumer must not take what it has for the whole
            exchange.break_off()
            raise ConsumerGone from None
        if error.refused and credential.is_embedded:
            exchange.respond_json(GONE, _GONE)
            return
        exchange.respond_json(
            502, {"message": f"The session's server is unreachable: {error.message}."}
        )


def pass_on(exchange: Exchange, reply: Reply) -> None:
    """Send the server's response to the consumer."""
    location = reply.header("location")
    if reply.status == GONE or (300 <= reply.status < 400 and leads_to_hub(location)):
        exchange.respond_json(GONE, _GONE)
    elif 300 <= reply.status < 400 and reply.status != 304:
        exchange.respond_json(502, {"message": "The session's server redirects to another page."})
    else:
        exchange.respond(reply.status, reply.headers, reply.body)
