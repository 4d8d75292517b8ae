"""Extra work that may be done for a share of the calls."""


class ShareBudget:
    """A token bucket that calls fill: each earns a share of one extra."""

    def __init__(self, stock: float) -> None:
        """`stock`: extras that may be taken before any call has earned one, 0 or more."""
        self._tokens = stock

    def earn(self, share: float, most: float) -> None:
        """A call was made. It earns `share`, 0 to 1, of an extra; at most `most`, 1 or more, are kept."""
        self._tokens = min(most, self._tokens + share)

    def take(self) -> bool:
        """Takes one extra, where there is one."""
        # Ten earnings of a tenth are one extra, whatever floats make of them.
        if self._tokens < 1 - 1e-9:
            return False
        self._tokens -= 1
        return True
