"""Start a kernel for a consumer, and hold the response until the kernel responds.

MyST waits ten seconds for a kernel once the response is there, and then drops all outputs of the
page. A consumer that waits for a response does not wait forever either, so the response begins
early: its head and, now and then, a blank, which JSON allows before a value.
"""

from __future__ import annotations

import json
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

from clinder._deadline import Deadline
from clinder._text import one_line
from clinder.errors import (
    Cancelled,
    ClinderError,
    RequestRefused,
    TimedOut,
    TokenRefused,
)
from clinder.gateway.access import Target
from clinder.gateway.exchange import ConsumerGone, Exchange
from clinder.gateway.failures import Cause
from clinder.gateway.forward import (
    GONE,
    describe_failure,
    forward,
)
from clinder.gateway.held_kernel import HeldKernel
from clinder.gateway.held_response import JSON, Outcome, end, respond, wait
from clinder.gateway.kernels import SHORT, Kernels
from clinder.gateway.kernelspecs import map_kernelspec
from clinder.gateway.report import Kernel
from clinder.gateway.slots import Slot, Slots
from clinder.gateway.start import Start
from clinder.gateway.threads import Threads
from clinder.gateway.upstream import Answer, NoSession, Upstream
from clinder.running.kernels import connect_kernel
from clinder.wire.http import Transport
from clinder.wire.http_errors import TransportError
from clinder.wire.json_fields import get_object, get_text
from clinder.wire.jupyter_server import Server, State
from clinder.wire.kernel_channel import KernelChannel, TooLarge

Prepare = Callable[[KernelChannel, str], None]
"""Sets a kernel of this kernelspec up, on a websocket of its own, before a consumer uses it.

Raises :class:`~clinder.errors.ClinderError` if that fails; its message is shown on the page.
"""

BRIDGE = "clinder-bridge"
"""The header by which a bridge asks for a kernel that ends with it."""
_MAX_BODY = 1024 * 1024
_RETRY_DELAYS = (1.0, 3.0)
"""Seconds before a start is tried again, because proxies have brief failures."""
_REFUSALS = (400, 404, 409, 501)
"""A server's statuses for a request that is wrong, such as one for an unknown kernelspec."""
_OUTAGE = 75.0
"""Seconds for which a start waits for a server that the hub does not know. After a restart, the
hub's proxy has no routes until the hub restores them, and passes requests for running servers to
the hub: it redirects a GET request and refuses a POST request (403). The check that keeps
the session alive notices after 60 s that it is gone."""
_OUTAGE_POLL = 2.0
_NO_SESSION = "The hub no longer has the session."
_MAX_DETAIL = 300


class Holding:
    """Starts kernels for consumers.

    ``aliases`` maps kernelspecs; ``None`` passes every name on as it is. ``kernel_timeout`` is how
    many seconds a kernel can take to respond. ``prepare`` sets each kernel up. ``measure_first``
    finds out the memory limit before the first kernel starts.
    """

    def __init__(
        self,
        upstream: Upstream,
        kernels: Kernels,
        slots: Slots,
        threads: Threads,
        *,
        aliases: Mapping[str, str] | None,
        kernel_timeout: float,
        prepare: Prepare | None,
        measure_first: Callable[[], None],
        warn: Callable[[str], None],
    ):
        self._upstream = upstream
        self._kernels = kernels
        self._slots = slots
        self._threads = threads
        self._aliases = aliases
        self._kernel_timeout = kernel_timeout
        self._prepare = prepare
        self._measure_first = measure_first
        self._warn = warn
        self._warned: set[str] = set()
        self._away_since: float | None = None
        self._specs: Mapping[str, Any] = {}
        if prepare is not None:
            kernels.after_restart = self._prepare_again

    def start(self, exchange: Exchange, target: Target) -> None:
        """Serve a request that starts a kernel, or replaces that of a session.

        Raises ``ConsumerGone``.
        """
        body = exchange.read_body(_MAX_BODY)
        if body is None:
            exchange.respond_json(413, {"message": "The request is too large."})
            return
        start = Start.parse(target, body)
        if start is None:
            forward(exchange, target, self._upstream, body=body)
            return
        cancel = threading.Event()
        try:
            result = self._hold(
                exchange, lambda: self._start(start, exchange.method, target, cancel)
            )
        except ConsumerGone:
            cancel.set()
            raise
        if not isinstance(result, HeldKernel):
            end(exchange, result)
        elif exchange.is_consumer_gone():  # it left just before
            self._kernels.remove(result)
        else:
            if BRIDGE in exchange.headers:
                self._kernels.lease(result)
            respond(exchange, result.model)

    def get(self, exchange: Exchange, target: Target) -> None:
        """Serve a GET request that comes before there is a session. Raises ``ConsumerGone``."""
        end(exchange, self._hold(exchange, lambda: self._get(target)))

    def _get(self, target: Target) -> Answer:
        try:
            return self._upstream.call("GET", target.text)
        except TransportError as error:
            return Answer(502, JSON, json.dumps({"message": describe_failure(error)}).encode())

    def _hold(self, exchange: Exchange, work: Callable[[], Outcome]) -> Outcome:
        """Return the outcome of work, and send blanks meanwhile. Raises ``ConsumerGone``."""
        outcome: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._threads.start("start", lambda: outcome.put(self._try(work)))
        return wait(exchange, outcome)

    def _try(self, work: Callable[[], Outcome]) -> Outcome:
        try:
            return work()
        except NoSession as error:
            return error
        except Exception as error:  # noqa: BLE001 - a bug ends one request, without a traceback
            self._threads.report(error)
            return None

    def _start(
        self, start: Start, method: str, target: Target, cancel: threading.Event
    ) -> Answer | HeldKernel | None:
        """Start a kernel; return it, or the server's refusal, or ``None`` if it was cancelled.

        A kernel that the consumer no longer wants is deleted.
        """
        kernel: HeldKernel | None = None
        slot: Slot | None = None
        deadline = Deadline(math.inf, cancel=cancel)
        self._upstream.credential  # noqa: B018 - the launch, if this is the first request
        try:
            if not self._kernels.session_gone:
                self._measure_first()
            old = self._kernels.find_session(start.session_id)
            slot = old.take_slot() if old is not None else None
            slot = slot or self._slots.acquire(start.page, deadline)
            result = self._post(start, method, target, slot, deadline)
            if isinstance(result, HeldKernel):
                kernel = result
                if old is not None and old is not kernel:  # the server has ended it
                    self._kernels.forget(old)
                if kernel.is_on_server:
                    self._wait_until_ready(kernel, deadline)
                deadline.raise_if_expired()
            elif old is not None:
                old.slot = slot
            else:
                slot.release()
        except Cancelled:
            if kernel is not None:
                self._kernels.remove(kernel)
            elif slot is not None:
                slot.release()
            return None
        return result

    def _post(
        self, start: Start, method: str, target: Target, slot: Slot, deadline: Deadline
    ) -> Answer | HeldKernel:
        """Have the server start the kernel."""
        name = self._map(start.requested)
        known = self._kernels.find_session(start.session_id)
        page = start.page or (known.record.page if known is not None else "")
        record = Kernel(page, start.requested, name, slot.waited)
        if gone := self._kernels.session_gone:
            return self._make_up(start, record, slot, Cause.SESSION_GONE, gone)
        content = start.with_kernelspec(name)
        try:
            answer = self._post_to_server(start, method, target, content, deadline)
        except TransportError as error:
            detail = describe_failure(error)
            return self._make_up(start, record, slot, Cause.NOT_STARTED, detail)
        if answer is None:
            gone = self._kernels.session_gone or _NO_SESSION
            return self._make_up(start, record, slot, Cause.SESSION_GONE, gone)
        model = answer.content
        if answer.status < 300 and isinstance(model, dict):
            return self._add(start, record, model, slot)
        if answer.status in _REFUSALS and isinstance(model, dict):
            return answer
        message = get_text(model, "message") if isinstance(model, dict) else ""
        reason = f": {self._clean(message).rstrip('.')}" if message else ""
        detail = f"The session's server responded with {answer.status}{reason}."
        return self._make_up(start, record, slot, Cause.NOT_STARTED, detail)

    def _post_to_server(
        self,
        start: Start,
        method: str,
        target: Target,
        content: Mapping[str, Any],
        deadline: Deadline,
    ) -> Answer | None:
        """Send the request; repeat it if the hub responded in the server's place, or nobody did.

        Returns ``None`` if the hub does not know the session.
        """
        while True:
            try:
                answer = self._post_with_retries(start, method, target, content)
            except TransportError as error:
                if not error.refused or not self._returns(deadline):
                    raise
            else:
                is_hubs = answer.status in (GONE, 403) or 300 <= answer.status < 400
                if not is_hubs or self._is_there(deadline):
                    return answer
                if not self._returns(deadline):
                    return None

    def _is_there(self, deadline: Deadline) -> bool:
        """Whether the session's server responds, even if only to refuse the token."""
        server = Server(self._upstream.credential.session, Transport(self._upstream.timeouts))
        with suppress(TimedOut):
            try:
                return server.status(deadline.capped(SHORT)).state is State.RUNNING
            except (TokenRefused, RequestRefused):
                return True
        return False

    def _returns(self, deadline: Deadline) -> bool:
        """Wait until the server responds again; return whether it does before the time is up.

        The time begins with the first start that has to wait.
        """
        if self._upstream.credential.is_embedded:  # no proxy is in front of it
            return False
        away_since = self._away_since = self._away_since or deadline.now()
        self._kernels.report_trouble()
        while not self._kernels.session_gone and deadline.now() - away_since < _OUTAGE:
            deadline.wait(_OUTAGE_POLL)
            if self._is_there(deadline):
                self._away_since = None
                return True
        return False

    def _post_with_retries(
        self, start: Start, method: str, target: Target, content: Mapping[str, Any]
    ) -> Answer:
        """Send the request; repeat it if that is safe: a server has one session for each path."""
        silence = max(self._kernel_timeout, SHORT)
        for delay in (*_RETRY_DELAYS, None):
            try:
                answer = self._upstream.call(method, target.text, content, silence=silence)
            except TransportError:
                if delay is None or start.key != "sessions" or self._kernels.session_gone:
                    raise
            else:
                is_proxys = answer.status in (502, 503, 504) and answer.content is None
                if delay is None or start.key != "sessions" or not is_proxys:
                    return answer
            time.sleep(delay)
        raise AssertionError  # pragma: no cover - the last pass returns or raises

    def _add(
        self, start: Start, record: Kernel, model: Mapping[str, Any], slot: Slot
    ) -> HeldKernel:
        is_session = start.key == "sessions"
        kernel = get_object(model, "kernel") if is_session else model
        kernel_id = get_text(kernel, "id")
        if (known := self._kernels.find(kernel_id)) is not None:  # the session existed
            slot.release()
            return known
        name = get_text(kernel, "name") or record.kernelspec
        record = replace(record, kernelspec=name, requested=record.requested or name)
        return self._kernels.add(kernel_id, model, record, slot=slot, is_session=is_session)

    def _make_up(
        self, start: Start, record: Kernel, slot: Slot, cause: Cause, problem: str
    ) -> HeldKernel:
        """Return a kernel that does not exist, whose cells explain that."""
        kernel_id, now = str(uuid4()), datetime.now(timezone.utc).isoformat()
        kernel: dict[str, Any] = {
            "id": kernel_id,
            "name": record.requested or "python3",
            "last_activity": now,
            "execution_state": "idle",
            "connections": 0,
        }
        model = kernel
        if start.key == "sessions":
            model = {
                "id": start.session_id or str(uuid4()),
                "path": start.path or record.page,
                "name": get_text(start.content, "name"),
                "type": get_text(start.content, "type") or "notebook",
                "kernel": kernel,
            }
        model["clinder"] = {"problem": problem}
        is_session = start.key == "sessions"
        held = self._kernels.add(kernel_id, model, record, slot=slot, is_session=is_session)
        self._kernels.fail(held, cause, problem)
        return held

    def _wait_until_ready(self, kernel: HeldKernel, deadline: Deadline) -> None:
        """Wait until a kernel responds, and set it up. If that fails, its cells explain it."""
        problem = ""
        try:
            self._make_ready(kernel, deadline)
        except Cancelled:
            raise
        except (TransportError, ClinderError) as error:
            problem = f"{error.message[:1].upper()}{error.message[1:]}".rstrip(".") + "."
        if problem:
            self._kernels.delete_on_server(kernel.path)
            kernel.model = {**kernel.model, "clinder": {"problem": problem}}
            self._kernels.fail(kernel, Cause.NOT_STARTED, problem)

    def _make_ready(self, kernel: HeldKernel, deadline: Deadline) -> None:
        """Do so, again if the connection breaks. Raises the errors of the last time."""
        began, delays = deadline.now(), iter(_RETRY_DELAYS)
        while True:
            try:
                with self._connect(kernel, deadline) as channel:
                    seconds = deadline.now() - began
                    kernel.record = replace(kernel.record, ready_after=seconds)
                    if self._prepare is not None:
                        self._prepare(channel, kernel.record.kernelspec)
                    return
            except TooLarge:
                raise
            except TransportError:
                if self._is_there(deadline):
                    if (delay := next(delays, None)) is None:
                        raise
                    deadline.wait(delay)
                elif not self._returns(deadline):
                    raise

    def _connect(self, kernel: HeldKernel, deadline: Deadline) -> KernelChannel:
        server = Server(self._upstream.credential.session, Transport(self._upstream.timeouts))
        return connect_kernel(
            server,
            kernel.kernel_id,
            deadline,
            self._kernel_timeout,
            is_given_up=lambda: bool(self._kernels.session_gone),
        )

    def _prepare_again(self, kernel: HeldKernel) -> None:
        """Set a kernel up that was restarted."""
        if self._prepare is None:
            return
        try:
            with self._connect(kernel, Deadline(math.inf)) as channel:
                self._prepare(channel, kernel.record.kernelspec)
        except (TransportError, ClinderError) as error:
            self._kernels.fail(kernel, Cause.NOT_STARTED, error.message)

    def _map(self, requested: str) -> str:
        """Return the kernelspec to start for the requested one, ``""`` for the default."""
        if self._aliases is None or not requested:
            return requested
        if not self._specs:
            with suppress(TransportError):
                content = self._upstream.call("GET", "api/kernelspecs", silence=SHORT).content
                self._specs = content if isinstance(content, dict) else {}
        mapped = map_kernelspec(requested, self._specs, self._aliases)
        if mapped.warning and requested not in self._warned:
            self._warned.add(requested)
            self._warn(mapped.warning)
        return mapped.name

    def _clean(self, message: str) -> str:
        """Return a server's message, which can echo the request."""
        return one_line(message.replace(self._upstream.credential.token, "…"), _MAX_DETAIL)
