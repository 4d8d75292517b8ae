"""The end of a batch: every request's answer is kept, and what it cost is booked once."""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from services.gemini_proxy import observation
from services.gemini_proxy.accounts.books import Booking, Books, Outcome, Settlement
from services.gemini_proxy.accounts.errors import UnknownAttempt
from services.gemini_proxy.batch_convert import packed_answer, packed_error, sum_usages
from services.gemini_proxy.batch_store import Asked, BatchStore, Record, State
from services.gemini_proxy.failures import AttemptFailed, Kind
from services.gemini_proxy.prices import Prices, PriceUnknown
from services.gemini_proxy.provider import Chunk
from services.gemini_proxy.usage import TokenUsage

logger = logging.getLogger(__name__)

_RESULTS_AT_ONCE = 50


class BatchEnding:
    """Raises what the store and the books do; what is done twice is the same both times."""

    def __init__(self, books: Books, prices: Prices, store: BatchStore) -> None:
        self._books = books
        self._prices = prices
        self._store = store

    async def give_back(self, record: Record) -> None:
        """What is held for a batch that was not sent."""
        for attempt_id in record.attempt_ids:
            with suppress(UnknownAttempt):  # it was not held yet
                await self._books.settle(Settlement(attempt_id, Outcome.CANCELLED, TokenUsage(), 0, "", sent=False))

    async def end(
        self, record: Record, state: State, answers: Mapping[str, Chunk | AttemptFailed], *, booked: bool
    ) -> None:
        """Keeps every request's answer and, with `booked`, books what it cost."""
        why = AttemptFailed(Kind.BROKEN, f"the batch {state.value}")
        settlements, fresh, succeeded = [], [], 0
        asked = await self._store.asked(record.id)
        for first in range(0, record.count, _RESULTS_AT_ONCE):
            results = {}
            for index in range(first, min(record.count, first + _RESULTS_AT_ONCE)):
                answer = answers.get(record.attempt_id(index), why)
                missing = answer is why and state is State.SUCCEEDED
                settlement = self._settlement(record, index, asked[index], answer, state, missing=missing)
                settlements.append(settlement)
                if booked and await self._books.settle(settlement) is not Booking.REPEATED:
                    fresh.append(settlement)
                if isinstance(answer, Chunk):
                    results[index], fits = await asyncio.to_thread(
                        packed_answer, index, record, asked[index], answer, settlement.cost_nanousd
                    )
                    succeeded += fits
                else:
                    results[index] = packed_error(index, record, answer, state)
            await self._store.put_results(record.id, results)
        usage = sum_usages([(settlement.usage, settlement.cost_nanousd) for settlement in settlements])
        ended = replace(record, state=state, ended_at=time.time(), succeeded=succeeded, usage=usage)
        await self._store.save(ended)
        observation.batch_ended(ended, fresh)

    def _settlement(
        self,
        record: Record,
        index: int,
        asked: Asked,
        answer: Chunk | AttemptFailed,
        state: State,
        *,
        missing: bool,
    ) -> Settlement:
        attempt_id = record.attempt_id(index)
        if isinstance(answer, Chunk) and answer.usage is not None:
            try:
                at = datetime.fromtimestamp(record.started_at, UTC)
                cost = self._prices.cost_nanousd(answer.usage, answer.model or record.model, at, batch=True)
            except PriceUnknown as error:
                logger.error("attempt %s is booked at its worst case: %s", attempt_id, error.message)
            else:
                return Settlement(attempt_id, Outcome.OK, answer.usage, cost, answer.model, batch=True)
        if isinstance(answer, Chunk) or missing:
            outcome = Outcome.OK if isinstance(answer, Chunk) else Outcome.FAILED
            model = answer.model if isinstance(answer, Chunk) else ""
            return Settlement(attempt_id, outcome, TokenUsage(), asked.worst_nanousd, model, final=False, batch=True)
        outcome = Outcome.CANCELLED if state is State.CANCELLED else Outcome.FAILED
        return Settlement(attempt_id, outcome, TokenUsage(), 0, "", batch=True)
