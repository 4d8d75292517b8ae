"""Calibration and thresholds: worked examples, what always holds, and whether targets keep on other questions."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm import InvalidArgument, Task
from evals.calibration import (
    MOST_POINTS,
    Answers,
    Cascade,
    always_large,
    always_small,
    calibrated,
    calibration_error,
    choose,
    fit,
    halves,
    replay,
)
from evals.calibration_report import calibrate
from evals.pairing import Paired

SHARES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=60)


def answers(questions: int, *, seed: int, large_right: float = 0.99, a_group: int = 1) -> Answers:
    """A small model that is right in three of four and says to be surer than it is."""
    rng = np.random.default_rng(seed)
    chance = np.minimum(1, 2 * np.repeat(rng.random(-(-questions // a_group)), a_group)[:questions])
    return Answers(
        confidence=chance**0.25,
        small=(rng.random(questions) < chance).astype(float),
        large=(rng.random(questions) < large_right).astype(float),
        small_nanousd=np.zeros(questions, int),
        large_nanousd=np.full(questions, 1000),
        groups=np.arange(questions) // a_group,
    )


def test_pools_of_adjacent_violators_become_points() -> None:
    """Values 1, 3, 2, 4, 3.5, 5 at 1 to 6, over ten: 3 and 2 are pooled, and 4 and 3.5."""
    confidence = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    quality = np.array([0.1, 0.3, 0.2, 0.4, 0.35, 0.5])
    assert fit(confidence, quality) == ((0.1, 0.1), (0.25, 0.25), (0.45, 0.375), (0.6, 0.5))


@given(SHARES)
def test_points_are_few_and_rise_as_a_policy_wants_them(pairs: list[tuple[float, float]]) -> None:
    points = fit(*np.array(pairs).T)
    assert 1 <= len(points) <= MOST_POINTS
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(points))
    assert all(0 <= value <= 1 for point in points for value in point)


@given(SHARES)
def test_the_mean_is_kept(pairs: list[tuple[float, float]]) -> None:
    """Least squares with equal pools: the mean calibrated confidence at the pools is the mean quality."""
    confidence, quality = np.array(pairs).T
    points = fit(confidence, quality)
    if len(points) == 1:
        assert points[0] == pytest.approx((confidence.mean(), quality.mean()), abs=1e-6)


def test_calibration_brings_the_error_down_on_other_questions() -> None:
    known, other = answers(2_000, seed=1), answers(2_000, seed=2)
    points = fit(known.confidence, known.small)
    assert calibration_error(other.confidence, other.small) > 0.1
    assert calibration_error(calibrated(points, other.confidence), other.small) < 0.03


def test_calibration_error_of_a_worked_example() -> None:
    """Two bins: 0.9 said and 0.5 right in two of three, 0.3 said and 0.3 right in the third."""
    assert calibration_error(np.array([0.9, 0.9, 0.3]), np.array([1.0, 0.0, 0.3])) == pytest.approx(2 / 3 * 0.4)


def test_a_replay_counts_what_each_question_came_to() -> None:
    asked = Answers(
        confidence=np.array([0.9, 0.8, 0.2, -1.0]),
        small=np.array([1.0, 0.0, 1.0, 0.0]),
        large=np.array([1.0, 1.0, 0.0, 1.0]),
        small_nanousd=np.array([1, 1, 1, 0]),
        large_nanousd=np.array([10, 20, 30, 40]),
        groups=np.arange(4),
    )
    outcome = replay(asked, Cascade(((0.0, 0.0), (1.0, 1.0)), 0.5))
    assert (outcome.questions, outcome.quality, outcome.escalated) == (4, 0.5, 0.5)
    assert outcome.nanousd == (1 + 1 + 31 + 40) / 4
    assert (always_small(asked).quality, always_large(asked).quality) == (0.5, 0.75)
    assert (always_small(asked).nanousd, always_large(asked).nanousd) == (0.75, 25)


@pytest.mark.parametrize("a_group", [1, 4])
def test_the_target_keeps_on_other_questions_at_half_the_cost(a_group: int) -> None:
    """Chosen to be kept with 95 % certainty: in twenty worlds it may fail a few times, and never by much."""
    lost = []
    for seed in range(20):
        chosen = choose(answers(1_500, seed=seed, a_group=a_group), None)
        other = answers(20_000, seed=1_000 + seed, a_group=a_group)
        outcome = replay(other, chosen)
        lost.append(always_large(other).quality - outcome.quality)
        assert outcome.escalated < 0.7
    assert sum(value > 0.01 for value in lost) <= 3
    assert max(lost) < 0.015


def test_a_target_may_be_given() -> None:
    known, other = answers(2_000, seed=1), answers(20_000, seed=2)
    lax, strict = (replay(other, choose(known, target)) for target in (0.9, 0.97))
    assert lax.quality > 0.9
    assert strict.quality > 0.97
    assert lax.escalated < strict.escalated


@pytest.mark.parametrize(("questions", "target"), [(50, None), (2_000, 0.995)])
def test_what_cannot_be_kept_for_sure_is_not_claimed(questions: int, target: float | None) -> None:
    asked = answers(questions, seed=1)
    chosen = choose(asked, target)
    assert chosen.min_confidence > 1
    assert replay(asked, chosen).escalated == 1


def test_a_model_that_always_failed_is_never_enough() -> None:
    asked = answers(500, seed=1)
    asked.confidence[:] = -1
    assert replay(asked, choose(asked, 0.5)).escalated == 1


def test_halves_share_no_group() -> None:
    one, other = halves(answers(101, seed=1, a_group=3))
    assert len(one.small) + len(other.small) == 101
    assert not set(one.groups) & set(other.groups)


def test_questions_that_all_go_together_do_not_tell_of_others() -> None:
    asked = answers(40, seed=1, a_group=40)
    with pytest.raises(InvalidArgument, match=r"on 40 questions.*ask more"):
        calibrate(Paired("models/small", "models/large", {Task.ANSWER: asked}), 0.0)
