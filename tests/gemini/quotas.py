"""What the emulator lets through, over its own arrival times, and a count of what it did not.

Requests and input tokens count from arrival, in any half-open 60 s; a request refused counts nowhere. A day is
Pacific. The emulator knows what a call costs when it arrives and holds it, so the spend of any 600 s never exceeds
its limit; what is spent counts from the end of the call. Embedding calls count as one request each, batches (whose
limits are apart at Google) and `countTokens` not at all.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.gemini.config import Config, Quota
from tests.gemini.wire import quota_error

Clock = Callable[[], float]
"""Seconds since 1970, never going back."""

PACIFIC = ZoneInfo("America/Los_Angeles")
MINUTE_S = 60
SPEND_WINDOW_S = 600

_METRIC = "generativelanguage.googleapis.com/"
_REQUESTS = f"{_METRIC}generate_requests_per_model", "GenerateRequestsPerMinutePerProjectPerModel"
_TOKENS = f"{_METRIC}generate_content_paid_tier_input_token_count", "GenerateContentInputTokensPerModelPerMinute"
_DAY = f"{_METRIC}generate_requests_per_model_per_day", "GenerateRequestsPerDayPerProjectPerModel-PaidTier"
# Google publishes no ids for these two; they are the emulator's own.
_SPEND = f"{_METRIC}spend_per_project", "SpendPer10MinutesPerProject"
_CONCURRENCY = f"{_METRIC}generate_concurrent_requests_per_model", "GenerateConcurrentRequestsPerProjectPerModel"


def monotonic_wall_clock() -> Clock:
    start = time.time() - time.monotonic()
    return lambda: start + time.monotonic()


class Window:
    """Amounts of the last `length_s` seconds; one that came at t is out at t + length_s."""

    def __init__(self, length_s: float) -> None:
        self.total = 0
        self.peak = 0
        """The most that `total` ever was."""
        self._length_s = length_s
        self._amounts: deque[tuple[float, int]] = deque()

    def add(self, now: float, amount: int) -> None:
        self._amounts.append((now, amount))
        self.total += amount
        self.peak = max(self.peak, self.total)

    def expire(self, now: float) -> None:
        while self._amounts and self._amounts[0][0] <= now - self._length_s:
            self.total -= self._amounts.popleft()[1]

    def wait_s(self, now: float, excess: int) -> float:
        """Seconds until `excess` has gone out; the window's length where there is not so much in it."""
        for at, amount in self._amounts:
            excess -= amount
            if excess <= 0:
                return max(0.0, at + self._length_s - now)
        return self._length_s


@dataclass
class _Lane:
    """Of one project and model."""

    quota: Quota
    requests: Window = field(default_factory=lambda: Window(MINUTE_S))
    tokens: Window = field(default_factory=lambda: Window(MINUTE_S))
    days: Counter[str] = field(default_factory=Counter)
    running: set["Admission"] = field(default_factory=set)
    peak_running: int = 0
    admitted: int = 0


@dataclass
class _Spend:
    """Of one project."""

    limit: int | None
    window: Window = field(default_factory=lambda: Window(SPEND_WINDOW_S))
    held: int = 0


@dataclass(eq=False)
class Admission:
    """A call let in. `settle` when it is known what it cost; the first time counts."""

    connected: Callable[[], bool]
    _held: int
    _lane: _Lane
    _spend: _Spend
    _clock: Clock
    settled: bool = False

    def settle(self, cost_nanousd: int) -> None:
        if self.settled:
            return
        self.settled = True
        self._lane.running.discard(self)
        self._spend.held -= self._held
        now = self._clock()
        self._spend.window.expire(now)
        self._spend.window.add(now, cost_nanousd)


class Quotas:
    def __init__(self, config: Config, clock: Clock) -> None:
        self.refused: Counter[str] = Counter()
        """Violations by quota id; one refused request may violate several."""
        self._projects = config.projects
        self._clock = clock
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._spends = {name: _Spend(project.spend_nanousd_per_10_minutes) for name, project in self._projects.items()}

    def admit(
        self, project: str, model: str, tokens: int, cost_nanousd: int, connected: Callable[[], bool] = lambda: True
    ) -> Admission:
        """Counts the request in every quota, or in none and raises the 429."""
        now = self._clock()
        lane, spend = self._lane(project, model), self._spends[project]
        lane.requests.expire(now)
        lane.tokens.expire(now)
        spend.window.expire(now)
        day = f"{datetime.fromtimestamp(now, PACIFIC):%Y-%m-%d}"
        violations = []
        wait_s = 0.0

        def check(quota: tuple[str, str], excess: int, limit: int, wait: Callable[[], float], of: str = model) -> None:
            nonlocal wait_s
            if excess > 0:
                violations.append((*quota, of, limit))
                self.refused[quota[1]] += 1
                wait_s = max(wait_s, wait())

        q = lane.quota
        if (limit := q.requests_per_minute) is not None:
            excess = lane.requests.total + 1 - limit
            check(_REQUESTS, excess, limit, lambda: lane.requests.wait_s(now, excess))
        if (limit := q.input_tokens_per_minute) is not None:
            over = lane.tokens.total + tokens - limit
            check(_TOKENS, over, limit, lambda: lane.tokens.wait_s(now, over))
        if (limit := q.requests_per_day) is not None:
            # As Google does, a delay of seconds comes with a quota that is back tomorrow: the id must be read.
            check(_DAY, lane.days[day] + 1 - limit, limit, lambda: min(60.0, _until_midnight_s(now)))
        if (limit := spend.limit) is not None:
            spent = spend.window.total + spend.held + cost_nanousd - limit
            check(_SPEND, spent, limit, lambda: spend.window.wait_s(now, spent), of="")
        if (limit := q.concurrency) is not None:
            lane.running = {admission for admission in lane.running if admission.connected()}
            check(_CONCURRENCY, len(lane.running) + 1 - limit, limit, lambda: 1.0)
        if violations:
            raise quota_error(violations, math.ceil(wait_s * 1000) / 1000)

        lane.requests.add(now, 1)
        lane.tokens.add(now, tokens)
        lane.days[day] += 1
        lane.admitted += 1
        spend.held += cost_nanousd
        admission = Admission(connected, cost_nanousd, lane, spend, self._clock)
        lane.running.add(admission)
        lane.peak_running = max(lane.peak_running, len(lane.running))
        return admission

    @property
    def used(self) -> dict[str, dict[str, dict[str, int]]]:
        """Project -> model -> the most of each window that was ever used, and how many calls were admitted; the
        project's spend of any 600 s under the model `*`."""
        used: dict[str, dict[str, dict[str, int]]] = {
            project: {"*": {"spend_nanousd_per_10_minutes": spend.window.peak}}
            for project, spend in self._spends.items()
        }
        for (project, model), lane in self._lanes.items():
            used[project][model] = {
                "requests_per_minute": lane.requests.peak,
                "input_tokens_per_minute": lane.tokens.peak,
                "requests_per_day": max(lane.days.values(), default=0),
                "concurrency": lane.peak_running,
                "admitted": lane.admitted,
            }
        return used

    def as_json(self) -> dict[str, Any]:
        return {"used": self.used, "refused": dict(self.refused)}

    def _lane(self, project: str, model: str) -> _Lane:
        lane = self._lanes.get((project, model))
        if lane is None:
            quotas = self._projects[project].quotas
            lane = self._lanes[project, model] = _Lane(quotas.get(model) or quotas.get("*") or Quota())
        return lane


def _until_midnight_s(now: float) -> float:
    today = datetime.fromtimestamp(now, PACIFIC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (today + timedelta(days=1)).timestamp() - now
