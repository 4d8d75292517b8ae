"""A sliding window in memory."""

from collections import deque
from dataclasses import dataclass
from math import inf


@dataclass(eq=False)
class Entry:
    """What an attempt takes of a window."""

    amount: int
    leaves_ms: float = inf
    """When it leaves; not yet known while it is in flight."""
    left: bool = False


class Window:
    """Times are given in order, so that what leaves first stands first."""

    def __init__(self) -> None:
        self.sum = 0
        self.in_flight = 0
        self._leaving: deque[Entry] = deque()

    def add(self, amount: int) -> Entry:
        """In flight until it is dated or dropped."""
        self.sum += amount
        self.in_flight += amount
        return Entry(amount)

    def date(self, entry: Entry, leaves_ms: float) -> None:
        """From now on it is known when it leaves; what is known already stays."""
        if entry.leaves_ms == inf:
            entry.leaves_ms = leaves_ms
            self.in_flight -= entry.amount
            self._leaving.append(entry)

    def amend(self, entry: Entry, amount: int) -> None:
        """Another amount, unless it has left."""
        if entry.left:
            return
        self.sum += amount - entry.amount
        if entry.leaves_ms == inf:
            self.in_flight += amount - entry.amount
        entry.amount = amount

    def slide(self, now_ms: float) -> None:
        while self._leaving and self._leaving[0].leaves_ms <= now_ms:
            entry = self._leaving.popleft()
            entry.left = True
            self.sum -= entry.amount

    def leaving(self) -> list[tuple[float, int]]:
        """Times and amounts, the first to leave first, without what is in flight."""
        return [(entry.leaves_ms, entry.amount) for entry in self._leaving]
