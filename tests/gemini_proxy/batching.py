"""gemini_proxies that serve batches, one after the other or together, before an emulated Gemini."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from google.rpc import status_pb2
from pydantic import SecretStr

from chiasm.v1 import batch_pb2 as pb
from chiasm.v1 import batch_pb2_grpc, generation_pb2
from services.gemini_proxy.accounts.redis_books import connect
from services.gemini_proxy.batch_store import BatchStore
from services.gemini_proxy.config import GeminiSettings
from services.gemini_proxy.service import GeminiService
from tests.gemini.config import TEST_KEY, Config, default_config
from tests.gemini.server import Emulator, emulator
from tests.gemini_proxy.emulated_prices import prices_toml
from tests.gemini_proxy.serving import Proxy
from tests.in_process import served

WAIT_S = 30
ENDED = (pb.BATCH_STATE_SUCCEEDED, pb.BATCH_STATE_CANCELLED, pb.BATCH_STATE_EXPIRED, pb.BATCH_STATE_FAILED)
SLOW = default_config(batch_polls=10_000)
"""Batches never end."""


@dataclass(frozen=True)
class Replica:
    """A gemini_proxy that serves."""

    stub: batch_pb2_grpc.BatchServiceStub
    books: Proxy = field(repr=False)

    async def start(self, *requests: generation_pb2.GenerateRequest, **fields: object) -> pb.Batch:
        return (await self.stub.StartBatch(pb.StartBatchRequest(requests=requests, **fields))).batch

    async def get(self, batch: pb.Batch) -> pb.Batch:
        return (await self.stub.GetBatch(pb.GetBatchRequest(name=batch.name))).batch

    async def ended(self, batch: pb.Batch) -> pb.Batch:
        """Once it has."""
        async with asyncio.timeout(WAIT_S):
            while (batch := await self.get(batch)).state not in ENDED:  # noqa: ASYNC110 - a batch rings no event
                await asyncio.sleep(0.02)
        return batch

    async def results(self, batch: pb.Batch, **page: object) -> list[pb.BatchResult]:
        return list((await self.stub.ListBatchResults(pb.ListBatchResultsRequest(name=batch.name, **page))).results)

    async def balanced(self) -> None:
        """The ledger's sum is the bill's, in all and by attempt, and nothing is held."""
        await self.books.settled()
        assert await self.books.cost() == self.books.gemini.bill.total_nanousd
        assert await self.books.costs() == self.books.bill()


@asynccontextmanager
async def replica(folder: Path, redis_url: str | None, gemini: Emulator, **settings: object) -> AsyncIterator[Replica]:
    """One after the other may serve with the same Redis and the same Gemini."""
    prices_file = folder / "prices.toml"
    prices_file.write_text(prices_toml(default_config().models))
    given = {
        "base_url": gemini.base_url,
        "models": ("gemini-3.8-flash", "gemini-4-argon"),
        "batch_poll_s": 0.05,
        "books_timeout_s": 5.0,
    }
    (folder / "ready").unlink(missing_ok=True)
    configured = GeminiSettings(
        port=0,
        api_key=SecretStr(TEST_KEY),
        redis_url=SecretStr(redis_url) if redis_url else None,
        ready_file=folder / "ready",
        spool_file=folder / "spool.jsonl",
        prices_file=prices_file,
        **given | settings,
    )
    service = GeminiService(configured)
    async with (
        served(service, configured) as process,
        grpc.aio.insecure_channel(process.address) as channel,
    ):
        books = Proxy(process.address, None, None, gemini, service)
        yield Replica(batch_pb2_grpc.BatchServiceStub(channel), books)


@asynccontextmanager
async def serving(folder: Path, redis_url: str | None, config: Config | None = None, **settings: object):
    async with (
        emulator(config or default_config()) as gemini,
        replica(folder, redis_url, gemini, **settings) as serving,
    ):
        yield serving


@asynccontextmanager
async def kept(redis_url: str) -> AsyncIterator[BatchStore]:
    """What the replicas share, to leave it as a crash would."""
    store = BatchStore(connect(redis_url, timeout_s=5))
    try:
        yield store
    finally:
        await store.close()


def status_of(result: pb.BatchResult) -> status_pb2.Status:
    status = status_pb2.Status()
    assert result.error.Unpack(status)
    return status
