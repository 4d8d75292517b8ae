"""How long a batch takes, learnt while it is served."""

from collections import deque
from itertools import combinations
from statistics import median

_SEEN = 16
_LEAST_SEEN = 3
"""One batch may have been held up, and of two nobody knows which."""
_HALF_LIFE_S = 30.0


class TimeModel:
    """A batch of n tokens takes a * n + b seconds, both 0 or more: the line through the last batches measured.

    The slope is the median of those between each two of them (Theil-Sen): a batch that the machine held up does not
    turn the line. What was measured long ago is believed less and less, so that a server that refuses all that it
    thinks too slow finds out when it is fast again. Times are the loop's, in seconds.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[int, float]] = deque(maxlen=_SEEN)
        self._a = self._b = 0.0
        self._measured_at = 0.0

    def observe(self, tokens: int, seconds: float, now: float) -> None:
        """A batch of `tokens` (1 or more) took `seconds`."""
        self._seen.append((tokens, seconds))
        self._measured_at = now
        slopes = [(t - s) / (n - m) for (m, s), (n, t) in combinations(self._seen, 2) if n != m]
        # Batches of nearly one size say nothing of the slope; it is no steeper than where all of the time is tokens'.
        steepest = median(t / n for n, t in self._seen)
        self._a = min(max(median(slopes), 0.0), steepest) if slopes else steepest
        self._b = max(median(t - self._a * n for n, t in self._seen), 0.0)

    def predict(self, tokens: int, now: float, *, batches: int = 1) -> float:
        """Seconds that `tokens` take in so many batches; 0 where less than `_LEAST_SEEN` were measured."""
        if len(self._seen) < _LEAST_SEEN:
            return 0.0
        belief = 0.5 ** ((now - self._measured_at) / _HALF_LIFE_S)
        return (self._a * tokens + self._b * batches) * belief
