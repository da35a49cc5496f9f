"""Decide, after a failed build request, which hub to try next, and when.

The hubs are tried in rounds. In a round, each hub gets its turn:

- If it **broke** (a dropped stream, an internal error), it is retried after BROKEN_DELAYS, but only
  once if further retries would do harm or are hopeless.
- If it is **down**, it is retried after the same delays. Such requests do not count.
- If its **build was interrupted** (the builder died, a server was unreachable, the build stalled),
  it is retried once, after a part of REBUILD_DELAYS and if there is time for another build.
- If it is a federation and its member is **full**, one other member is tried, once per launch.
- If it **refuses a fork's commit** or cannot clone it, the target repository's commit is tried at
  once, if there is one with the same environment.
- Otherwise, or if it has no requests left, the next hub has its turn.

After the last hub's turn, another round starts: after one of DOWN_DELAYS with the hubs that are
down, or, if there are none or no delays left, after one of FULL_DELAYS with those that are full.
An error that another hub would repeat ends the launch.

This module alone counts build requests: a BinderHub allows ten an hour from one address, and every
reconnect is one (``ratelimit.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from clinder import errors

BROKEN_DELAYS = (2.0, 4.0)
"""Seconds, plus or minus a quarter, before a hub that broke or is down is retried."""
DOWN_DELAYS = (8.0, 15.0, 15.0, 15.0)
"""Seconds, plus or minus a quarter, before each round of the hubs that are down. Together with
:data:`BROKEN_DELAYS` they make up about a minute, in which a hub restarts."""
REBUILD_DELAYS = (30.0, 60.0)
"""The shortest and the longest wait, in seconds, before an interrupted build is requested again."""
FULL_DELAYS = (60.0, 240.0)
"""Seconds before each round of the hubs that are full."""

_BROKEN = (errors.HubUnreachable, errors.HubBroken)
_FULL = (errors.HubFull, errors.QuotaReached)
TRY_FALLBACK = (errors.Banned, errors.CommitNotCloned)
"""Why a hub might not launch a fork's commit although it launches the target repository."""
_TRY_NEXT_HUB = (
    errors.Banned,
    errors.HubBusy,
    errors.HubError,
    errors.LaunchFailed,
    errors.NetworkRefused,
    errors.ProxyRefused,
    errors.BotsRefused,
    errors.LoginRequired,
)


@dataclass(frozen=True)
class Step:
    """The next build request: to ``address``, on behalf of ``hub``, after ``wait`` seconds.

    ``address`` differs from ``hub`` if the hub is a federation and one of its members is meant.
    If ``pinned``, the request sends the cookies of the previous one, and so reaches the same member
    and, if it still runs, the same build. If ``fallback``, it is for the commit that replaces a
    refused one.
    """

    hub: str
    address: str
    wait: float = 0.0
    pinned: bool = False
    fallback: bool = False


@dataclass
class _Hub:
    """A hub and the requests sent to it. ``down`` and ``full`` describe the last one.

    ``fallback``: it gets the commit that replaces the requested one.
    """

    url: str
    max_requests: int
    requests: int = 0
    last_address: str = ""
    last_member: str = ""
    times_broken: int = 0
    times_down: int = 0
    down: bool = False
    full: bool = False
    fallback: bool = False
    rebuilt: bool = False
    other_member_tried: bool = False


@dataclass
class Retries:
    """The state of a launch's hubs.

    ``limit`` is the maximum number of build requests to one hub; 1 means no retries at all.
    ``random`` returns a float in [0, 1).
    """

    hubs: Sequence[str]
    limit: int
    random: Callable[[], float]
    _hubs: list[_Hub] = field(init=False)
    _round: list[_Hub] = field(init=False)
    """The hubs of this round whose turn is not over. The first one's turn is now."""
    _down_delays: list[float] = field(init=False)
    _full_delays: list[float] = field(init=False)
    _requests_to: Counter[str] = field(init=False, default_factory=Counter)
    """The requests to each address. One address can be a hub and a member of another hub."""
    lacks_time: bool = field(init=False, default=False)
    """Whether the last step would have been another build, if there was time for one."""

    def __post_init__(self) -> None:
        self._hubs = [_Hub(url, self.limit) for url in self.hubs]
        self._round = list(self._hubs)
        self._down_delays = [self._jitter(each) for each in DOWN_DELAYS] if self.limit > 1 else []
        self._full_delays = list(FULL_DELAYS)

    def first_step(self) -> Step:
        """Return the first build request of the launch."""
        return self._begin_turn()

    def step_after(
        self,
        error: errors.ClinderError,
        *,
        launching: bool,
        member: str,
        other_members: Callable[[], Sequence[str]],
        has_fallback: bool = False,
        spare: float = 0.0,
    ) -> Step | None:
        """Return the step after the last one failed with ``error``, or ``None`` to give up.

        ``launching``: the hub was launching a server. ``member``: the address to which the hub, a
        federation, redirected the request. ``other_members`` returns its other members' addresses.
        ``has_fallback``: another commit can replace the one of this request.
        ``spare``: the time left besides that for another build, in seconds.
        """
        may_fall_back = has_fallback and isinstance(error, TRY_FALLBACK)
        if not may_fall_back and not isinstance(error, _TRY_NEXT_HUB):
            return None
        self.lacks_time = False
        hub = self._round[0]
        hub.down, hub.full = isinstance(error, errors.HubDown), isinstance(error, _FULL)
        if hub.down:
            return self._after_down(hub)
        hub.last_member = member
        self._requests_to[member] += 1
        if may_fall_back:
            return self._after_refused(hub, error)
        host_failed = isinstance(error, errors.RepositoryHostFailed) and not launching
        if isinstance(error, _BROKEN) or host_failed:
            # While launching, each retry might leave another server behind. What git failed to do
            # is rarely different a moment later.
            return self._after_broken(
                hub, once=launching or isinstance(error, errors.GitHostFailed)
            )
        if isinstance(error, errors.BuildInterrupted):
            return self._after_interrupted(hub, spare)
        return self._after_full(hub, other_members) if hub.full else self._end_turn()

    def _after_down(self, hub: _Hub) -> Step | None:
        """Discount a request that reached no hub; retry, or end the hub's turn."""
        hub.requests -= 1
        self._requests_to[hub.last_address] -= 1
        hub.times_down += 1
        return self._retry(hub, hub.times_down) if hub.times_down < self.limit else self._end_turn()

    def _after_broken(self, hub: _Hub, *, once: bool) -> Step | None:
        """Retry, but only one more time if ``once``, or end the hub's turn."""
        if once:
            hub.max_requests = min(hub.max_requests, hub.requests + 1)
        if not self._has_requests_left(hub):
            return self._end_turn()
        hub.times_broken += 1
        return self._retry(hub, hub.times_broken)

    def _after_refused(self, hub: _Hub, error: errors.ClinderError) -> Step | None:
        """Request the other commit from this hub, and from all if none can clone this commit."""
        for each in self._hubs if isinstance(error, errors.CommitNotCloned) else [hub]:
            each.fallback = True
        if self._has_requests_left(hub):
            return self._step(hub, hub.last_address)
        return self._end_turn()

    def _after_interrupted(self, hub: _Hub, spare: float) -> Step | None:
        """Build once more on the same hub, where the finished layers are cached."""
        shortest, longest = REBUILD_DELAYS
        wait = shortest + (longest - shortest) * self.random()
        if hub.rebuilt or not self._has_requests_left(hub):
            return self._end_turn()
        if wait > spare:
            self.lacks_time = True
            return self._end_turn()
        hub.rebuilt = True
        return self._step(hub, hub.last_address, wait=wait, pinned=True)

    def _after_full(self, hub: _Hub, other_members: Callable[[], Sequence[str]]) -> Step | None:
        """Try another member of a federation, or end the hub's turn."""
        may_try = not hub.other_member_tried and self._has_requests_left(hub)
        others = other_members() if may_try else ()
        if not others:
            return self._end_turn()
        hub.other_member_tried = True
        return self._step(hub, others[int(self.random() * len(others))])

    def _has_requests_left(self, hub: _Hub) -> bool:
        """Whether neither the hub nor the member that it chose has reached its limit."""
        addresses = (address for address in (hub.url, hub.last_member) if address)
        return hub.requests < hub.max_requests and all(
            self._requests_to[address] < self.limit for address in addresses
        )

    def _retry(self, hub: _Hub, failures: int) -> Step:
        """Return the step that repeats the last request after it failed this many times."""
        delay = BROKEN_DELAYS[min(failures, len(BROKEN_DELAYS)) - 1]
        return self._step(hub, hub.last_address, wait=self._jitter(delay), pinned=True)

    def _jitter(self, seconds: float) -> float:
        return seconds * (0.75 + self.random() / 2)

    def _end_turn(self) -> Step | None:
        self._round = [hub for hub in self._round[1:] if self._has_requests_left(hub)]
        if self._round:
            return self._begin_turn()
        down = [hub for hub in self._hubs if hub.down]
        full = [hub for hub in self._hubs if hub.full]
        return self._begin_round(down, self._down_delays) or self._begin_round(
            full, self._full_delays
        )

    def _begin_round(self, hubs: list[_Hub], delays: list[float]) -> Step | None:
        """Return the first step of another round, or ``None`` if no hub or no delay is left."""
        self._round = [hub for hub in hubs if self._has_requests_left(hub)]
        return self._begin_turn(wait=delays.pop(0)) if self._round and delays else None

    def _begin_turn(self, *, wait: float = 0.0) -> Step:
        hub = self._round[0]
        return self._step(hub, hub.url, wait=wait)

    def _step(self, hub: _Hub, address: str, *, wait: float = 0.0, pinned: bool = False) -> Step:
        hub.requests += 1
        hub.last_address = address
        self._requests_to[address] += 1
        return Step(hub.url, address, wait, pinned, hub.fallback)
