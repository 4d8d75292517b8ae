import numpy as np
import pytest

from services.embedder.index.planning import FEW, SAMPLE, at_most

ROWS, LIMIT = 100_000, 10
MEASURED = 640 / ROWS * SAMPLE
"""As many sampled entries are nearer where what was found lies as deep as an index was measured."""


def seen(depth: float) -> np.ndarray:
    """How many of a sample are nearer than what lies so deep, 10,000 times."""
    return np.random.default_rng(0).poisson(depth / ROWS * SAMPLE, 10_000)


@pytest.mark.parametrize("fitting", [10_000, 30_000, 90_000])
def test_what_a_filter_of_chance_lets_pass_is_hardly_ever_taken_for_deep(fitting: int) -> None:
    by_chance = LIMIT / fitting * SAMPLE
    counts = seen(LIMIT / fitting * ROWS)
    assert np.mean([at_most(count, by_chance) > MEASURED for count in counts]) < 0.01


@pytest.mark.parametrize("fitting", [10_000, 30_000, 90_000])
def test_what_lies_deeper_than_was_measured_is_hardly_ever_missed(fitting: int) -> None:
    by_chance = LIMIT / fitting * SAMPLE
    counts = seen(1_000)
    assert np.mean([at_most(count, by_chance) <= MEASURED for count in counts]) < 0.03


def test_more_of_a_sample_is_never_taken_for_less() -> None:
    for by_chance in (LIMIT / FEW * SAMPLE, 1.0, 0.0):
        taken = [at_most(count, by_chance) for count in range(SAMPLE + 1)]
        assert taken == sorted(taken)
        assert all(count <= most for count, most in enumerate(taken))
