"""How many in the last minute."""

import time
from collections import deque
from collections.abc import Callable

SECONDS = 61  # any 60 seconds lie within this second and the 60 before it


class Window:
    """Counts by whole seconds, so that it stays small; never fewer than there were in the last 60.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: deque[tuple[int, int]] = deque()

    def add(self) -> None:
        second = int(self._clock())
        last, count = self._counts[-1] if self._counts else (second, 0)
        if last == second and self._counts:
            self._counts.pop()
        self._counts.append((second, count + 1 if last == second else 1))

    def count(self) -> int:
        """About how many in the last minute."""
        while self._counts and self._counts[0][0] <= int(self._clock()) - SECONDS:
            self._counts.popleft()
        return sum(count for _, count in self._counts)

    def wait_s(self, limit: int) -> float:
        """Seconds until there are fewer than `limit`; 0 when there are."""
        over = self.count() - limit
        if over < 0:
            return 0.0
        for second, count in self._counts:
            over -= count
            if over < 0:
                return second + SECONDS - self._clock()
        raise ValueError("the limit must be 1 or more")
