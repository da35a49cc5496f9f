"""Whom to ask next, and when: no hub is asked too often, whatever happens."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinder import errors
from clinder.errors import ClinderError
from clinder.launch.retries import BROKEN_DELAYS, DOWN_DELAYS, FULL_DELAYS, Retries, Step

A, B, MEMBER = "https://a.example/", "https://b.example/", "https://member.example/"
KINDS: tuple[type[ClinderError], ...] = (
    errors.HubUnreachable,
    errors.HubDown,
    errors.HubBroken,
    errors.RepositoryHostFailed,
    errors.HubFull,
    errors.QuotaReached,
    errors.RateLimited,
    errors.LaunchFailed,
    errors.ServerNotReady,
    errors.ServerUnusable,
    errors.NetworkRefused,
    errors.BotsRefused,
    errors.LoginRequired,
    errors.NotABinderHub,
    errors.CertificateUntrusted,
)


def steps(
    *kinds: type[ClinderError],
    hubs: tuple[str, ...] = (A, B),
    launching: bool = False,
    members: tuple[str, ...] = (),
    chance: float = 0.5,
) -> list[Step | None]:
    """Return the steps of a launch whose requests end in these errors, one after another."""
    retries = Retries(hubs, 3, lambda: chance)
    made: list[Step | None] = [retries.first()]
    for kind in kinds:
        made.append(retries.after(kind("x"), launching=launching, members=lambda: members))
    return made


def reached(hubs: tuple[str, ...], *kinds: type[ClinderError]) -> list[Step | None]:
    """Return the steps where the hub A is a federation that gives all requests to one member."""
    retries = Retries(hubs, 3, lambda: 0.5)
    step: Step | None = retries.first()
    made = [step]
    for kind in kinds:
        member = MEMBER if step and step.address == A else ""
        step = retries.after(kind("x"), launching=False, member=member, members=lambda: ())
        made.append(step)
    return made


def test_what_broke_is_asked_again_at_once_with_its_cookies() -> None:
    broken = [errors.HubUnreachable, errors.HubBroken, errors.RepositoryHostFailed]
    assert steps(*broken) == [Step(A, A), Step(A, A, 2, True), Step(A, A, 4, True), Step(B, B)]


@pytest.mark.parametrize(
    "kind", [errors.HubUnreachable, errors.HubBroken, errors.RepositoryHostFailed]
)
def test_each_way_to_break_is_asked_again(kind: type[ClinderError]) -> None:
    assert steps(kind) == [Step(A, A), Step(A, A, 2, True)]


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 1.5), (0.999, 2.499)])
def test_the_wait_is_a_quarter_more_or_less(chance: float, seconds: float) -> None:
    again = steps(errors.HubBroken, chance=chance)[1]
    assert again is not None
    assert again.wait == pytest.approx(seconds)


def test_what_broke_while_launching_is_asked_once_more_only() -> None:
    broken = [errors.HubUnreachable, errors.HubUnreachable]
    made = steps(*broken, launching=True, hubs=(A,))
    assert made == [Step(A, A), Step(A, A, 2, True), None]


def test_a_forge_that_fails_while_launching_is_none_that_an_orphan_is_risked_for() -> None:
    assert steps(errors.RepositoryHostFailed, launching=True) == [Step(A, A), Step(B, B)]


@pytest.mark.parametrize("kind", [errors.HubFull, errors.QuotaReached])
def test_no_room_is_asked_for_at_the_next_hub_and_then_after_the_waits(
    kind: type[ClinderError],
) -> None:
    assert steps(*[kind] * 6) == [
        Step(A, A),
        Step(B, B),
        Step(A, A, 60),
        Step(B, B),
        Step(A, A, 240),
        Step(B, B),
        None,
    ]


def test_only_the_hubs_without_room_are_waited_for() -> None:
    made = steps(errors.HubFull, errors.LaunchFailed, errors.HubFull, errors.HubFull)
    assert made == [Step(A, A), Step(B, B), Step(A, A, 60), Step(A, A, 240), None]


def test_a_hub_that_is_away_is_tried_for_a_minute() -> None:
    assert steps(*[errors.HubDown] * 7, hubs=(A,)) == [
        Step(A, A),
        Step(A, A, 2, True),
        Step(A, A, 4, True),
        Step(A, A, 8),  # anew, as a federation may give it to another member by now
        Step(A, A, 15),
        Step(A, A, 15),
        Step(A, A, 15),
        None,
    ]


def test_the_other_hubs_are_asked_before_one_that_stays_away_is_waited_for() -> None:
    away = [errors.HubDown] * 3
    assert steps(*away, errors.LaunchFailed, errors.HubDown, errors.HubDown)[3:] == [
        Step(B, B),
        Step(A, A, 8),
        Step(A, A, 15),
        Step(A, A, 15),
    ]


def test_all_hubs_that_are_away_are_tried_in_each_round() -> None:
    made = steps(*[errors.HubDown] * 8)
    assert made[5:] == [Step(B, B, 4, True), Step(A, A, 8), Step(B, B), Step(A, A, 15)]


def test_what_found_the_hub_away_was_no_build_request() -> None:
    away = [errors.HubDown] * 3
    made = steps(errors.HubUnreachable, *away, *[errors.HubBroken] * 2, hubs=(A,))
    assert made == [
        Step(A, A),
        Step(A, A, 2, True),
        Step(A, A, 2, True),
        Step(A, A, 4, True),
        Step(A, A, 8),
        Step(A, A, 4, True),
        None,
    ]


def test_what_found_the_hub_away_takes_none_of_its_three_build_requests() -> None:
    made = steps(errors.HubDown, *[errors.HubUnreachable] * 3, hubs=(A,))
    assert made == [
        Step(A, A),
        Step(A, A, 2, True),
        Step(A, A, 2, True),
        Step(A, A, 4, True),
        None,
    ]


def test_a_federation_that_was_away_has_as_many_requests_left_as_before() -> None:
    full = errors.HubFull
    made = steps(full, full, errors.HubDown, full, hubs=(A,), members=(MEMBER,))
    assert made == [
        Step(A, A),
        Step(A, MEMBER),
        Step(A, A, 60),
        Step(A, A, 2, True),
        None,
    ]


def test_a_hub_without_room_is_waited_for_after_those_that_are_away() -> None:
    retries = Retries((A, B), 2, lambda: 0.5)
    kinds = (errors.HubFull, *[errors.HubDown] * 6)
    made: list[Step | None] = [retries.first()]
    made += [retries.after(kind("x"), launching=False, members=lambda: ()) for kind in kinds]
    assert made == [
        Step(A, A),
        Step(B, B),
        Step(B, B, 2, True),
        *(Step(B, B, wait) for wait in DOWN_DELAYS),
        Step(A, A, 60),
    ]


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        (errors.HubBroken, [Step(A, A, 2, True), Step(A, A, 4, True), Step(A, A, 4, True), None]),
        (errors.HubFull, [Step(A, A, 60), Step(A, A, 240), None]),
    ],
)
def test_what_breaks_more_often_waits_no_longer_and_no_room_is_waited_for_twice_only(
    kind: type[ClinderError], made: list[Step | None]
) -> None:
    retries = Retries((A,), 4, lambda: 0.5)
    retries.first()
    for step in made:
        assert retries.after(kind("x"), launching=False, members=lambda: ()) == step


def test_with_one_attempt_nothing_is_tried_again() -> None:
    retries = Retries((A,), 1, lambda: 0.5)
    retries.first()
    assert retries.after(errors.HubDown("x"), launching=False, members=lambda: ()) is None


def test_a_federation_without_room_is_asked_at_one_other_member() -> None:
    """That is one of its three build requests."""
    made = steps(*[errors.HubFull] * 3, hubs=(A,), members=(MEMBER,))
    assert made == [Step(A, A), Step(A, MEMBER), Step(A, A, 60), None]


@pytest.mark.parametrize(("chance", "member"), [(0.0, MEMBER), (0.49, MEMBER), (0.5, B), (0.99, B)])
def test_the_other_member_is_drawn_by_chance(chance: float, member: str) -> None:
    made = steps(errors.HubFull, hubs=(A,), members=(MEMBER, B), chance=chance)
    assert made == [Step(A, A), Step(A, member)]


def test_a_member_that_broke_is_asked_again_itself() -> None:
    """The build that is to be attached to goes on there."""
    made = steps(errors.HubFull, errors.HubUnreachable, hubs=(A,), members=(MEMBER,))
    assert made == [Step(A, A), Step(A, MEMBER), Step(A, MEMBER, 2, True)]


ELSEWHERE = [
    errors.RateLimited,
    errors.LaunchFailed,
    errors.NetworkRefused,
    errors.BotsRefused,
    errors.LoginRequired,
    errors.NotABinderHub,
]


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_what_lies_at_the_hub_is_tried_at_the_next(kind: type[ClinderError]) -> None:
    assert steps(kind, kind) == [Step(A, A), Step(B, B), None]


@pytest.mark.parametrize(
    "kind",
    [errors.RefNotFound, errors.Banned, errors.BuildFailed, errors.TimedOut, errors.Cancelled],
)
def test_what_no_hub_can_mend_is_final(kind: type[ClinderError]) -> None:
    assert steps(kind) == [Step(A, A), None]


def test_a_member_that_is_also_named_is_asked_no_more_often_for_that() -> None:
    made = reached((A, MEMBER), *[errors.HubFull] * 3)
    assert [step and step.address for step in made] == [A, MEMBER, A, None]


def test_a_member_that_is_also_named_has_as_many_requests_left_when_it_was_away() -> None:
    full = errors.HubFull
    made = reached((A, MEMBER), full, errors.HubDown, full, full)
    assert [step and step.address for step in made] == [A, MEMBER, MEMBER, A, None]


def test_a_member_that_is_also_named_is_not_waited_for_once_it_was_asked_as_a_member() -> None:
    made = reached((MEMBER, A), *[errors.HubDown] * 3, *[errors.HubBroken] * 3)
    assert [step and step.address for step in made] == [*[MEMBER] * 3, *[A] * 3, None]


@given(
    hubs=st.lists(st.sampled_from([A, B, "https://c.example/"]), min_size=1, unique=True),
    limit=st.integers(1, 3),
    ends=st.lists(st.tuples(st.sampled_from(KINDS), st.booleans()), min_size=40, max_size=40),
    members=st.sampled_from([(), (MEMBER,), (MEMBER, "https://other.example/")]),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_whatever_happens_it_ends_and_no_hub_is_asked_too_often(
    hubs: list[str],
    limit: int,
    ends: list[tuple[type[ClinderError], bool]],
    members: tuple[str, ...],
    chance: float,
) -> None:
    retries = Retries(hubs, limit, lambda: chance)
    step: Step | None = retries.first()
    asked: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    limited: set[str] = set()
    waited = 0.0
    for kind, launching in ends:
        if step is None:
            break
        assert step.hub not in limited
        (missed if kind is errors.HubDown else asked)[step.hub] += 1
        waited += step.wait
        if kind is errors.RateLimited:
            limited.add(step.hub)
        step = retries.after(kind("x"), launching=launching, members=lambda: members)
    assert step is None
    assert set(asked | missed) == set(hubs)
    assert max(asked.values(), default=0) <= limit
    assert max(missed.values(), default=0) <= limit + len(DOWN_DELAYS) + len(FULL_DELAYS) + limit
    again = len(hubs) * 2 * sum(BROKEN_DELAYS)  # after it broke, and while it is away
    assert waited <= sum(FULL_DELAYS) + 1.25 * (sum(DOWN_DELAYS) + again)
