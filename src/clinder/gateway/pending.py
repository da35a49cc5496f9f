"""The requests of one kernel that have no result yet."""

from __future__ import annotations

from collections.abc import Iterator

from clinder.gateway.cell_log import CellLog
from clinder.gateway.request import Request


class Pending:
    """Requests, in the order in which they were passed on. The log learns how they end.

    The kernel runs those of several consumers in another order if the server receives them so.
    """

    def __init__(self, log: CellLog):
        self._log = log
        self._requests: dict[tuple[str, str], Request] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def all(self) -> list[Request]:
        """Return all of them."""
        return [*self._requests.values()]

    def of(self, session_id: str) -> list[Request]:
        """Return those of one consumer."""
        return [each for each in self._requests.values() if each.session_id == session_id]

    def find(self, session_id: str, message_id: str) -> Request | None:
        """Return the request of a consumer with this id."""
        return self._requests.get((session_id, message_id))

    def has(self, request: Request) -> bool:
        """Whether a request still has no result."""
        return self._requests.get(request.key) is request

    @property
    def running(self) -> Request | None:
        """The code that the kernel runs."""
        return next((each for each in self._runnable() if each.is_seen), None) or next(
            self._runnable(), None
        )

    def add(self, request: Request, now: float) -> None:
        """Add a request that is about to be passed on."""
        self._requests[request.key] = request
        self._start_next(now)

    def see(self, request: Request, now: float) -> None:
        """Note that the kernel has begun with a request, so it is done with those before."""
        request.is_seen = True
        if not request.executes or request.ended is not None:
            return
        for each in self._runnable():
            if each is request:
                continue
            if each.is_seen:
                each.ended = now
            else:
                each.started = None
        self._start_next(now)

    def finish(self, request: Request, now: float) -> None:
        """Remove a request that has its result."""
        self._log.end(request, now)
        del self._requests[request.key]
        self._start_next(now)

    def note_end(self, message_id: str, now: float) -> list[Request]:
        """Note that the kernel has run the requests with this id, and return them.

        Their own consumers do not know that yet.
        """
        requests = [each for each in self.all() if each.head.message_id == message_id]
        for each in requests:
            each.ended = each.ended or now
        self._start_next(now)
        return requests

    def abandon(self, session_id: str, now: float) -> None:
        """Remove the requests of a consumer that no longer waits for them."""
        for request in self.of(session_id):
            self.drop(request, now)
        self._start_next(now)

    def drop(self, request: Request, now: float) -> None:
        """Remove a request whose consumer has no result of it, and which does not run."""
        self._log.abandon(request, now)
        del self._requests[request.key]

    def _runnable(self) -> Iterator[Request]:
        return (each for each in self._requests.values() if each.executes and each.ended is None)

    def _start_next(self, now: float) -> None:
        running = self.running
        if running is not None and running.started is None:
            running.started = now
