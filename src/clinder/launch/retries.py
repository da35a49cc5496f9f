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
    ForgeFailed,
    HubAway,
    HubBroken,
    HubBusy,
    HubError,
    HubFull,
    HubUnreachable,
    LaunchFailed,
    LoginRequired,
    NetworkRefused,
    QuotaReached,
)

AGAIN_AFTER = (2.0, 4.0)
"""Seconds, give or take a quarter, before the same hub is asked again after it broke."""
AWAY_AFTER = (8.0, 15.0, 15.0, 15.0)
"""Seconds, give or take a quarter, before the hubs that stay away are asked again: with those above
about a minute, in which a hub restarts."""
LATER_AFTER = (60.0, 240.0)
"""Seconds before the hubs that had no room are asked again."""

_BROKE = (HubUnreachable, HubBroken)
_LATER = (HubFull, QuotaReached)
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
    asked: int = 0
    broke: int = 0
    missed: int = 0
    away: bool = False
    later: bool = False
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
    chance: Callable[[], float]
    _known: list[_Hub] = field(init=False)
    _left: list[_Hub] = field(init=False)
    _waits: list[float] = field(init=False)
    _away: list[float] = field(init=False)
    _reached: Counter[str] = field(init=False, default_factory=Counter)

    def __post_init__(self) -> None:
        self._known = [_Hub(url, self.limit) for url in self.hubs]
        self._left = list(self._known)
        self._waits = list(LATER_AFTER)
        self._away = list(AWAY_AFTER) if self.limit > 1 else []

    def first(self) -> Step:
        """Return the first build request, of all or of those that are left."""
        return self._step(self._left[0], self._left[0].url)

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
        hub = self._left[0]
        hub.away, hub.later = isinstance(error, HubAway), isinstance(error, _LATER)
        if hub.away:
            return self._missed(hub)
        hub.member = member
        self._reached[member] += 1
        if isinstance(error, _BROKE) or (isinstance(error, ForgeFailed) and not launching):
            if launching:  # each such request may leave a server behind
                hub.limit = min(hub.limit, hub.asked + 1)
            if self._may_ask(hub):
                hub.broke += 1
                return self._again(hub, hub.broke)
        if hub.later and self._may_ask(hub) and not hub.redirected and (others := members()):
            hub.redirected = True
            return self._step(hub, others[int(self.chance() * len(others))])
        return self._next()

    def _may_ask(self, hub: _Hub) -> bool:
        """Whether a hub was asked less than its limit, under its name or as another's member."""
        at = (self._reached[url] for url in (hub.url, hub.member) if url)
        return hub.asked < hub.limit and all(times < self.limit for times in at)

    def _missed(self, hub: _Hub) -> Step | None:
        """Return what to do after a request that found a hub away, and so was none."""
        hub.asked -= 1
        self._reached[hub.address] -= 1
        hub.missed += 1
        if hub.missed < self.limit:
            return self._again(hub, hub.missed)
        return self._next()

    def _again(self, hub: _Hub, times: int) -> Step:
        """Return the step at the same address after it failed so many times."""
        wait = self._about(AGAIN_AFTER[min(times, len(AGAIN_AFTER)) - 1])
        return self._step(hub, hub.address, wait=wait, pinned=True)

    def _about(self, seconds: float) -> float:
        return seconds * (0.75 + self.chance() / 2)

    def _next(self) -> Step | None:
        """Return the step at the next hub, or after the last one another round's first, if any."""
        self._left = [each for each in self._left[1:] if self._may_ask(each)]
        return self.first() if self._left else self._back() or self._later()

    def _back(self) -> Step | None:
        """Return the first step of another round, among the hubs that were away."""
        self._left = [hub for hub in self._known if hub.away and self._may_ask(hub)]
        if not self._left or not self._away:
            return None
        wait = self._about(self._away.pop(0))
        return self._step(self._left[0], self._left[0].url, wait=wait)

    def _later(self) -> Step | None:
        """Return the first step of another round, among the hubs that had no room."""
        self._left = [hub for hub in self._known if hub.later and self._may_ask(hub)]
        if not self._left or not self._waits:
            return None
        return self._step(self._left[0], self._left[0].url, wait=self._waits.pop(0))

    def _step(self, hub: _Hub, address: str, *, wait: float = 0.0, pinned: bool = False) -> Step:
        hub.asked += 1
        hub.address = address
        self._reached[address] += 1
        return Step(hub.url, address, wait, pinned)
