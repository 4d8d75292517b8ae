"""How long something takes as a sum of what it is made of, learned as it goes."""

from collections.abc import Sequence
from math import exp, isfinite, log

LEAST_S = 0.001
MOST_S = 86_400.0

_PRIOR_WEIGHT = 0.01
"""The prior counts as this share of an observation."""
_KEPT = 0.95
"""The weight of what was learned before, with each observation: about the last twenty count."""
_LEVEL_SHARE = 0.05
_LEVEL_SHARE_WHEN_WRONG = 0.3
"""How far the level moves to an observation."""
_BIAS_SHARE = 0.3
_WRONG = 0.4
"""A mean deviation from which on the predictions are wrong, and not unlucky."""
_OUTLIER = log(1.5)
_OUTLIER_WHEN_WRONG = log(10)
"""Times that are further off, as a logarithm of their ratio to the prediction, count as if they were just so far; where
times are off by more than that as a rule, those that are twice as far as usual."""
_SWEEPS = 10


class Regression:
    """Seconds as a level times the sum of features times coefficients of 0 or more.

    The coefficients are least squares of the relative errors, in which old observations fade; what the observations do
    not tell stays near the prior. The level follows within some observations where the server becomes slower or faster
    as a whole; lone outliers move it little. The seconds can neither diverge nor become negative.
    """

    def __init__(self, prior: Sequence[float]) -> None:
        """`prior`: the seconds of a unit of each feature, above 0."""
        self._prior = tuple(prior)
        self._level = 1.0
        self._factors = [1.0] * len(prior)  # of the prior: makes all coefficients alike in size
        self._gram = [[0.0] * len(prior) for _ in prior]
        self._moments = [0.0] * len(prior)
        self._bias = 0.0
        self._usually_off = _OUTLIER_WHEN_WRONG
        self.observations = 0

    def predict(self, features: Sequence[float]) -> float:
        """Seconds, `LEAST_S` or more. The features are 0 or more."""
        return min(max(self._level * self._sum(features), LEAST_S), MOST_S)

    def learn(self, features: Sequence[float], seconds: float) -> None:
        """It took so long. What is no time is passed over."""
        if not isfinite(seconds) or seconds < 0:
            return
        seconds = min(max(seconds, LEAST_S), MOST_S)
        expected = self.predict(features)
        self._bias += _BIAS_SHARE * (_deviation(seconds, expected) - self._bias)
        self.observations += 1
        wrong = abs(self._bias) > _WRONG
        furthest = _OUTLIER_WHEN_WRONG if wrong else max(_OUTLIER, 2 * self._usually_off)
        off = log(seconds / expected)
        if self.observations > 1:
            off = min(max(off, -furthest), furthest)
        self._usually_off += 0.1 * (abs(off) - self._usually_off)
        share = _LEVEL_SHARE_WHEN_WRONG if wrong else _LEVEL_SHARE
        level = self._level * exp(off * max(share, 1 / self.observations))
        self._level = min(max(level, LEAST_S), MOST_S)
        self._fit(features, expected * exp(off) / self._level)

    def _sum(self, features: Sequence[float]) -> float:
        return sum(f * p * x for f, p, x in zip(self._factors, self._prior, features, strict=True))

    def _fit(self, features: Sequence[float], seconds: float) -> None:
        """Add an observation, of which the level was taken out, to the coefficients."""
        row = [p * x / seconds for p, x in zip(self._prior, features, strict=True)]
        for i, value in enumerate(row):
            self._moments[i] = _KEPT * self._moments[i] + value
            self._gram[i] = [_KEPT * old + value * other for old, other in zip(self._gram[i], row, strict=True)]
        self._solve()

    def _solve(self) -> None:
        """Gauss-Seidel, each factor held at 0 or more."""
        factors = self._factors
        for _ in range(_SWEEPS):
            for i, (row, moment) in enumerate(zip(self._gram, self._moments, strict=True)):
                others = sum(g * f for g, f in zip(row, factors, strict=True)) - row[i] * factors[i]
                factors[i] = max(0.0, (moment + _PRIOR_WEIGHT - others) / (row[i] + _PRIOR_WEIGHT))


def _deviation(seconds: float, expected: float) -> float:
    """From -1 to 1: twice too slow is as far from 0 as twice too fast."""
    return (seconds - expected) / max(seconds, expected)
