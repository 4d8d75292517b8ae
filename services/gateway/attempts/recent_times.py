"""How long a target's last answers took."""

import math
from collections import deque

# Fewer say nothing of a quantile; older ones say nothing of now.
LEAST, MOST = 20, 256


class RecentTimes:
    """The last times, in seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=MOST)

    def add(self, seconds: float) -> None:
        self._times.append(seconds)

    def quantile(self, share: float) -> float | None:
        """The time that `share`, 0 to 1, of the last answers kept; None while too few are known."""
        if len(self._times) < LEAST:
            return None
        return sorted(self._times)[max(0, math.ceil(share * len(self._times)) - 1)]
