"""What making and prolonging caches costs: reserved before, and booked once whatever comes of it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from services.gemini_proxy import observation
from services.gemini_proxy.accounts.books import Books, Claim, Outcome, Refusal, Settlement
from services.gemini_proxy.failures import AttemptFailed, Kind
from services.gemini_proxy.provider import failing_as_attempts
from services.gemini_proxy.usage import TokenUsage
from services.runtime.errors import ChiasmError

logger = logging.getLogger(__name__)

CALL_S = 30.0
"""Seconds that the provider may take."""

_Made = TypeVar("_Made")


class CachePayments:
    def __init__(self, books: Books) -> None:
        self._books = books

    async def pay(
        self,
        operation: str,
        claim: Claim,
        call: Callable[[], Awaitable[_Made]],
        bill: Callable[[_Made], tuple[TokenUsage, int]],
    ) -> _Made | None:
        """What `call` gives, booked as `bill` has it; None where there is no room for it, or it is surely not done.

        Raises AttemptFailed where the provider may have done it; then it is booked at its worst case.
        """
        try:
            lease = await self._books.reserve(claim)
        except ChiasmError as error:
            logger.warning("nothing is cached: %s", error.message)
            return None
        if isinstance(lease, Refusal):
            return None
        observation.soft_budgets_exceeded(claim.tenant, lease)
        # Until more is known, the worst.
        settlement = Settlement(
            claim.attempt_id, Outcome.FAILED, TokenUsage(), claim.cost_nanousd, answered_by="", final=False
        )
        began_at = time.time()
        try:
            with failing_as_attempts():
                async with asyncio.timeout(CALL_S):
                    made = await call()
            usage, cost = bill(made)
            settlement = replace(
                settlement, outcome=Outcome.OK, usage=usage, cost_nanousd=cost, answered_by=claim.model, final=True
            )
            return made
        except AttemptFailed as failure:
            logger.warning("nothing is cached: %s", failure.message)
            if not is_not_done(failure):
                raise
            settlement = replace(settlement, cost_nanousd=0, sent=failure.reached_provider, final=True)
            return None
        finally:
            await self._settle(settlement)
            observation.cache_paid(operation, claim, settlement, began_at=began_at, ended_at=time.time())

    async def _settle(self, settlement: Settlement) -> None:
        try:
            await self._books.settle(settlement)
        except ChiasmError as error:
            # Its lease ends, and the books take it for lost: its worst case, to be corrected.
            logger.error("cache %s could not be settled: %s", settlement.attempt_id, error.message)


def is_not_done(failure: AttemptFailed) -> bool:
    """Whether the provider has surely made nothing. A 5xx may follow what was made: only generation is free then."""
    return failure.bill_is_known and failure.kind is not Kind.BROKEN
