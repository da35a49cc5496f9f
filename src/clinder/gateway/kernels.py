"""The kernels that consumers have started through the gateway, until they delete them.

MyST loses its whole build if the kernel of one page cannot be started, is missing in the server's
lists or cannot be deleted. So a consumer sees each of its kernels until it deletes it, whatever the
server says, and learns from the kernel's cells what is wrong.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from clinder.gateway.access import Target
from clinder.gateway.channels import Channels
from clinder.gateway.conversation import CellLimits, Conversation
from clinder.gateway.effects import Interrupt, Notice, Restart
from clinder.gateway.exchange import Exchange
from clinder.gateway.failures import Cause
from clinder.gateway.forward import forward, pass_on, respond_to_failure
from clinder.gateway.held_kernel import HeldKernel
from clinder.gateway.pairs import Event
from clinder.gateway.report import Kernel
from clinder.gateway.slots import Slot
from clinder.gateway.threads import Threads
from clinder.gateway.upstream import Answer, Reply, Upstream
from clinder.wire.http_errors import TransportError
from clinder.wire.json_fields import get_text

SHORT = 10.0
"""Seconds for requests that a server answers at once."""
_RESTART = 120.0
_TICK = 0.5
_DELETE = 10.0
"""Seconds for which a deletion is retried: a server cannot delete a kernel that it restarts."""
_DELETE_DELAY = 0.5
_LEASE = 10.0
"""Seconds within which a bridge opens the websocket of the kernel that it has started."""
_MAX_RECORDS = 2000
_MAX_BODY = 1024 * 1024


class Kernels:
    """All kernels, by their ids. Thread-safe.

    ``warn`` receives what the person who runs the consumers should know. ``explain_death`` returns
    what is known about why a kernel died. ``on_trouble`` is called if the server cannot be reached.
    """

    def __init__(
        self,
        upstream: Upstream,
        limits: CellLimits,
        threads: Threads,
        *,
        warn: Callable[[str], None],
        explain_death: Callable[[], str],
        on_trouble: Callable[[], None],
    ):
        self._upstream = upstream
        self._limits = limits
        self._threads = threads
        self._warn = warn
        self._explain_death = explain_death
        self._on_trouble = on_trouble
        self._lock = threading.Lock()
        self._kernels: dict[str, HeldKernel] = {}
        self._ended: list[Kernel] = []
        self._closed = threading.Event()
        self._gone = ""
        self.after_restart: Callable[[HeldKernel], None] = lambda _: None
        """Called after each restart of a kernel, before consumers use it again."""

    @property
    def session_gone(self) -> str:
        """Why the session is gone, ``""`` while it is not."""
        return self._gone

    def report_trouble(self) -> None:
        """Report that the server cannot be reached."""
        self._on_trouble()

    def begin(self) -> None:
        """Check time limits from now on, in a thread."""
        self._threads.start("ticks", self._tick)

    def close(self) -> None:
        """Stop checking time limits."""
        self._closed.set()

    def add(
        self,
        kernel_id: str,
        model: Mapping[str, Any],
        record: Kernel,
        *,
        slot: Slot | None = None,
        is_session: bool = False,
    ) -> HeldKernel:
        """Add a kernel that a consumer has started."""
        kernel = self._make(kernel_id, model, record, is_ours=True)
        kernel.slot = slot
        kernel.session_id = get_text(model, "id") if is_session else ""
        with self._lock:
            self._kernels[kernel_id] = kernel
        return kernel

    def fail(self, kernel: HeldKernel, cause: Cause, problem: str) -> None:
        """Note that a kernel did not start, so that its cells say why."""
        kernel.record = replace(kernel.record, problem=problem)
        kernel.channels.tell(lambda each: each.lose(cause, problem, time.monotonic()))
        kernel.is_on_server = False
        kernel.release()

    def find(self, kernel_id: str) -> HeldKernel | None:
        """Return a kernel that a consumer has started and not deleted."""
        with self._lock:
            return self._kernels.get(kernel_id)

    def find_session(self, session_id: str) -> HeldKernel | None:
        """Return the kernel of a session, ``None`` also if there is no id."""
        return next(
            (each for each in self.all() if session_id and each.session_id == session_id), None
        )

    def all(self) -> list[HeldKernel]:
        """Return all of them."""
        with self._lock:
            return [*self._kernels.values()]

    def records(self) -> tuple[Kernel, ...]:
        """Return what has run on each kernel, in the order in which they ended, then started."""
        running = [each.report() for each in self.all()]
        with self._lock:
            return (*self._ended, *running)

    def lose_session(self, message: str) -> None:
        """End all cells, now and from now on, because the session is gone."""
        self._gone = message
        for each in self.all():
            self.lose(each, Cause.SESSION_GONE, message)

    def lose(self, kernel: HeldKernel, cause: Cause, detail: str = "") -> None:
        """End a kernel's cells, now and from now on."""
        kernel.channels.tell(lambda each: each.lose(cause, detail, time.monotonic()))
        kernel.release()

    # A consumer's requests

    def serve(self, exchange: Exchange, target: Target, kernel_id: str) -> None:
        """Serve the websocket of a kernel, even of one that somebody else has started."""
        kernel = self.find(kernel_id)
        if kernel is None:
            kernel = self._make(kernel_id, {}, Kernel(), is_ours=False)
            kernel.channels.serve(exchange, target)
            self._keep(kernel)
            return
        kernel.expires = None
        try:
            kernel.channels.serve(exchange, target)
        finally:
            if kernel.is_leased and not kernel.is_deleted:
                self.remove(kernel)

    def lease(self, kernel: HeldKernel) -> None:
        """Let a kernel end with its bridge, which cannot delete it if it is killed."""
        kernel.is_leased = True
        kernel.expires = time.monotonic() + _LEASE

    def remove(self, kernel: HeldKernel) -> None:
        """Delete a kernel that its consumer no longer wants."""
        self.forget(kernel)
        if kernel.is_on_server and not self._gone:
            self.delete_on_server(kernel.path)

    def respond_list(self, exchange: Exchange, target: Target) -> None:
        """Respond with the server's list of sessions or kernels, and all that it lacks."""
        key = target.path.partition("/")[2]
        own = [each for each in self.all() if bool(each.session_id) or key == "kernels"]
        if not self._upstream.is_provided:
            exchange.respond_json(200, [])
            return
        answer: Answer | None = None
        try:
            if not self._gone:
                answer = self._upstream.call("GET", target.text)
            if answer is not None and answer.status == 500:
                # For a moment while a kernel starts (see wire/jupyter_server.py).
                answer = self._upstream.call("GET", target.text)
        except TransportError as error:
            if not own:
                respond_to_failure(exchange, error, self._upstream)
                return
        listed = answer.content if answer is not None and answer.status == 200 else None
        if answer is not None and not isinstance(listed, list) and not own:
            pass_on(exchange, Reply(answer.status, answer.headers, iter([answer.body])))
            return
        models = listed if isinstance(listed, list) else []
        ids = {each.get("id") for each in models if isinstance(each, dict)}
        missing = [each.describe(key) for each in own]
        exchange.respond_json(200, [*models, *(m for m in missing if m.get("id") not in ids)])

    def describe(self, exchange: Exchange, target: Target, key: str, identifier: str) -> None:
        """Respond with one session or kernel."""
        kernel = self._find_by(key, identifier)
        if kernel is None or (kernel.is_on_server and not self._gone):
            forward(exchange, target, self._upstream)
            return
        exchange.respond_json(200, kernel.describe(key))

    def delete(self, exchange: Exchange, target: Target, key: str, identifier: str) -> None:
        """Delete a session or a kernel. One that the server cannot delete counts as deleted."""
        kernel = self._find_by(key, identifier)
        if kernel is None:
            forward(exchange, target, self._upstream)
            return
        kernel.is_deleted = True
        if kernel.is_on_server and not self._gone and not self.delete_on_server(target.text):
            page = kernel.record.page or "a notebook"
            self._warn(f"The kernel of {page} could not be deleted. It ends with the session.")
        self.forget(kernel)
        exchange.respond(204)

    def delete_on_server(self, target: str) -> bool:
        """Delete a session or kernel; return whether it is gone. A restart makes this fail."""
        until = time.monotonic() + _DELETE
        while True:
            try:
                if self._upstream.call("DELETE", target).status in (204, 404, 410):
                    return True
            except TransportError:
                self._on_trouble()
            if self._gone or time.monotonic() >= until or self._closed.wait(_DELETE_DELAY):
                return False

    def forget(self, kernel: HeldKernel) -> None:
        """Note that a kernel is gone because its consumer no longer wants it."""
        kernel.is_deleted = True
        with self._lock:
            self._kernels.pop(kernel.kernel_id, None)
        kernel.channels.tell(lambda each: each.end(time.monotonic()))
        kernel.channels.close()
        kernel.release()
        self._keep(kernel)

    def restart(self, exchange: Exchange, target: Target, kernel_id: str) -> None:
        """Restart a kernel for a consumer, whose messages wait meanwhile."""
        kernel = self.find(kernel_id)
        if kernel is None:
            forward(exchange, target, self._upstream)
            return
        exchange.read_body(_MAX_BODY)
        kernel.channels.tell(lambda each: each.restart_began(time.monotonic()))
        answer, ok = None, False
        try:
            answer = self._restart_on_server(kernel)
            ok = answer.status == 200
            if ok:
                self.after_restart(kernel)
        except TransportError as error:
            self._on_trouble()
            respond_to_failure(exchange, error, self._upstream)
        finally:
            kernel.channels.tell(
                lambda each: each.restart_ended(ok, time.monotonic(), by_consumer=True)
            )
        if answer is not None:
            pass_on(exchange, Reply(answer.status, answer.headers, iter([answer.body])))

    # What a conversation wants

    def _make(
        self, kernel_id: str, model: Mapping[str, Any], record: Kernel, *, is_ours: bool
    ) -> HeldKernel:
        conversation = Conversation(
            page=record.page, limits=self._limits, explain_death=self._explain_death
        )
        channels = Channels(
            conversation,
            self._upstream,
            self._threads,
            is_ours=is_ours,
            perform=lambda event: self._perform(kernel, event),
            ask=lambda: self._has(kernel),
            on_trouble=self._on_trouble,
            now=time.monotonic,
        )
        kernel = HeldKernel(kernel_id, model, record, channels, conversation)
        return kernel

    def _perform(self, kernel: HeldKernel, event: Event) -> None:
        if isinstance(event, Notice):
            self._warn(event.text)
            return
        work = {Interrupt: self._interrupt, Restart: self._restart}[type(event)]
        self._threads.start("action", work, kernel)

    def _interrupt(self, kernel: HeldKernel) -> None:
        try:
            self._upstream.call("POST", f"{kernel.path}/interrupt", {}, silence=SHORT)
        except TransportError:
            self._on_trouble()

    def _restart(self, kernel: HeldKernel) -> None:
        ok = False
        try:
            ok = self._restart_on_server(kernel).status == 200
        except TransportError:
            self._on_trouble()
        if ok:
            self.after_restart(kernel)
        kernel.channels.tell(
            lambda each: each.restart_ended(ok, time.monotonic(), by_consumer=False)
        )

    def _restart_on_server(self, kernel: HeldKernel) -> Answer:
        """Restart a kernel, again if the server fails because it restarts the kernel itself.

        Raises :class:`~clinder.wire.http_errors.TransportError`.
        """
        until = time.monotonic() + _DELETE
        while True:
            answer = self._upstream.call("POST", f"{kernel.path}/restart", {}, silence=_RESTART)
            if answer.status != 500 or time.monotonic() >= until:
                return answer
            self._closed.wait(_DELETE_DELAY)

    def _has(self, kernel: HeldKernel) -> bool | None:
        """Whether the server has a kernel, ``None`` if that is unknown, or no longer matters."""
        try:
            answer = self._upstream.call("GET", kernel.path, silence=SHORT)
        except TransportError:
            return None
        if kernel.is_deleted:
            return None
        is_jupyters = isinstance(answer.content, dict)  # a proxy's page proves nothing
        return {200: True, 404: False}.get(answer.status) if is_jupyters else None

    def _tick(self) -> None:
        while not self._closed.wait(_TICK):
            for each in self.all():
                with self._threads.surviving():
                    self._check_time(each)

    def _check_time(self, kernel: HeldKernel) -> None:
        kernel.channels.tell(lambda each: each.tick(time.monotonic()))
        if kernel.expires is not None and kernel.expires <= time.monotonic():
            kernel.expires = None
            self._threads.start("action", self.remove, kernel)

    def _find_by(self, key: str, identifier: str) -> HeldKernel | None:
        return self.find(identifier) if key == "kernels" else self.find_session(identifier)

    def _keep(self, kernel: HeldKernel) -> None:
        record = kernel.report()
        with self._lock:
            if len(self._ended) < _MAX_RECORDS:
                self._ended.append(record)
