"""What all calls share: the policy, the router, the judge, and what is learned and budgeted between calls."""

from collections.abc import Callable

from services.gateway.attempts.parts import Candidate, Judge, Router
from services.gateway.attempts.recent_times import RecentTimes
from services.gateway.attempts.share_budget import ShareBudget
from services.gateway.policy import Policy
from services.runtime.retry_budget import RetryBudget


class Means:
    """Of one gateway."""

    def __init__(self, policy: Callable[[], Policy], router: Router, judge: Judge) -> None:
        """`policy` gives the one that holds now."""
        self.policy = policy
        self.router = router
        self.judge = judge
        self.escalations = ShareBudget(policy().cascade.escalation_burst)
        self.hedges = ShareBudget(0)
        self._retries: dict[tuple[str, float], RetryBudget] = {}
        self._times: dict[tuple[str, str], RecentTimes] = {}

    def retries(self, candidate: Candidate) -> RetryBudget:
        """Of the candidate's target; a new one where the policy's ratio has changed."""
        ratio = self.policy().fallback.retry_ratio
        return self._retries.setdefault((candidate.target.address, ratio), RetryBudget(ratio))

    def times(self, candidate: Candidate) -> RecentTimes:
        """Of whole answers of the candidate's model at its target."""
        return self._times.setdefault((candidate.target.address, candidate.model.name), RecentTimes())
