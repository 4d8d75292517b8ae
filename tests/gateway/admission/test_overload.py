"""What becomes of calls when more come than can be served; in virtual time."""

import random
from collections.abc import Callable

import pytest

from services.gateway.admission.gate import Gate
from services.gateway.admission.priority import Priority
from services.gateway.policy import AdmissionPolicy
from tests.gateway.admission.load import Kind, Outcome, drive, slots
from tests.gateway.admission.virtual_time import run

SECONDS = 20.0


def served(bounds: AdmissionPolicy, *kinds: Kind, count: int = 8, seconds: float = 0.1) -> list[Outcome]:
    async def main() -> list[Outcome]:
        return await drive(bounds, slots(count, lambda: seconds), list(kinds), seconds=SECONDS)

    return run(main())


@pytest.mark.parametrize(
    ("max_calls", "seconds"),
    [(8, lambda chance: 0.1), (16, lambda chance: 0.1), (16, lambda chance: chance.expovariate(10))],
    ids=["exact", "double", "varying"],
)
def test_at_five_times_the_capacity_goodput_stays_and_hardly_any_admitted_call_is_late(
    max_calls: int, seconds: Callable[[random.Random], float]
) -> None:
    async def main() -> tuple[Outcome, Outcome]:
        bounds, chance = AdmissionPolicy(max_calls=max_calls), random.Random(5)
        gate, work = Gate(lambda: bounds), slots(8, lambda: seconds(chance))
        (peak,) = await drive(bounds, work, [Kind(80, timeout_s=1)], seconds=SECONDS, gate=gate)
        (overload,) = await drive(bounds, work, [Kind(400, timeout_s=1)], seconds=SECONDS, gate=gate)
        return peak, overload

    peak, overload = run(main())
    assert overload.in_time >= 0.95 * peak.in_time
    assert overload.late <= 0.01 * overload.admitted
    assert overload.p99_spent <= 1
    assert overload.refused > 0.7 * overload.asked


def test_bounds_far_beyond_the_capacity_do_not_let_calls_in_that_end_late() -> None:
    (outcome,) = served(AdmissionPolicy(max_calls=128), Kind(400, timeout_s=1))
    assert outcome.in_time >= 0.9 * 80 * SECONDS
    assert outcome.late <= 128  # those let in before the first was seen to be late


def test_below_the_capacity_nobody_is_refused() -> None:
    (outcome,) = served(AdmissionPolicy(max_calls=8), Kind(56, timeout_s=1))
    assert (outcome.refused, outcome.late) == (0, 0)


def test_tenants_share_by_their_weights_whatever_they_ask_for() -> None:
    greedy, modest = served(AdmissionPolicy(max_calls=8), Kind(720, tenant="greedy"), Kind(160, "modest", share=3))
    assert modest.in_time / greedy.in_time == pytest.approx(3, rel=0.1)
    assert greedy.in_time + modest.in_time >= 0.95 * 80 * SECONDS


def test_what_a_tenant_does_not_ask_for_is_the_others() -> None:
    greedy, modest = served(AdmissionPolicy(max_calls=8), Kind(720, tenant="greedy"), Kind(20, tenant="modest"))
    assert modest.in_time == modest.asked
    assert greedy.in_time >= 0.9 * 60 * SECONDS


def test_large_calls_cost_more_of_a_share() -> None:
    bounds = AdmissionPolicy(max_calls=8, max_pixels=8_000_000)
    large, small = served(bounds, Kind(200, tenant="large", pixels=4_000_000), Kind(400, tenant="small"))
    assert small.in_time / large.in_time == pytest.approx(4, rel=0.15)


def test_the_higher_priority_is_served_first_and_the_lowest_a_little() -> None:
    high, normal, low = served(
        AdmissionPolicy(max_calls=8),
        Kind(60, priority=Priority.HIGH, timeout_s=5),
        Kind(200, priority=Priority.NORMAL, timeout_s=5),
        Kind(200, priority=Priority.LOW, timeout_s=5),
    )
    assert high.in_time == high.asked
    assert low.in_time == pytest.approx(0.05 * 80 * SECONDS, rel=0.3)
    assert normal.in_time > 3 * low.in_time


def test_priority_gives_no_right_to_all() -> None:
    high, low = served(
        AdmissionPolicy(max_calls=8),
        Kind(400, priority=Priority.HIGH, timeout_s=5),
        Kind(100, priority=Priority.LOW, timeout_s=5),
    )
    assert low.in_time >= 0.03 * 80 * SECONDS
    assert high.in_time >= 0.9 * 80 * SECONDS


def test_a_tenant_has_no_more_than_its_part_while_others_wait() -> None:
    bounds = AdmissionPolicy(max_calls=8, tenant_share=0.5)
    heavy, other = served(bounds, Kind(300, tenant="heavy", share=100), Kind(300, tenant="other", share=1))
    assert other.in_time >= 0.85 * 40 * SECONDS
    assert heavy.in_time >= 0.85 * 40 * SECONDS
