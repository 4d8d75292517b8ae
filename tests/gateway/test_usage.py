"""UsageService through a gateway process, before a real UsageServer or one that says what a test tells it to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path

import grpc
import pytest

from chiasm import AsyncClient, DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument, Unavailable, UsageGroup
from chiasm.usage import UsageFilter
from chiasm.v1 import usage_pb2, usage_pb2_grpc
from services.gemini_proxy.accounts.books import Outcome
from tests.gateway.test_gateway import gateway
from tests.gemini_proxy.test_reconciling import lines, log_row
from tests.gemini_proxy.usage_server import serving_usage, without_redis

NOWHERE = "127.0.0.1:1"
ALL = UsageFilter(until=date(2026, 12, 1))


@asynccontextmanager
async def before(usage_target: str, logs: Path, **settings: str) -> AsyncIterator[AsyncClient]:
    settings["CHIASM_GATEWAY_USAGE_TARGET"] = usage_target
    async with gateway(logs, NOWHERE, ready=False, **settings) as client:
        yield client


class Scripted(usage_pb2_grpc.UsageServiceServicer):
    def __init__(self) -> None:
        self.remaining_s: list[float] = []
        self.begun, self.cancelled = asyncio.Event(), asyncio.Event()

    async def QueryUsage(
        self, request: usage_pb2.QueryUsageRequest, context: grpc.aio.ServicerContext
    ) -> usage_pb2.QueryUsageResponse:
        self.remaining_s.append(context.time_remaining())
        return usage_pb2.QueryUsageResponse()

    async def ListBudgets(
        self, request: usage_pb2.ListBudgetsRequest, context: grpc.aio.ServicerContext
    ) -> usage_pb2.ListBudgetsResponse:
        await context.abort(grpc.StatusCode.INTERNAL, "secret of the server")

    async def ExportLedger(
        self, request: usage_pb2.ExportLedgerRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[usage_pb2.ExportLedgerResponse]:
        yield usage_pb2.ExportLedgerResponse(data=b"name\r\n")
        await self._never()

    async def ReconcileUsage(
        self, requests: AsyncIterator[usage_pb2.ReconcileUsageRequest], context: grpc.aio.ServicerContext
    ) -> usage_pb2.ReconcileUsageResponse:
        await self._never()

    async def _never(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


@asynccontextmanager
async def scripted() -> AsyncIterator[tuple[Scripted, str]]:
    usage, server = Scripted(), grpc.aio.server()
    usage_pb2_grpc.add_UsageServiceServicer_to_server(usage, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield usage, address
    finally:
        await server.stop(None)


async def each(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_every_call_reaches_the_ledger(tmp_path: Path) -> None:
    async with serving_usage() as served, before(served.address, tmp_path) as client:
        attempt = await served.book(outcome=Outcome.FAILED, final=False)
        done = await client.reconcile(each(*(bytes([byte]) for byte in lines(log_row(attempt)))))
        assert (done.rows, done.corrected) == (1, 1)
        sums = await client.usage(ALL, group_by=[UsageGroup.TENANT])
        assert [row.tenant for row in sums.rows] == ["acme"]
        assert [entry.kind async for entry in client.ledger(ALL, page_size=1)] == ["correction", "estimated"]
        assert b"".join([piece async for piece in client.export_ledger(ALL)]).count(attempt.encode() + b",") == 4
        assert [budget.tenant for budget in await client.budgets()] == ["acme", "acme", "zoo"]
        with pytest.raises(InvalidArgument) as caught:
            await client.usage(UsageFilter(), group_by=[UsageGroup.DAY, UsageGroup.DAY])
        assert caught.value.field == "group_by[1]"


async def test_what_the_server_says_is_passed_on(tmp_path: Path) -> None:
    async with (
        serving_usage() as served,
        without_redis(served.books) as address,
        before(address, tmp_path) as client,
    ):
        for call in (client.usage(), anext(client.export_ledger()), client.reconcile(each(b"{}\n" * 1_000_000))):
            with pytest.raises(FailedPrecondition, match="CHIASM_GEMINI_PROXY_REDIS_URL"):
                await call


async def test_without_a_usage_target_every_call_says_what_to_set(tmp_path: Path) -> None:
    async with gateway(tmp_path, NOWHERE, ready=False) as client:
        for call in (
            client.usage(),
            anext(client.ledger()),
            anext(client.export_ledger()),
            client.budgets(),
            client.reconcile(each(b"{}\n")),
        ):
            with pytest.raises(FailedPrecondition, match="CHIASM_GATEWAY_USAGE_TARGET"):
                await call


async def test_a_usage_target_that_is_gone_is_unavailable_and_not_named(tmp_path: Path) -> None:
    async with before("127.0.0.1:9", tmp_path) as client:
        for call in (client.usage(), anext(client.export_ledger()), client.reconcile(each(b"{}\n"))):
            with pytest.raises(Unavailable) as caught:
                await call
            assert "127.0.0.1" not in caught.value.message


async def test_what_remains_of_the_deadline_travels_on(tmp_path: Path) -> None:
    async with scripted() as (usage, address), before(address, tmp_path) as client:
        await client.usage(timeout_s=7)
    assert 0 < usage.remaining_s[0] < 7.5  # gRPC rounds timeouts up as it writes them


async def test_a_caller_without_a_deadline_gets_one(tmp_path: Path) -> None:
    async with (
        scripted() as (usage, address),
        before(address, tmp_path, CHIASM_GATEWAY_DEFAULT_TIMEOUT_S="0.5") as client,
        grpc.aio.insecure_channel(client.address) as channel,
    ):
        stub = usage_pb2_grpc.UsageServiceStub(channel)
        await stub.QueryUsage(usage_pb2.QueryUsageRequest())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stub.ExportLedger(usage_pb2.ExportLedgerRequest()):
                pass
    assert 0 < usage.remaining_s[0] <= 0.6
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_fault_of_the_server_stays_opaque(tmp_path: Path) -> None:
    async with scripted() as (_, address), before(address, tmp_path) as client:
        with pytest.raises(Internal) as caught:
            await client.budgets()
    assert "secret" not in str(caught.value)


async def test_a_caller_that_leaves_ends_the_call_behind_the_gateway(tmp_path: Path) -> None:
    for leave in (_leave_export, _leave_reconciling):
        async with scripted() as (usage, address), before(address, tmp_path) as client, asyncio.timeout(30):
            await leave(client, usage)
            await usage.cancelled.wait()


async def _leave_export(client: AsyncClient, usage: Scripted) -> None:
    pieces = client.export_ledger()
    assert await anext(pieces) == b"name\r\n"
    await pieces.aclose()


async def _leave_reconciling(client: AsyncClient, usage: Scripted) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"{}\n"
        await asyncio.Event().wait()

    call = asyncio.create_task(client.reconcile(endless()))
    await usage.begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_late_answer_is_the_deadline(tmp_path: Path) -> None:
    async with scripted() as (_, address), before(address, tmp_path) as client:
        with pytest.raises(DeadlineExceeded):
            await client.reconcile(each(b"{}\n"), timeout_s=0.5)
