"""How the scores of items become measures with confidence intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evals.figures import Figure
from evals.suite import Measure, Scores, Suite

RESAMPLES = 1000


@dataclass(frozen=True)
class Measured:
    """A measure's value over items, with the middle 95 % of its bootstrap distribution."""

    measure: Measure
    value: float
    low: float
    high: float
    items: int
    """How many items it is over."""

    @property
    def figure(self) -> Figure | None:
        """The measure against its target; None where it has none."""
        if self.measure.target is None:
            return None
        relation = ">=" if self.measure.better == "higher" else "<"
        return Figure(self.measure.name, round(self.value, 4), relation, self.measure.target)


def aggregate(measure: Measure, scores: Sequence[Scores], groups: Sequence[str], *, seed: int = 0) -> Measured | None:
    """`measure` over items, or None where none of `scores` holds it or nothing was counted.

    The interval is the percentile bootstrap over groups, `RESAMPLES` times: Efron and Tibshirani, "An Introduction to
    the Bootstrap", 1993, section 13.3; whole groups, for what is asked about one picture goes wrong together.
    """
    held = [(group, score[measure.name]) for group, score in zip(groups, scores, strict=True) if measure.name in score]
    totals: dict[str, np.ndarray] = {}
    for group, pair in held:
        totals[group] = totals.get(group, np.zeros(2)) + pair
    parts, wholes = np.array(list(totals.values())).T if totals else (np.zeros(0), np.zeros(0))
    if not wholes.sum():
        return None
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(parts), size=len(parts))
        if whole := wholes[drawn].sum():
            values.append(parts[drawn].sum() / whole)
    low, high = np.percentile(values, (2.5, 97.5))
    return Measured(measure, float(parts.sum() / wholes.sum()), float(low), float(high), len(held))


def quality(suite: Suite, scores: Scores) -> float:
    """How good an item is by the suite's first measure that it has: 1 at best; 1 where it has none."""
    for measure in suite.measures:
        if measure.name in scores:
            part, whole = scores[measure.name]
            share = part / whole if whole else float(measure.better == "higher")
            return share if measure.better == "higher" else 1 - share
    return 1.0
