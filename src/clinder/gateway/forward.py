"""Pass a consumer's request on to the session's server, and the response back."""

from __future__ import annotations

from collections.abc import Iterable

from clinder.gateway.access import Target
from clinder.gateway.exchange import ConsumerGone, Exchange
from clinder.gateway.upstream import NoSession, Reply, Upstream
from clinder.wire.http_errors import TransportError
from clinder.wire.jupyter_server import leads_to_hub

GONE = 424
"""The status for a session that is gone, like that of JupyterHub's proxy. clinder reads others,
such as 502 and 503, as the failure of a proxy."""
_GONE = {"message": "The session is gone."}


def forward(
    exchange: Exchange, target: Target, upstream: Upstream, *, body: bytes | None = None
) -> None:
    """Forward a request, piece by piece, with the server's credential in place of the consumer's.

    A server that cannot be reached is a response with status 502, and a session that is gone one
    with :data:`GONE`. ``body`` is the request's if it has been read. Raises
    :class:`~clinder.gateway.exchange.ConsumerGone`.
    """
    try:
        with upstream.request(
            exchange.method,
            target.text,
            headers=exchange.header_list,
            body=_body_of(exchange) if body is None else [body] * bool(body),
        ) as reply:
            pass_on(exchange, reply)
    except TransportError as error:
        if exchange.responding:  # the consumer must not take what it has for the whole
            exchange.break_off()
            raise ConsumerGone from None
        respond_to_failure(exchange, error, upstream)


def _body_of(exchange: Exchange) -> Iterable[bytes]:
    return exchange.body() if exchange.has_body else ()


def respond_to_failure(exchange: Exchange, error: TransportError, upstream: Upstream) -> None:
    """Tell the consumer that the server could not be reached, or that it is gone."""
    if error.refused and upstream.credential.is_embedded:
        exchange.respond_json(GONE, _GONE)
        return
    exchange.respond_json(502, {"message": describe_failure(error)})


def describe_failure(error: TransportError) -> str:
    """Return a sentence about a server that could not be reached."""
    return f"The session's server is unreachable: {error.message}."


def respond_without_session(exchange: Exchange, error: NoSession) -> None:
    """Tell the consumer that there is no session.

    If the response has begun, this is not the JSON that the consumer expects, so that it fails.
    """
    content = {"message": f"There is no session, because its launch failed. {error.message}"}
    if exchange.responding:
        exchange.end_json(content)
    else:
        exchange.respond_json(GONE, content)


def pass_on(exchange: Exchange, reply: Reply) -> None:
    """Send the server's response to the consumer."""
    location = reply.header("location")
    if reply.status == GONE or (300 <= reply.status < 400 and leads_to_hub(location)):
        exchange.respond_json(GONE, _GONE)
    elif 300 <= reply.status < 400 and reply.status != 304:
        exchange.respond_json(502, {"message": "The session's server redirects to another page."})
    else:
        exchange.respond(reply.status, reply.headers, reply.body)
