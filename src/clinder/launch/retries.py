"""What to do after a build request that failed: whom to ask next, and after how long.

It is counted here, and nowhere else, how often a hub is asked: a BinderHub allows ten build
requests an hour from one address, and every reconnect is one (``ratelimit.py``). What found a hub
away reached none, and is not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from clinder.errors import (
    BotsRefused,
    ClinderError,
    HubBroken,
    HubBusy,
    HubDown,
    HubError,
    HubFull,
    HubUnreachable,
    LaunchFailed,
    LoginRequired,
    NetworkRefused,
    QuotaReached,
    RepositoryHostFailed,
)

BROKEN_DELAYS = (2.0, 4.0)
"""Seconds, give or take a quarter, before the same hub is asked again after it broke."""
DOWN_DELAYS = (8.0, 15.0, 15.0, 15.0)
"""Seconds, give or take a quarter, before the hubs that stay away are asked again: with those above
about a minute, in which a hub restarts."""
FULL_DELAYS = (60.0, 240.0)
"""Seconds before the hubs that had no room are asked again."""

_BROKEN = (HubUnreachable, HubBroken)
_FULL = (HubFull, QuotaReached)
_ANOTHER_HUB = (HubBusy, HubError, LaunchFailed, NetworkRefused, BotsRefused, LoginRequired)


@dataclass(frozen=True)
class Step:
    """A build request to make: for which of the hubs, at which address, after so many seconds.

    The address is another than the hub's where that is a federation, and a member is meant.
    ``pinned``: with the cookies of the request before, to reach the same member and build again.
    """

    hub: str
    address: str
    wait: float = 0.0
    pinned: bool = False


@dataclass
class _Hub:
    url: str
    limit: int
    address: str = ""
    requests: int = 0
    failures: int = 0
    unreached: int = 0
    down: bool = False
    full: bool = False
    member: str = ""
    redirected: bool = False


@dataclass
class Retries:
    """The hubs of a launch, and how often and with what outcome each was asked.

    ``limit`` is how many build requests one hub gets in all, and 1 that nothing is tried again;
    ``chance`` gives numbers from 0 up to 1, which is none of them.
    """

    hubs: Sequence[str]
    limit: int
    random: Callable[[], float]
    _hubs: list[_Hub] = field(init=False)
    _remaining: list[_Hub] = field(init=False)
    _full_delays: list[float] = field(init=False)
    _down_delays: list[float] = field(init=False)
    _requests: Counter[str] = field(init=False, default_factory=Counter)

    def __post_init__(self) -> None:
        self._hubs = [_Hub(url, self.limit) for url in self.hubs]
        self._remaining = list(self._hubs)
        self._full_delays = list(FULL_DELAYS)
        self._down_delays = list(DOWN_DELAYS) if self.limit > 1 else []

    def first(self) -> Step:
        """Return the first build request, of all or of those that are left."""
        return self._step(self._remaining[0], self._remaining[0].url)

    def after(
        self,
        error: ClinderError,
        *,
        launching: bool,
        member: str = "",
        members: Callable[[], Sequence[str]],
    ) -> Step | None:
        """Return what to do after an error of the request before, ``None`` where it is final.

        ``launching``: a server was being launched. ``member``: the address of the one to which the
        hub, a federation, gave the request; ``members`` returns those of the others.
        """
        if not isinstance(error, _ANOTHER_HUB):
            return None
        hub = self._remaining[0]
        hub.down, hub.full = isinstance(error, HubDown), isinstance(error, _FULL)
        if hub.down:
            return self._after_down(hub)
        hub.member = member
        self._requests[member] += 1
        if isinstance(error, _BROKEN) or (
            isinstance(error, RepositoryHostFailed) and not launching
        ):
            if launching:  # each such request may leave a server behind
                hub.limit = min(hub.limit, hub.requests + 1)
            if self._may_ask(hub):
                hub.failures += 1
                return self._retry(hub, hub.failures)
        if hub.full and self._may_ask(hub) and not hub.redirected and (others := members()):
            hub.redirected = True
            return self._step(hub, others[int(self.random() * len(others))])
        return self._next()

    def _may_ask(self, hub: _Hub) -> bool:
        """Whether a hub was asked less than its limit, under its name or as another's member."""
        at = (self._requests[url] for url in (hub.url, hub.member) if url)
        return hub.requests < hub.limit and all(times < self.limit for times in at)

    def _after_down(self, hub: _Hub) -> Step | None:
        """Return what to do after a request that found a hub away, and so was none."""
        hub.requests -= 1
        self._requests[hub.address] -= 1
        hub.unreached += 1
        if hub.unreached < self.limit:
            return self._retry(hub, hub.unreached)
        return self._next()

    def _retry(self, hub: _Hub, times: int) -> Step:
        """Return the step at the same address after it failed so many times."""
        wait = self._jitter(BROKEN_DELAYS[min(times, len(BROKEN_DELAYS)) - 1])
        return self._step(hub, hub.address, wait=wait, pinned=True)

    def _jitter(self, seconds: float) -> float:
        return seconds * (0.75 + self.random() / 2)

    def _next(self) -> Step | None:
        """Return the step at the next hub, or after the last one another round's first, if any."""
        self._remaining = [each for each in self._remaining[1:] if self._may_ask(each)]
        return (
            self.first()
            if self._remaining
            else self._next_round_of_down() or self._next_round_of_full()
        )

    def _next_round_of_down(self) -> Step | None:
        """Return the first step of another round, among the hubs that were away."""
        self._remaining = [hub for hub in self._hubs if hub.down and self._may_ask(hub)]
        if not self._remaining or not self._down_delays:
            return None
        wait = self._jitter(self._down_delays.pop(0))
        return self._step(self._remaining[0], self._remaining[0].url, wait=wait)

    def _next_round_of_full(self) -> Step | None:
        """Return the first step of another round, among the hubs that had no room."""
        self._remaining = [hub for hub in self._hubs if hub.full and self._may_ask(hub)]
        if not self._remaining or not self._full_delays:
            return None
        return self._step(self._remaining[0], self._remaining[0].url, wait=self._full_delays.pop(0))

    def _step(self, hub: _Hub, address: str, *, wait: float = 0.0, pinned: bool = False) -> Step:
        hub.requests += 1
        hub.address = address
        self._requests[address] += 1
        return Step(hub.url, address, wait, pinned)
