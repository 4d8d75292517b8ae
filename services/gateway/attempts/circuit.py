"""A target that fails is left alone for a while (https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker)."""

import logging
import time
from collections.abc import Callable

from services.gateway.policy import CircuitPolicy

logger = logging.getLogger(__name__)

LONGEST_OPEN_S = 60.0


class Circuit:
    """Closed, it lets every call through. Failures in a row open it; after a time one call may probe.

    The probe's success closes it; its failure opens it for twice as long, up to a minute. Calls that began before it
    opened change nothing of it.
    """

    def __init__(
        self, name: str, policy: Callable[[], CircuitPolicy], now: Callable[[], float] = time.monotonic
    ) -> None:
        """`name` is for the log; `policy` gives what holds at the moment; `now` is a clock in seconds."""
        self._name = name
        self._policy = policy
        self._now = now
        self._failures = 0
        self._open_s: float | None = None
        self._opened_at = 0.0
        self._probe: Trial | None = None

    def allows(self) -> bool:
        """Whether `begin` would let a call through now."""
        return self._open_s is None or (self._probe is None and self._now() >= self._opened_at + self._open_s)

    @property
    def opens_for_s(self) -> float:
        """Seconds until a call may probe; 0 where one may now, or where the circuit is closed."""
        return 0.0 if self._open_s is None else max(0.0, self._opened_at + self._open_s - self._now())

    def begin(self) -> "Trial | None":
        """A call's passage, to be ended by one of its methods; None where the target is to be left alone."""
        if not self.allows():
            return None
        trial = Trial(self)
        if self._open_s is not None:
            self._probe = trial
        return trial

    def _succeeded(self, trial: "Trial") -> None:
        if trial is self._probe:
            logger.info("target is back", extra={"target": self._name})
            self._open_s = self._probe = None
        if self._open_s is None:
            self._failures = 0

    def _failed(self, trial: "Trial") -> None:
        if trial is self._probe:
            self._probe = None
            self._open(min(LONGEST_OPEN_S, self._open_s * 2))
        elif self._open_s is None:
            self._failures += 1
            if self._failures >= self._policy().failures:
                self._failures = 0
                self._open(min(LONGEST_OPEN_S, self._policy().open_s))

    def _released(self, trial: "Trial") -> None:
        if trial is self._probe:
            self._probe = None

    def _open(self, seconds: float) -> None:
        logger.warning("target is left alone", extra={"target": self._name, "seconds": seconds})
        self._open_s, self._opened_at = seconds, self._now()


class Trial:
    """A call that a circuit let through. Only the first of its ends counts."""

    def __init__(self, circuit: Circuit) -> None:
        self._circuit: Circuit | None = circuit

    def succeeded(self) -> None:
        """The target answered."""
        if circuit := self._end():
            circuit._succeeded(self)

    def failed(self) -> None:
        """The target is at fault."""
        if circuit := self._end():
            circuit._failed(self)

    def released(self) -> None:
        """The call says nothing of the target: it was cancelled, or refused for what it asked."""
        if circuit := self._end():
            circuit._released(self)

    def _end(self) -> Circuit | None:
        circuit, self._circuit = self._circuit, None
        return circuit
