"""Whom to ask next at one call, and when to stop."""

import asyncio
import random
from typing import Literal

from chiasm.v1 import generation_pb2
from services.gateway.answerer import Ask
from services.gateway.attempts import observation
from services.gateway.attempts.attempt import Attempt
from services.gateway.attempts.means import Means
from services.gateway.attempts.parts import Candidate, Plan
from services.gateway.policy import FallbackReason, Policy
from services.runtime.errors import ChiasmError

_Reason = FallbackReason | Literal["unsure"]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
# Of the time left, what an attempt may take where an earlier answer waits to be given in its stead.
_SHARE_BESIDE_AN_ANSWER = 0.9
# A replica of the same model would not answer otherwise.
_OF_THE_MODEL = {"blocked", "empty", "unsure"}


class Course:
    """Of one call. Never makes more attempts than the policy's `max_attempts`, whatever they are for."""

    def __init__(self, means: Means, ask: Ask, policy: Policy, plan: Plan) -> None:
        self.made: list[Attempt] = []
        """All attempts, in the order of their starts."""
        self.answer: Attempt | None = None
        """The best whole answer so far."""
        self._means = means
        self._ask = ask
        self._policy = policy
        self._left = list(plan.candidates)

    def first(self) -> Attempt:
        return self._begin(self._left[0])

    async def after(self, attempt: Attempt, *, delivered: bool) -> Attempt | None:
        """What to try after `attempt`, which ended; None where `answer` is to be given.

        `delivered`: the caller has seen a part of an answer. Raises the error that says most when there is nothing to
        try and nothing to give.
        """
        if (reason := await self._fault(attempt)) is None:
            return self._settled()
        if (candidate := self._next(reason, attempt)) is not None:
            return self._begin(candidate)
        if self.answer is not None:
            return self._settled()
        if (again := await self._again(delivered)) is not None:
            return again
        raise self._error()

    def hedge(self) -> Attempt | None:
        """A second attempt beside the one that runs, where one is allowed."""
        candidates = self._fit("timeout")
        if not candidates or not self._means.hedges.take():
            return None
        return self._begin(candidates[0])

    def _begin(self, candidate: Candidate) -> Attempt:
        self._left = [other for other in self._left if other is not candidate]
        now, deadline = asyncio.get_running_loop().time(), self._ask.deadline
        if self.answer is not None:
            deadline = now + _SHARE_BESIDE_AN_ANSWER * (deadline - now)
        slow_share = self._policy.fallback.slow_share
        attempt = Attempt(
            self._means, candidate, self._ask, deadline=deadline, slow_share=slow_share, another=self._another
        )
        self.made.append(attempt)
        return attempt

    def _another(self) -> bool:
        """Whether an attempt that began now could make the deadline."""
        left_s = self._left_s()
        return any(candidate.expected_s <= left_s for candidate in self._fit("timeout"))

    async def _fault(self, attempt: Attempt) -> _Reason | None:
        """Why another should be asked; None where the answer is good, or where no other would do better."""
        if attempt.failure is not None:
            attempt.given_up = attempt.failure.superseded
            if attempt.failure.reason is None and self.answer is None:
                raise attempt.failure.error
            return attempt.failure.reason
        reason: _Reason | None = None
        if attempt.finished.finish_reason == generation_pb2.FINISH_REASON_BLOCKED:
            reason = "blocked"
        elif not attempt.spoke:
            reason = "empty"
        if reason is not None:
            attempt.given_up = generation_pb2.SUPERSEDED_REASON_NO_ANSWER
            self.answer = self.answer or attempt
            return reason
        verdict = await self._means.judge(attempt.candidate, self._ask, attempt.said, attempt.finished)
        attempt.confidence, attempt.unsure = verdict.confidence, not verdict.sure
        attempt.given_up = generation_pb2.SUPERSEDED_REASON_UNSURE
        self.answer = attempt
        return "unsure" if attempt.unsure else None

    def _settled(self) -> None:
        cascade = self._policy.cascade
        self._means.escalations.earn(cascade.escalation_share, cascade.escalation_burst)

    def _next(self, reason: _Reason, attempt: Attempt) -> Candidate | None:
        candidates = self._fit(reason)
        model = attempt.candidate.model.name
        if reason != "unsure":
            if candidates:
                observation.fell_back(reason, model)
            return candidates[0] if candidates else None
        made = bool(candidates) and self._policy.cascade.escalation_share > 0 and self._means.escalations.take()
        observation.escalated(model, made=made)
        return candidates[0] if made else None

    def _fit(self, reason: _Reason) -> list[Candidate]:
        """The candidates left that may be asked for `reason`; last those that are not expected to make the deadline."""
        left_s = self._left_s()
        if len(self.made) >= self._policy.fallback.max_attempts or left_s <= 0:
            return []
        asked = {attempt.candidate.model.name for attempt in self.made}
        same, other = self._may_ask(reason)
        fit = [
            candidate
            for candidate in self._left
            if (same if candidate.model.name in asked else other)
            and candidate.target.circuit.allows()
            and self._affordable(candidate)
            and (reason != "unsure" or candidate.expected_s <= _SHARE_BESIDE_AN_ANSWER * left_s)
        ]
        return sorted(fit, key=lambda candidate: candidate.expected_s > left_s)

    def _left_s(self) -> float:
        return self._ask.deadline - asyncio.get_running_loop().time()

    def _may_ask(self, reason: _Reason) -> tuple[bool, bool]:
        """Whether for `reason` a further replica of a model that was asked may be tried, and whether another model."""
        if reason == "unsure":
            return False, True
        routing = self._ask.request.routing
        by_policy = reason in self._policy.fallback.on
        other = routing.allow_fallback if routing.HasField("allow_fallback") else by_policy
        return (by_policy or other) and reason not in _OF_THE_MODEL, other

    def _affordable(self, candidate: Candidate) -> bool:
        routing = self._ask.request.routing
        if not routing.HasField("max_cost_nanousd"):
            return True
        spent = sum(attempt.cost_nanousd for attempt in self.made)
        return spent + candidate.expected_cost_nanousd <= routing.max_cost_nanousd

    async def _again(self, delivered: bool) -> Attempt | None:
        """The target that can be tried again soonest, after a pause; None where none may."""
        if delivered or len(self.made) >= self._policy.fallback.max_attempts:
            return None
        pauses = [
            (self._pause_s(attempt), attempt)
            for attempt in self.made
            if attempt.failure is not None
            and attempt.failure.may_retry
            and attempt.candidate.target.circuit.allows()
            and self._affordable(attempt.candidate)
            and self._means.retries(attempt.candidate).allows_retry
        ]
        if not pauses:
            return None
        pause_s, attempt = min(pauses, key=lambda pause: pause[0])
        if pause_s >= self._left_s():
            return None
        observation.retried(attempt.failure.reason, attempt.candidate.model.name)
        await asyncio.sleep(pause_s)
        return self._begin(attempt.candidate)

    def _pause_s(self, attempt: Attempt) -> float:
        tries = sum(other.candidate is attempt.candidate for other in self.made)
        jitter_s = random.uniform(0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**tries))
        return (attempt.failure.retry_after_s or 0.0) + jitter_s

    def _error(self) -> ChiasmError:
        """A quota tells the caller when to come again; otherwise the last error counts."""
        error = self._most_telling()
        error.was_retried = True
        return error

    def _most_telling(self) -> ChiasmError:
        failures = [attempt.failure for attempt in self.made if attempt.failure is not None]
        quotas = [failure for failure in failures if failure.reason == "quota"]
        if quotas and self._left_s() > 0:
            return min(quotas, key=lambda failure: failure.retry_after_s or float("inf")).error
        return failures[-1].error
