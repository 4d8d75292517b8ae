"""What a small model's confidence is worth, and from where on its answer is good enough.

Fitted to what a small and a large model answered to the same questions. Quality is from 0, wrong, to 1, right; the same
rules hold at the gateway, which takes `points` and `min_confidence` from its policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import NormalDist
from typing import Self

import numpy as np
from numpy.typing import NDArray

Points = tuple[tuple[float, float], ...]

MOST_POINTS = 16
MOST_THRESHOLDS = 256
SURE = 0.95
"""How sure it must be that the target is kept on other questions of the same kind."""
ALLOWED_LOSS = 0.01
"""Of the large model's quality, where no target is given."""
_DIGITS = 6
_BINS = 15


@dataclass(frozen=True)
class Answers:
    """What the two models answered to the questions of a task; arrays with an entry a question."""

    confidence: NDArray[np.float64]
    """As the small model reported it, 0 to 1; below 0 where it failed, and so is never enough."""
    small: NDArray[np.float64]
    """Quality of the small model's answers."""
    large: NDArray[np.float64]
    small_nanousd: NDArray[np.int64]
    large_nanousd: NDArray[np.int64]
    groups: NDArray[np.intp]
    """Numbers of what questions share, such as a picture: they go wrong together."""

    def where(self, chosen: NDArray[np.bool_]) -> Self:
        """Some of the questions."""
        return replace(self, **{name: values[chosen] for name, values in vars(self).items()})

    def enough(self, cascade: "Cascade") -> NDArray[np.bool_]:
        """Which answers of the small model are given."""
        return (self.confidence >= 0) & (calibrated(cascade.points, self.confidence) >= cascade.min_confidence)


@dataclass(frozen=True)
class Cascade:
    """How a task is answered: by the small model, and by the large one where that is not sure enough."""

    points: Points
    """(reported confidence, how often such answers are right), rising; straight lines between them."""
    min_confidence: float
    """The least calibrated confidence that is enough, 0 to 1; above 1 for none."""


@dataclass(frozen=True)
class Outcome:
    """What questions came to."""

    questions: int
    quality: float
    """Mean, 0 to 1."""
    nanousd: float
    """Mean cost."""
    escalated: float
    """Share of questions that the large model was asked."""


def calibrated(points: Points, confidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often answers of such reported confidence are right."""
    return np.interp(confidence, *np.array(points).T)


def fit(confidence: NDArray[np.float64], quality: NDArray[np.float64]) -> Points:
    """The points of the isotonic regression of `quality` on `confidence`, at most `MOST_POINTS`.

    Pool adjacent violators (Ayer et al., 1955; for confidences Zadrozny and Elkan, "Transforming Classifier Scores into
    Accurate Multiclass Probability Estimates", 2002). Each pool is a point in its middle; pools that differ least, by
    the squared error that this adds, are joined until few are left. Needs at least one value.
    """
    pools: list[NDArray[np.float64]] = []  # each its count, and its sums of confidence and of quality
    order = np.lexsort((quality, confidence))
    for pool in np.stack([np.ones(len(order)), confidence[order], quality[order]], axis=1):
        pools.append(pool)
        while len(pools) > 1 and _rises_not(*pools[-2:]):
            pools[-2:] = [pools[-2] + pools[-1]]
    while len(pools) > MOST_POINTS:
        near = int(np.argmin([_added_error(*pair) for pair in pairwise(pools)]))
        pools[near : near + 2] = [pools[near] + pools[near + 1]]
    return tuple(_point(pool) for pool in pools)


def choose(answers: Answers, target: float | None) -> Cascade:
    """The calibration, and the lowest threshold that surely keeps the quality at `target`, 0 to 1.

    Where that is None, at the large model's less `ALLOWED_LOSS`. Thresholds are tried from the highest down, and the
    first that does not surely keep it ends the search, so that trying many claims nothing by chance: fixed sequence
    testing, as in Angelopoulos et al., "Learn then Test", 2021. Sure is a one-sided normal bound on the mean over
    groups, with one question more that is lost.
    """
    answered = answers.confidence >= 0
    if not answered.any():
        return Cascade(((0.0, 0.0),), min_confidence=2.0)
    points = fit(answers.confidence[answered], answers.small[answered])
    wanted = answers.large - ALLOWED_LOSS if target is None else np.full_like(answers.large, target)
    chosen = Cascade(points, min_confidence=2.0)
    for threshold in _thresholds(calibrated(points, answers.confidence[answered])):
        tried = Cascade(points, threshold)
        quality = np.where(answers.enough(tried), answers.small, answers.large)
        if _upper_bound(wanted - quality, answers.groups) > 0:
            break
        chosen = tried
    return chosen


def replay(answers: Answers, cascade: Cascade) -> Outcome:
    """What `cascade` would have made of the answers."""
    escalated = ~answers.enough(cascade)
    return Outcome(
        questions=len(escalated),
        quality=float(np.where(escalated, answers.large, answers.small).mean()),
        nanousd=float((answers.small_nanousd + escalated * answers.large_nanousd).mean()),
        escalated=float(escalated.mean()),
    )


def always_small(answers: Answers) -> Outcome:
    return Outcome(len(answers.small), float(answers.small.mean()), float(answers.small_nanousd.mean()), 0.0)


def always_large(answers: Answers) -> Outcome:
    return Outcome(len(answers.large), float(answers.large.mean()), float(answers.large_nanousd.mean()), 1.0)


def calibration_error(confidence: NDArray[np.float64], quality: NDArray[np.float64]) -> float:
    """The expected calibration error over equally wide bins: Guo et al., "On Calibration of Modern Neural Networks",
    2017, section 2, https://arxiv.org/abs/1706.04599."""
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=confidence - quality, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def halves(answers: Answers) -> tuple[Answers, Answers]:
    """The questions in two, no group in both: to fit to the one and look at the other."""
    first = answers.groups % 2 == 0
    return answers.where(first), answers.where(~first)


def _rises_not(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    (x, y), (next_x, next_y) = _point(one), _point(other)
    return next_x <= x or next_y <= y


def _point(pool: NDArray[np.float64]) -> tuple[float, float]:
    count, confidence, quality = pool.tolist()
    return round(confidence / count, _DIGITS), round(quality / count, _DIGITS)


def _added_error(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return one[0] * other[0] / (one[0] + other[0]) * (one[2] / one[0] - other[2] / other[0]) ** 2


def _thresholds(confidence: NDArray[np.float64]) -> Sequence[float]:
    """Some that tell these confidences apart, rounded down, the highest first."""
    spread = np.quantile(confidence, np.linspace(0, 1, MOST_THRESHOLDS), method="lower")
    return np.unique(np.floor(spread * 10**_DIGITS) / 10**_DIGITS)[::-1].tolist()


def _upper_bound(values: NDArray[np.float64], groups: NDArray[np.intp]) -> float:
    values, groups = np.append(values, 1.0), np.append(groups, groups.max() + 1)
    mean = values.mean()
    deviation = np.sqrt((np.bincount(groups, weights=values - mean) ** 2).sum()) / len(values)
    return float(mean + NormalDist().inv_cdf(SURE) * deviation)
