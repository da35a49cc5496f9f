"""Check the session's server while kernels run: its memory, and whether it still has them."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from clinder.gateway.failures import Cause
from clinder.gateway.held_kernel import HeldKernel
from clinder.gateway.kernels import SHORT, Kernels
from clinder.gateway.metrics import Usage, parse_metrics
from clinder.gateway.slots import Slots
from clinder.gateway.threads import Threads
from clinder.gateway.upstream import Upstream
from clinder.wire.http_errors import TransportError

_INTERVAL = 3.0
_LIST_EVERY = 4
"""A deleted or culled kernel sends nothing, so clinder reads the list every fourth time."""
_METRICS = "api/metrics/v1"


class Watch:
    """A thread that requests measurements and lists, only while kernels run."""

    def __init__(
        self, upstream: Upstream, kernels: Kernels, usage: Usage, slots: Slots, threads: Threads
    ):
        self._threads = threads
        self._upstream = upstream
        self._kernels = kernels
        self._usage = usage
        self._slots = slots
        self._closed = threading.Event()
        self._has_metrics = True
        self._first = threading.Lock()
        self._has_measured = False
        self._missing: set[str] = set()

    def begin(self) -> None:
        """Begin to look."""
        self._threads.start("watch", self._run)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()

    def measure_first(self) -> None:
        """Measure once before the first kernel starts, so that the memory limit is known."""
        with self._first:
            if not self._has_measured:
                self._has_measured = True
                with suppress(TransportError):
                    self._measure()

    def _run(self) -> None:
        rounds = 0
        while not self._closed.wait(_INTERVAL):
            running = [each for each in self._kernels.all() if each.is_on_server]
            if not running or self._kernels.session_gone:
                continue
            rounds += 1
            with self._threads.surviving(), suppress(TransportError):  # its users notice
                self._look(running, rounds)

    def _look(self, running: list[HeldKernel], rounds: int) -> None:
        if self._has_metrics:
            self._measure()
        if rounds % _LIST_EVERY == 0:
            self._check(running)

    def _measure(self) -> None:
        answer = self._upstream.call("GET", _METRICS, silence=SHORT)
        self._has_metrics = answer.status != 404
        content = answer.content
        sample = parse_metrics(content) if isinstance(content, dict) else None
        if sample is not None:
            self._usage.add(sample)
            self._slots.update_memory(sample.memory, sample.memory_limit)

    def _check(self, running: list[HeldKernel]) -> None:
        """End the cells of kernels that the server has not listed twice in a row."""
        began = time.monotonic()
        models = self._upstream.call("GET", "api/kernels", silence=SHORT).content
        if not isinstance(models, list):
            return
        listed = {each.get("id") for each in models if isinstance(each, dict)}
        missing = {each.kernel_id for each in running if each.started < began} - listed
        for kernel in running:
            if kernel.kernel_id in missing & self._missing and not kernel.is_deleted:
                self._kernels.lose(kernel, Cause.KERNEL_GONE)
        self._missing = missing
