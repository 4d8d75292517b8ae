"""Shares of extra work, and recent times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.attempts.recent_times import LEAST, MOST, RecentTimes
from services.gateway.attempts.share_budget import ShareBudget


@given(
    share=st.sampled_from([0.0, 0.05, 0.1, 0.5, 1.0]),
    stock=st.integers(0, 20),
    calls=st.lists(st.booleans(), max_size=300),
)
def test_extras_keep_to_the_share_and_the_stock(share: float, stock: int, calls: list[bool]) -> None:
    budget, taken = ShareBudget(stock), 0
    for made, wants in enumerate(calls, start=1):
        budget.earn(share, 20)
        taken += wants and budget.take()
        assert taken <= stock + share * made + 1e-6


def test_a_share_is_reached() -> None:
    budget, taken = ShareBudget(0), 0
    for _ in range(1_000):
        budget.earn(0.1, 10)
        taken += budget.take()
    assert taken == 100


def test_what_is_not_used_is_kept_up_to_the_most() -> None:
    budget = ShareBudget(0)
    for _ in range(100):
        budget.earn(1, 3)
    assert [budget.take() for _ in range(4)] == [True, True, True, False]


def test_few_times_say_nothing() -> None:
    times = RecentTimes()
    for _ in range(LEAST - 1):
        times.add(1)
    assert times.quantile(0.95) is None
    times.add(1)
    assert times.quantile(0.95) == 1


@pytest.mark.parametrize(("share", "seconds"), [(0.0, 1), (0.5, 50), (0.95, 95), (0.999, 100)])
def test_quantiles_are_of_the_sorted_times(share: float, seconds: float) -> None:
    times = RecentTimes()
    for second in reversed(range(1, 101)):
        times.add(second)
    assert times.quantile(share) == seconds


def test_old_times_are_forgotten() -> None:
    times = RecentTimes()
    times.add(1_000)
    for _ in range(MOST):
        times.add(1)
    assert times.quantile(0.999) == 1
