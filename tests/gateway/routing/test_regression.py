"""The regression against servers whose times are known."""

from math import isfinite
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.routing.regression import LEAST_S, MOST_S, Regression

PRIOR = (0.2, 0.1, 0.01, 0.1, 0.2)


def example(random: Random) -> tuple[float, ...]:
    return 1.0, random.choice((0, 1, 1, 4)), random.uniform(0.1, 12), random.uniform(0.01, 4), random.uniform(0, 5)


def taken(features: tuple[float, ...], costs: tuple[float, ...], random: Random, noise: float) -> float:
    return sum(c * x for c, x in zip(costs, features, strict=True)) * random.uniform(1 - noise, 1 + noise)


def off(regression: Regression, costs: tuple[float, ...], random: Random) -> float:
    """Mean error over unseen examples, as a share of their mean time."""
    examples = [example(random) for _ in range(50)]
    times = [taken(x, costs, random, 0) for x in examples]
    return sum(abs(regression.predict(x) - came) for x, came in zip(examples, times, strict=True)) / sum(times)


@pytest.mark.parametrize(
    "costs", [(0.05, 0.0, 0.002, 0.05, 1.0), (1.5, 0.4, 0.1, 0.3, 0.0), (0.01, 2.0, 0.0, 0.0, 0.1)]
)
@pytest.mark.parametrize("seed", range(5))
def test_it_converges_within_forty_observations(costs: tuple[float, ...], seed: int) -> None:
    random, regression = Random(seed), Regression(PRIOR)
    for _ in range(40):
        features = example(random)
        regression.learn(features, taken(features, costs, random, 0.1))
    assert off(regression, costs, random) < 0.25


@pytest.mark.parametrize("factor", [0.1, 0.5, 2, 10])
@pytest.mark.parametrize("seed", range(5))
def test_it_follows_a_change_within_forty_observations(factor: float, seed: int) -> None:
    random, regression = Random(seed), Regression(PRIOR)
    before = (0.3, 0.2, 0.02, 0.1, 0.5)
    after = tuple(cost * factor for cost in before)
    for costs, count in ((before, 200), (after, 40)):
        for _ in range(count):
            features = example(random)
            regression.learn(features, taken(features, costs, random, 0.1))
    assert off(regression, after, random) < 0.25


def test_a_lone_outlier_moves_it_little() -> None:
    random, regression = Random(1), Regression(PRIOR)
    costs = (0.3, 0.2, 0.02, 0.1, 0.5)
    for _ in range(100):
        features = example(random)
        regression.learn(features, taken(features, costs, random, 0.05))
    regression.learn(example(random), 300.0)
    assert off(regression, costs, random) < 0.2


def test_before_anything_is_learned_it_says_the_prior() -> None:
    assert Regression(PRIOR).predict((1, 1, 1, 1, 0)) == pytest.approx(0.41)


numbers = st.floats(0, 1e6, allow_nan=False)


@given(
    st.lists(
        st.tuples(
            st.tuples(st.just(1.0), numbers, numbers, numbers, numbers),
            st.floats(allow_nan=True, allow_infinity=True),
        ),
        max_size=40,
    ),
    st.tuples(st.just(1.0), numbers, numbers, numbers, numbers),
)
def test_whatever_it_learns_it_says_a_time(
    lessons: list[tuple[tuple[float, ...], float]], asked: tuple[float, ...]
) -> None:
    regression = Regression(PRIOR)
    for features, seconds in lessons:
        regression.learn(features, seconds)
        assert LEAST_S <= regression.predict(asked) <= MOST_S
        assert isfinite(regression.predict(asked))
