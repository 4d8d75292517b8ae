"""Attempts at a call, one after another: room in the limits, another key, a pause, and when to give up."""

import asyncio
import random
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from services.gemini_proxy.accounts.books import Books, Claim, Dimension
from services.gemini_proxy.attempt import Attempt, Plan, Sender
from services.gemini_proxy.attempts import Attempts
from services.gemini_proxy.config import GeminiSettings
from services.gemini_proxy.embedding_question import EmbeddingQuestion
from services.gemini_proxy.estimate import Estimate
from services.gemini_proxy.failures import AttemptFailed, Kind, Quota, to_error
from services.gemini_proxy.pool import Pool
from services.gemini_proxy.prices import Prices
from services.gemini_proxy.provider import Provider
from services.gemini_proxy.question import Priority, Question
from services.gemini_proxy.waiting import WaitingRoom
from services.runtime.retry_budget import RetryBudget

# A call that could begin only with less than this left would be billed and not be heard.
_ANSWER_S = 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


class SenderOf(Protocol):
    def __call__(self, provider: Provider) -> Sender:
        """How a kind of call is sent through a member of the pool."""


@dataclass(frozen=True)
class Wish:
    """What is to be attempted."""

    question: Question | EmbeddingQuestion
    estimate: Estimate
    max_output_tokens: int
    priority: Priority
    deadline: float
    """On `time.monotonic`'s clock."""
    sender_of: SenderOf


class Attempting:
    """Makes attempts with the pool; remembers how each model fares."""

    def __init__(
        self, settings: GeminiSettings, pool: Pool, books: Books, prices: Prices, attempts: Attempts, room: WaitingRoom
    ) -> None:
        self._settings = settings
        self._books = books
        self._prices = prices
        self._attempts = attempts
        self._room = room
        self._retries: dict[str, RetryBudget] = {}
        self.pool = pool

    def call(self, wish: Wish) -> "Call":
        return Call(self, wish)

    def retries(self, model: str) -> RetryBudget:
        return self._retries.setdefault(model, RetryBudget(self._settings.retry_ratio))

    @property
    def max_attempts(self) -> int:
        return self._settings.max_attempts

    async def begin(self, wish: Wish, members: tuple[str, ...]) -> Attempt:
        """Waits for room, and sends. Raises what `WaitingRoom.lease` does, and PriceUnknown."""
        question, estimate = wish.question, wish.estimate
        claim = Claim(
            attempt_id=uuid.uuid4().hex,
            request_id=question.request_id,
            tenant=question.tenant,
            model=question.model,
            input_tokens=sum(estimate.bound.values()),
            cost_nanousd=self._prices.worst_cost_nanousd(
                estimate.bound, wish.max_output_tokens, question.model, datetime.now(UTC)
            ),
            members=members,
        )
        began = time.monotonic()
        lease = await self._room.lease(claim, wish.priority, timeout_s=max(0.0, wish.deadline - began - _ANSWER_S))
        plan = Plan(question, estimate, claim, lease, timeout_s=self._settings.attempt_timeout_s)
        sender = wish.sender_of(self.pool[lease.member])
        return self._attempts.begin(plan, sender, waited_s=time.monotonic() - began)

    async def learn(self, model: str, member: str, quota: Quota) -> None:
        """What a 429 says of a member's limit."""
        # Nobody says in which unit a limit of money is told.
        limit = None if quota.dimension is Dimension.SPEND_PER_10_MINUTES else quota.limit
        await self._books.learn(member, model, quota.dimension, retry_after_s=quota.retry_after_s, limit=limit)


class Call:
    """The attempts at one wish. After each, either `succeeded` or `failed` is to be called."""

    def __init__(self, attempting: Attempting, wish: Wish) -> None:
        self._attempting = attempting
        self._wish = wish
        self._model = wish.question.model
        self._members = attempting.pool.names
        self._denied: set[str] = set()
        self._made = 0

    async def attempt(self) -> Attempt:
        """Raises what `Attempting.begin` does."""
        self._made += 1
        return await self._attempting.begin(self._wish, self._members)

    def succeeded(self) -> None:
        self._attempting.retries(self._model).succeeded()

    async def failed(self, attempt: Attempt, failure: AttemptFailed, *, delivered: bool = False) -> None:
        """Returns after a pause where another attempt may be made; else raises what the caller is to be told.

        `delivered`: a part of an answer has reached the caller.
        """
        retries = self._attempting.retries(self._model)
        # An answer of another form is no brown-out, and nobody else's affair.
        if failure.kind.may_retry and failure.kind is not Kind.UNFIT:
            retries.failed()
        if failure.quota is not None:
            await self._attempting.learn(self._model, attempt.member, failure.quota)
        if failure.kind is Kind.DENIED:
            self._denied.add(attempt.member)
        # Another key may fare better; the same one serves where there is no other.
        names = self._attempting.pool.names
        others = tuple(name for name in names if name not in self._denied and name != attempt.member)
        self._members = others or (attempt.member,)
        may_retry = retries.allows_retry if failure.kind.may_retry else bool(failure.kind is Kind.DENIED and others)
        pause_s = random.uniform(0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**self._made))
        in_time = self._wish.deadline - time.monotonic() > pause_s + _ANSWER_S
        if delivered or not may_retry or not in_time or self._made == self._attempting.max_attempts:
            raise to_error(failure, model=self._model, delivered=delivered)
        await asyncio.sleep(pause_s)
