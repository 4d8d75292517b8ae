"""How long a call takes here, learnt from those that were answered."""

from collections.abc import Hashable

from cachetools import LRUCache

_WEIGHT = 1 / 32  # of the newest call in the means
_FORGETTING = 1.02  # by which the fastest time rises with each call that is slower
_MOST_KINDS = 1_024


class Pace:
    """Predicts the time of calls of one kind from the calls in flight when they begin.

    By Little's law a call that begins as the n-th in flight takes about n / throughput where the servers are
    saturated. So with fewer in flight than in the mean of recent calls it is taken to be faster in proportion. With
    more it is taken to be slower only as far as recent calls were: by the slope of their regression line, times the
    part of the variance that it explains. Nothing is known before the first answer.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._in_flight = 0.0
        self._seconds = 0.0
        # Variances and covariance of the two.
        self._in_flight_2 = 0.0
        self._seconds_2 = 0.0
        self._both = 0.0
        self.error_s = 0.0
        """The mean error of what was predicted."""
        self.fastest_s = 0.0
        """About the least that a call takes; 0 when nothing is known."""

    def learn(self, in_flight: int, seconds: float) -> None:
        """A call that began as one of `in_flight`, itself counted, took `seconds`."""
        self._calls += 1
        weight = max(_WEIGHT, 1 / self._calls)
        if self._calls > 1:
            self.error_s += weight * (abs(seconds - self.call_s(in_flight)) - self.error_s)
        more, slower = in_flight - self._in_flight, seconds - self._seconds
        self._in_flight += weight * more
        self._seconds += weight * slower
        self._in_flight_2 = (1 - weight) * (self._in_flight_2 + weight * more**2)
        self._seconds_2 = (1 - weight) * (self._seconds_2 + weight * slower**2)
        self._both = (1 - weight) * (self._both + weight * more * slower)
        self.fastest_s = min(seconds, self.fastest_s * _FORGETTING) if self._calls > 1 else seconds

    def call_s(self, in_flight: int) -> float:
        """What a call that begins as one of `in_flight`, 1 or more, likely takes; 0 when nothing is known."""
        if not self._calls:
            return 0.0
        if in_flight > self._in_flight:
            return self._seconds + self._slope_s * (in_flight - self._in_flight)
        return max(self.fastest_s, self._seconds * in_flight / self._in_flight)

    @property
    def explained(self) -> float:
        """The part of the variance of times that the calls in flight explain, 0 to 1."""
        return self._both**2 / (self._in_flight_2 * self._seconds_2) if self._both > 0 else 0.0

    @property
    def _slope_s(self) -> float:
        """By which a call is slower with each more in flight."""
        return self.explained * self._both / self._in_flight_2 if self._both > 0 else 0.0


class Paces:
    """By kind of call. Bounded: the least recently used go first."""

    def __init__(self) -> None:
        self._paces: LRUCache[Hashable, Pace] = LRUCache(_MOST_KINDS)

    def of(self, kind: Hashable) -> Pace:
        """One that knows nothing where no call of the kind was answered."""
        return self._paces.get(kind) or Pace()

    def learn(self, kind: Hashable, in_flight: int, seconds: float) -> None:
        """As `Pace.learn`."""
        self._paces.setdefault(kind, Pace()).learn(in_flight, seconds)
