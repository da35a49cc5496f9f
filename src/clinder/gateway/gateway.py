"""The gateway: a port on the loopback interface that stands for the session's server."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from clinder.errors import UsageError
from clinder.gateway.access import Access, Denied, Target
from clinder.gateway.address import Address
from clinder.gateway.conversation import CellLimits
from clinder.gateway.exchange import ConsumerGone, Exchange, InvalidRequest
from clinder.gateway.forward import forward, respond_without_session
from clinder.gateway.holding import Holding, Prepare
from clinder.gateway.kernels import Kernels
from clinder.gateway.listener import Listener
from clinder.gateway.metrics import Usage
from clinder.gateway.relay import relay
from clinder.gateway.report import Kernel, Resources
from clinder.gateway.slots import KernelLimit, Slots
from clinder.gateway.threads import Threads
from clinder.gateway.upstream import Credential, NoSession, Upstream
from clinder.gateway.watch import Watch
from clinder.timeouts import Timeouts


@dataclass(frozen=True)
class GatewayOptions:
    """How the gateway treats kernels.

    ``kernel_timeout`` is how many seconds a kernel can take to respond. ``limit`` is how many run
    at once. ``aliases`` maps kernelspecs; ``None`` passes on the names that the server lacks, too.
    ``cells`` are the time limits of cells. ``prepare`` sets each kernel up, again after a restart.

    Raises :class:`~clinder.errors.UsageError` if a time limit is not positive.
    """

    kernel_timeout: float = 300.0
    limit: KernelLimit = field(default_factory=lambda: KernelLimit(by_memory=True))
    aliases: Mapping[str, str] | None = field(default_factory=dict)
    cells: CellLimits = field(default_factory=CellLimits)
    prepare: Prepare | None = None

    def __post_init__(self) -> None:
        if not 0 < self.kernel_timeout < math.inf or not 0 < self.cells.cell < math.inf:
            raise UsageError("The gateway's time limits must be more than 0 seconds.")


class Gateway:
    """Serves the session's API on this machine, until the context ends.

    ``server`` is the credential that opens the session's server, or returns it once a request needs
    it: any request except those for the lists of sessions and kernels, which are empty until then.
    That can take minutes. If it raises a :class:`~clinder.errors.ClinderError`, these requests
    fail.
    Consumers use :attr:`url` and :attr:`token`, which open nothing else. ``warn`` receives what the
    person who runs them should know. :attr:`hurry` is set when the server cannot be reached. On
    leaving the context, all connections end within a second.
    """

    def __init__(
        self,
        server: Credential | Callable[[], Credential],
        options: GatewayOptions | None = None,
        *,
        address: Address | None = None,
        timeouts: Timeouts | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ):
        options = options or GatewayOptions()
        self._address = address or Address()
        self.hurry = threading.Event()
        self._threads = Threads(warn)
        self._upstream = Upstream(server, timeouts or Timeouts())
        self._listener = Listener(self._address.listening, self._threads, warn)
        self._access = Access(self.token, self._address.port)
        self._usage = Usage()
        slots = Slots(options.limit, warn)
        self._kernels = Kernels(
            self._upstream,
            options.cells,
            self._threads,
            warn=warn,
            explain_death=self._usage.explain,
            on_trouble=self.hurry.set,
        )
        self._watch = Watch(self._upstream, self._kernels, self._usage, slots, self._threads)
        self._holding = Holding(
            self._upstream,
            self._kernels,
            slots,
            self._threads,
            aliases=options.aliases,
            kernel_timeout=options.kernel_timeout,
            prepare=options.prepare,
            measure_first=self._watch.measure_first,
            warn=warn,
        )

    def __repr__(self) -> str:
        return f"Gateway({self.url!r})"

    @property
    def url(self) -> str:
        """The gateway's URL, which ends in a slash."""
        return self._address.url

    @property
    def token(self) -> str:
        """The token that opens the gateway."""
        return self._address.token

    def variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment variables by which programs find the gateway."""
        return self._address.variables(environ)

    def __enter__(self) -> Gateway:
        self._listener.start(self._handle)
        self._kernels.begin()
        self._watch.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.close()
        self._kernels.close()
        self._upstream.close()
        self._listener.close()

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """What has run on each kernel so far, for the report."""
        return self._kernels.records()

    @property
    def resources(self) -> Resources | None:
        """What the session has used so far, for the report."""
        return self._usage.report()

    @property
    def likely_cause(self) -> str:
        """What is known about why the session ended, as a sentence, or ``""``."""
        explanation = self._usage.explain()
        if self._usage.is_short:
            return f"{explanation} It probably ran out of memory."
        return f"{explanation} The hub might have culled it." if explanation else ""

    @property
    def is_in_use(self) -> bool:
        """Whether a kernel is connected, so that its cells can show that the session is gone."""
        return any(each.channels.is_connected for each in self._kernels.all())

    def lose_session(self, message: str) -> None:
        """End all cells, now and from now on, because the session is gone."""
        self._kernels.lose_session(message)

    def _handle(self, exchange: Exchange, trust: Callable[[], None]) -> None:
        try:
            target = self._access.admit(exchange.method, exchange.target, exchange.headers)
        except Denied as error:
            exchange.respond_json(error.status, {"message": error.message})
            return
        trust()
        try:
            self._serve(exchange, target)
        except (ConsumerGone, InvalidRequest):
            raise
        except NoSession as error:
            respond_without_session(exchange, error)
        except Exception as error:  # noqa: BLE001 - a bug ends one request, without a traceback
            self._threads.report(error)
            exchange.break_off()
            raise ConsumerGone from None

    def _serve(self, exchange: Exchange, target: Target) -> None:
        parts = [unquote(each) for each in target.path.split("/")[1:]]
        kernels = self._kernels
        if exchange.is_for_websocket:
            self._upstream.credential  # noqa: B018 - nothing can be held until there is a session
        match exchange.is_for_websocket, exchange.method, parts:
            case True, _, ["kernels", kernel_id, "channels"]:
                kernels.serve(exchange, target, kernel_id)
            case True, _, _:
                relay(exchange, target, self._upstream, self._threads)
            case (_, "POST", ["sessions" | "kernels"]) | (_, "PATCH", ["sessions", _]):
                self._holding.start(exchange, target)
            case _, "GET", ["sessions" | "kernels"]:
                kernels.respond_list(exchange, target)
            case _, "GET", _ if not self._upstream.is_provided:
                self._holding.get(exchange, target)
            case _, "GET", ["sessions" | "kernels" as key, identifier]:
                kernels.describe(exchange, target, key, identifier)
            case _, "DELETE", ["sessions" | "kernels" as key, identifier]:
                kernels.delete(exchange, target, key, identifier)
            case _, "POST", ["kernels", kernel_id, "restart"]:
                kernels.restart(exchange, target, kernel_id)
            case _:
                forward(exchange, target, self._upstream)
