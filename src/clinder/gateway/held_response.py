"""A response that waits for a kernel: its head and blanks meanwhile, then the rest."""

from __future__ import annotations

import queue
import time
from contextlib import suppress

from clinder.gateway.exchange import ConsumerGone, Exchange, Headers
from clinder.gateway.forward import pass_on, respond_without_session
from clinder.gateway.held_kernel import HeldKernel
from clinder.gateway.upstream import Answer, NoSession, Reply

JSON: Headers = [("Content-Type", "application/json")]
Outcome = Answer | HeldKernel | NoSession | None
"""A response, a kernel, or the reason why there is none. ``None``: the consumer is gone."""
_BLANK_AFTER = 5.0
"""Seconds between two blanks. clinder's own time limit for a silent server is ten."""
_TICK = 0.1


def wait(exchange: Exchange, outcome: queue.SimpleQueue[Outcome]) -> Outcome:
    """Return the outcome, and send blanks until then. Raises ``ConsumerGone``."""
    due = time.monotonic() + _BLANK_AFTER
    while True:
        with suppress(queue.Empty):
            return outcome.get(timeout=_TICK)
        if exchange.is_consumer_gone():
            raise ConsumerGone
        if time.monotonic() >= due:
            if not exchange.responding:
                exchange.begin(201 if exchange.method == "POST" else 200, JSON)
            exchange.write(b" ")
            due = time.monotonic() + _BLANK_AFTER


def respond(exchange: Exchange, model: object) -> None:
    """Send the response with a kernel, or the rest of it."""
    if not exchange.responding:
        exchange.respond_json(201 if exchange.method == "POST" else 200, model)
        return
    exchange.end_json(model)


def end(exchange: Exchange, result: Outcome) -> None:
    """Send a response that is not a kernel."""
    if isinstance(result, Answer):
        _pass_on(exchange, result)
    elif isinstance(result, NoSession):
        respond_without_session(exchange, result)
    else:
        exchange.break_off()


def _pass_on(exchange: Exchange, answer: Answer) -> None:
    if not exchange.responding:
        pass_on(exchange, Reply(answer.status, answer.headers, iter([answer.body])))
        return
    exchange.end_json(answer.content)
