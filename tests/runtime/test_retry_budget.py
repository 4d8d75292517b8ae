from hypothesis import given
from hypothesis import strategies as st

from services.runtime.retry_budget import RetryBudget


def retries_made(budget: RetryBudget, failures: int) -> int:
    """Of so many calls that fail, the first attempt and each retry."""
    made = 0
    for _ in range(failures):
        budget.failed()
        while budget.allows_retry:
            made += 1
            budget.failed()
    return made


def test_a_brown_out_ends_the_retries() -> None:
    budget = RetryBudget(0.1)
    assert budget.allows_retry
    assert retries_made(budget, 1) == 4
    assert retries_made(budget, 1_000) == 0


def test_successes_earn_retries_back() -> None:
    budget = RetryBudget(0.5, capacity=4)
    for _ in range(100):
        budget.failed()
    for _ in range(4):
        budget.succeeded()
    assert not budget.allows_retry  # just half of it is there
    budget.succeeded()
    assert budget.allows_retry


def test_a_long_calm_earns_no_more_than_the_capacity() -> None:
    budget = RetryBudget(1.0, capacity=4)
    for _ in range(1_000):
        budget.succeeded()
    assert retries_made(budget, 1_000) == 1


@given(st.floats(0, 1), st.lists(st.booleans(), max_size=300))
def test_retries_are_never_more_than_the_stock_and_the_ratio_of_all_successes(ratio: float, calls: list[bool]) -> None:
    budget, retries = RetryBudget(ratio), 0
    for succeeds in calls:
        if succeeds:
            budget.succeeded()
            continue
        budget.failed()
        if budget.allows_retry:
            retries += 1
            budget.failed()
    assert retries <= 5 + ratio * calls.count(True)
