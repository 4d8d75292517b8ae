"""Shared books whose answer is lost, or that are away a moment: what was not sent is not booked, nor elsewhere."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import redis.asyncio

from services.gemini_proxy.accounts.books import Dimension, Lease, Limits, Refusal
from services.gemini_proxy.accounts.errors import BooksUnavailable
from services.gemini_proxy.accounts.failover import FailoverBooks
from services.gemini_proxy.accounts.ledger import Entry, Filter, Ledger
from services.gemini_proxy.accounts.local_books import LocalBooks
from services.gemini_proxy.accounts.redis_books import RedisBooks
from services.gemini_proxy.accounts.settings import BooksSettings, ModelLimits
from services.gemini_proxy.accounts.spool import Spool
from tests.gemini_proxy.accounts.samples import claim, settlement

KEPT = BooksSettings(
    limits={name: (ModelLimits("*", Limits(requests_per_minute=10)),) for name in "ab"}, lease_s=1, local_share=0.1
)


class Store(RedisBooks):
    """Real ones; `away` they do nothing, `mute` they reserve and the answer is lost, whereupon they are away."""

    state = "there"

    async def _run(self, name: str, call: dict[str, object]) -> object:
        if self.state == "away":
            raise BooksUnavailable("away")
        answer = await super()._run(name, call)
        if self.state == "mute" and name == "reserve":
            self.state = "away"
            raise BooksUnavailable("the answer was lost")
        return answer


class Replica:
    def __init__(self, client: redis.asyncio.Redis, spool: Spool) -> None:
        self.client = client
        self.store = Store(client, KEPT)
        self.local_books = LocalBooks(KEPT, spool)
        self.changes: asyncio.Queue[bool] = asyncio.Queue()
        self.books = FailoverBooks(self.store, self.local_books, spool, probe_s=0.01, on_change=self.changes.put_nowait)

    async def back(self) -> None:
        self.store.state = "there"
        while not await self.changes.get():
            pass

    async def entries(self) -> list[Entry]:
        today = datetime.now(UTC).date()
        return [entry async for entry in Ledger(self.client, KEPT).export(Filter(today - timedelta(days=1), today))]

    async def cost(self) -> int:
        return sum(entry.sums.cost_nanousd for entry in await self.entries())


@pytest.fixture
async def replica(client: redis.asyncio.Redis, spool: Spool) -> AsyncIterator[Replica]:
    replica = Replica(client, spool)
    running = asyncio.create_task(replica.books.run())
    async with asyncio.timeout(30):
        yield replica
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_what_was_reserved_in_an_outage_and_given_back_after_it_costs_nothing(replica: Replica) -> None:
    replica.store.state = "away"
    assert isinstance(await replica.books.reserve(claim("alone")), Lease)
    await replica.back()
    await replica.books.settle(settlement("alone", sent=False))
    replica.store.state = "away"
    with contextlib.suppress(BooksUnavailable):
        await replica.books.reserve(claim("another"))
    await replica.back()
    assert await replica.cost() == 0


async def test_a_reservation_whose_answer_was_lost_is_given_back_though_it_is_asked_for_again(replica: Replica) -> None:
    full = claim("full")
    replica.store.state = "away"
    await replica.books.reserve(full)
    assert isinstance(await replica.books.reserve(claim("x")), Refusal)
    await replica.back()
    replica.store.state = "mute"
    for _ in range(2):
        assert isinstance(await replica.books.reserve(claim("x")), Refusal)
    await replica.back()
    assert await Ledger(replica.client, KEPT).holdings() == []
    await replica.books.settle(settlement("full", sent=False))
    assert await replica.cost() == 0


async def test_an_attempt_is_booked_with_the_member_whose_key_was_used(replica: Replica) -> None:
    await replica.local_books.learn(
        "a", "gemini-3.8-flash", Dimension.REQUESTS_PER_MINUTE, retry_after_s=60, limit=None
    )
    replica.store.state = "mute"
    lease = await replica.books.reserve(claim("x", members=("a", "b")))
    assert isinstance(lease, Lease)
    assert lease.member == "b"
    replica.store.state = "there"
    await replica.books.settle(settlement("x"))
    while not (entries := await replica.entries()):  # noqa: ASYNC110 - the books ring no event
        await asyncio.sleep(0.01)
    assert [(entry.member, entry.sums.cost_nanousd) for entry in entries] == [("b", 700)]
    assert await Ledger(replica.client, KEPT).holdings() == []
    assert int(await replica.client.hget('{chiasm-gemini}:requests:["a","gemini-3.8-flash"]:amounts', "") or 0) == 0
