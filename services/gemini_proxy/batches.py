"""Batches: what is held for them, sent, looked after by any replica, and booked once, whoever dies amid it."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from chiasm.v1 import errors_pb2
from services.gemini_proxy.accounts.books import Books, Claim, Outcome, Settlement
from services.gemini_proxy.accounts.errors import UnknownAttempt
from services.gemini_proxy.batch_convert import packed_answer, packed_error, sum_usages
from services.gemini_proxy.batch_store import LOCK_S, Asked, BatchStore, Record, State, new_id
from services.gemini_proxy.config import GeminiSettings
from services.gemini_proxy.estimating import estimate_of
from services.gemini_proxy.failures import AttemptFailed, Kind, to_error
from services.gemini_proxy.pool import Pool
from services.gemini_proxy.prices import Prices, PriceUnknown
from services.gemini_proxy.provider import Chunk
from services.gemini_proxy.question import Priority, Question
from services.gemini_proxy.usage import TokenUsage
from services.gemini_proxy.waiting import WaitingRoom
from services.runtime.errors import ChiasmError, FailedPrecondition, NotFound, Unavailable

logger = logging.getLogger(__name__)

_CALL_S = 60.0
"""Of one call to the provider."""
_RESULTS_AT_ONCE = 50
_ENDS = {
    "SUCCEEDED": State.SUCCEEDED,
    "PARTIALLY_SUCCEEDED": State.SUCCEEDED,
    "CANCELLED": State.CANCELLED,
    "EXPIRED": State.EXPIRED,
    "FAILED": State.FAILED,
}


class Batches:
    """`run` must run in some replica, or batches never end.

    What is held for each request is its own attempt, whose lease every replica renews. Where none did for a while, it
    is booked as lost, at its worst case; the answer corrects that when it comes.
    """

    def __init__(
        self,
        settings: GeminiSettings,
        pool: Pool,
        books: Books,
        prices: Prices,
        room: WaitingRoom,
        store: BatchStore,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._books = books
        self._prices = prices
        self._room = room
        self._store = store

    async def start(self, questions: Sequence[Question], *, request_id: str) -> Record:
        """Raises what an answer does before it begins, naming fields of `requests[i]`."""
        first = questions[0]
        asked = await self._asked(questions)
        began = time.time()
        record = Record(
            id=new_id(began),
            tenant=first.tenant,
            model=first.model,
            member="",
            request_id=request_id,
            count=len(questions),
            started_at=began,
        )
        if (taken := await self._store.take_name(record)) != record.id:
            if (before := await self._store.load(taken)) is not None:
                return before
            raise Unavailable(f"the batch {request_id!r} is being started")
        async with self._store.locked(record.id):
            try:
                await self._store.add(record, asked)
                record = replace(record, member=await self._reserve(record, questions, asked))
                await self._store.save(record)
            except BaseException:
                await self._take_back(record)
                raise
            return await self._send(record, questions)

    async def get(self, batch_id: str, tenant: str) -> Record:
        """Raises NotFound."""
        record = await self._store.load(batch_id)
        if record is None or record.tenant != tenant:
            raise NotFound(
                f"there is no batch {batch_id[:64]!r}", field="name", reason=errors_pb2.ERROR_REASON_FIELD_INVALID
            )
        return record

    async def cancel(self, batch_id: str, tenant: str) -> Record:
        """Raises NotFound."""
        record = await self.get(batch_id, tenant)
        if not record.state.ended:
            await self._store.ask_cancel(batch_id)
        return record

    async def page(self, tenant: str, *, below: str, size: int) -> list[Record]:
        """At most `size` of the tenant's, newest first, before the one named `below`; empty for the first."""
        return await self._store.page(tenant, below=below, size=size)

    async def results(self, record: Record, indexes: Sequence[int]) -> list[bytes]:
        """As `batch_convert` packed them; none before the end."""
        return await self._store.results(record.id, indexes) if record.state.ended else []

    async def close(self) -> None:
        await self._store.close()

    async def run(self) -> None:
        """Looks after every batch that has not ended, for ever."""
        while True:
            await asyncio.sleep(min(self._settings.batch_poll_s, self._settings.lease_s / 3))
            try:
                for record in await self._store.open():
                    await self._books.renew(record.attempt_ids)
                    await self._look_after(record)
            except ChiasmError as error:
                logger.warning("batches could not be looked after: %s", error.message)

    async def _look_after(self, record: Record) -> None:
        """One look, unless another replica had one just now or is at it."""
        if not await self._store.may_poll(record.id, every_s=self._settings.batch_poll_s):
            return
        async with self._store.locked(record.id) as mine:
            current = await self._store.load(record.id) if mine else None
            if current is None or current.state.ended:
                return
            try:
                await self._advance(current)
            except AttemptFailed as failure:
                if failure.kind is Kind.REFUSED and current.provider_name:
                    logger.error("batch %s is lost at the provider: %s", record.id, failure.message)
                    # What it cost is not known: the leases end, and the worst case is booked.
                    await self._end(current, State.FAILED, {}, booked=False)
                else:
                    logger.warning("batch %s could not be looked at: %s", record.id, failure.message)

    async def _advance(self, record: Record) -> None:
        """Raises AttemptFailed."""
        if record.member and record.member not in self._pool.names:
            raise AttemptFailed(Kind.DENIED, f"no key of {record.member}")
        if not record.provider_name:
            # Whoever was sending it has died, or does not know.
            name = await self._pool[record.member].find_batch(record.id, timeout_s=_CALL_S) if record.member else ""
            if not name:
                if time.time() - record.started_at > LOCK_S:
                    await self._give_back(record)
                    await self._end(record, State.FAILED, {}, booked=False)
                return
            record = replace(record, provider_name=name, state=State.RUNNING)
            await self._store.save(record)
        provider = self._pool[record.member]
        if await self._store.cancel_asked(record.id):
            try:
                await provider.cancel_batch(record.provider_name, timeout_s=_CALL_S)
            except AttemptFailed as failure:
                if failure.kind is not Kind.REFUSED:  # it has ended just now
                    raise
        job = await provider.batch(record.provider_name, timeout_s=_CALL_S)
        if job.state in _ENDS:
            await self._end(record, _ENDS[job.state], job.answers, booked=True)

    async def _send(self, record: Record, questions: Sequence[Question]) -> Record:
        """Raises a ChiasmError where the provider has not taken it. A caller who leaves leaves it to `run`."""
        by_attempt = dict(zip(record.attempt_ids, questions, strict=True))
        try:
            name = await self._pool[record.member].start_batch(by_attempt, label=record.id, timeout_s=_CALL_S)
        except AttemptFailed as failure:
            if not failure.bill_is_known:
                logger.warning("batch %s may be at the provider: %s", record.id, failure.message)
                return record
            await self._take_back(record)
            error = to_error(failure, model=record.model, delivered=False)
            error.field = "requests" if error.field else None
            raise error from failure
        record = replace(record, provider_name=name, state=State.RUNNING)
        await self._store.save(record)
        return record

    async def _asked(self, questions: Sequence[Question]) -> list[Asked]:
        """Raises what `estimate_of` does, naming a field of `requests[i]`."""
        asked = []
        for index, question in enumerate(questions):
            try:
                estimate = await estimate_of(question, self._pool)
            except ChiasmError as error:
                error.field = error.field and f"requests[{index}].{error.field}"
                raise
            settings = question.settings
            picture = question.files[0].facts if question.files else None
            asked.append(
                Asked(
                    request_id=question.request_id,
                    task=question.task.value,
                    max_tokens=settings.max_tokens,
                    json_schema=settings.json_schema,
                    width=picture.width if picture else 0,
                    height=picture.height if picture else 0,
                    worst_nanousd=self._prices.worst_cost_nanousd(
                        estimate.bound, settings.max_tokens, question.model, datetime.now(UTC), batch=True
                    ),
                )
            )
        return asked

    async def _reserve(self, record: Record, questions: Sequence[Question], asked: Sequence[Asked]) -> str:
        """Holds every request's worst case at one member; its name. Raises what `WaitingRoom.lease` does."""
        members = tuple(name for name in self._pool.names if self._pool[name].takes_batches)
        if not members:
            raise FailedPrecondition(
                "no member of the pool takes batches: Vertex AI's do not",
                reason=errors_pb2.ERROR_REASON_PROVIDER_NOT_CONFIGURED,
            )
        for index, question in enumerate(questions):
            claim = Claim(
                attempt_id=record.attempt_id(index),
                request_id=question.request_id,
                tenant=question.tenant,
                model=question.model,
                input_tokens=0,
                cost_nanousd=asked[index].worst_nanousd,
                members=members,
                batch=True,
            )
            lease = await self._room.lease(claim, Priority.LOW, timeout_s=0)
            members = (lease.member,)
        return members[0]

    async def _take_back(self, record: Record) -> None:
        """As if there had never been such a batch: it was not sent."""
        await self._give_back(record)
        await self._store.remove(record)

    async def _give_back(self, record: Record) -> None:
        for attempt_id in record.attempt_ids:
            with suppress(UnknownAttempt):  # it was not held yet
                await self._books.settle(Settlement(attempt_id, Outcome.CANCELLED, TokenUsage(), 0, "", sent=False))

    async def _end(
        self, record: Record, state: State, answers: Mapping[str, Chunk | AttemptFailed], *, booked: bool
    ) -> None:
        """Keeps every request's answer and, with `booked`, books what it cost."""
        why = AttemptFailed(Kind.BROKEN, f"the batch {state.value}")
        usages, succeeded = [], 0
        asked = await self._store.asked(record.id)
        for first in range(0, record.count, _RESULTS_AT_ONCE):
            results = {}
            for index in range(first, min(record.count, first + _RESULTS_AT_ONCE)):
                answer = answers.get(record.attempt_id(index), why)
                missing = answer is why and state is State.SUCCEEDED
                settlement = self._settlement(record, index, asked[index], answer, state, missing=missing)
                if booked:
                    await self._books.settle(settlement)
                if isinstance(answer, Chunk):
                    results[index], fits = await asyncio.to_thread(
                        packed_answer, index, record, asked[index], answer, settlement.cost_nanousd
                    )
                    succeeded += fits
                    usages.append((settlement.usage, settlement.cost_nanousd))
                else:
                    results[index] = packed_error(index, record, answer, state)
            await self._store.put_results(record.id, results)
        await self._store.save(
            replace(record, state=state, ended_at=time.time(), succeeded=succeeded, usage=sum_usages(usages))
        )

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
