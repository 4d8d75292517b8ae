"""A UsageServer over a real Valkey and real sockets, and books to write its ledger with."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import count

import grpc

from chiasm.v1 import usage_pb2_grpc
from services.gemini_proxy.accounts.books import Books, Claim, Lease, Outcome, Settlement
from services.gemini_proxy.accounts.ledger import Ledger
from services.gemini_proxy.accounts.redis_books import RedisBooks, connect
from services.gemini_proxy.accounts.settings import BooksSettings, Budget, TenantBudgets
from services.gemini_proxy.prices import Prices
from services.gemini_proxy.usage import Modality, TokenUsage
from services.gemini_proxy.usage_service import UsageServer
from services.runtime.boundary import Boundary
from tests.gemini_proxy.accounts.samples import Clock
from tests.valkey import valkey_server

FLASH = "gemini-3.8-flash"
LITE = "gemini-3.5-flash-lite"
USAGE = TokenUsage(
    input={Modality.TEXT: 100, Modality.IMAGE: 1_120}, cached={Modality.TEXT: 40}, answer=30, thinking=12
)
BUDGETS = {
    "acme": TenantBudgets(day=Budget(1_000_000), month=Budget(20_000_000, hard=False)),
    "zoo": TenantBudgets(day=Budget(50_000)),
}

_numbers = count()


@dataclass(frozen=True)
class Served:
    address: str
    books: RedisBooks
    ledger: Ledger
    clock: Clock

    async def reserve(self, *, tenant: str = "acme", model: str = FLASH, cost: int = 900, member: str = "a") -> str:
        """The attempt."""
        attempt_id = f"attempt-{next(_numbers)}"
        claim = Claim(attempt_id, f"request-of-{attempt_id}", tenant, model, 1_300, cost, (member,))
        assert isinstance(await self.books.reserve(claim), Lease)
        return attempt_id

    async def book(
        self,
        *,
        cost: int = 700,
        outcome: Outcome = Outcome.OK,
        final: bool = True,
        usage: TokenUsage = USAGE,
        tenant: str = "acme",
        model: str = FLASH,
        member: str = "a",
    ) -> str:
        """The attempt, made and settled."""
        attempt_id = await self.reserve(tenant=tenant, model=model, member=member)
        await self.books.settle(Settlement(attempt_id, outcome, usage, cost, model, final=final))
        return attempt_id


@asynccontextmanager
async def serving_usage(clock: Clock | None = None) -> AsyncIterator[Served]:
    """With budgets for `acme` and `zoo`; at the noon of `samples` unless `clock` says otherwise."""
    clock = clock or Clock()
    settings = BooksSettings(budgets=BUDGETS)
    with valkey_server(save="") as valkey:
        client = connect(valkey.connection_url, timeout_s=5)
        books, ledger = RedisBooks(client, settings, clock=clock), Ledger(client, settings, clock=clock)
        async with aclosing(client), listening(UsageServer(ledger, books, Prices())) as address:
            yield Served(address, books, ledger, clock)


@asynccontextmanager
async def listening(usage: UsageServer) -> AsyncIterator[str]:
    """Its address."""
    server = grpc.aio.server(interceptors=(Boundary(),))
    usage_pb2_grpc.add_UsageServiceServicer_to_server(usage, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield address
    finally:
        await server.stop(None)


@asynccontextmanager
async def without_redis(books: Books) -> AsyncIterator[str]:
    """The address of one that keeps no ledger."""
    async with listening(UsageServer(None, books, Prices())) as address:
        yield address
