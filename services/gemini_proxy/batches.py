"""Batches: what is held for them, sent, looked after by any replica, and booked once, whoever dies amid it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from google.genai import errors

from chiasm.v1 import errors_pb2
from services.gemini_proxy import observation
from services.gemini_proxy.accounts.books import Books, Claim
from services.gemini_proxy.batch_ending import BatchEnding
from services.gemini_proxy.batch_store import LOCK_S, Asked, BatchStore, Record, State, new_id
from services.gemini_proxy.config import GeminiSettings
from services.gemini_proxy.estimating import estimate_of
from services.gemini_proxy.failures import AttemptFailed, Kind, to_error
from services.gemini_proxy.pool import Pool
from services.gemini_proxy.prices import Prices
from services.gemini_proxy.question import Priority, Question
from services.gemini_proxy.waiting import WaitingRoom
from services.runtime.errors import ChiasmError, FailedPrecondition, NotFound, Unavailable

logger = logging.getLogger(__name__)

_CALL_S = 60.0
"""Of one call to the provider."""
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
        self._ending = BatchEnding(books, prices, store)

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
        settings = self._settings
        async with asyncio.TaskGroup() as group:
            # Apart: a provider that hangs must not let leases end.
            group.create_task(self._every(settings.lease_s / 3, self._renew), name="renew leases of batches")
            group.create_task(self._every(settings.batch_poll_s, self._poll), name="poll batches")

    async def _every(self, pause_s: float, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except ChiasmError as error:
                logger.warning("batches could not be looked after: %s", error.message)
            await asyncio.sleep(pause_s)

    async def _renew(self) -> None:
        records = await self._store.open()
        observation.batches_open(len(records))
        for record in records:
            await self._books.renew(record.attempt_ids)

    async def _poll(self) -> None:
        for record in await self._store.open():
            try:
                await self._look_after(record)
            except ChiasmError as error:
                logger.warning("batch %s could not be looked after: %s", record.id, error.message)
            except Exception:  # of one batch alone: the others are to end
                logger.exception("batch %s could not be looked after", record.id)

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
                if current.provider_name and _is_lost(failure):
                    logger.error("batch %s is lost at the provider: %s", record.id, failure.message)
                    # What it cost is not known: the leases end, and the worst case is booked.
                    await self._ending.end(current, State.FAILED, {}, booked=False)
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
                    await self._ending.give_back(record)
                    await self._store.free_name(record)
                    await self._ending.end(record, State.FAILED, {}, booked=False)
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
            await self._ending.end(record, _ENDS[job.state], job.answers, booked=True)

    async def _send(self, record: Record, questions: Sequence[Question]) -> Record:
        """Raises a ChiasmError where the provider has not taken it. A caller who leaves leaves it to `run`."""
        by_attempt = dict(zip(record.attempt_ids, questions, strict=True))
        try:
            with observation.batch_sent(record):
                name = await self._pool[record.member].start_batch(by_attempt, label=record.id, timeout_s=_CALL_S)
        except AttemptFailed as failure:
            # A 5xx may follow a batch that was made; only generation is free of charge then.
            if failure.kind is Kind.BROKEN or not failure.bill_is_known:
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
            observation.soft_budgets_exceeded(claim.tenant, lease)
            members = (lease.member,)
        return members[0]

    async def _take_back(self, record: Record) -> None:
        """As if there had never been such a batch: it was not sent."""
        await self._ending.give_back(record)
        await self._store.remove(record)


def _is_lost(failure: AttemptFailed) -> bool:
    """Whether the provider knows a batch no more, which is 404; another 4xx may be gone at the next look."""
    return isinstance(failure.__cause__, errors.APIError) and failure.__cause__.code == 404
