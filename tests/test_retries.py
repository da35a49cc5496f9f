"""Which hub is tried next, and when; no hub gets too many requests, whatever happens."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinder import errors
from clinder.errors import ClinderError
from clinder.launch.retries import (
    BROKEN_DELAYS,
    DOWN_DELAYS,
    FULL_DELAYS,
    REBUILD_DELAYS,
    Retries,
    Step,
)

A, B, MEMBER = "https://a.example/", "https://b.example/", "https://member.example/"
BROKEN = (errors.RepositoryHostFailed, errors.HubUnreachable, errors.HubBroken)
FULL = (errors.HubFull, errors.QuotaReached)
INTERRUPTED = (errors.BuilderDied, errors.MirrorUnreachable, errors.BuildStalled)
NEXT_HUB = (
    errors.RateLimited,
    errors.LaunchFailed,
    errors.ServerNotReady,
    errors.ServerUnusable,
    errors.Banned,
    errors.NetworkRefused,
    errors.BotsRefused,
    errors.LoginRequired,
    errors.NotABinderHub,
    errors.CertificateUntrusted,
)
FINAL = (
    errors.RefNotFound,
    errors.CommitNotCloned,
    errors.BuildFailed,
    errors.TimedOut,
    errors.Cancelled,
)


def steps(
    *failures: type[ClinderError],
    hubs: tuple[str, ...] = (A, B),
    limit: int = 3,
    launching: bool = False,
    member_of_a: str = "",
    other_members: tuple[str, ...] = (),
    random: float = 0.5,
    has_fallback: bool = False,
    spare: float = 1000.0,
) -> list[Step | None]:
    """Return all steps of a launch whose requests fail in this order.

    ``member_of_a`` is the member to which the hub A, a federation, redirects its requests.
    ``has_fallback``: another commit can replace the requested one.
    """
    retries = Retries(hubs, limit, lambda: random)
    step: Step | None = retries.first_step()
    result = [step]
    for failure in failures:
        step = retries.step_after(
            failure("x"),
            launching=launching,
            member=member_of_a if step and step.address == A else "",
            other_members=lambda: other_members,
            has_fallback=has_fallback and step is not None and not step.fallback,
            spare=spare,
        )
        result.append(step)
    return result


# A hub that broke


def test_a_broken_hub_is_retried_with_its_cookies_then_the_next_hub_is_tried() -> None:
    assert steps(*BROKEN) == [Step(A, A), Step(A, A, 2, True), Step(A, A, 4, True), Step(B, B)]


@pytest.mark.parametrize(("random", "seconds"), [(0.0, 1.5), (0.999, 2.499)])
def test_the_delay_varies_by_a_quarter(random: float, seconds: float) -> None:
    retry = steps(errors.HubBroken, random=random)[1]
    assert retry is not None
    assert retry.wait == pytest.approx(seconds)


def test_a_hub_that_broke_while_launching_is_retried_once() -> None:
    assert steps(*[errors.HubUnreachable] * 2, launching=True, hubs=(A,)) == [
        Step(A, A),
        Step(A, A, 2, True),
        None,
    ]


def test_a_hub_whose_git_failed_is_retried_once() -> None:
    assert steps(*[errors.GitHostFailed] * 2) == [Step(A, A), Step(A, A, 2, True), Step(B, B)]


def test_a_hub_whose_requests_a_repositorys_host_limits_is_not_retried() -> None:
    assert steps(*[errors.HostRateLimited] * 2) == [Step(A, A), Step(B, B), None]


def test_repository_host_failure_while_launching_is_not_retried() -> None:
    """A retry might leave another server behind."""
    assert steps(errors.RepositoryHostFailed, launching=True) == [Step(A, A), Step(B, B)]


def test_the_delays_of_a_broken_hub_stop_growing() -> None:
    assert steps(*[errors.HubBroken] * 4, hubs=(A,), limit=4) == [
        Step(A, A),
        *(Step(A, A, wait, True) for wait in (2, 4, 4)),
        None,
    ]


# A build that was interrupted


@pytest.mark.parametrize("failure", INTERRUPTED)
def test_an_interrupted_build_is_requested_once_more_then_on_the_next_hub(
    failure: type[ClinderError],
) -> None:
    """The cookies lead to the same member, where the finished layers are cached."""
    assert steps(*[failure] * 4, other_members=(MEMBER,)) == [
        Step(A, A),
        Step(A, A, 45, True),
        Step(B, B),
        Step(B, B, 45, True),
        None,
    ]


@pytest.mark.parametrize(("random", "seconds"), [(0.0, 30), (0.999, 59.97)])
def test_a_build_is_requested_again_after_30_to_60_s(random: float, seconds: float) -> None:
    retry = steps(errors.BuilderDied, random=random)[1]
    assert retry is not None
    assert retry.wait == pytest.approx(seconds)


@pytest.mark.parametrize(("spare", "retried"), [(45, True), (44.9, False), (-100, False)])
def test_a_build_is_requested_again_only_if_there_is_time_for_it(
    spare: float, retried: bool
) -> None:
    retries = Retries((A, B), 3, lambda: 0.5)
    retries.first_step()
    step = retries.step_after(
        errors.BuilderDied("x"), launching=False, member="", other_members=tuple, spare=spare
    )
    assert step == (Step(A, A, 45, True) if retried else Step(B, B))
    assert retries.lacks_time is not retried
    retries.step_after(errors.HubBroken("x"), launching=False, member="", other_members=tuple)
    assert not retries.lacks_time


def test_without_spare_time_the_next_hub_is_still_tried() -> None:
    assert steps(errors.BuilderDied, errors.BuilderDied, spare=0) == [Step(A, A), Step(B, B), None]


def test_an_interrupted_build_is_one_of_three_requests() -> None:
    failures = (errors.HubUnreachable, errors.HubUnreachable, errors.BuilderDied)
    assert steps(*failures, hubs=(A,), spare=0) == [
        Step(A, A),
        Step(A, A, 2, True),
        Step(A, A, 4, True),
        None,
    ]
    assert steps(errors.BuilderDied, errors.HubUnreachable, errors.BuilderDied, hubs=(A,)) == [
        Step(A, A),
        Step(A, A, 45, True),
        Step(A, A, 2, True),
        None,
    ]


def test_with_one_attempt_an_interrupted_build_is_final_but_not_for_lack_of_time() -> None:
    retries = Retries((A,), 1, lambda: 0.5)
    retries.first_step()
    assert not retries.step_after(
        errors.BuilderDied("x"), launching=False, member="", other_members=tuple, spare=0
    )
    assert not retries.lacks_time


# A hub that is full


@pytest.mark.parametrize("failure", FULL)
def test_if_all_hubs_are_full_they_are_tried_again_after_each_delay(
    failure: type[ClinderError],
) -> None:
    assert steps(*[failure] * 6) == [
        Step(A, A),
        Step(B, B),
        Step(A, A, 60),
        Step(B, B),
        Step(A, A, 240),
        Step(B, B),
        None,
    ]


def test_only_the_full_hubs_are_tried_again() -> None:
    failures = (errors.HubFull, errors.LaunchFailed, errors.HubFull, errors.HubFull)
    assert steps(*failures) == [Step(A, A), Step(B, B), Step(A, A, 60), Step(A, A, 240), None]


def test_full_hubs_are_tried_again_twice_at_most() -> None:
    assert steps(*[errors.HubFull] * 3, hubs=(A,), limit=4)[1:] == [
        Step(A, A, 60),
        Step(A, A, 240),
        None,
    ]


# A hub that is down


def test_a_hub_that_is_down_is_retried_for_a_minute() -> None:
    assert steps(*[errors.HubDown] * 7, hubs=(A,)) == [
        Step(A, A),
        Step(A, A, 2, True),
        Step(A, A, 4, True),
        Step(A, A, 8),  # unpinned, because a federation might choose another member by now
        Step(A, A, 15),
        Step(A, A, 15),
        Step(A, A, 15),
        None,
    ]


def test_the_other_hubs_are_tried_before_a_hub_that_stays_down() -> None:
    failures = [*[errors.HubDown] * 3, errors.LaunchFailed, *[errors.HubDown] * 2]
    assert steps(*failures)[3:] == [Step(B, B), Step(A, A, 8), Step(A, A, 15), Step(A, A, 15)]


def test_each_round_tries_all_hubs_that_are_down() -> None:
    assert steps(*[errors.HubDown] * 8)[5:] == [
        Step(B, B, 4, True),
        Step(A, A, 8),
        Step(B, B),
        Step(A, A, 15),
    ]


def test_requests_to_a_hub_that_is_down_do_not_count() -> None:
    failures = (errors.HubUnreachable, *[errors.HubDown] * 3, *[errors.HubBroken] * 2)
    assert steps(*failures, hubs=(A,)) == [
        Step(A, A),
        Step(A, A, 2, True),
        Step(A, A, 2, True),
        Step(A, A, 4, True),
        Step(A, A, 8),
        Step(A, A, 4, True),
        None,
    ]


def test_after_being_down_a_hub_still_gets_its_three_requests() -> None:
    assert steps(errors.HubDown, *[errors.HubUnreachable] * 3, hubs=(A,)) == [
        Step(A, A),
        Step(A, A, 2, True),
        Step(A, A, 2, True),
        Step(A, A, 4, True),
        None,
    ]


def test_hubs_that_are_down_are_tried_again_before_full_ones() -> None:
    assert steps(errors.HubFull, *[errors.HubDown] * 6, limit=2) == [
        Step(A, A),
        Step(B, B),
        Step(B, B, 2, True),
        *(Step(B, B, wait) for wait in DOWN_DELAYS),
        Step(A, A, 60),
    ]


def test_with_one_attempt_a_hub_that_is_down_is_not_retried() -> None:
    assert steps(errors.HubDown, hubs=(A,), limit=1) == [Step(A, A), None]


# A federation


def test_one_other_member_of_a_full_federation_is_tried() -> None:
    """It counts as one of the federation's three requests."""
    assert steps(*[errors.HubFull] * 3, hubs=(A,), other_members=(MEMBER,)) == [
        Step(A, A),
        Step(A, MEMBER),
        Step(A, A, 60),
        None,
    ]


@pytest.mark.parametrize(("random", "member"), [(0.0, MEMBER), (0.49, MEMBER), (0.5, B), (0.99, B)])
def test_the_other_member_is_chosen_at_random(random: float, member: str) -> None:
    assert steps(errors.HubFull, hubs=(A,), other_members=(MEMBER, B), random=random) == [
        Step(A, A),
        Step(A, member),
    ]


def test_a_broken_member_is_retried_itself_because_the_build_is_there() -> None:
    failures = (errors.HubFull, errors.HubUnreachable)
    assert steps(*failures, hubs=(A,), other_members=(MEMBER,)) == [
        Step(A, A),
        Step(A, MEMBER),
        Step(A, MEMBER, 2, True),
    ]


def test_a_request_while_a_federation_was_down_does_not_count() -> None:
    failures = (errors.HubFull, errors.HubFull, errors.HubDown, errors.HubFull)
    assert steps(*failures, hubs=(A,), other_members=(MEMBER,)) == [
        Step(A, A),
        Step(A, MEMBER),
        Step(A, A, 60),
        Step(A, A, 2, True),
        None,
    ]


@pytest.mark.parametrize(
    ("hubs", "failures", "expected"),
    [
        ((A, MEMBER), [errors.HubFull] * 3, [A, MEMBER, A, None]),
        (
            (A, MEMBER),
            [errors.HubFull, errors.HubDown, errors.HubFull, errors.HubFull],
            [A, MEMBER, MEMBER, A, None],
        ),
        (
            (MEMBER, A),
            [*[errors.HubDown] * 3, *[errors.HubBroken] * 3],
            [*[MEMBER] * 3, *[A] * 3, None],
        ),
    ],
    ids=["full", "down once", "down first"],
)
def test_requests_through_a_federation_count_for_its_member_too(
    hubs: tuple[str, ...], failures: list[type[ClinderError]], expected: list[str | None]
) -> None:
    result = steps(*failures, hubs=hubs, member_of_a=MEMBER)
    assert [each.address if each else None for each in result] == expected


# A refused commit


def test_the_hub_that_refuses_a_commit_is_asked_for_the_other_one_at_once() -> None:
    assert steps(errors.Banned, errors.LaunchFailed, has_fallback=True) == [
        Step(A, A),
        Step(A, A, fallback=True),
        Step(B, B),
    ]


def test_a_commit_that_cannot_be_cloned_is_requested_from_no_other_hub() -> None:
    failures = (errors.CommitNotCloned, errors.LaunchFailed)
    assert steps(failures[0]) == [Step(A, A), None]
    assert steps(*failures, has_fallback=True) == [
        Step(A, A),
        Step(A, A, fallback=True),
        Step(B, B, fallback=True),
    ]
    assert steps(*failures, limit=1, has_fallback=True) == [
        Step(A, A),
        Step(B, B, fallback=True),
        None,
    ]


def test_each_hub_is_asked_for_the_requested_commit_first() -> None:
    assert steps(*[errors.Banned] * 4, has_fallback=True) == [
        Step(A, A),
        Step(A, A, fallback=True),
        Step(B, B),
        Step(B, B, fallback=True),
        None,
    ]


def test_a_retry_is_for_the_same_commit() -> None:
    failures = (errors.Banned, errors.HubFull, errors.HubDown, errors.HubBroken)
    assert steps(*failures, hubs=(A,), has_fallback=True) == [
        Step(A, A),
        Step(A, A, fallback=True),
        Step(A, A, 60, fallback=True),
        Step(A, A, 2, True, fallback=True),
        None,
    ]


def test_the_other_commit_counts_as_a_request() -> None:
    refused = [errors.Banned] * 2
    assert steps(*refused, limit=1, has_fallback=True) == [Step(A, A), Step(B, B), None]
    hubs, member = (A, MEMBER), MEMBER
    assert steps(*refused, hubs=hubs, member_of_a=member, limit=2, has_fallback=True) == [
        Step(A, A),
        Step(A, A, fallback=True),
        None,
    ]


# Other failures


@pytest.mark.parametrize("failure", NEXT_HUB)
def test_a_failure_that_concerns_one_hub_leads_to_the_next(failure: type[ClinderError]) -> None:
    assert steps(failure, failure, other_members=(MEMBER,)) == [Step(A, A), Step(B, B), None]


@pytest.mark.parametrize("failure", FINAL)
def test_a_failure_that_every_hub_would_repeat_is_final(failure: type[ClinderError]) -> None:
    assert steps(failure) == [Step(A, A), None]


@given(
    hubs=st.lists(st.sampled_from([A, B, "https://c.example/"]), min_size=1, unique=True),
    limit=st.integers(1, 3),
    failures=st.lists(
        st.tuples(
            st.sampled_from([*BROKEN, *INTERRUPTED, *FULL, *NEXT_HUB, errors.HubDown]),
            st.booleans(),
            st.booleans(),
        ),
        min_size=40,
        max_size=40,
    ),
    members=st.sampled_from([(), (MEMBER,), (MEMBER, "https://other.example/")]),
    random=st.floats(0, 1, exclude_max=True),
)
def test_every_launch_ends_and_no_hub_gets_too_many_requests(
    hubs: list[str],
    limit: int,
    failures: list[tuple[type[ClinderError], bool, bool]],
    members: tuple[str, ...],
    random: float,
) -> None:
    retries = Retries(hubs, limit, lambda: random)
    step: Step | None = retries.first_step()
    requests: Counter[str] = Counter()
    unreached: Counter[str] = Counter()
    rate_limited: set[str] = set()
    waited = 0.0
    for failure, launching, has_fallback in failures:
        if step is None:
            break
        assert step.hub not in rate_limited
        (unreached if failure is errors.HubDown else requests)[step.hub] += 1
        waited += step.wait
        if failure is errors.RateLimited:
            rate_limited.add(step.hub)
        step = retries.step_after(
            failure("x"),
            launching=launching,
            member="",
            other_members=lambda: members,
            has_fallback=has_fallback and not step.fallback,
            spare=1000.0,
        )
    assert step is None
    assert set(requests | unreached) == set(hubs)
    assert max(requests.values(), default=0) <= limit
    assert max(unreached.values(), default=0) <= limit + len(DOWN_DELAYS) + len(FULL_DELAYS) + limit
    retry_delays = len(hubs) * 2 * sum(BROKEN_DELAYS)  # once while broken, once while down
    rebuild_delays = len(hubs) * REBUILD_DELAYS[1]
    assert waited <= sum(FULL_DELAYS) + rebuild_delays + 1.25 * (sum(DOWN_DELAYS) + retry_delays)
