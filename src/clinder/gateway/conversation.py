"""What consumers and one kernel say to each other: what is passed on, what is made up, and why.

Nothing here reads, writes or waits. :class:`Conversation` receives messages and events, and returns
what to do. It lives as long as the kernel, longer than the websockets on which messages arrive.

It limits how long a cell can run. If the kernel dies, or the session ends, or a result is lost, it
ends the cells that wait for it with an error, because MyST would otherwise wait forever or lose the
whole build. Then it answers each further cell with an error until a consumer restarts the kernel.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from clinder._text import one_line
from clinder.gateway.cell_log import CellLog
from clinder.gateway.consumer import Consumer, Consumers
from clinder.gateway.effects import (
    Close,
    Drop,
    Effect,
    Forward,
    Interrupt,
    Link,
    Notice,
    Restart,
    Wait,
)
from clinder.gateway.failures import Cause, Failure
from clinder.gateway.incoming import Incoming, read_incoming
from clinder.gateway.pending import Pending
from clinder.gateway.report import Kernel
from clinder.gateway.request import (
    IOPUB,
    Draft,
    Kind,
    Request,
    classify,
    draft_aborted,
    draft_endings,
    draft_error,
    draft_idle,
    draft_reply,
    is_request,
)
from clinder.wire.kernel_envelope import Head, Message, Protocol, read_content, read_head

_MAX_REQUESTS = 1000
"""Further requests are passed on, but neither limited nor reported."""
_MAX_PAGE = 300
_MAX_DETAIL = 300
_SENTINELS = 100


@dataclass(frozen=True)
class CellLimits:
    """Time limits in seconds.

    ``cell`` limits how long a cell can run until it is interrupted, and ``grace`` how long it can
    take to end then. ``restart`` limits a restart that a consumer requests.
    """

    cell: float = 3600.0
    grace: float = 15.0
    restart: float = 120.0


class Conversation:
    """The state of one kernel and its consumers. It is not thread-safe.

    ``page`` names the kernel in messages. ``explain_death`` is called when the kernel has died and
    returns what is known about the reason, as a sentence, or ``""``. Times are seconds of any clock
    that does not go back. Methods return what to do, in this order.
    """

    def __init__(
        self,
        *,
        page: str = "",
        limits: CellLimits | None = None,
        explain_death: Callable[[], str] = lambda: "",
        make_id: Callable[[], str] = lambda: uuid4().hex,
    ):
        self._page = one_line(page, _MAX_PAGE)
        self._limits = limits or CellLimits()
        self._explain_death = explain_death
        self._log = CellLog(self._page)
        self._consumers = Consumers(make_id)
        self._pending = Pending(self._log)
        self._sentinels: deque[str] = deque(maxlen=_SENTINELS)
        self._info: dict[str, object] = {}
        self._restarting_since: float | None = None
        self._lost: Failure | None = None
        self._loss_is_shown = False
        self._is_dead = False

    def record(self) -> Kernel:
        """Return what has happened so far, for the report."""
        return self._log.record()

    @property
    def has_no_kernel(self) -> bool:
        """Whether nothing can reach the kernel. Consumers then need no websocket to the server."""
        return self._is_dead or (self._lost is not None and self._lost.cause.leaves_no_kernel)

    # Websockets

    def connect_delay(self, session_id: str, now: float) -> float:
        """Return how many seconds to wait before a consumer's websocket is accepted.

        Two consumers with one session id would otherwise supersede each other endlessly.
        """
        return self._consumers.connect_delay(session_id, now)

    def connect(self, session_id: str, protocol: Protocol, now: float) -> tuple[Link, list[Effect]]:
        """Add a consumer whose websocket is open, and so is the one to the server.

        It supersedes a consumer with the same session id, and receives what that one missed.
        """
        waiting = {each.session_id for each in self._pending.all()}
        consumer, link = self._consumers.add(session_id, protocol, waiting)
        closing: list[Effect] = [] if consumer.link is None else [Close(consumer.link)]
        held = consumer.connect(link, protocol, now)
        return link, [*closing, *held, *self._check_for_loss(consumer, link)]

    def disconnect(self, link: Link, now: float) -> None:
        """Note that a consumer's websocket has ended, and with it the one to the server."""
        if (consumer := self._consumers.current(link)) is None:
            return
        self.server_disconnected(link)
        consumer.link = None
        if consumer.anonymous:
            self._pending.abandon(link.session_id, now)
            self._consumers.remove(link.session_id)

    def server_disconnected(self, link: Link, *, too_large: bool = False) -> list[Effect]:
        """Note that the websocket to the server has ended, and will be opened again.

        ``too_large``: the server ended it because a message was too large.
        """
        if (consumer := self._consumers.current(link)) is None:
            return []
        consumer.has_server = False
        requests = self._pending.of(link.session_id)
        for request in requests:
            request.crossed = True
            if too_large and request.is_long:
                request.loss = Cause.TOO_LARGE
        if consumer.partial is not None:
            _, request = consumer.partial
            request.fail(Failure(Cause.OUTPUT_LOST))
        consumer.partial = None
        refused = [each for each in requests if each.loss is Cause.TOO_LARGE]
        return [Notice(f"The server refused {self._place(each)}: too large.") for each in refused]

    def server_reconnected(self, link: Link) -> list[Effect]:
        """Note that the websocket to the server is open again."""
        if (consumer := self._consumers.current(link)) is None:
            return []
        consumer.has_server = True
        if not consumer.is_renewing:
            self._log.count_reconnection()
        consumer.is_renewing = False
        return self._check_for_loss(consumer, link)

    # Messages

    def from_consumer(self, link: Link, message: Message, now: float) -> list[Effect]:
        """Return what to do with a consumer's message, of which the beginning is known."""
        if (consumer := self._consumers.current(link)) is None:
            return [Drop()]
        if self._restarting_since is not None or not (consumer.has_server or self.has_no_kernel):
            return [Wait()]
        head = read_head(message, consumer.protocol)
        if head is None or not is_request(head) or len(self._pending) >= _MAX_REQUESTS:
            return [Drop() if self.has_no_kernel else Forward()]
        request = self._make_request(consumer, link, head, message)
        if self._lost is not None and (request.executes or self.has_no_kernel):
            return [Drop(), *self._refuse(consumer, request, self._lost)]
        if request.counts and self._pending.running is None:
            self._log.follow()
        self._pending.add(request, now)
        return [Forward()]

    def from_server(self, link: Link, message: Message, now: float) -> list[Effect]:
        """Return what to do with a message of the server, of which the beginning is known.

        Call :meth:`message_ended` once the rest of a longer message has been passed on.
        """
        if (consumer := self._consumers.current(link)) is None:
            return [Drop()]
        if (incoming := read_incoming(message, consumer.protocol)) is None:
            return [Forward()]
        parent_id = incoming.head.parent_id
        if parent_id in self._sentinels:
            return [Drop(), *self._judge(consumer, incoming, now)]
        if incoming.state in ("restarting", "dead"):
            # JupyterLab would discard all requests, and MyST would lose the whole build.
            return [Drop(), *self._die(now, dead=incoming.state == "dead")]
        consumer.sender = incoming.head.sender or consumer.sender
        request = self._pending.find(link.session_id, parent_id)
        if request is None:
            if incoming.state == "idle":
                self._note_end(parent_id, now)
            return [Forward()]
        if not request.is_seen:
            request.loss = Cause.OUTPUT_LOST
            self._pending.see(request, now)
        effects = self._observe(consumer, request, incoming)
        if incoming.complete or Forward() not in effects:
            self._settle(request, incoming, now)
        else:
            consumer.partial = (incoming, request)
        return effects

    def message_ended(self, link: Link, now: float) -> None:
        """Note that the consumer has the rest of the server's last message, which was long."""
        consumer = self._consumers.current(link)
        if consumer is not None and consumer.partial is not None:
            (incoming, request), consumer.partial = consumer.partial, None
            self._settle(request, incoming, now)

    # Events

    def tick(self, now: float) -> list[Effect]:
        """Return what has become due. Call this at least once a second."""
        if self._restarting_since is not None:
            if now - self._restarting_since < self._limits.restart:
                return []
            return self.restart_ended(False, now, by_consumer=True)
        running = self._pending.running
        if running is None or running.started is None:
            return []
        if running.interrupted is None:
            is_due = now - running.started >= self._limits.cell
            return self._interrupt(running, now) if is_due else self._check(running, now)
        is_due = now - running.interrupted >= self._limits.grace
        return self._give_up(running, now) if is_due else []

    def restart_began(self, now: float) -> None:
        """Note that a consumer requests a restart, which is about to be passed on.

        Until it ends, messages of consumers wait, because the kernel would lose them.
        """
        self._restarting_since = now

    def restart_ended(self, ok: bool, now: float, *, by_consumer: bool) -> list[Effect]:
        """Note whether the server has restarted the kernel, as a consumer or clinder requested."""
        if not by_consumer:
            notice = Notice(f"The kernel of {self._page or 'a notebook'} could not be restarted.")
            return [] if ok else [notice]
        if self._restarting_since is None:
            return []
        self._restarting_since = None
        if not ok:
            return [] if self.has_no_kernel else self._lose(Failure(Cause.NOT_RESTARTED), now)
        effects = self._end_all(Failure(Cause.RESTARTED), now)
        if self._lost is not None and self._lost.cause is Cause.KERNEL_DIED:
            # The server restarted it, too, perhaps on other ports, which a websocket uses only
            # once it is opened again (jupyter_client's restarter: if it died in its first 10 s).
            effects += self._consumers.renew()
        self._lost, self._is_dead, self._loss_is_shown = None, False, False
        self._log.restart()
        return effects

    def lose(self, cause: Cause, detail: str, now: float) -> list[Effect]:
        """End all cells, now and from now on, because the kernel or the session is gone.

        ``detail`` explains it in whole sentences, or is empty.
        """
        if self._lost is not None and self._lost.cause.leaves_no_kernel:
            return []
        self._restarting_since = None
        return self._lose(Failure(cause, one_line(detail, _MAX_DETAIL)), now)

    def end(self, now: float) -> None:
        """Note that a consumer has deleted the kernel, or that the gateway ends."""
        for session_id in self._consumers.session_ids:
            self._pending.abandon(session_id, now)
        self._consumers.clear()

    # Requests

    def _make_request(
        self, consumer: Consumer, link: Link, head: Head, message: Message
    ) -> Request:
        executes = head.message_type == "execute_request"
        content = read_content(message, consumer.protocol) if executes else None
        kind, expressions = classify(head, content)
        number = self._log.count_cell(kind)
        is_long = not message.complete
        return Request(link.session_id, head, kind, expressions, number, is_long=is_long)

    def _observe(self, consumer: Consumer, request: Request, incoming: Incoming) -> list[Effect]:
        """Return whether to pass on a message that belongs to a request, or what replaces it."""
        failure = request.failure if request.executes else None
        if failure is None:
            if incoming.content:
                request.error = request.error or incoming.error
                request.dropped = request.dropped or incoming.reports_dropped_output
            request.shows_error = request.shows_error or incoming.is_error
            return [Forward()]
        if incoming.is_reply:
            return [Drop(), *consumer.send(request, [draft_reply(request, failure, failure.text)])]
        if not incoming.is_error and incoming.state != "idle":
            return [Forward()]
        made_up = consumer.send(
            request, draft_error(request, failure, failure.text, incoming.traceback)
        )
        request.shows_error = True
        if made_up and incoming.is_error:
            return [Drop(), *made_up]
        return [*made_up, Forward()]

    def _settle(self, request: Request, incoming: Incoming, now: float) -> None:
        """Note that the consumer has a message that belongs to a request."""
        if incoming.is_reply:
            request.replied = True
            request.status = incoming.status
            if incoming.head.message_type == "kernel_info_reply" and request.status != "error":
                self._info = dict(incoming.content)
        request.idle = request.idle or incoming.state == "idle"
        if request.replied and request.idle and self._pending.has(request):
            self._pending.finish(request, now)

    # Loss

    def _check_for_loss(self, consumer: Consumer, link: Link) -> list[Effect]:
        """Return a sentinel if requests are pending. If it is answered first, a result was lost."""
        effects = consumer.send_sentinel(link, self._pending.of(link.session_id))
        if effects:
            self._sentinels.append(consumer.sentinel)
        return effects

    def _note_end(self, message_id: str, now: float) -> None:
        """Note that the kernel has run a request of another consumer.

        If that one has left, the server has not kept the result, because this one is connected.
        """
        for request in self._pending.note_end(message_id, now):
            consumer = self._consumers.get(request.session_id)
            if consumer.link is None:
                failure = Failure(Cause.OUTPUT_LOST)
                consumer.send(request, draft_endings(request, failure, failure.text, self._info))
                self._pending.drop(request, now)

    def _check(self, running: Request, now: float) -> list[Effect]:
        """Return a sentinel if the kernel has sent nothing for a request for a while.

        A kernel that restarts loses requests, and a server can restart one twice in a row.
        """
        consumer = self._consumers.get(running.session_id)
        is_silent = not running.is_seen and now - (running.started or now) >= running.check_after
        if not is_silent or consumer.link is None or not consumer.has_server:
            return []
        running.check_after *= 2
        running.loss = Cause.NOT_RECEIVED
        return self._check_for_loss(consumer, consumer.link)

    def _judge(self, consumer: Consumer, incoming: Incoming, now: float) -> list[Effect]:
        """Return how to end the requests of which the sentinel's result shows that one is lost.

        Replies and the status ``idle`` come by different ways, so each shows only the loss of its
        own kind.
        """
        if incoming.head.parent_id != consumer.sentinel:
            return []
        effects: list[Effect] = []
        for request in filter(self._pending.has, consumer.guarded):
            failure = Failure(request.loss)
            if incoming.is_reply and not request.replied:
                effects += self._fail(request, failure, now)
            elif incoming.state == "idle" and not request.idle:
                effects += self._fail(request, failure, now, reply=request.replied)
        return effects

    def _fail(
        self, request: Request, failure: Failure, now: float, *, reply: bool = True
    ) -> list[Effect]:
        """End a request with an error. Without ``reply``, its own reply is still on its way."""
        request.fail(failure)
        drafts = draft_endings(request, failure, failure.text, self._info)
        if not reply:
            drafts = [draft for draft in drafts if draft.channel == IOPUB]
        request.shows_error = request.idle = True
        effects = self._consumers.get(request.session_id).send(request, drafts)
        if reply:
            self._pending.finish(request, now)
        return effects

    def _die(self, now: float, *, dead: bool) -> list[Effect]:
        """Handle the server's message that the kernel died, and perhaps cannot be restarted."""
        if self._restarting_since is not None:  # a consumer wanted it to end
            return []
        self._is_dead = self._is_dead or dead
        if self._lost is not None:
            return self._end_all(self._lost, now)
        self._log.count_death()
        detail = one_line(self._explain_death(), _MAX_DETAIL)
        return self._lose(Failure(Cause.KERNEL_DIED, detail), now)

    def _interrupt(self, running: Request, now: float) -> list[Effect]:
        limit = f"{self._limits.cell:g} s"
        running.interrupted = now
        running.fail(Failure(Cause.TIME_LIMIT, f"It ran for {limit}, so clinder interrupted it."))
        notice = f"clinder interrupts {self._place(running)} after {limit}."
        return [Interrupt(), Notice(notice)]

    def _give_up(self, running: Request, now: float) -> list[Effect]:
        detail = (
            f"It ran for {self._limits.cell:g} s and ignored an interrupt, so clinder restarted "
            "the kernel."
        )
        notice = f"clinder restarts the kernel because {self._place(running)} ignores interrupts."
        self._lost, self._loss_is_shown = Failure(Cause.TIME_LIMIT, detail), running.counts
        return [*self._end_all(self._lost, now), Restart(), Notice(notice)]

    def _lose(self, failure: Failure, now: float) -> list[Effect]:
        """End all requests, and refuse further cells until a consumer restarts the kernel."""
        running = self._pending.running
        ran = "" if running is None else f" while it ran {self._place(running)}"
        subject = f"The kernel of {self._page}" if self._page and running is None else "The kernel"
        notice = " ".join(filter(None, (f"{subject} {failure.event}{ran}.", failure.detail)))
        shows_error = running is not None and running.counts and not running.survives(failure)
        self._loss_is_shown = shows_error or (self._lost is not None and self._loss_is_shown)
        self._lost = failure
        return [*self._end_all(failure, now), Notice(notice)]

    def _end_all(self, failure: Failure, now: float) -> list[Effect]:
        """End the running code with an error, and the code after it as a kernel's queue does."""
        effects: list[Effect] = []
        is_running, running = True, self._pending.running
        for request in sorted(self._pending.all(), key=lambda each: each is not running):
            if not request.executes:
                effects += self._fail(request, failure, now)
            elif request.survives(failure):
                effects += self._end(request, [draft_idle()], now)
            elif request.ended is not None:
                effects += self._fail(request, Failure(Cause.OUTPUT_LOST), now)
            elif is_running or request.kind is Kind.EXPRESSION:
                is_running = False
                effects += self._fail(request, request.merge(failure), now)
            else:
                request.status = "aborted"
                effects += self._end(request, draft_aborted(request), now)
        return effects

    def _end(self, request: Request, drafts: list[Draft], now: float) -> list[Effect]:
        effects = self._consumers.get(request.session_id).send(request, drafts)
        self._pending.finish(request, now)
        return effects

    def _refuse(self, consumer: Consumer, request: Request, failure: Failure) -> list[Effect]:
        """Answer a request that is not passed on because the kernel is lost."""
        if request.counts and not self._loss_is_shown:
            self._loss_is_shown = True
            request.error = (failure.name, failure.refusal)
            self._log.add_error(request)
        drafts = draft_endings(request, failure, failure.refusal, self._info)
        return consumer.send(request, drafts)

    def _place(self, request: Request) -> str:
        names = {Kind.CELL: "cell", Kind.EXPRESSION: "an expression after cell"}
        place = f"{names[request.kind]} {request.number}" if request.counts else "a tool's code"
        return f"{place} of {self._page}" if self._page else place
